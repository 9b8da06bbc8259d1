/** The file system behind the mount: FUSE operations in terms of NFS calls, grants and caches. */
import { setTimeout as delay } from 'node:timers/promises';
import { errnoOfRpcError } from '../client/errno.ts';
import type { ServerLink } from '../client/link.ts';
import type { Session } from '../client/session.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import { checkAccess } from './access-checks.ts';
import type { AttributeTimes } from './attribute-times.ts';
import { attributesOfFattr3, attributesOfStat } from './attributes.ts';
import { Callers, type Caller, type CallerProcess } from './callers.ts';
import { ChangeCalls, type ChangeParts } from './change-calls.ts';
import { Creations } from './creations.ts';
import type { DirtyBytes } from './dirty-bytes.ts';
import { entryOf } from './entries.ts';
import { ExtendedAttributes } from './extended-attributes.ts';
import { statusOf, type GatewayStatus } from './gateway-status.ts';
import { InodeTable, type Inode } from './inodes.ts';
import { Knowledge } from './knowledge.ts';
import { KnownDirectories } from './known-directories.ts';
import { Listings } from './listings.ts';
import { LINK_TARGET_BYTES_MAX, NAME_BYTES_MAX, NAME_CACHE_ENTRIES_MAX, UNMOUNT_DRAIN_MS } from './limits.ts';
import { Lookups } from './lookups.ts';
import { NameCache } from './name-cache.ts';
import { NameChanges } from './name-changes.ts';
import { OpenFiles } from './open-files.ts';
import type { DataPath } from './open-inode.ts';
import type {
  Answer,
  AttributeChanges,
  AttributesReply,
  CallContext,
  Created,
  DirectorySink,
  Entry,
  Errno,
  FileSystemStatistics,
  KernelServices,
  NodeId,
  Opened,
  Operations,
  Outcome,
  WriteData,
} from './operations.ts';
import { ROOT_NODE_ID } from './operations.ts';
import { RecentNames } from './recent-names.ts';
import type { RouteVerdict } from './route-selection.ts';
import { SillyNames, type SillyJournal } from './silly-names.ts';
import { Statistics } from './statistics.ts';
import { StatusError } from './status-error.ts';

const EIO = 5;
const EBADF = 9;
const ENAMETOOLONG = 36;
const EOPNOTSUPP = 95;
const ESTALE = 116;

export interface GatewayOptions {
  readonly attributeTimes: AttributeTimes;
  /** Bytes of one READ, 4 KiB to 1 MiB. */
  readonly rsizeBytes: number;
  /** Bytes of one WRITE, 4 KiB to 1 MiB. */
  readonly wsizeBytes: number;
  /** The highest data path allowed. */
  readonly dataPath: DataPath;
  /** Whether every open asks the server for the file's attributes (default true); false is nfs(5) nocto. */
  readonly closeToOpen?: boolean;
  /** What programs see when a soft mount gives up; default EIO. */
  readonly timedOutErrno?: number;
  /** Another bound on written bytes than that of limits.ts. */
  readonly dirty?: DirtyBytes;
}

export interface GatewayDependencies {
  readonly link: ServerLink;
  /** Attributes of the export's root, fetched with the first session. */
  readonly rootAttributes: fattr3;
  /** Why the route in use was taken, and what became of the others. */
  readonly routes: { readonly why: string; readonly verdicts: readonly RouteVerdict[] };
  readonly processOf: (pid: number) => CallerProcess;
  /** Where silly names outlive this process; without it they stay on the server when it is killed. */
  readonly sillyJournal?: SillyJournal | undefined;
  readonly onWarning: (message: string, error: unknown) => void;
}

export class Gateway implements Operations {
  readonly #link: ServerLink;
  readonly #options: GatewayOptions;
  readonly #routes: GatewayDependencies['routes'];
  readonly #onWarning: GatewayDependencies['onWarning'];
  readonly #callers: Callers;
  readonly #inodes: InodeTable;
  readonly #names = new NameCache(NAME_CACHE_ENTRIES_MAX);
  readonly #knowledge: Knowledge;
  readonly #files: OpenFiles;
  readonly #extendedAttributes: ExtendedAttributes;
  readonly #listings: Listings;
  readonly #lookups: Lookups;
  readonly #creations: Creations;
  readonly #changes: NameChanges;
  readonly #silly: SillyNames;
  readonly #recent: RecentNames;
  readonly #directories: KnownDirectories;
  readonly #statistics: Statistics;

