/** What fuse-native asks for to change names and attributes. */
import type { NativeOperations, Reply } from 'fuse-native';
import type {
  AttributeChanges,
  CallContext,
  Entry,
  NodeId,
  Operations,
  Outcome,
  Timestamp,
} from '../gateway/operations.ts';
import { decodeDevice } from './change-requests.ts';
import { splitPath } from './native-names.ts';
import { isLossy, type NativeRequests } from './native-requests.ts';

const EBADF = 9;
const EILSEQ = 84;
const EOPNOTSUPP = 95;
const PERMISSION_BITS = 0o7777;
/** (uid_t) -1: chown(2) leaves it. */
const UNCHANGED_ID = 0xffff_ffff;
const SECOND_MS = 1000;
const MILLISECOND_NS = 1_000_000;

type Changing =
  | 'truncate'
  | 'ftruncate'
  | 'chmod'
  | 'chown'
  | 'utimens'
  | 'mknod'
  | 'mkdir'
  | 'symlink'
  | 'link'
  | 'unlink'
  | 'rmdir'
  | 'rename';

export class NativeChanges implements Pick<NativeOperations, Changing> {
  readonly #requests: NativeRequests;
  readonly #operations: Operations;

  constructor(requests: NativeRequests) {
    this.#requests = requests;
    this.#operations = requests.operations;
  }

  truncate = (path: string, sizeBytes: number, reply: Reply): void => {
    this.#change('truncate', path, reply, { size: BigInt(sizeBytes) });
  };

  ftruncate = (_path: string, fd: number, sizeBytes: number, reply: Reply): void => {
    this.#requests.settle('ftruncate', reply, async (context) => {
      const file = this.#requests.file(fd);
      if (file === undefined) return EBADF;
      const changes = { size: BigInt(sizeBytes), fileHandle: file.fileHandle };
      return errnoOf(await this.#operations.setattr(file.node.nodeId, changes, context));
    });
  };

  chmod = (path: string, mode: number, reply: Reply): void => {
    this.#change('chmod', path, reply, { mode: mode & PERMISSION_BITS });
  };

  chown = (path: string, uid: number, gid: number, reply: Reply): void => {
    this.#change('chown', path, reply, {
      ...(uid === UNCHANGED_ID ? {} : { uid }),
      ...(gid === UNCHANGED_ID ? {} : { gid }),
    });
  };

  utimens = (path: string, atimeMs: number, mtimeMs: number, reply: Reply): void => {
    if (Number.isNaN(atimeMs) || Number.isNaN(mtimeMs)) reply(-EOPNOTSUPP);
    else this.#change('utimens', path, reply, { atime: timestamp(atimeMs), mtime: timestamp(mtimeMs) });
  };

  mknod = (path: string, mode: number, device: number, reply: Reply): void => {
    this.#make('mknod', path, reply, (parent, name, context) =>
      this.#operations.mknod(parent, name, mode, decodeDevice(device), context),
    );
  };

  mkdir = (path: string, mode: number, reply: Reply): void => {
    this.#make('mkdir', path, reply, (parent, name, context) =>
      this.#operations.mkdir(parent, name, mode & PERMISSION_BITS, context),
    );
  };

  symlink = (target: string, path: string, reply: Reply): void => {
    this.#make('symlink', path, reply, (parent, name, context) =>
      isLossy(target) ? EILSEQ : this.#operations.symlink(parent, name, Buffer.from(target), context),
    );
  };

  link = (path: string, newPath: string, reply: Reply): void => {
    this.#make('link', newPath, reply, (parent, name, context) =>
      this.#requests.at(path, context, ({ nodeId }) => this.#operations.link(nodeId, parent, name, context)),
    );
  };

  unlink = (path: string, reply: Reply): void => {
    this.#requests.settle('unlink', reply, (context) =>
      this.#requests.inParent(path, context, (parent, name) =>
        this.#operations.unlink(parent, name, context),
      ),
    );
  };

  rmdir = (path: string, reply: Reply): void => {
    this.#requests.settle('rmdir', reply, (context) =>
      this.#requests.inParent(path, context, (parent, name) => this.#operations.rmdir(parent, name, context)),
    );
  };

  /** What lies below a renamed directory stays known: names are kept by the inode of their directory. */
  rename = (path: string, newPath: string, reply: Reply): void => {
    this.#requests.settle('rename', reply, (context) =>
      this.#requests.inParent(path, context, (parent, name) =>
        this.#requests.inParent(newPath, context, (newParent, newName) =>
          this.#operations.rename(parent, name, newParent, newName, 0, context),
        ),
      ),
    );
  };

  #change(operation: string, path: string, reply: Reply, changes: AttributeChanges): void {
    this.#requests.settle(operation, reply, (context) =>
      this.#requests.at(path, context, async ({ nodeId }) =>
        errnoOf(await this.#operations.setattr(nodeId, changes, context)),
      ),
    );
  }

  #make(
    operation: string,
    path: string,
    reply: Reply,
    make: (
      parent: NodeId,
      name: Uint8Array,
      context: CallContext,
    ) => Outcome<Entry> | Promise<Outcome<Entry>>,
  ): void {
    this.#requests.settle(operation, reply, async (context) => {
      const made = await this.#requests.inParent(path, context, async (parent, name) => {
        const entry = await make(parent, name, context);
        return typeof entry === 'number' ? entry : { parent, entry };
      });
      if (typeof made === 'number') return made;
      const { names } = this.#requests;
      names.unpin(names.remember(made.parent, splitPath(path).name, made.entry));
      return 0;
    });
  }
}

function errnoOf(outcome: Outcome<object>): number {
  return typeof outcome === 'number' ? outcome : 0;
}

function timestamp(ms: number): Timestamp {
  const seconds = Math.floor(ms / SECOND_MS);
  return { seconds, nanoseconds: (ms - seconds * SECOND_MS) * MILLISECOND_NS };
}
