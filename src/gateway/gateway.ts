/** The file system behind the mount: FUSE operations in terms of NFS calls, grants and caches. */
import { setTimeout as delay } from 'node:timers/promises';
import { errnoOfRpcError } from '../client/errno.ts';
import type { Session } from '../client/session.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { checkAccess } from './access-checks.ts';
import type { Caller } from './callers.ts';
import { entryOf } from './entries.ts';
import { statusOf, type GatewayStatus } from './gateway-status.ts';
import {
  makeParts,
  type GatewayDependencies,
  type GatewayOptions,
  type GatewayParts,
} from './gateway-parts.ts';
import type { Inode } from './inodes.ts';
import { LINK_TARGET_BYTES_MAX, NAME_BYTES_MAX, UNMOUNT_DRAIN_MS } from './limits.ts';
import type {
  Answer,
  AttributeChanges,
  AttributesReply,
  CallContext,
  Created,
  DirectorySink,
  Entry,
  FileLock,
  FilePosition,
  FileSystemStatistics,
  KernelServices,
  NewMode,
  NodeId,
  Opened,
  Operations,
  Outcome,
  SpaceRange,
  WriteData,
} from './operations.ts';
import { ROOT_NODE_ID } from './operations.ts';
import { StatusError } from './status-error.ts';

const EIO = 5;
const EBADF = 9;
const ENAMETOOLONG = 36;
const ESTALE = 116;

export class Gateway implements Operations {
  readonly #options: GatewayOptions;
  readonly #dependencies: GatewayDependencies;
  readonly #parts: GatewayParts;

  constructor(options: GatewayOptions, dependencies: GatewayDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#parts = makeParts(options, dependencies);
  }

  init(kernel: KernelServices): void {
    this.#parts.knowledge.kernel = kernel;
    this.#parts.silly.removeLeftovers();
    this.#parts.push.start();
  }

  destroy(): void {
    this.#parts.push.stop();
    this.#parts.files.close();
    this.#parts.names.clear();
    this.#parts.recent.clear();
    this.#parts.directories.clear();
  }

  /** What the end of the mount leaves to do at the server; settles once it is done, or the link has ended. */
  async finish(): Promise<void> {
    await Promise.all([this.#parts.silly.finish(), this.#parts.locks.finish()]);
  }

  get sharesLocks(): boolean {
    return this.#parts.locks.isShared;
  }

  /**
   * Has what was written put on stable storage after the end of the mount: close(2) has done so for all files but those
   * that were still open. Resolves after UNMOUNT_DRAIN_MS at the latest, and before the link may be closed.
   *
   * @returns how many bytes are left, which are lost
   */
  async drain(): Promise<number> {
    if (this.#parts.files.isDrained) return 0;
    const end = new AbortController();
    const late = delay(UNMOUNT_DRAIN_MS, undefined, { signal: end.signal }).catch(() => undefined);
    await Promise.race([this.#parts.files.drain(), late]);
    end.abort();
    return this.#parts.files.writes.dirtyBytes;
  }

  /**
   * A session was opened again. A server with another key answers with other handles: the root gets its new one, and
   * what was known below it is found again by name.
   *
   * @returns whether it is another server than before
   */
  serverRestored(session: Session): boolean {
    // Before anything else is asked.
    this.#parts.locks.restored(session);
    this.#parts.push.start();
    const root = this.#parts.inodes.get(ROOT_NODE_ID);
    if (root === undefined || Buffer.from(root.handle).equals(session.rootHandle)) return false;
    this.#parts.inodes.replaceRoot(session.rootHandle);
    this.#parts.names.clear();
    this.#parts.recent.clear();
    this.#parts.directories.clear();
    return true;
  }

  status(): GatewayStatus {
    return statusOf(
      this.#dependencies.link,
      this.#dependencies.routes,
      this.#parts.files,
      this.#parts.inodes.size,
      this.#parts.locks.describe(this.#parts.knowledge.kernel),
      this.#parts.push.status,
    );
  }

  lookup(parent: NodeId, name: Uint8Array, context: CallContext): Answer<Entry> {
    const directory = this.#parts.inodes.get(parent);
    if (directory === undefined) return ESTALE;
    if (name.length > NAME_BYTES_MAX) return ENAMETOOLONG;
    const remembered = this.#parts.lookups.remembered(directory, name, context.pid);
    if (remembered !== undefined) return remembered;
    const caller = this.#caller(context, directory);
    return this.#guard(() => this.#parts.lookups.ask(directory, name, caller, context.pid));
  }

  forget(nodeId: NodeId, lookups: bigint): void {
    this.#parts.inodes.forget(nodeId, lookups);
  }

  getattr(nodeId: NodeId, context: CallContext): Answer<AttributesReply> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    const writer = inode.open?.writer;
    const isKeeping = inode.open?.made?.isKeeping === true;
    // Asking again costs no call, so the kernel need not keep them long.
    if (!isKeeping && this.#parts.knowledge.look(inode, true))
      return inode.reply(this.#options.attributeTimes.acregminMs);
    if (inode.remainingMs > 0 && writer?.hiddenEnd === undefined) return inode.reply();
    return this.#guard(() => this.#parts.files.attributes(inode, this.#caller(context, inode)));
  }

  access(nodeId: NodeId, mask: number, context: CallContext): Answer<0> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    if (mask === 0) return 0;
    return this.#guard(async () => {
      await this.#parts.files.settled(inode, context);
      return checkAccess(inode, mask, this.#parts.knowledge, this.#caller(context, inode));
    });
  }

  readlink(nodeId: NodeId, context: CallContext): Answer<{ readonly target: Uint8Array }> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#guard(async () => {
      const caller = this.#caller(context, inode);
      const reply = await this.#dependencies.link.nfs(
        'READLINK',
        { symlink: { data: inode.handle } },
        caller,
      );
      this.#parts.knowledge.learn(inode, reply.symlink_attributes);
      if (reply.status !== NFS3_OK) return this.#parts.knowledge.failed(inode, reply.status);
      const target = reply.data;
      if (target.length === 0 || target.length > LINK_TARGET_BYTES_MAX || target.includes(0)) return EIO;
      return { target };
    });
  }

