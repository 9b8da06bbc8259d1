/** How requests of fuse-native are served: answered once, by path, and by numbers for open files. */
import type { Reply } from 'fuse-native';
import type { Answer, CallContext, NodeId, Operations, Outcome } from '../gateway/operations.ts';
import type { DriverLog } from './driver.ts';
import { NATIVE_NAMES_MAX } from './limits.ts';
import { NativeNames, splitPath, type KnownName } from './native-names.ts';

const EIO = 5;
const EILSEQ = 84;
const ESTALE = 116;
/** What fuse-native makes of bytes that are not UTF-8; the name they stood for is lost. */
const REPLACEMENT_CHARACTER = '\ufffd';
/** Open files have positive numbers of 31 bits. */
const HANDLE_MAX = 0x7fff_ffff;

/** Whether text of fuse-native's, or for it, stands for other bytes than its own. */
export function isLossy(text: string): boolean {
  return text.includes(REPLACEMENT_CHARACTER);
}

/** Who every request is made as: libfuse knows the caller, fuse-native does not pass it on. */
class MountUser implements CallContext {
  readonly uid = process.geteuid?.() ?? 0;
  readonly gid = process.getegid?.() ?? 0;
  readonly pid = process.pid;
  #signal: AbortSignal | undefined;

  /** Never aborted: interrupts are not passed on, either. */
  get signal(): AbortSignal {
    this.#signal ??= new AbortController().signal;
    return this.#signal;
  }
}

export interface NativeOpenFile {
  readonly fileHandle: bigint;
  /** Pinned until it is closed, so that its attributes can be asked for whatever becomes of its name. */
  readonly node: KnownName;
  /** Of open(2). */
  readonly flags: number;
}

export class NativeRequests {
  readonly operations: Operations;
  readonly names: NativeNames;
  readonly #log: DriverLog;
  readonly #files = new Map<number, NativeOpenFile>();
  #nextHandle = 1;
  #pending = 0;

  constructor(operations: Operations, log: DriverLog) {
    this.operations = operations;
    this.names = new NativeNames(operations, NATIVE_NAMES_MAX);
    this.#log = log;
  }

  /** Requests that wait for their answer. */
  get pending(): number {
    return this.#pending;
  }

  /** Answers once, whatever happens: a request without an answer blocks its caller for ever. */
  answer<T>(
    operation: string,
    reply: Reply<T>,
    work: (context: CallContext) => Promise<Outcome<{ readonly value: T }>>,
  ): void {
    this.#pending += 1;
    work(new MountUser())
      .catch((error: unknown) => {
        this.#log.onFault(`${operation} failed`, error);
        return EIO;
      })
      .then((outcome) => {
        this.#pending -= 1;
        if (typeof outcome === 'number') reply(-outcome);
        else reply(0, outcome.value);
      })
      .catch((error: unknown) => {
        this.#log.onFault(`the reply to ${operation} could not be given`, error);
      });
  }

  /** The same for an operation that only succeeds or fails. */
  settle(operation: string, reply: Reply, work: (context: CallContext) => Promise<number>): void {
    this.answer(operation, reply, async (context) => {
      const outcome = await work(context);
      return outcome === 0 ? { value: undefined } : outcome;
    });
  }

  /**
   * Does something with the inode at a path. ESTALE says that a name remembered means another file by now: then every
   * name of the path is looked up again, once.
   */
  async at<T>(path: string, context: CallContext, use: (node: KnownName) => Answer<T>): Promise<Outcome<T>> {
    if (isLossy(path)) return EILSEQ;
    const first = await this.#once(path, context, use);
    if (first !== ESTALE) return first;
    this.names.forget(path);
    return this.#once(path, context, use);
  }

  /** Does something with the directory a path lies in, and its last name. The name is forgotten: it changes. */
  inParent<T>(
    path: string,
    context: CallContext,
    use: (parent: NodeId, name: Uint8Array) => Answer<T>,
  ): Promise<Outcome<T>> {
    const { directory, name } = splitPath(path);
    if (isLossy(name)) return Promise.resolve(EILSEQ);
    return this.at(directory, context, async ({ nodeId }) => {
      try {
        return await use(nodeId, Buffer.from(name));
      } finally {
        this.names.forgetName(nodeId, name);
      }
    });
  }

  async #once<T>(
    path: string,
    context: CallContext,
    use: (node: KnownName) => Answer<T>,
  ): Promise<Outcome<T>> {
    const node = await this.names.resolve(path, context);
    if (typeof node === 'number') return node;
    try {
      return await use(node);
    } finally {
      this.names.unpin(node);
    }
  }

  /** @returns its number, until `close` */
  addFile(file: NativeOpenFile): number {
    file.node.pins += 1;
    while (this.#files.has(this.#nextHandle)) this.#nextHandle = nextHandle(this.#nextHandle);
    const handle = this.#nextHandle;
    this.#nextHandle = nextHandle(handle);
    this.#files.set(handle, file);
    return handle;
  }

  file(fd: number): NativeOpenFile | undefined {
    return this.#files.get(fd);
  }

  close(fd: number): void {
    const file = this.#files.get(fd);
    if (file === undefined) return;
    this.#files.delete(fd);
    this.operations.release(file.fileHandle);
    this.names.unpin(file.node);
  }
}

function nextHandle(handle: number): number {
  return handle === HANDLE_MAX ? 1 : handle + 1;
}
