/**
 * The portable driver: fuse-native, which is libfuse 2 behind threads that wait for callbacks. It asks by path and knows
 * neither callers nor interrupts; what else it cannot do is in docs/operations.md. Nothing here may look at the mount by a
 * synchronous call: the answer would have to come from this very thread.
 */
import type Fuse from 'fuse-native';
import type { NativeHandler, Signal } from 'fuse-native';
import type { KernelServices, Operations } from '../gateway/operations.ts';
import { closeFd, duplicateFd } from '../system/files.ts';
import { findFuseDevices, isConnectionOver } from '../system/fuse-device.ts';
import type { DriverLog, FuseDriver, MountRequest } from './driver.ts';
import { escapeOption, mayAllowOther } from './fusermount.ts';
import { NATIVE_READ_BYTES, NATIVE_UNMOUNT_CHECK_MS } from './limits.ts';
import { FILE_SYSTEM_SUBTYPE, mayMountDirectly } from './mount.ts';
import { nativeOperations, openFileName } from './native-file-system.ts';
import { NativeDriverError, loadNativePackage } from './native-package.ts';
import { NativeRequests } from './native-requests.ts';
import { UTIMENS_OPCODE, withBothTimes } from './native-times.ts';

const ERANGE = 34;
const EOPNOTSUPP = 95;
/** What fuse-native has room for, the final NUL included: it cuts what is longer. */
const NATIVE_TEXT_BYTES = 1024;

/**
 * Mounts and returns the driver once the kernel has been answered.
 *
 * @throws NativeDriverError when the package or libfuse 2 is missing, or libfuse could not mount
 */
export async function mountNative(
  request: MountRequest,
  operations: Operations,
  log: DriverLog,
): Promise<NativeDriver> {
  const native = await loadNativePackage();
  // Its own is a shell command. Unmounting is done by whoever ends the driver, as for the other one.
  native.unmount = (_mountPoint, done) => {
    done(null);
  };
  const requests = new NativeRequests(operations, log);
  const fuse = new (withDescriptors(native))(request.mountPoint, nativeOperations(requests), {
    fsname: optionsOf(request),
    // An operation ends when it ends; how long a server may take is the mount's own timeo and soft.
    timeout: false,
  });
  const before = new Set(findFuseDevices());
  const driver = new NativeDriver(requests, operations, fuse, log);
  operations.init(driver);
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => {
      if (error === null) resolve();
      else
        reject(
          new NativeDriverError(
            `libfuse could not mount at ${request.mountPoint}: it has said why on stderr`,
          ),
        );
    });
  });
  const device = findFuseDevices().find((fd) => !before.has(fd));
  if (device !== undefined) driver.watch(device);
  return driver;
}

/** The class with the steps that need more than the operations are told: the open file, and the room for a value. */
function withDescriptors(native: typeof Fuse): typeof Fuse {
  return class extends native {
    override _makeHandlerArray(): (NativeHandler | undefined)[] {
      const handlers = super._makeHandlerArray();
      const utimens = handlers[UTIMENS_OPCODE];
      if (utimens !== undefined) handlers[UTIMENS_OPCODE] = withBothTimes(utimens);
      return handlers;
    }

    protected override _op_fgetattr(signal: Signal<Uint32Array>, _path: string, fd: number): void {
      this._op_getattr(signal, openFileName(fd));
    }

    protected override _op_getxattr(
      signal: Signal<ArrayBufferLike>,
      path: string,
      name: string,
      room: Buffer,
    ): void {
      super._op_getxattr(
        (result, value) => {
          signal(room.length > 0 && result > room.length ? -ERANGE : result, value);
        },
        path,
        name,
        room,
      );
    }

    /** Theirs adds 128 to an asked-for length. */
    protected override _op_listxattr(signal: Signal<ArrayBufferLike>, _path: string, room: Buffer): void {
      signal(0, room.buffer);
    }
  };
}

/** What fuse-native has no field for goes behind the source's name, which is its first option. */
function optionsOf({ source, mountPoint, readOnly }: MountRequest): string {
  const others = mayMountDirectly() || mayAllowOther() ? ['allow_other'] : [];
  const options = [
    escapeOption(source),
    `subtype=${FILE_SYSTEM_SUBTYPE}`,
    ...[readOnly ? 'ro' : 'rw', 'nosuid', 'nodev', 'default_permissions', ...others],
    // WRITEs of 128 KiB instead of one page, and O_TRUNC with the open instead of after it.
    ...['big_writes', 'atomic_o_trunc'],
    // Inode numbers are the server's. Nothing is remembered by the kernel, because nothing can be made forgotten.
    ...['use_ino', 'attr_timeout=0', 'entry_timeout=0', `max_read=${NATIVE_READ_BYTES}`],
  ].join(',');
  for (const [what, text] of [
    ['mount point', mountPoint],
    ['source', `-ofsname=${options}`],
  ] as const) {
    if (Buffer.byteLength(text) >= NATIVE_TEXT_BYTES) {
      throw new NativeDriverError(`the ${what} is too long for driver=fuse-native: use driver=kernel`);
    }
  }
  return options;
}

export class NativeDriver implements FuseDriver, KernelServices {
  readonly #requests: Pick<NativeRequests, 'pending'>;
  readonly #operations: Operations;
  readonly #fuse: Pick<Fuse, 'close'>;
  readonly #log: DriverLog;
  readonly #ended: Promise<void>;
  #end!: () => void;
  /** A descriptor of our own, so that the number means libfuse's connection even after libfuse has closed its own. */
  #device: number | undefined;
  #check: NodeJS.Timeout | undefined;

  constructor(
    requests: Pick<NativeRequests, 'pending'>,
    operations: Operations,
    fuse: Pick<Fuse, 'close'>,
    log: DriverLog,
  ) {
    this.#requests = requests;
    this.#operations = operations;
    this.#fuse = fuse;
    this.#log = log;
    this.#ended = new Promise((resolve) => (this.#end = resolve));
  }

  get requestsPending(): number {
    return this.#requests.pending;
  }

  /**
   * Looks at libfuse's descriptor from time to time. Waiting for it on the event loop would make it non-blocking, which
   * libfuse's threads take for the end.
   */
  watch(device: number): void {
    const own = duplicateFd(device);
    this.#device = own;
    this.#check = setInterval(() => {
      if (isConnectionOver(own)) this.stop();
    }, NATIVE_UNMOUNT_CHECK_MS);
  }

  async run(): Promise<void> {
    await this.#ended;
    clearInterval(this.#check);
    if (this.#device !== undefined) closeFd(this.#device);
    this.#operations.destroy();
    // It unmounts nothing: it lets go of the event loop.
    await new Promise<void>((resolve) => {
      this.#fuse.close((error) => {
        if (error !== null) this.#log.onWarning('fuse-native did not end', error);
        resolve();
      });
    });
  }

  stop(): void {
    this.#end();
  }

  openBacking(): number {
    return EOPNOTSUPP;
  }

  closeBacking(): void {
    // None was ever opened.
  }

  invalidateAttributes(): void {
    // The kernel keeps none: attr_timeout=0.
  }
}