  open(nodeId: NodeId, flags: number, context: CallContext): Answer<Opened> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#guard(async () =>
      this.#parts.silly.opened(
        inode,
        context,
        await this.#parts.files.open(inode, flags, this.#caller(context, inode)),
      ),
    );
  }

  read(
    fileHandle: bigint,
    offset: bigint,
    sizeBytes: number,
    context: CallContext,
  ): Answer<readonly Uint8Array[]> {
    return (
      this.#parts.files.readHeld(fileHandle, offset, sizeBytes) ??
      this.#guard(() => this.#parts.files.read(fileHandle, offset, sizeBytes, context))
    );
  }

  lseek(
    fileHandle: bigint,
    offset: bigint,
    whence: number,
    context: CallContext,
  ): Answer<{ readonly offset: bigint }> {
    const answer = this.#parts.files.seek(fileHandle, offset, whence, context);
    return answer instanceof Promise ? this.#guard(() => answer) : answer;
  }

  write(
    fileHandle: bigint,
    offset: bigint,
    data: WriteData,
    flags: number,
    context: CallContext,
  ): Answer<{ readonly writtenBytes: number }> {
    const answer = this.#parts.files.write(fileHandle, offset, data, flags, context);
    return answer instanceof Promise ? this.#guard(() => answer) : answer;
  }

  flush(fileHandle: bigint, context: CallContext, lockOwner?: bigint): Answer<0> {
    const { files, fileLocks } = this.#parts;
    const inode = files.inodeOf(fileHandle);
    if (inode === undefined) return EBADF;
    if (fileLocks.hasNothingToFlush(inode, fileHandle, lockOwner)) return 0;
    return this.#guard(() => fileLocks.flush(inode, fileHandle, lockOwner, context));
  }

  getlk(fileHandle: bigint, owner: bigint, lock: FileLock, context: CallContext): Answer<FileLock> {
    const inode = this.#parts.files.inodeOf(fileHandle);
    if (inode === undefined) return EBADF;
    return this.#guard(async () =>
      this.#parts.fileLocks.test(inode, owner, lock, this.#caller(context, inode)),
    );
  }

  setlk(
    fileHandle: bigint,
    kind: 'posix' | 'flock',
    owner: bigint,
    lock: FileLock,
    waits: boolean,
    context: CallContext,
  ): Answer<0> {
    const { files, fileLocks } = this.#parts;
    const inode = files.inodeOf(fileHandle);
    if (inode === undefined) return EBADF;
    const asker = { kind, id: owner };
    const caller = this.#caller(context, inode);
    return this.#guard(() => fileLocks.set(inode, fileHandle, asker, lock, waits, caller));
  }

  fsync(fileHandle: bigint, dataOnly: boolean, context: CallContext): Answer<0> {
    return this.#guard(() => this.#parts.files.sync(fileHandle, dataOnly, context));
  }

  fallocate(fileHandle: bigint, range: SpaceRange, context: CallContext): Answer<0> {
    return this.#guard(() => this.#parts.files.allocate(fileHandle, range, context));
  }

  copyFileRange(
    from: FilePosition,
    to: FilePosition,
    lengthBytes: bigint,
    context: CallContext,
  ): Answer<{ readonly copiedBytes: number }> {
    return this.#guard(() => this.#parts.files.copy(from, to, lengthBytes, context));
  }

  release(fileHandle: bigint): void {
    const inode = this.#parts.files.inodeOf(fileHandle);
    if (inode !== undefined) this.#parts.locks.released(inode, fileHandle);
    this.#parts.files.release(fileHandle);
  }

  setattr(nodeId: NodeId, changes: AttributeChanges, context: CallContext): Answer<AttributesReply> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return (
      this.#parts.files.keepAttributes(inode, changes, context) ??
      this.#guard(() => this.#parts.files.setattr(inode, changes, this.#caller(context, inode)))
    );
  }

  create(
    parent: NodeId,
    name: Uint8Array,
    mode: NewMode,
    flags: number,
    context: CallContext,
  ): Answer<Created> {
    return this.#in(parent, context, async (directory, caller) => {
      const inode = await this.#parts.creations.create(directory, name, mode, flags, caller);
      if (typeof inode === 'number') return inode;
      const opened = await this.#parts.files.openCreated(inode, flags, caller, context);
      if (typeof opened !== 'number') return { entry: entryOf(inode, directory), opened };
      this.#parts.inodes.drop(inode);
      return opened;
    });
  }

  mknod(
    parent: NodeId,
    name: Uint8Array,
    mode: NewMode,
    device: { readonly major: number; readonly minor: number },
    context: CallContext,
  ): Answer<Entry> {
    return this.#make(parent, context, (directory, caller) =>
      this.#parts.creations.mknod(directory, name, mode, device, caller),
    );
  }

  mkdir(parent: NodeId, name: Uint8Array, mode: NewMode, context: CallContext): Answer<Entry> {
    return this.#make(parent, context, (directory, caller) =>
      this.#parts.creations.mkdir(directory, name, mode, caller),
    );
  }

  symlink(parent: NodeId, name: Uint8Array, target: Uint8Array, context: CallContext): Answer<Entry> {
    return this.#make(parent, context, (directory, caller) =>
      this.#parts.creations.symlink(directory, name, target, caller),
    );
  }

  link(nodeId: NodeId, newParent: NodeId, newName: Uint8Array, context: CallContext): Answer<Entry> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#make(newParent, context, async (directory, caller) => {
      await this.#parts.files.allSettled(caller);
      return this.#parts.changes.link(inode, directory, newName, caller);
    });
  }

  unlink(parent: NodeId, name: Uint8Array, context: CallContext): Answer<0> {
    return this.#in(parent, context, (directory, caller) =>
      this.#parts.changes.unlink(directory, name, caller),
    );
  }

  rmdir(parent: NodeId, name: Uint8Array, context: CallContext): Answer<0> {
    return this.#in(parent, context, (directory, caller) =>
      this.#parts.changes.rmdir(directory, name, caller),
    );
  }

  rename(
    parent: NodeId,
    name: Uint8Array,
    newParent: NodeId,
    newName: Uint8Array,
    flags: number,
    context: CallContext,
  ): Answer<0> {
    const target = this.#parts.inodes.get(newParent);
    if (target === undefined) return ESTALE;
    return this.#in(parent, context, async (directory, caller) => {
      await this.#parts.files.allSettled(caller);
      return this.#parts.changes.rename(directory, name, target, newName, flags, caller);
    });
  }

  opendir(nodeId: NodeId, context: CallContext): Answer<Opened> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    const caller = this.#caller(context, inode);
    return (
      this.#parts.listings.openAtOnce(inode, caller) ??
      this.#guard(() => this.#parts.listings.open(inode, caller))
    );
  }

  readdir(fileHandle: bigint, cookie: bigint, sink: DirectorySink, context: CallContext): Answer<0> {
    const open = this.#parts.listings.find(fileHandle);
    if (open === undefined) return EBADF;
    return this.#guard(() =>
      this.#parts.listings.read(open, cookie, sink, this.#caller(context, open.inode)),
    );
  }

  releasedir(fileHandle: bigint): void {
    this.#parts.listings.release(fileHandle);
  }

  fsyncdir(fileHandle: bigint, _dataOnly: boolean, context: CallContext): Answer<0> {
    const open = this.#parts.listings.find(fileHandle);
    if (open === undefined) return EBADF;
    return this.#guard(() =>
      this.#parts.changes.syncDirectory(open.inode, this.#caller(context, open.inode)),
    );
  }

  statfs(nodeId: NodeId, context: CallContext): Answer<FileSystemStatistics> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    // umount(8) asks before it unmounts, and must not wait for a server that is away.
    if (!this.#dependencies.link.isConnected) return this.#parts.statistics.last;
    return this.#guard(() => this.#parts.statistics.ask(inode, this.#caller(context, inode)));
  }

  getxattr(nodeId: NodeId, name: string, context: CallContext): Answer<{ readonly value: Uint8Array }> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return (
      this.#parts.extendedAttributes.known(inode, name) ??
      this.#about(nodeId, context, (asked, caller) => this.#parts.extendedAttributes.ask(asked, name, caller))
    );
  }

  setxattr(nodeId: NodeId, name: string, value: Uint8Array, flags: number, context: CallContext): Answer<0> {
    const { extendedAttributes, files } = this.#parts;
    return this.#about(nodeId, context, async (inode, caller) => {
      const mode = await extendedAttributes.modeInstead(inode, name, value, caller);
      if (mode === undefined) return extendedAttributes.set(inode, name, value, flags, caller);
      const reply = await files.setattr(inode, { mode }, caller);
      return typeof reply === 'number' ? reply : 0;
    });
  }

  listxattr(nodeId: NodeId, context: CallContext): Answer<{ readonly names: readonly string[] }> {
    return this.#about(nodeId, context, (inode, caller) =>
      this.#parts.extendedAttributes.list(inode, caller),
    );
  }

  removexattr(nodeId: NodeId, name: string, context: CallContext): Answer<0> {
    return this.#about(nodeId, context, (inode, caller) =>
      this.#parts.extendedAttributes.remove(inode, name, caller),
    );
  }

  /** Does something with an inode whose attributes the server knows. */
  #about<T>(
    nodeId: NodeId,
    context: CallContext,
    act: (inode: Inode, caller: Caller) => Promise<Outcome<T>>,
  ): Answer<T> {
    const inode = this.#parts.inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#guard(async () => {
      await this.#parts.files.settled(inode, context);
      return act(inode, this.#caller(context, inode));
    });
  }

  /** Who asks about an inode. */
  #caller(context: CallContext, inode: Inode): Caller {
    return this.#parts.callers.caller(context, [inode.attributes.gid]);
  }

  /** Does something in a directory. */
  #in<T>(
    nodeId: NodeId,
    context: CallContext,
    act: (directory: Inode, caller: Caller) => Promise<Outcome<T>>,
  ): Answer<T> {
    const directory = this.#parts.inodes.get(nodeId);
    if (directory === undefined) return ESTALE;
    return this.#guard(() => act(directory, this.#caller(context, directory)));
  }

  /** Makes a name in a directory, and answers it as LOOKUP would. */
  #make(
    nodeId: NodeId,
    context: CallContext,
    make: (directory: Inode, caller: Caller) => Promise<Outcome<Inode>>,
  ): Answer<Entry> {
    return this.#in(nodeId, context, async (directory, caller) => {
      const inode = await make(directory, caller);
      return typeof inode === 'number' ? inode : entryOf(inode, directory);
    });
  }

  /** Turns what can go wrong with a call into an errno; anything else is a fault of ours and passes on. */
  async #guard<T>(operation: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    try {
      return await operation();
    } catch (error) {
      if (error instanceof StatusError) return error.errno;
      const errno = errnoOfRpcError(error, this.#options.timedOutErrno);
      if (errno === undefined) throw error;
      this.#dependencies.onWarning('a call had no result', error);
      return errno;
    }
  }
}
