/**
 * What a FUSE driver asks and a file system answers: the operations by their FUSE names, free of FUSE bytes.
 * A failed operation is the value of an errno (positive); 0 is success where there is nothing to say.
 */

/** A positive errno of Linux, or 0. */
export type Errno = number;
export type Outcome<T> = T | Errno;
export type Answer<T> = Outcome<T> | Promise<Outcome<T>>;

/** Identifies an inode between LOOKUP and FORGET; the root is 1n, and no number is used twice. */
export type NodeId = bigint;
export const ROOT_NODE_ID: NodeId = 1n;

/** The process behind a request. */
export interface CallContext {
  readonly uid: number;
  readonly gid: number;
  /** 0 where the kernel asks on its own account, or the caller lives in a foreign pid namespace. */
  readonly pid: number;
  /** Aborted when the caller no longer waits. */
  readonly signal: AbortSignal;
}

export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface Attributes {
  /** Inode number shown to programs. */
  readonly ino: bigint;
  /** Type and permission bits, as in st_mode. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  /** Bytes. */
  readonly size: bigint;
  /** Bytes of storage used. */
  readonly used: bigint;
  readonly atime: Timestamp;
  readonly mtime: Timestamp;
  readonly ctime: Timestamp;
  /** True where the server has said that there is no ACL beyond the mode. */
  readonly lacksAcl?: boolean;
}

export interface AttributesReply {
  readonly attributes: Attributes;
  /** How long the kernel may keep them, in milliseconds. */
  readonly validMs: number;
}

export interface Entry {
  /** 0n: the name does not exist, and the kernel may remember that for `entryValidMs`. */
  readonly nodeId: NodeId;
  /** How long the kernel may keep name and inode together, in milliseconds. */
  readonly entryValidMs: number;
  readonly attributes: AttributesReply | undefined;
}

/** A time to set: a moment, or the server's present one (UTIME_NOW). */
export type TimeToSet = Timestamp | 'now';

/** What SETATTR changes: only what is there. */
export interface AttributeChanges {
  /** Permission bits (07777). */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes. */
  readonly size?: bigint;
  readonly atime?: TimeToSet;
  readonly mtime?: TimeToSet;
  /** Somebody without CAP_FSETID changes the content, now or next: set-user-id and set-group-id go. */
  readonly dropsSetIds?: true;
  /** The open file through which it is asked, as ftruncate(2) does: what was allowed at its open is allowed now. */
  readonly fileHandle?: bigint;
}

/** How a file was opened. */
export interface Opened {
  /** Comes back in READ, WRITE and RELEASE. */
  readonly fileHandle: bigint;
  /** Set where the kernel reads the server's own pages: the id that KernelServices.openBacking returned. */
  readonly backingId?: number;
  /** Whether what the kernel has cached of the file still holds. */
  readonly keepCache: boolean;
}

/** A file that was made and opened in one step. */
export interface Created {
  readonly entry: Entry;
  readonly opened: Opened;
}

/**
 * The bytes of a WRITE, in the driver's memory: good until the operation returns. Whoever wants them longer copies them,
 * or takes them over where the driver lets them go.
 */
export interface WriteData {
  readonly bytes: Uint8Array;
  /** Makes the bytes the caller's own, for as long as they are reachable: without a copy where that is worth it. */
  take(): Uint8Array;
  /**
   * Gives bytes that were taken back to the driver, which fills them again: nobody may look at them any more, no socket
   * either. Nobody need do it, but memory that comes back costs a third of fresh memory. Where it is missing, or called
   * twice, or nothing was taken, it does nothing.
   */
  release?(): void;
}

/** Receives directory entries until it is full. */
export interface DirectorySink {
  /** False for a plain READDIR: entries are then not looked at and count as no lookups. */
  readonly wantsEntries: boolean;
  /**
   * @param cookie where reading goes on after this entry
   * @param fileType bits of S_IFMT, or 0 where not known
   * @param entry what LOOKUP of the name would answer; counts as a lookup when taken
   * @returns false when there was no room: the entry was not taken
   */
  add(name: Uint8Array, cookie: bigint, ino: bigint, fileType: number, entry?: Entry): boolean;
}

/**
 * Mode of a new file, and what was asked for before the caller's umask was taken off: that counts where the directory has a
 * default ACL (acl(5)). A number: the umask is applied, and nobody knows what it was.
 */
