/** The file system behind the mount: FUSE operations in terms of NFS calls, grants and caches. */
import { errnoOfRpcError } from '../client/errno.ts';
import type { ServerLink } from '../client/link.ts';
import type { Session } from '../client/session.ts';
import { errnoOfStatus } from '../nfs3/errno.ts';
import { ACCESS3_EXECUTE, ACCESS3_LOOKUP, ACCESS3_READ } from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import { Acls } from './acls.ts';
import type { AttributeTimes } from './attribute-times.ts';
import { S_IFMT, attributesOfFattr3, attributesOfStat, isDirectory } from './attributes.ts';
import { Callers, type Caller, type CallerProcess } from './callers.ts';
import { DirectoryStream, type DirectoryPage } from './directory-stream.ts';
import type { GatewayStatus } from './gateway-status.ts';
import { InodeTable, type Inode } from './inodes.ts';
import { Knowledge } from './knowledge.ts';
import {
  LINK_TARGET_BYTES_MAX,
  LISTED_INODES_MAX,
  NAME_BYTES_MAX,
  NAME_CACHE_ENTRIES_MAX,
} from './limits.ts';
import { NameCache } from './name-cache.ts';
import { OpenFiles } from './open-files.ts';
import { dataPathOf, type DataPath } from './open-inode.ts';
import type {
  Answer,
  Attributes,
  AttributesReply,
  CallContext,
  DirectorySink,
  Entry,
  FileSystemStatistics,
  KernelServices,
  NodeId,
  Opened,
  Operations,
  Outcome,
} from './operations.ts';
import { ROOT_NODE_ID } from './operations.ts';
import type { RouteVerdict } from './route-selection.ts';
import { StatusError } from './status-error.ts';

const EIO = 5;
const EBADF = 9;
const EACCES = 13;
const EROFS = 30;
const ENODATA = 61;
const EOPNOTSUPP = 95;
const ESTALE = 116;
const O_ACCMODE = 0o3;
const R_OK = 4;
const W_OK = 2;
const X_OK = 1;
const STATFS_BLOCK_BYTES = 4096;
const NO_STATISTICS: FileSystemStatistics = {
  blockSizeBytes: STATFS_BLOCK_BYTES,
  blocks: 0n,
  blocksFree: 0n,
  blocksAvailable: 0n,
  files: 0n,
  filesFree: 0n,
  nameBytesMax: NAME_BYTES_MAX,
};
const XATTR_PREFIX = 'user.nearmount.';

export interface GatewayOptions {
  readonly attributeTimes: AttributeTimes;
  /** Bytes of one READ, 4 KiB to 1 MiB. */
  readonly rsizeBytes: number;
  /** The highest data path allowed. */
  readonly dataPath: DataPath;
  /** Whether every open asks the server for the file's attributes (default true); false is nfs(5) nocto. */
  readonly closeToOpen?: boolean;
  /** What programs see when a soft mount gives up; default EIO. */
  readonly timedOutErrno?: number;
}

export interface GatewayDependencies {
  readonly link: ServerLink;
  /** Attributes of the export's root, fetched with the first session. */
  readonly rootAttributes: fattr3;
  /** Why the route in use was taken, and what became of the others. */
  readonly routes: { readonly why: string; readonly verdicts: readonly RouteVerdict[] };
  readonly processOf: (pid: number) => CallerProcess;
  readonly onWarning: (message: string, error: unknown) => void;
}

