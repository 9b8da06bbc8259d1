import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from '../system/constants.ts';
import { ErrnoError, errnoOf } from '../system/errno.ts';
import { closeFd, fstatfs, openat, statFd, statx, type FileStatus } from '../system/files.ts';
import { nameToHandleAt, openByHandleAt } from '../system/handles.ts';
import { becomeServer } from '../system/identity.ts';
import { clonePrivateMount } from '../system/mounts.ts';
import { openUserNamespace, type KnownIds } from '../system/user-namespace.ts';
import type { ExportOptions } from './export-options.ts';
import { EXPORT_ID_BYTES, fitsFileHandle } from './file-handle.ts';

/**
 * How an export is kept apart: `private-mount` is a clone of its mount, in which no other mount is seen; there is a read-only
 * one, whose descriptors cannot be reopened for writing. `one-file-system` is the directory itself, where other mounts
 * are refused on the way (EXDEV).
 */
export type Isolation = 'private-mount' | 'one-file-system';

/** `kernel`: handles are the file system's; `table`: they are of the handle table (and may be in the first case). */
export type HandleKind = 'kernel' | 'table';

/**
 * What a position in a directory (d_off) is good for: `for-ever`, or `of-open-directory`, where it counts the entries that
 * this open directory has seen.
 */
export type DirectoryPositions = 'for-ever' | 'of-open-directory';

/** OVERLAYFS_SUPER_MAGIC of include/uapi/linux/magic.h. */
const OVERLAYFS = 0x794c7630n;

/** One exported directory, open. */
export class ExportTree {
  /** May be replaced while the directory and whether it is read-only stay the same: they count from the next call. */
  options: ExportOptions;
  /** First bytes of SHA-256(name, NUL, real path). */
  readonly id: Buffer;
  /** The real path. */
  readonly directory: string;
  readonly isolation: Isolation;
  readonly handles: HandleKind;
  readonly positions: DirectoryPositions;
  /** Open for reading, so that it serves openByHandleAt. Closed by close(). */
  readonly rootFd: number;
  /** The same root in a mount where nothing can be written: what guests are granted is opened there. */
  readonly readOnlyFd: number;
  /** The same in mounts for writing, by the ids that they know; undefined where there can be none. */
  readonly #writableFds = new Map<string, number | undefined>();
  /** Of the root, when it was opened: only its device and inode number stay true. */
  readonly rootStatus: FileStatus;
  readonly #rootPath: Buffer;

  /** Throws ErrnoError: ENOENT, ENOTDIR, EACCES. `handles` forces a kind. */
  constructor(options: ExportOptions, handles?: HandleKind) {
    becomeServer();
    this.options = options;
    this.directory = fs.realpathSync(options.directory);
    this.id = createHash('sha256')
      .update(`${options.name}\0${this.directory}`)
      .digest()
      .subarray(0, EXPORT_ID_BYTES);
    const clone = tryCloneMount(this.directory, options.readOnly);
    this.isolation = clone === undefined ? 'one-file-system' : 'private-mount';
    this.rootFd = clone ?? openat(AT_FDCWD, this.directory, O_RDONLY | O_DIRECTORY);
    try {
      const isAsItIs = clone === undefined || options.readOnly;
      this.readOnlyFd = isAsItIs ? this.rootFd : clonePrivateMount(this.directory);
    } catch (error) {
      closeFd(this.rootFd);
      throw error;
    }
    this.rootStatus = statFd(this.rootFd);
    this.#rootPath = pathOf(this.rootFd);
    this.positions = fstatfs(this.rootFd).type === OVERLAYFS ? 'of-open-directory' : 'for-ever';
    this.handles = handles ?? (hasKernelHandles(this.rootFd) ? 'kernel' : 'table');
  }

  get name(): string {
    return this.options.name;
  }

  isRoot(status: FileStatus): boolean {
    const root = this.rootStatus;
    return status.ino === root.ino && status.devMinor === root.devMinor && status.devMajor === root.devMajor;
  }