export type NewMode = number | { readonly masked: number; readonly asked: number };

/** A range of a file that is given space, or loses it. */
export interface SpaceRange {
  /** FALLOC_FL_* bits of fallocate(2). */
  readonly mode: number;
  /** Bytes. */
  readonly offset: bigint;
  /** Bytes. */
  readonly length: bigint;
}

/** A place in an open file. */
export interface FilePosition {
  readonly fileHandle: bigint;
  /** Bytes. */
  readonly offset: bigint;
}

export interface FileSystemStatistics {
  readonly blockSizeBytes: number;
  readonly blocks: bigint;
  readonly blocksFree: bigint;
  readonly blocksAvailable: bigint;
  readonly files: bigint;
  readonly filesFree: bigint;
  readonly nameBytesMax: number;
}

/** A lock as fcntl(2) tells of it. */
export interface FileLock {
  /** F_RDLCK 0, F_WRLCK 1, F_UNLCK 2. */
  readonly type: 0 | 1 | 2;
  /** First and last byte; 2^63 - 1 is the end of the file, however far it grows. */
  readonly start: bigint;
  readonly end: bigint;
  readonly pid: number;
}

/** What a driver can do for the file system. A driver without a capability refuses with an errno. */
export interface KernelServices {
  /** Registers an open file as the pages of files opened with the returned id (> 0), or says why not (errno). */
  openBacking(descriptor: number): { readonly backingId: number } | Errno;
  closeBacking(backingId: number): void;
  /** Makes the kernel ask for attributes again. Never waits for pages. */
  invalidateAttributes(nodeId: NodeId): void;
  /** Whether the locks of programs come here; default: the kernel keeps them to itself. */
  readonly passesLocks?: boolean;
  /**
   * Makes the kernel look a name up again, also one that was missing; soon, and where that cannot be, when its time is over.
   * Undefined where the driver has no way to it: then names must not be kept for long.
   */
  readonly expireName?: (directory: NodeId, name: Uint8Array) => void;
}