  constructor(options: GatewayOptions, dependencies: GatewayDependencies) {
    this.#options = options;
    this.#link = dependencies.link;
    this.#routes = dependencies.routes;
    this.#onWarning = dependencies.onWarning;
    this.#callers = new Callers(dependencies.processOf);
    this.#inodes = new InodeTable(
      dependencies.link.session.rootHandle,
      attributesOfFattr3(dependencies.rootAttributes),
      options.attributeTimes,
    );
    this.#knowledge = new Knowledge(dependencies.link, this.#names, options.attributeTimes);
    this.#recent = new RecentNames(this.#inodes);
    this.#directories = new KnownDirectories(options.attributeTimes);
    this.#silly = new SillyNames(
      dependencies.link,
      this.#inodes,
      this.#knowledge,
      dependencies.sillyJournal,
      dependencies.onWarning,
    );
    const parts: ChangeParts = {
      link: dependencies.link,
      inodes: this.#inodes,
      knowledge: this.#knowledge,
      names: this.#names,
      recent: this.#recent,
      directories: this.#directories,
      silly: this.#silly,
    };
    const calls = new ChangeCalls(parts);
    this.#extendedAttributes = new ExtendedAttributes(
      dependencies.link,
      this.#knowledge,
      dependencies.routes.why,
    );
    this.#files = new OpenFiles(dependencies.link, this.#inodes, this.#knowledge, {
      rsizeBytes: options.rsizeBytes,
      wsizeBytes: options.wsizeBytes,
      dataPath: options.dataPath,
      closeToOpen: options.closeToOpen ?? true,
      attributeTimes: options.attributeTimes,
      timedOutErrno: options.timedOutErrno,
      dirty: options.dirty,
      onWarning: dependencies.onWarning,
    });
    this.#listings = new Listings(parts, options.attributeTimes);
    this.#lookups = new Lookups(parts, options.attributeTimes);
    this.#creations = new Creations(parts, calls);
    this.#changes = new NameChanges(parts, calls);
    this.#statistics = new Statistics(dependencies.link, this.#knowledge);
    this.#files.onClosed((inode) => {
      this.#silly.closed(inode);
    });
  }

  init(kernel: KernelServices): void {
    this.#knowledge.kernel = kernel;
    this.#silly.removeLeftovers();
  }

  destroy(): void {
    this.#files.close();
    this.#names.clear();
    this.#recent.clear();
    this.#directories.clear();
  }

  /** What the end of the mount leaves to do at the server; settles once it is done, or the link has ended. */
  finish(): Promise<void> {
    return this.#silly.finish();
  }

  /**
   * Has what was written put on stable storage after the end of the mount: close(2) has done so for all files but those
   * that were still open. Resolves after UNMOUNT_DRAIN_MS at the latest, and before the link may be closed.
   *
   * @returns how many bytes are left, which are lost
   */
  async drain(): Promise<number> {
    if (this.#files.isDrained) return 0;
    const end = new AbortController();
    const late = delay(UNMOUNT_DRAIN_MS, undefined, { signal: end.signal }).catch(() => undefined);
    await Promise.race([this.#files.drain(), late]);
    end.abort();
    return this.#files.writes.dirtyBytes;
  }

  /**
   * A session was opened again. A server with another key answers with other handles: the root gets its new one, and
   * what was known below it is found again by name.
   *
   * @returns whether it is another server than before
   */
  serverRestored(session: Session): boolean {
    const root = this.#inodes.get(ROOT_NODE_ID);
    if (root === undefined || Buffer.from(root.handle).equals(session.rootHandle)) return false;
    this.#inodes.replaceRoot(session.rootHandle);
    this.#names.clear();
    this.#recent.clear();
    this.#directories.clear();
    return true;
  }

  status(): GatewayStatus {
    return statusOf(this.#link, this.#routes, this.#files, this.#inodes.size);
  }

  lookup(parent: NodeId, name: Uint8Array, context: CallContext): Answer<Entry> {
    const directory = this.#inodes.get(parent);
    if (directory === undefined) return ESTALE;
    if (name.length > NAME_BYTES_MAX) return ENAMETOOLONG;
    const remembered = this.#lookups.remembered(directory, name, context.pid);
    if (remembered !== undefined) return remembered;
    const caller = this.#caller(context, directory);
    return this.#guard(() => this.#lookups.ask(directory, name, caller, context.pid));
  }

  forget(nodeId: NodeId, lookups: bigint): void {
    this.#inodes.forget(nodeId, lookups);
  }

  getattr(nodeId: NodeId, context: CallContext): Answer<AttributesReply> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    const writer = inode.open?.writer;
    const held = inode.open?.held;
    if (held !== undefined && writer === undefined) {
      inode.update(attributesOfStat(held.file.status()), this.#options.attributeTimes);
      // Asking again costs no call, so the kernel need not keep them long.
      return inode.reply(this.#options.attributeTimes.acregminMs);
    }
    if (inode.remainingMs > 0 && writer?.hiddenEnd === undefined) return inode.reply();
    return this.#guard(() => this.#files.attributes(inode, this.#caller(context, inode)));
  }

  access(nodeId: NodeId, mask: number, context: CallContext): Answer<0> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    if (mask === 0) return 0;
    return this.#guard(async () => {
      await this.#files.settled(inode, context);
      return checkAccess(inode, mask, this.#knowledge, this.#caller(context, inode));
    });
  }

  readlink(nodeId: NodeId, context: CallContext): Answer<{ readonly target: Uint8Array }> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#guard(async () => {
      const caller = this.#caller(context, inode);
      const reply = await this.#link.nfs('READLINK', { symlink: { data: inode.handle } }, caller);
      this.#knowledge.learn(inode, reply.symlink_attributes);
      if (reply.status !== NFS3_OK) return this.#knowledge.failed(inode, reply.status);
      const target = reply.data;
      if (target.length === 0 || target.length > LINK_TARGET_BYTES_MAX || target.includes(0)) return EIO;
      return { target };
    });
  }

  open(nodeId: NodeId, flags: number, context: CallContext): Answer<Opened> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#guard(async () =>
      this.#silly.opened(inode, context, await this.#files.open(inode, flags, this.#caller(context, inode))),
    );
  }

  read(
    fileHandle: bigint,
    offset: bigint,
    sizeBytes: number,
    context: CallContext,
  ): Answer<readonly Uint8Array[]> {
    return (
      this.#files.readHeld(fileHandle, offset, sizeBytes) ??
      this.#guard(() => this.#files.read(fileHandle, offset, sizeBytes, context))
    );
  }

  lseek(
    fileHandle: bigint,
    offset: bigint,
    whence: number,
    _context: CallContext,
  ): Outcome<{ readonly offset: bigint }> {
    return this.#files.seek(fileHandle, offset, whence);
  }

  write(
    fileHandle: bigint,
    offset: bigint,
    data: WriteData,
    flags: number,
    context: CallContext,
  ): Answer<{ readonly writtenBytes: number }> {
    const answer = this.#files.write(fileHandle, offset, data, flags, context);
    return answer instanceof Promise ? this.#guard(() => answer) : answer;
  }

  flush(fileHandle: bigint, context: CallContext): Answer<0> {
    return this.#guard(() => this.#files.flush(fileHandle, context));
  }

  fsync(fileHandle: bigint, _dataOnly: boolean, context: CallContext): Answer<0> {
    return this.#guard(() => this.#files.sync(fileHandle, context));
  }

  /** NFSv3 cannot allocate: posix_fallocate(3) then writes zeros instead. */
  fallocate(): Errno {
    return EOPNOTSUPP;
  }

  release(fileHandle: bigint): void {
    this.#files.release(fileHandle);
  }

  setattr(nodeId: NodeId, changes: AttributeChanges, context: CallContext): Answer<AttributesReply> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return (
      this.#files.keepAttributes(inode, changes, context) ??
      this.#guard(() => this.#files.setattr(inode, changes, this.#caller(context, inode)))
    );
  }

  create(
    parent: NodeId,
    name: Uint8Array,
    mode: number,
    flags: number,
    context: CallContext,
  ): Answer<Created> {
    return this.#in(parent, context, async (directory, caller) => {
      const inode = await this.#creations.create(directory, name, mode, flags, caller);
      if (typeof inode === 'number') return inode;
      const opened = await this.#files.openCreated(inode, flags, caller, context);
      if (typeof opened !== 'number') return { entry: entryOf(inode, directory), opened };
      this.#inodes.drop(inode);
      return opened;
    });
  }

  mknod(
    parent: NodeId,
    name: Uint8Array,
    mode: number,
    device: { readonly major: number; readonly minor: number },
    context: CallContext,
  ): Answer<Entry> {
    return this.#make(parent, context, (directory, caller) =>
      this.#creations.mknod(directory, name, mode, device, caller),
    );
  }

  mkdir(parent: NodeId, name: Uint8Array, mode: number, context: CallContext): Answer<Entry> {
    return this.#make(parent, context, (directory, caller) =>
      this.#creations.mkdir(directory, name, mode, caller),
    );
  }

  symlink(parent: NodeId, name: Uint8Array, target: Uint8Array, context: CallContext): Answer<Entry> {
    return this.#make(parent, context, (directory, caller) =>
      this.#creations.symlink(directory, name, target, caller),
    );
  }

  link(nodeId: NodeId, newParent: NodeId, newName: Uint8Array, context: CallContext): Answer<Entry> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return this.#make(newParent, context, async (directory, caller) => {
      await this.#files.allSettled(caller);
      return this.#changes.link(inode, directory, newName, caller);
    });
  }

  unlink(parent: NodeId, name: Uint8Array, context: CallContext): Answer<0> {
    return this.#in(parent, context, (directory, caller) => this.#changes.unlink(directory, name, caller));
  }

  rmdir(parent: NodeId, name: Uint8Array, context: CallContext): Answer<0> {
    return this.#in(parent, context, (directory, caller) => this.#changes.rmdir(directory, name, caller));
  }

  rename(
    parent: NodeId,
    name: Uint8Array,
    newParent: NodeId,
    newName: Uint8Array,
    flags: number,
    context: CallContext,
  ): Answer<0> {
    const target = this.#inodes.get(newParent);
    if (target === undefined) return ESTALE;
    return this.#in(parent, context, async (directory, caller) => {
      await this.#files.allSettled(caller);
      return this.#changes.rename(directory, name, target, newName, flags, caller);
    });
  }

  opendir(nodeId: NodeId, context: CallContext): Answer<Opened> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    const caller = this.#caller(context, inode);
    return this.#listings.openAtOnce(inode, caller) ?? this.#guard(() => this.#listings.open(inode, caller));
  }

  readdir(fileHandle: bigint, cookie: bigint, sink: DirectorySink, context: CallContext): Answer<0> {
    const open = this.#listings.find(fileHandle);
    if (open === undefined) return EBADF;
    return this.#guard(() => this.#listings.read(open, cookie, sink, this.#caller(context, open.inode)));
  }

  releasedir(fileHandle: bigint): void {
    this.#listings.release(fileHandle);
  }

  fsyncdir(fileHandle: bigint, _dataOnly: boolean, context: CallContext): Answer<0> {
    const open = this.#listings.find(fileHandle);
    if (open === undefined) return EBADF;
    return this.#guard(() => this.#changes.syncDirectory(open.inode, this.#caller(context, open.inode)));
  }

  statfs(nodeId: NodeId, context: CallContext): Answer<FileSystemStatistics> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    // umount(8) asks before it unmounts, and must not wait for a server that is away.
    if (!this.#link.isConnected) return this.#statistics.last;
    return this.#guard(() => this.#statistics.ask(inode, this.#caller(context, inode)));
  }

  getxattr(nodeId: NodeId, name: string, context: CallContext): Answer<{ readonly value: Uint8Array }> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    return (
      this.#extendedAttributes.known(inode, name) ??
      this.#guard(async () => {
        await this.#files.settled(inode, context);
        return this.#extendedAttributes.ask(inode, name, this.#caller(context, inode));
      })
    );
  }

  /** Who asks about an inode. */
  #caller(context: CallContext, inode: Inode): Caller {
    return this.#callers.caller(context, [inode.attributes.gid]);
  }

  /** Does something in a directory. */
  #in<T>(
    nodeId: NodeId,
    context: CallContext,
    act: (directory: Inode, caller: Caller) => Promise<Outcome<T>>,
  ): Answer<T> {
    const directory = this.#inodes.get(nodeId);
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
      this.#onWarning('a call had no result', error);
      return errno;
    }
  }
}
