/** The operations as fuse-native asks for them: by path, without the caller, answered through callbacks. What reads. */
import type { NativeOperations, NativeStat, NativeStatfs, Reply } from 'fuse-native';
import type { CallContext, DirectorySink, Operations, Outcome } from '../gateway/operations.ts';
import { NATIVE_INODE_NUMBERS_MAX } from './limits.ts';
import { InodeNumbers, nativeEntry, nativeStat, nativeStatfs } from './native-attributes.ts';
import { NativeChanges } from './native-changes.ts';
import { isLossy, type NativeOpenFile, type NativeRequests } from './native-requests.ts';
import { NativeWriting } from './native-writing.ts';

const EBADF = 9;
const EILSEQ = 84;

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
    if (isLossy(text)) return true;
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

/** All operations over the same requests. */
export function nativeOperations(requests: NativeRequests): NativeOperations {
  return Object.assign(new NativeReading(requests), new NativeChanges(requests), new NativeWriting(requests));
}

type Reading =
  | 'getattr'
  | 'fgetattr'
  | 'readlink'
  | 'access'
  | 'open'
  | 'read'
  | 'release'
  | 'opendir'
  | 'readdir'
  | 'statfs'
  | 'getxattr'
  | 'listxattr';

class NativeReading implements Pick<NativeOperations, Reading> {
  readonly #requests: NativeRequests;
  readonly #operations: Operations;
  readonly #numbers = new InodeNumbers(NATIVE_INODE_NUMBERS_MAX);

  constructor(requests: NativeRequests) {
    this.#requests = requests;
    this.#operations = requests.operations;
  }

  getattr = (path: string, reply: Reply<NativeStat>): void => {
    this.#requests.answer('getattr', reply, async (context) => {
      const open = this.#openFileOf(path);
      const answer =
        open === undefined
          ? await this.#requests.at(path, context, ({ nodeId }) => this.#operations.getattr(nodeId, context))
          : await this.#operations.getattr(open.node.nodeId, context);
      return typeof answer === 'number' ? answer : { value: nativeStat(answer.attributes, this.#numbers) };
    });
  };

  fgetattr = (_path: string, fd: number, reply: Reply<NativeStat>): void => {
    this.getattr(openFileName(fd), reply);
  };

  readlink = (path: string, reply: Reply<string>): void => {
    this.#requests.answer('readlink', reply, async (context) => {
      const answer = await this.#requests.at(path, context, ({ nodeId }) =>
        this.#operations.readlink(nodeId, context),
      );
      if (typeof answer === 'number') return answer;
      const bytes = Buffer.from(answer.target);
      const text = bytes.toString();
      return Buffer.from(text).equals(bytes) ? { value: text } : EILSEQ;
    });
  };

  /** Never asked while the kernel decides by itself (default_permissions). */
  access = (path: string, mask: number, reply: Reply): void => {
    this.#requests.settle('access', reply, (context) =>
      this.#requests.at(path, context, ({ nodeId }) => this.#operations.access(nodeId, mask, context)),
    );
  };

  open = (path: string, flags: number, reply: Reply<number>): void => {
    this.#requests.answer('open', reply, (context) =>
      this.#requests.at(path, context, async (node) => {
        const opened = await this.#operations.open(node.nodeId, flags, context);
        if (typeof opened === 'number') return opened;
        return { value: this.#requests.addFile({ fileHandle: opened.fileHandle, node, flags }) };
      }),
    );
  };

  read = (_path: string, fd: number, buffer: Buffer, bytes: number, at: number, reply: Reply): void => {
    const file = this.#requests.file(fd);
    const replyCount: Reply<number> = (error, count = 0) => {
      reply(error === 0 ? count : error);
    };
    this.#requests.answer('read', replyCount, async (context) => {
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
    this.#requests.close(fd);
    reply(0);
  };

  /** Only asks whether the directory may be read: the listing, which is not told the handle, opens it again. */
  opendir = (path: string, _flags: number, reply: Reply<number>): void => {
    this.#requests.answer('opendir', reply, (context) =>
      this.#requests.at(path, context, async ({ nodeId }) => {
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
    this.#requests.answer('readdir', replyListing, (context) =>
      this.#requests.at(path, context, async ({ nodeId }) => {
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
    this.#requests.answer('statfs', reply, async (context) => {
      const answer = await this.#requests.at(path, context, ({ nodeId }) =>
        this.#operations.statfs(nodeId, context),
      );
      return typeof answer === 'number' ? answer : { value: nativeStatfs(answer) };
    });
  };

  getxattr = (path: string, name: string, _position: number, reply: Reply<Buffer>): void => {
    this.#requests.answer('getxattr', reply, async (context) => {
      const answer = await this.#requests.at(path, context, ({ nodeId }) =>
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

  #openFileOf(path: string): NativeOpenFile | undefined {
    const fd = OPEN_FILE_NAME.exec(path)?.[1];
    return fd === undefined ? undefined : this.#requests.file(Number(fd));
  }
}
