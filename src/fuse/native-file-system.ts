/** The operations as fuse-native asks for them: by path, without the caller, answered through callbacks. */
import type { NativeOperations, NativeStat, NativeStatfs, Reply } from 'fuse-native';
import type { Answer, CallContext, DirectorySink, Operations, Outcome } from '../gateway/operations.ts';
import type { DriverLog } from './driver.ts';
import { NATIVE_INODE_NUMBERS_MAX, NATIVE_NAMES_MAX } from './limits.ts';
import { InodeNumbers, nativeEntry, nativeStat, nativeStatfs } from './native-attributes.ts';
import { NativeNames, type KnownName } from './native-names.ts';

const EIO = 5;
const EBADF = 9;
const EILSEQ = 84;
const ESTALE = 116;
/** What fuse-native makes of bytes that are not UTF-8; the name they stood for is lost. */
const REPLACEMENT_CHARACTER = '\ufffd';
/** Open files have positive numbers of 31 bits. */
const HANDLE_MAX = 0x7fff_ffff;

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

interface OpenFile {
  readonly fileHandle: bigint;
  readonly node: KnownName;
}

/** Names of a directory, without those that cannot be said in UTF-8: nobody could open them by this driver. */
class NativeDirectory implements DirectorySink {
  readonly wantsEntries = false;
  readonly names: string[] = [];
  readonly stats: NativeStat[] = [];
  readonly #numbers: InodeNumbers;
  cookie = 0n;
  /** Entries seen since it was set to 0. */
  seen = 0;

  constructor(numbers: InodeNumbers) {
    this.#numbers = numbers;
  }

