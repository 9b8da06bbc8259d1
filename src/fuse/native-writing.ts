/** What fuse-native asks for to write files. */
import type { NativeOperations, Reply } from 'fuse-native';
import type { CallContext, Operations, WriteData } from '../gateway/operations.ts';
import { splitPath } from './native-names.ts';
import type { NativeRequests } from './native-requests.ts';

const EBADF = 9;
const EEXIST = 17;
const ESTALE = 116;
const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;

type Writing = 'create' | 'write' | 'flush' | 'fsync' | 'fsyncdir';

/** Bytes that are gone when libfuse's thread has its answer: kept only as a copy. */
class NativeWriteData implements WriteData {
  readonly bytes: Uint8Array;
  #copy: Uint8Array | undefined;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  take(): Uint8Array {
    this.#copy ??= Uint8Array.from(this.bytes);
    return this.#copy;
  }
}

export class NativeWriting implements Pick<NativeOperations, Writing> {
  readonly #requests: NativeRequests;
  readonly #operations: Operations;

  constructor(requests: NativeRequests) {
    this.#requests = requests;
    this.#operations = requests.operations;
  }

  /**
   * How the file is to be opened is not told. It is made only where there is none: for one that somebody made since the
   * kernel looked, ESTALE has the kernel look again, and it then opens the file or, with O_EXCL, refuses by itself.
   */
  create = (path: string, mode: number, reply: Reply<number>): void => {
    this.#requests.answer('create', reply, async (context) => {
      const made = await this.#requests.inParent(path, context, async (parent, name) => {
        const flags = O_CREAT | O_EXCL | O_RDWR;
        const created = await this.#operations.create(parent, name, mode & 0o7777, flags, context);
        return typeof created === 'number' ? created : { parent, ...created };
      });
      if (made === EEXIST) return ESTALE;
      if (typeof made === 'number') return made;
      const { names } = this.#requests;
      const node = names.remember(made.parent, splitPath(path).name, made.entry);
      const fd = this.#requests.addFile({ fileHandle: made.opened.fileHandle, node, flags: O_RDWR });
      names.unpin(node);
      return { value: fd };
    });
  };

  write = (_path: string, fd: number, buffer: Buffer, bytes: number, at: number, reply: Reply): void => {
    const replyCount: Reply<number> = (error, count = 0) => {
      reply(error === 0 ? count : error);
    };
    this.#requests.answer('write', replyCount, async (context) => {
      const file = this.#requests.file(fd);
      if (file === undefined) return EBADF;
      const data = new NativeWriteData(buffer.subarray(0, bytes));
      const answer = await this.#operations.write(file.fileHandle, BigInt(at), data, file.flags, context);
      return typeof answer === 'number' ? answer : { value: answer.writtenBytes };
    });
  };

  flush = (_path: string, fd: number, reply: Reply): void => {
    this.#withFile('flush', fd, reply, (handle, context) => this.#operations.flush(handle, context));
  };

  fsync = (_path: string, dataOnly: number, fd: number, reply: Reply): void => {
    this.#withFile('fsync', fd, reply, (handle, context) =>
      this.#operations.fsync(handle, dataOnly !== 0, context),
    );
  };

  /** Directories have no open file here: see opendir. */
  fsyncdir = (path: string, dataOnly: number, _fd: number, reply: Reply): void => {
    this.#requests.settle('fsyncdir', reply, (context) =>
      this.#requests.at(path, context, async ({ nodeId }) => {
        const opened = await this.#operations.opendir(nodeId, context);
        if (typeof opened === 'number') return opened;
        try {
          return await this.#operations.fsyncdir(opened.fileHandle, dataOnly !== 0, context);
        } finally {
          this.#operations.releasedir(opened.fileHandle);
        }
      }),
    );
  };

  #withFile(
    operation: string,
    fd: number,
    reply: Reply,
    use: (fileHandle: bigint, context: CallContext) => number | Promise<number>,
  ): void {
    this.#requests.settle(operation, reply, async (context) => {
      const file = this.#requests.file(fd);
      return file === undefined ? EBADF : await use(file.fileHandle, context);
    });
  }
}