  /**
   * The same root in a mount where a file of this owner can be written, by whoever is handed a descriptor: not more than the
   * export's squash= leaves them, which the kernel sees to (ids of others own nothing there, and nothing can be given to
   * them). Undefined where there is none: the export is read-only, the owner is somebody whom no guest may be, or the kernel
   * or file system has no private mounts, or none with ids.
   */
  writableFd({ uid, gid }: Pick<FileStatus, 'uid' | 'gid'>): number | undefined {
    if (this.isolation !== 'private-mount' || this.options.readOnly) return undefined;
    const known = idsToWriteAs(this.options);
    if (known === 'all') return this.rootFd;
    const { uids, gids } = known;
    if (!includesId(uids, uid) || !includesId(gids, gid)) return undefined;
    const key = `${uids.first}+${uids.count}/${gids.first}+${gids.count}`;
    if (!this.#writableFds.has(key)) this.#writableFds.set(key, tryCloneWithIds(this.directory, uids, gids));
    return this.#writableFds.get(key);
  }

  /** Whether `options` mean this very tree, so that it can go on with them. */
  serves(options: ExportOptions): boolean {
    if (options.name !== this.name || options.readOnly !== this.options.readOnly) return false;
    becomeServer();
    // A directory that was moved away and made anew has the path of the old one.
    return (
      fs.realpathSync(options.directory) === this.directory && this.isRoot(statx(AT_FDCWD, this.directory, 0))
    );
  }

  /** Where an open file lies now, relative to the root (empty for it); undefined outside of it, or when deleted. */
  relativePath(fd: number): Buffer | undefined {
    const full = pathOf(fd);
    // In a private mount, what was moved outside has the path of the root.
    if (full.equals(this.#rootPath)) return this.isRoot(statFd(fd)) ? Buffer.alloc(0) : undefined;
    const prefix = this.#rootPath.equals(SLASH) ? SLASH : Buffer.concat([this.#rootPath, SLASH]);
    return full.subarray(0, prefix.length).equals(prefix) ? full.subarray(prefix.length) : undefined;
  }

  close(): void {
    for (const fd of this.#writableFds.values()) if (fd !== undefined) closeFd(fd);
    if (this.readOnlyFd !== this.rootFd) closeFd(this.readOnlyFd);
    closeFd(this.rootFd);
  }
}

const SLASH = Buffer.from('/');

/** In a private mount, the kernel prints paths from the mount's root on. */
function pathOf(fd: number): Buffer {
  return fs.readlinkSync(`/proc/self/fd/${fd}`, 'buffer');
}

function tryCloneMount(directory: string, readOnly: boolean): number | undefined {
  try {
    return clonePrivateMount(directory, { readOnly });
  } catch (error) {
    // Not allowed, or an older kernel; EINVAL in a user namespace, where mounts of others cannot be changed.
    if (error instanceof ErrnoError && ['EPERM', 'ENOSYS', 'EINVAL'].includes(error.code)) return undefined;
    throw error;
  }
}

/** Whose files guests may write at all. */
function idsToWriteAs({
  squash,
  anonymousUid,
  anonymousGid,
}: ExportOptions): 'all' | { readonly uids: KnownIds; readonly gids: KnownIds } {
  switch (squash) {
    case 'none':
      return 'all';
    case 'root':
      return { uids: ALL_BUT_ROOT, gids: ALL_BUT_ROOT };
    case 'all':
      return { uids: { first: anonymousUid, count: 1 }, gids: { first: anonymousGid, count: 1 } };
  }
}

/** 0xffffffff is no id. */
const ALL_BUT_ROOT: KnownIds = { first: 1, count: 0xffff_fffe };

function includesId({ first, count }: KnownIds, id: number): boolean {
  return id >= first && id < first + count;
}

function tryCloneWithIds(directory: string, uids: KnownIds, gids: KnownIds): number | undefined {
  becomeServer();
  let userNamespaceFd: number | undefined;
  try {
    userNamespaceFd = openUserNamespace(uids, gids);
    return clonePrivateMount(directory, { readOnly: false, userNamespaceFd });
  } catch (error) {
    // No user namespaces here, or a file system whose mounts have no ids: then nothing is handed out for writing.
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  } finally {
    if (userNamespaceFd !== undefined) closeFd(userNamespaceFd);
  }
}

function hasKernelHandles(rootFd: number): boolean {
  try {
    const handle = nameToHandleAt(rootFd);
    if (!fitsFileHandle(handle)) return false;
    closeFd(openByHandleAt(rootFd, handle, O_PATH | O_NOFOLLOW));
    return true;
  } catch (error) {
    // No handles (EOPNOTSUPP), no right to open them (EPERM), or none that find their file again (ESTALE).
    if (errnoOf(error) !== undefined) return false;
    throw error;
  }
}
