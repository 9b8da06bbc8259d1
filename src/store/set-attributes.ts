import { chmodFd, chownFd, ftruncate, utimensFd, type NewTime } from '../system/attributes.ts';
import {
  AT_FDCWD,
  O_NOCTTY,
  O_NONBLOCK,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd, openat, statFd, type FileStatus } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import type { StoreNode } from './store.ts';
import { StoreError } from './store-error.ts';

export type { NewTime };

/** What is to be changed; what is undefined stays as it is. */
export interface NewAttributes {
  /** The low twelve bits. */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Of a regular file, in bytes. */
  readonly size?: bigint | undefined;
  readonly atime?: NewTime;
  readonly mtime?: NewTime;
}

const ID_MAX = 0xffff_fffe;
const FILE_SIZE_MAX = 0x7fff_ffff_ffff_ffffn;

/** ErrnoError for what no file could be given: EINVAL an id of 4294967295, EFBIG a size of 2^63 and more. */
export function checkNewAttributes({ uid = 0, gid = 0, size = 0n }: NewAttributes): void {
  if (uid > ID_MAX || gid > ID_MAX) throw new ErrnoError('EINVAL', 'fchownat', 'not an id');
  if (size > FILE_SIZE_MAX) throw new ErrnoError('EFBIG', 'ftruncate');
}

/**
 * Changes attributes under the caller's identity, with everything that the kernel does on the way (chown(2) clears
 * set-id bits, chmod(2) and write(2) may). As RFC 1813 section 4.4 advises, the owner may always set the size. Synchronous,
 * and to be called in the turn that resolved the node. What can be foreseen to fail is refused before anything changes.
 * `status`: the attributes now, where they are known.
 *
 * ErrnoError: EPERM, EACCES, EINVAL (not an id, the size of a special file), EISDIR (the size of a directory), EFBIG,
 * ENOSPC, EDQUOT, EOPNOTSUPP (the mode of a link), EAGAIN while a lease is being broken; StoreError STALE.
 */
export function setAttributes(
  identity: Identity,
  node: StoreNode,
  wanted: NewAttributes,
  status = statFd(node.fd),
): void {
  checkNewAttributes(wanted);
  if (status.nlink === 0) throw new StoreError('STALE', 'the file was deleted');
  refuseForeseeable(identity, status, wanted);
  try {
    applyInOrder(identity, node, wanted, status);
  } finally {
    // Also where only the first of them were made.
    node.store.ownChanges?.changedHere(node.handle);
  }
}

function applyInOrder(identity: Identity, node: StoreNode, wanted: NewAttributes, status: FileStatus): void {
  const { mode, uid, gid, size } = wanted;
  // First what may fail for other reasons than permissions. It clears set-id bits, as chown does: the mode comes later.
  if (size !== undefined) setSize(identity, node.fd, status, size);
  if (uid !== undefined || gid !== undefined) {
    runAs(identity, () => {
      chownFd(node.fd, uid, gid);
    });
  }
  if (mode !== undefined) {
    runAs(identity, () => {
      chmodFd(node.fd, mode, status);
    });
  }
  const { atime, mtime } = timesToSet(wanted);
  if (atime !== undefined || mtime !== undefined) {
    runAs(identity, () => {
      utimensFd(node.fd, atime, mtime);
    });
  }
}

/** Setting the size sets the modification time to now, and whoever may write may do that. */
function timesToSet({ size, atime, mtime }: NewAttributes): { atime: NewTime; mtime: NewTime } {
  return { atime, mtime: size !== undefined && mtime === 'now' && atime === undefined ? undefined : mtime };
}

/**
 * The kernel decides about each change when it is made (setattr_prepare in fs/attr.c). Where there are several, what it
 * will say to a later one must be known before the first.
 */
function refuseForeseeable(identity: Identity, status: FileStatus, wanted: NewAttributes): void {
  const { mode, uid, gid, size } = wanted;
  const type = status.mode & S_IFMT;
  if (size !== undefined && type !== S_IFREG) {
    throw new ErrnoError(type === S_IFDIR ? 'EISDIR' : 'EINVAL', 'ftruncate');
  }
  if (mode !== undefined && type === S_IFLNK) throw new ErrnoError('EOPNOTSUPP', 'fchmodat');
  const { atime, mtime } = timesToSet(wanted);
  const setsTimes = (atime ?? mtime) !== undefined;
  const changes = [size !== undefined, (uid ?? gid) !== undefined, mode !== undefined, setsTimes];
  if (identity.uid === 0 || changes.filter(Boolean).length < 2) return;
  const touches = atime === 'now' && mtime === 'now';
  const refuse = (syscall: string): never => {
    throw new ErrnoError('EPERM', syscall);
  };
  if (identity.uid !== status.uid) {
    if ((uid ?? gid) !== undefined) refuse('fchownat');
    if (mode !== undefined) refuse('fchmodat');
    if (setsTimes && !touches) refuse('utimensat');
    return;
  }
  if (uid !== undefined && uid !== status.uid) refuse('fchownat');
  const isMember = (group: number): boolean => group === identity.gid || identity.groups.includes(group);
  if (gid !== undefined && gid !== status.gid && !isMember(gid)) refuse('fchownat');
}

function setSize(identity: Identity, pathFd: number, status: FileStatus, size: bigint): void {
  const fd = openForTruncation(identity, pathFd, status);
  try {
    runAs(identity, () => {
      ftruncate(fd, size);
    });
  } finally {
    closeFd(fd);
  }
}

function openForTruncation(identity: Identity, pathFd: number, status: FileStatus): number {
  // A file under a lease makes an open wait, unless it is non-blocking.
  const open = (): number => openat(AT_FDCWD, `/proc/self/fd/${pathFd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  try {
    return runAs(identity, open);
  } catch (error) {
    const isOwner = identity.uid === status.uid;
    if (!isOwner || !(error instanceof ErrnoError) || error.code !== 'EACCES') throw error;
    becomeServer();
    return open();
  }
}