interface OpenDirectory {
  readonly inode: Inode;
  readonly stream: DirectoryStream;
  /** The directory's version that the stream's page shows. */
  pageVersion: number;
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
  readonly #acls: Acls;
  readonly #directories = new Map<bigint, OpenDirectory>();
  #nextDirectoryHandle = 1n;
  /** As the server said last; nothing before it was asked. */
  #statistics: FileSystemStatistics = NO_STATISTICS;

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
    this.#acls = new Acls(dependencies.link, this.#knowledge);
    this.#files = new OpenFiles(dependencies.link, this.#inodes, this.#knowledge, {
      rsizeBytes: options.rsizeBytes,
      dataPath: options.dataPath,
      closeToOpen: options.closeToOpen ?? true,
      onWarning: dependencies.onWarning,
    });
  }

  init(kernel: KernelServices): void {
    this.#knowledge.kernel = kernel;
  }

  destroy(): void {
    this.#files.close();
    this.#names.clear();
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
    return true;
  }

  status(): GatewayStatus {
    const { session } = this.#link;
    return {
      connected: this.#link.isConnected,
      route: session.route,
      level: session.level,
      levelReason: session.levelReason === '' ? undefined : session.levelReason,
      endpoint: session.endpoint,
      server: session.serverName,
      why: this.#routes.why,
      routes: this.#routes.verdicts,
      openFiles: this.#files.count(),
      inodes: this.#inodes.size,
      opens: { ...this.#files.opens },
      wireBytes: this.#files.wireBytes,
      mappedBytes: this.#files.mappedBytes,
      mapFallbacks: this.#files.mapFallbacks,
      calls: Object.fromEntries(this.#link.callCounts),
      lastWireReason: this.#files.lastWireReason,
      groupsCut: this.#link.groupsCut,
    };
  }

  lookup(parent: NodeId, name: Uint8Array, context: CallContext): Answer<Entry> {
    const directory = this.#inodes.get(parent);
    if (directory === undefined) return ESTALE;
    const remembered = this.#lookupRemembered(directory, name);
    if (remembered !== undefined) return remembered;
    return this.#guard(() => this.#lookup(directory, name, this.#caller(context, directory)));
  }

  /** What a listing has told about a name, as long as directory and file are believed. */
  #lookupRemembered(directory: Inode, name: Uint8Array): Entry | undefined {
    const cached = this.#names.get(directory.nodeId, name);
    if (cached?.directoryVersion !== directory.version || directory.remainingMs === 0) return undefined;
    const known = this.#inodes.find(cached.handle);
    // What is known of an inode is never older than what a listing said.
    if (known !== undefined) return known.remainingMs > 0 ? this.#entry(known, directory) : undefined;
    const inode = this.#inodes.intern(cached.handle, cached.attributes);
    inode.believeUntil(cached.expiresMs);
    return this.#entry(inode, directory);
  }

  async #lookup(directory: Inode, name: Uint8Array, caller: Caller): Promise<Outcome<Entry>> {
    const reply = await this.#link.nfs('LOOKUP', { what: { dir: { data: directory.handle }, name } }, caller);
    this.#knowledge.learn(directory, reply.dir_attributes);
    if (reply.status === NFSSTAT3.NFS3ERR_NOENT) {
      this.#names.delete(directory.nodeId, name);
      const entryValidMs = Math.min(directory.remainingMs, this.#options.attributeTimes.acregminMs);
      return { nodeId: 0n, entryValidMs, attributes: undefined };
    }
    if (reply.status !== NFS3_OK) return this.#knowledge.failed(directory, reply.status);
    let attributes = reply.obj_attributes;
    if (attributes === null) {
      const fetched = await this.#link.nfs('GETATTR', { object: reply.object }, caller);
      if (fetched.status !== NFS3_OK) return errnoOfStatus(fetched.status);
      attributes = fetched.obj_attributes;
    }
    return this.#entry(this.#inodes.intern(reply.object.data, attributesOfFattr3(attributes)), directory);
  }

  /** Answers a name with its inode, which counts one more reference by it. */
  #entry(inode: Inode, directory: Inode): Entry {
    inode.lookups += 1n;
    return this.#entryWithoutReference(inode, directory);
  }

  #entryWithoutReference(inode: Inode, directory: Inode): Entry {
    return { nodeId: inode.nodeId, entryValidMs: directory.remainingMs, attributes: inode.reply() };
  }

  forget(nodeId: NodeId, lookups: bigint): void {
    this.#inodes.forget(nodeId, lookups);
  }

  getattr(nodeId: NodeId, context: CallContext): Answer<AttributesReply> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    const held = inode.open?.held;
    if (held !== undefined) {
      inode.update(attributesOfStat(held.file.status()), this.#options.attributeTimes);
      // Asking again costs no call, so the kernel need not keep them long.
      return inode.reply(this.#options.attributeTimes.acregminMs);
    }
    if (inode.remainingMs > 0) return inode.reply();
    return this.#guard(async () => {
      const caller = this.#caller(context, inode);
      const reply = await this.#link.nfs('GETATTR', { object: { data: inode.handle } }, caller);
      if (reply.status !== NFS3_OK) return this.#knowledge.failed(inode, reply.status);
      inode.update(attributesOfFattr3(reply.obj_attributes), this.#options.attributeTimes);
      return inode.reply();
    });
  }

  access(nodeId: NodeId, mask: number, context: CallContext): Answer<0> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    if ((mask & W_OK) !== 0) return EROFS;
    let wanted = 0;
    if ((mask & R_OK) !== 0) wanted |= ACCESS3_READ;
    if ((mask & X_OK) !== 0) wanted |= isDirectory(inode.attributes) ? ACCESS3_LOOKUP : ACCESS3_EXECUTE;
    if (wanted === 0) return 0;
    return this.#guard(async () => {
      const granted = await this.#knowledge.rights(inode, this.#caller(context, inode), false);
      if (typeof granted === 'object') return granted.errno;
      return (granted & wanted) === wanted ? 0 : EACCES;
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
    if ((flags & O_ACCMODE) !== 0) return EROFS;
    return this.#guard(() => this.#files.open(inode, flags, this.#caller(context, inode)));
  }

  read(
    fileHandle: bigint,
    offset: bigint,
    sizeBytes: number,
    _context: CallContext,
  ): Answer<readonly Uint8Array[]> {
    return (
      this.#files.readHeld(fileHandle, offset, sizeBytes) ??
      this.#guard(() => this.#files.read(fileHandle, offset, sizeBytes))
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

  release(fileHandle: bigint): void {
    this.#files.release(fileHandle);
  }

  flush(_fileHandle: bigint, _context: CallContext): 0 {
    return 0;
  }

  opendir(nodeId: NodeId, context: CallContext): Answer<Opened> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    const add = (): Opened => {
      const fileHandle = this.#nextDirectoryHandle;
      this.#nextDirectoryHandle += 1n;
      const stream = new DirectoryStream(this.#link, inode.handle);
      this.#directories.set(fileHandle, { inode, stream, pageVersion: inode.version });
      return { fileHandle, keepCache: false };
    };
    const caller = this.#caller(context, inode);
    if (inode.remainingMs > 0 && ((inode.accessOf.get(caller.key) ?? 0) & ACCESS3_READ) !== 0) return add();
    return this.#guard(async () => {
      const rights = await this.#knowledge.rights(inode, caller, true);
      if (typeof rights === 'object') return rights.errno;
      return (rights & ACCESS3_READ) === 0 ? EACCES : add();
    });
  }

  readdir(fileHandle: bigint, cookie: bigint, sink: DirectorySink, context: CallContext): Answer<0> {
    const open = this.#directories.get(fileHandle);
    if (open === undefined) return EBADF;
    return this.#guard(() => this.#readdir(open, cookie, sink, this.#caller(context, open.inode)));
  }

  async #readdir(
    open: OpenDirectory,
    cookie: bigint,
    sink: DirectorySink,
    caller: Caller,
  ): Promise<Outcome<0>> {
    const { inode: directory, stream } = open;
    // One round trip for each call of the kernel: it asks again for what did not come.
    const page = await stream.after(cookie, caller, (fetched) => {
      this.#knowledge.learn(directory, fetched.directoryAttributes);
      open.pageVersion = directory.version;
    });
    if (typeof page === 'number') return this.#knowledge.failed(directory, page);
    for (const entry of page.entries) {
      if (!this.#addEntry(open, entry, page.fetchedMs, sink)) break;
    }
    return 0;
  }

  #addEntry(
    open: OpenDirectory,
    entry: DirectoryPage['entries'][number],
    fetchedMs: number,
    sink: DirectorySink,
  ): boolean {
    const { name, cookie, fileid, name_handle: handle, name_attributes: attributes } = entry;
    const known = attributes === null ? undefined : attributesOfFattr3(attributes);
    const type = known === undefined ? 0 : known.mode & S_IFMT;
    if (handle === null || known === undefined || isDots(name)) return sink.add(name, cookie, fileid, type);
    if (!sink.wantsEntries || this.#inodes.size >= LISTED_INODES_MAX) {
      if (!sink.add(name, cookie, fileid, type)) return false;
      this.#rememberName(open, name, handle.data, known, fetchedMs);
      return true;
    }
    const inode = this.#inodes.intern(handle.data, known, fetchedMs);
    const { toldVersion } = inode;
    if (sink.add(name, cookie, fileid, type, this.#entryWithoutReference(inode, open.inode))) {
      inode.lookups += 1n;
      return true;
    }
    // The kernel was told nothing by an entry that had no room.
    inode.toldVersion = toldVersion;
    this.#inodes.drop(inode);
    return false;
  }

  /** Remembers a name the kernel was told without its inode, for the LOOKUP that follows. */
  #rememberName(
    open: OpenDirectory,
    name: Uint8Array,
    handle: Uint8Array,
    attributes: Attributes,
    fetchedMs: number,
  ): void {
    const { acregminMs, acdirminMs } = this.#options.attributeTimes;
    const validMs = isDirectory(attributes) ? acdirminMs : acregminMs;
    if (validMs === 0) return;
    this.#names.set(open.inode.nodeId, name, {
      handle,
      attributes,
      directoryVersion: open.pageVersion,
      expiresMs: fetchedMs + validMs,
    });
  }

  releasedir(fileHandle: bigint): void {
    this.#directories.delete(fileHandle);
  }

  statfs(nodeId: NodeId, context: CallContext): Answer<FileSystemStatistics> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    // umount(8) asks before it unmounts, and must not wait for a server that is away.
    if (!this.#link.isConnected) return this.#statistics;
    return this.#guard(async () => {
      const caller = this.#caller(context, inode);
      const reply = await this.#link.nfs('FSSTAT', { fsroot: { data: inode.handle } }, caller);
      this.#knowledge.learn(inode, reply.obj_attributes);
      if (reply.status !== NFS3_OK) return this.#knowledge.failed(inode, reply.status);
      const blocks = (bytes: bigint): bigint => bytes / BigInt(STATFS_BLOCK_BYTES);
      this.#statistics = {
        blockSizeBytes: STATFS_BLOCK_BYTES,
        blocks: blocks(reply.tbytes),
        blocksFree: blocks(reply.fbytes),
        blocksAvailable: blocks(reply.abytes),
        files: reply.tfiles,
        filesFree: reply.ffiles,
        nameBytesMax: NAME_BYTES_MAX,
      };
      return this.#statistics;
    });
  }

  /**
   * The POSIX ACLs, and user.nearmount.route, .datapath and .why of one file. The latter are answered when asked for
   * and not listed, so that programs which copy all attributes do not carry them away.
   */
  getxattr(nodeId: NodeId, name: string, context: CallContext): Answer<{ readonly value: Uint8Array }> {
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return ESTALE;
    if (Acls.isName(name)) {
      return (
        this.#acls.known(inode, name) ??
        this.#guard(() => this.#acls.ask(inode, name, this.#caller(context, inode)))
      );
    }
    // EOPNOTSUPP makes ls and others stop asking for file after file: NFSv3 has no attributes for them.
    if (!name.startsWith(XATTR_PREFIX)) return name.startsWith('user.') ? ENODATA : EOPNOTSUPP;
    const text = this.#explain(inode, name.slice(XATTR_PREFIX.length));
    return text === undefined ? ENODATA : { value: Buffer.from(text) };
  }

  #explain(inode: Inode, what: string): string | undefined {
    switch (what) {
      case 'route':
        return this.#link.session.route;
      case 'datapath':
        return inode.open === undefined ? 'not open' : dataPathOf(inode.open);
      case 'why': {
        const link = this.#link.isConnected
          ? this.#routes.why
          : `the server is away, last reached by: ${this.#routes.why}`;
        return inode.open === undefined ? link : `${link}; ${inode.open.why}`;
      }
      default:
        return undefined;
    }
  }

  /** Who asks about an inode. */
  #caller(context: CallContext, inode: Inode): Caller {
    return this.#callers.caller(context, [inode.attributes.gid]);
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

function isDots(name: Uint8Array): boolean {
  const DOT = 0x2e;
  return (name.length === 1 && name[0] === DOT) || (name.length === 2 && name[0] === DOT && name[1] === DOT);
}