  add(name: Uint8Array, cookie: bigint, ino: bigint, fileType: number): boolean {
    this.cookie = cookie;
    this.seen += 1;
    const text = Buffer.from(name.buffer, name.byteOffset, name.length).toString();
    if (text.includes(REPLACEMENT_CHARACTER)) return true;
    this.names.push(text);
    this.stats.push(nativeEntry(this.#numbers.of(ino), fileType));
    return true;
  }
}

/** Not a path, because it does not begin with a slash: getattr of an open file. */
export function openFileName(fd: number): string {
  return `open file ${fd}`;
}
const OPEN_FILE_NAME = /^open file (\d+)$/;

export class NativeFileSystem implements NativeOperations {
  readonly #operations: Operations;
  readonly #log: DriverLog;
  readonly #names: NativeNames;
  readonly #numbers = new InodeNumbers(NATIVE_INODE_NUMBERS_MAX);
  readonly #files = new Map<number, OpenFile>();
  #nextHandle = 1;
  #pending = 0;

  constructor(operations: Operations, log: DriverLog) {
    this.#operations = operations;
    this.#log = log;
    this.#names = new NativeNames(operations, NATIVE_NAMES_MAX);
  }

  /** Requests that wait for their answer. */
  get requestsPending(): number {
    return this.#pending;
  }

  getattr = (path: string, reply: Reply<NativeStat>): void => {
    this.#answer('getattr', reply, async (context) => {
      const open = this.#openFileOf(path);
      const answer =
        open === undefined
          ? await this.#at(path, context, ({ nodeId }) => this.#operations.getattr(nodeId, context))
          : await this.#operations.getattr(open.node.nodeId, context);
      return typeof answer === 'number' ? answer : { value: nativeStat(answer.attributes, this.#numbers) };
    });
  };

  fgetattr = (_path: string, fd: number, reply: Reply<NativeStat>): void => {
    this.getattr(openFileName(fd), reply);
  };

  readlink = (path: string, reply: Reply<string>): void => {
    this.#answer('readlink', reply, async (context) => {
      const answer = await this.#at(path, context, ({ nodeId }) =>
        this.#operations.readlink(nodeId, context),
      );
      if (typeof answer === 'number') return answer;
      const bytes = Buffer.from(answer.target);
      const text = bytes.toString();
      return Buffer.from(text).equals(bytes) ? { value: text } : EILSEQ;
    });
  };

  open = (path: string, flags: number, reply: Reply<number>): void => {
    this.#answer('open', reply, (context) =>
      this.#at(path, context, async (node) => {
        const opened = await this.#operations.open(node.nodeId, flags, context);
        if (typeof opened === 'number') return opened;
        // Until it is closed, so that its attributes can be asked for whatever becomes of its name.
        node.pins += 1;
        return { value: this.#addFile({ fileHandle: opened.fileHandle, node }) };
      }),
    );
  };

  read = (_path: string, fd: number, buffer: Buffer, bytes: number, at: number, reply: Reply): void => {
    const file = this.#files.get(fd);
    const replyCount: Reply<number> = (error, count = 0) => {
      reply(error === 0 ? count : error);
    };
    this.#answer('read', replyCount, async (context) => {
      if (file === undefined) return EBADF;
      const answer = this.#operations.read(file.fileHandle, BigInt(at), bytes, context);
      // What came at once is good until the next operation only, so nothing is waited for then.
      const pieces = answer instanceof Promise ? await answer : answer;
      if (typeof pieces === 'number') return pieces;
      let count = 0;
      for (const piece of pieces) {
        buffer.set(piece, count);
        count += piece.length;
      }
      return { value: count };
    });
  };

  release = (_path: string, fd: number, reply: Reply): void => {
    const file = this.#files.get(fd);
    if (file !== undefined) {
      this.#files.delete(fd);
      this.#operations.release(file.fileHandle);
      this.#names.unpin(file.node);
    }
    reply(0);
  };

  /** Only asks whether the directory may be read: the listing, which is not told the handle, opens it again. */
  opendir = (path: string, _flags: number, reply: Reply<number>): void => {
    this.#answer('opendir', reply, (context) =>
      this.#at(path, context, async ({ nodeId }) => {
        const opened = await this.#operations.opendir(nodeId, context);
        if (typeof opened === 'number') return opened;
        this.#operations.releasedir(opened.fileHandle);
        return { value: 0 };
      }),
    );
  };

  readdir = (
    path: string,
    reply: (error: number, names?: readonly string[], stats?: readonly NativeStat[]) => void,
  ): void => {
    const replyListing: Reply<NativeDirectory> = (error, listing) => {
      reply(error, listing?.names, listing?.stats);
    };
    this.#answer('readdir', replyListing, (context) =>
      this.#at(path, context, async ({ nodeId }) => {
        const opened = await this.#operations.opendir(nodeId, context);
        if (typeof opened === 'number') return opened;
        try {
          return await this.#list(opened.fileHandle, context);
        } finally {
          this.#operations.releasedir(opened.fileHandle);
        }
      }),
    );
  };

  statfs = (path: string, reply: Reply<NativeStatfs>): void => {
    this.#answer('statfs', reply, async (context) => {
      const answer = await this.#at(path, context, ({ nodeId }) => this.#operations.statfs(nodeId, context));
      return typeof answer === 'number' ? answer : { value: nativeStatfs(answer) };
    });
  };

  getxattr = (path: string, name: string, _position: number, reply: Reply<Buffer>): void => {
    this.#answer('getxattr', reply, async (context) => {
      const answer = await this.#at(path, context, ({ nodeId }) =>
        this.#operations.getxattr(nodeId, name, context),
      );
      return typeof answer === 'number' ? answer : { value: Buffer.from(answer.value) };
    });
  };

  listxattr = (_path: string, reply: Reply<readonly string[]>): void => {
    reply(0, []);
  };

  async #list(fileHandle: bigint, context: CallContext): Promise<Outcome<{ value: NativeDirectory }>> {
    const listing = new NativeDirectory(this.#numbers);
    do {
      listing.seen = 0;
      const outcome = await this.#operations.readdir(fileHandle, listing.cookie, listing, context);
      if (outcome !== 0) return outcome;
    } while (listing.seen > 0);
    return { value: listing };
  }

  /**
   * Does something with the inode at a path. ESTALE says that a name remembered means another file by now: then every
   * name of the path is looked up again, once.
   */
  async #at<T extends object>(
    path: string,
    context: CallContext,
    use: (node: KnownName) => Answer<T>,
  ): Promise<Outcome<T>> {
    if (path.includes(REPLACEMENT_CHARACTER)) return EILSEQ;
    const first = await this.#once(path, context, use);
    if (first !== ESTALE) return first;
    this.#names.forget(path);
    return this.#once(path, context, use);
  }

  async #once<T extends object>(
    path: string,
    context: CallContext,
    use: (node: KnownName) => Answer<T>,
  ): Promise<Outcome<T>> {
    const node = await this.#names.resolve(path, context);
    if (typeof node === 'number') return node;
    try {
      return await use(node);
    } finally {
      this.#names.unpin(node);
    }
  }

  /** Answers once, whatever happens: a request without an answer blocks its caller for ever. */
  #answer<T>(
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

  #addFile(file: OpenFile): number {
    while (this.#files.has(this.#nextHandle)) this.#nextHandle = nextHandle(this.#nextHandle);
    const handle = this.#nextHandle;
    this.#nextHandle = nextHandle(handle);
    this.#files.set(handle, file);
    return handle;
  }

  #openFileOf(path: string): OpenFile | undefined {
    const fd = OPEN_FILE_NAME.exec(path)?.[1];
    return fd === undefined ? undefined : this.#files.get(Number(fd));
  }
}

function nextHandle(handle: number): number {
  return handle === HANDLE_MAX ? 1 : handle + 1;
}
