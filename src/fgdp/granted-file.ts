/** An exported file in the guest's hands: a descriptor open for reading, good until it is released. */
import { closeSync, fdatasync, fstatSync, fsync, ftruncate, openSync, type BigIntStats } from 'node:fs';
import { promisify } from 'node:util';
import {
  chmodFd,
  chownFd,
  utimensFd,
  ftruncate as ftruncateSync,
  type NewTime,
} from '../system/attributes.ts';
import { seek } from '../system/files.ts';
import { readFully } from '../system/read-file.ts';
import { checkSpaceRange, fallocateHere, fallocateOnPool, type SpaceRange } from '../system/space.ts';
import { MAPPED_READ_BYTES_MAX } from './limits.ts';

/** Reads that are answered at once share this memory: their bytes are good until the next of them. */
let sharedBuffer: Buffer | undefined;

/** What can be changed of a granted file. */
export interface FileChange {
  /** Permission bits (07777). */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly atime?: NewTime;
  readonly mtime?: NewTime;
}

const fsyncOf = promisify(fsync);
const fdatasyncOf = promisify(fdatasync);
const ftruncateOf = promisify(ftruncate);

export class GrantedFile {
  readonly grantId: bigint;
  /** For the kernel's own use, like a passthrough backing. */
  readonly descriptor: number;
  readonly #onRelease: () => void;
  /** Calls under way on the pool's threads. */
  #busy = 0;
  #released = false;

  /**
   * @param descriptor the granted file's; closed by release
   * @param onRelease gives the grant back to the server, after the descriptor is closed
   */
  constructor(grantId: bigint, descriptor: number, onRelease: () => void) {
    this.grantId = grantId;
    this.descriptor = descriptor;
    this.#onRelease = onRelease;
  }

  /** fstat(2): never waits for the server. */
  status(): BigIntStats {
    return fstatSync(this.descriptor, { bigint: true });
  }

  /**
   * Reads up to `sizeBytes` at `offset`: fewer only at the end of the file. One pread(2), no call to the server.
   *
   * What the page cache has comes back at once, in memory that the next read uses again; the rest comes as a promise
   * of memory of its own, which rejects with a system error. Throws ErrnoError.
   *
   * @param sizeBytes at most MAPPED_READ_BYTES_MAX of them are read
   */
  read(offset: bigint, sizeBytes: number): Uint8Array | Promise<Uint8Array> {
    const length = Math.min(sizeBytes, MAPPED_READ_BYTES_MAX);
    const buffer = takeBuffer().subarray(0, length);
    const filled = readFully(this.descriptor, buffer, offset);
    if (typeof filled === 'number') return buffer.subarray(0, filled);
    // The pool's thread writes to this memory, so the next read takes other.
    sharedBuffer = undefined;
    return this.#held(filled.then((count) => buffer.subarray(0, count)));
  }

  /** lseek(2): where data (SEEK_DATA, 3) or a hole (SEEK_HOLE, 4) begins; ErrnoError ENXIO, EINVAL. Reads do not mind. */
  seek(offset: bigint, whence: number): bigint {
    return seek(this.descriptor, offset, whence);
  }

  /**
   * fsync(2), or fdatasync(2): what anybody on this kernel has written to the file is on stable storage. Rejects with a
   * system error.
   */
  sync(dataOnly: boolean): Promise<void> {
    return this.#held(dataOnly ? fdatasyncOf(this.descriptor) : fsyncOf(this.descriptor));
  }

  /** ftruncate(2), where the grant is for writing. Rejects with a system error. */
  truncate(sizeBytes: bigint): Promise<void> {
    return this.#openToWrite(async (fd) => {
      // Freeing a large file takes its time.
      if (sizeBytes <= BigInt(Number.MAX_SAFE_INTEGER)) await ftruncateOf(fd, Number(sizeBytes));
      else ftruncateSync(fd, sizeBytes);
    });
  }

  /** fallocate(2), where the grant is for writing. Rejects with a system error. */
  allocate(range: SpaceRange): Promise<void> {
    return this.#openToWrite(async (fd) => {
      checkSpaceRange(range);
      // What went wrong on the pool is told here.
      if (!(await fallocateOnPool(fd, range))) fallocateHere(fd, range);
    });
  }

  /**
   * Changes attributes of the file itself, where the grant is for writing: what of them is there. For what the server cannot be
   * asked for. Throws a system error.
   */
  change({ mode, uid, gid, atime, mtime }: FileChange): void {
    // Owners first: a change of them clears set-id bits.
    if ((uid ?? gid) !== undefined) chownFd(this.descriptor, uid, gid);
    if (mode !== undefined) chmodFd(this.descriptor, mode);
    if ((atime ?? mtime) !== undefined) utimensFd(this.descriptor, atime, mtime);
  }

  /** Ends the grant. The descriptor is closed when no call is under way any more; a second call has no effect. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#closeIfDone();
  }

  /** Opens the file for as long as it takes: as long as somebody can write it, nobody executes it (ETXTBSY). */
  async #openToWrite(act: (fd: number) => Promise<void>): Promise<void> {
    const fd = openSync(`/proc/self/fd/${this.descriptor}`, 'r+');
    try {
      await act(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Keeps the descriptor open until a call is over. */
  #held<T>(call: Promise<T>): Promise<T> {
    this.#busy += 1;
    return call.finally(() => {
      this.#busy -= 1;
      this.#closeIfDone();
    });
  }

  #closeIfDone(): void {
    if (!this.#released || this.#busy > 0) return;
    closeSync(this.descriptor);
    this.#onRelease();
  }
}

function takeBuffer(): Buffer {
  sharedBuffer ??= Buffer.allocUnsafeSlow(MAPPED_READ_BYTES_MAX);
  return sharedBuffer;
}