export interface Operations {
  /** Whether getlk and setlk are to be asked, and flush for each close; default: the kernel keeps locks to itself. */
  readonly sharesLocks?: boolean;
  /** The driver is ready; called once, before any other operation. */
  init(kernel: KernelServices): void;
  lookup(parent: NodeId, name: Uint8Array, context: CallContext): Answer<Entry>;
  forget(nodeId: NodeId, lookups: bigint): void;
  getattr(nodeId: NodeId, context: CallContext): Answer<AttributesReply>;
  /** @param mask of R_OK 4, W_OK 2, X_OK 1; 0 asks for existence */
  access(nodeId: NodeId, mask: number, context: CallContext): Answer<0>;
  readlink(nodeId: NodeId, context: CallContext): Answer<{ readonly target: Uint8Array }>;
  /** @param flags of open(2) */
  open(nodeId: NodeId, flags: number, context: CallContext): Answer<Opened>;
  /**
   * @returns the bytes as they came, in pieces; fewer than asked only at the end of the file. What comes at once is
   * good until the next operation only, what comes by a promise until the turn of the event loop in which it comes is
   * over: a driver passes it on, or copies it, in the continuation of the promise
   */
  read(
    fileHandle: bigint,
    offset: bigint,
    sizeBytes: number,
    context: CallContext,
  ): Answer<readonly Uint8Array[]>;
  /**
   * Where data or a hole begins, at or behind `offset`: lseek(2), ENXIO behind the end.
   *
   * @param whence SEEK_DATA 3 or SEEK_HOLE 4
   */
  lseek(
    fileHandle: bigint,
    offset: bigint,
    whence: number,
    context: CallContext,
  ): Answer<{ readonly offset: bigint }>;
  /**
   * Takes bytes to write; what was taken is at the server at the latest when FLUSH or FSYNC has answered 0.
   *
   * @param flags of open(2), as they are now: O_SYNC and O_DSYNC want the bytes on stable storage before the answer
   * @returns how many bytes were taken, all of them unless something failed
   */
  write(
    fileHandle: bigint,
    offset: bigint,
    data: WriteData,
    flags: number,
    context: CallContext,
  ): Answer<{ readonly writtenBytes: number }>;
  /**
   * A descriptor of the file is closed: what was written goes to the server, and what failed is told.
   *
   * @param lockOwner of the process that closes it, whose fcntl(2) locks on the file end with it
   */
  flush(fileHandle: bigint, context: CallContext, lockOwner?: bigint): Answer<0>;
  /** F_GETLK: the lock of somebody else that is in the way of `lock`, or F_UNLCK. */
  getlk?(fileHandle: bigint, owner: bigint, lock: FileLock, context: CallContext): Answer<FileLock>;
  /**
   * F_SETLK, F_SETLKW and flock(2).
   *
   * @param owner the process of `posix`, the open file of `flock`, as the kernel numbers them
   * @param waits whether to wait for those who have what is in the way; aborted, it answers EINTR by itself
   */
  setlk?(
    fileHandle: bigint,
    kind: 'posix' | 'flock',
    owner: bigint,
    lock: FileLock,
    waits: boolean,
    context: CallContext,
  ): Answer<0>;
  /** @param dataOnly fdatasync(2) */
  fsync(fileHandle: bigint, dataOnly: boolean, context: CallContext): Answer<0>;
  fallocate(fileHandle: bigint, range: SpaceRange, context: CallContext): Answer<0>;
  /**
   * Copies bytes from one open file to another, or within one: copy_file_range(2). EOPNOTSUPP, EXDEV: the caller is to read
   * and write them.
   *
   * @returns how many were copied: fewer than asked for any reason, 0 at the end of the source
   */
  copyFileRange(
    from: FilePosition,
    to: FilePosition,
    lengthBytes: bigint,
    context: CallContext,
  ): Answer<{ readonly copiedBytes: number }>;
  release(fileHandle: bigint): void;
  setattr(nodeId: NodeId, changes: AttributeChanges, context: CallContext): Answer<AttributesReply>;
  /**
   * Makes a regular file and opens it. Where there is one already: EEXIST with O_EXCL in `flags`; without it ESTALE, on
   * which the kernel looks the name up again and opens what it finds.
   *
   * @param mode permission bits (07777)
   * @param flags of open(2)
   */
  create(
    parent: NodeId,
    name: Uint8Array,
    mode: NewMode,
    flags: number,
    context: CallContext,
  ): Answer<Created>;
  /** @param mode type (S_IFMT) and permission bits */
  mknod(
    parent: NodeId,
    name: Uint8Array,
    mode: NewMode,
    device: { readonly major: number; readonly minor: number },
    context: CallContext,
  ): Answer<Entry>;
  mkdir(parent: NodeId, name: Uint8Array, mode: NewMode, context: CallContext): Answer<Entry>;
  symlink(parent: NodeId, name: Uint8Array, target: Uint8Array, context: CallContext): Answer<Entry>;
  link(nodeId: NodeId, newParent: NodeId, newName: Uint8Array, context: CallContext): Answer<Entry>;
  unlink(parent: NodeId, name: Uint8Array, context: CallContext): Answer<0>;
  rmdir(parent: NodeId, name: Uint8Array, context: CallContext): Answer<0>;
  /** @param flags RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4 */
  rename(
    parent: NodeId,
    name: Uint8Array,
    newParent: NodeId,
    newName: Uint8Array,
    flags: number,
    context: CallContext,
  ): Answer<0>;
  opendir(nodeId: NodeId, context: CallContext): Answer<Opened>;
  /** @param cookie 0n, or that of the last entry taken */
  readdir(fileHandle: bigint, cookie: bigint, sink: DirectorySink, context: CallContext): Answer<0>;
  releasedir(fileHandle: bigint): void;
  fsyncdir(fileHandle: bigint, dataOnly: boolean, context: CallContext): Answer<0>;
  statfs(nodeId: NodeId, context: CallContext): Answer<FileSystemStatistics>;
  /** @param name its bytes as latin1, as everywhere here */
  getxattr(nodeId: NodeId, name: string, context: CallContext): Answer<{ readonly value: Uint8Array }>;
  /** @param flags of setxattr(2): XATTR_CREATE 1, XATTR_REPLACE 2 */
  setxattr(nodeId: NodeId, name: string, value: Uint8Array, flags: number, context: CallContext): Answer<0>;
  listxattr(nodeId: NodeId, context: CallContext): Answer<{ readonly names: readonly string[] }>;
  removexattr(nodeId: NodeId, name: string, context: CallContext): Answer<0>;
  /** The file system is being unmounted; called once, after all others. */
  destroy(): void;
}
