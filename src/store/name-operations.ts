import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_PATH,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd, openat, statFd, statx, type FileStatus } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import {
  createFile,
  linkFd,
  mkdirat,
  mknodat,
  renameat2,
  rmdirat,
  symlinkat,
  unlinkat,
  type DeviceNumber,
} from '../system/names.ts';
import { FILE_TIME_TICK_NS } from './limits.ts';
import { checkName, openName, openNameIfAny } from './open-name.ts';
import { changeKey } from './page-file.ts';
import type { NamePlace, StoreNode } from './store.ts';
import { StoreError } from './store-error.ts';

/*
 * What callers do with the names of a directory. The kernel decides under the caller's identity, and ErrnoError carries
 * its answer; StoreError BAD_NAME, NAME_TOO_LONG as with lookup. Links are never followed, and nothing leaves the
 * export. All are synchronous, and must be called in the turn that resolved the nodes.
 */

/** What a name leads to: enough to know the file again. */
export interface NamedFile {
  readonly handle: Buffer;
  readonly status: FileStatus;
}

/** The file of a name; undefined where there is none. Other errors as with lookup. */
export function findName(identity: Identity, { directory, name }: NamePlace): NamedFile | undefined {
  const fd = openNameIfAny(identity, directory, name);
  if (fd === undefined) return undefined;
  try {
    return { handle: directory.store.handleOf(directory.export, fd), status: statFd(fd) };
  } finally {
    closeFd(fd);
  }
}

/** The mode of what is to be made. */
export interface NewMode {
  /** The low twelve bits. */
  readonly mode: number;
  /** Permissions that are taken off, unless the directory has a default ACL (acl(5)); default: none. */
  readonly umask?: number | undefined;
}

/** What is to be made. */
export type NewNode =
  | (NewMode & { readonly type: 'file' | 'directory' | 'fifo' | 'socket' })
  | (NewMode & { readonly type: 'character' | 'block'; readonly device: DeviceNumber })
  | { readonly type: 'symlink'; readonly target: Uint8Array };

const TYPE_BITS: Readonly<Record<NewNode['type'], number>> = {
  file: S_IFREG,
  directory: S_IFDIR,
  fifo: S_IFIFO,
  socket: S_IFSOCK,
  character: S_IFCHR,
  block: S_IFBLK,
  symlink: S_IFLNK,
};

/** Refuses `.` and `..`, which there are always (EEXIST). */
export function checkNewName(name: Uint8Array): void {
  checkName(name);
  if (isDots(name)) throw new ErrnoError('EEXIST', 'mknodat');
}

/**
 * Makes a file of any type where there is no such name (EEXIST, also for `.` and `..`). Of a directory's mode, the
 * set-id bits do not count here (mkdir(2)). Devices need CAP_MKNOD (EPERM).
 */
export function makeNode(identity: Identity, place: NamePlace, node: NewNode): StoreNode {
  const { directory, name } = place;
  checkNewName(name);
  if (node.type === 'file') return makeFile(identity, place, node);
  const beganNs = BigInt(Date.now()) * 1_000_000n;
  runAs(identity, () => {
    if (node.type === 'symlink') symlinkat(node.target, directory.fd, name);
    else if (node.type === 'directory') mkdirat(directory.fd, name, node.mode, node.umask);
    else {
      const device = 'device' in node ? node.device : undefined;
      mknodat(directory.fd, name, TYPE_BITS[node.type] | node.mode, device, node.umask);
    }
  });
  directory.store.ownChanges?.nameChangedHere(directory.handle, name);
  const fd = openName(identity, directory, name);
  // The file system's clock need not be the server's, or as fine; the directory has changed by that one, too.
  const { ctimeNs } = statFd(directory.fd);
  const notBeforeNs = (beganNs < ctimeNs ? beganNs : ctimeNs) - FILE_TIME_TICK_NS;
  if (!isJustMade(statFd(fd), node.type, notBeforeNs)) {
    closeFd(fd);
    throw new StoreError('STALE', 'somebody replaced the new file at once');
  }
  return directory.store.adopt(directory.export, fd);
}

/** Whoever makes a file mostly writes to it next: it stays open for that for a while, as other files that are written. */
function makeFile(identity: Identity, { directory, name }: NamePlace, { mode, umask }: NewMode): StoreNode {
  const { store, export: tree } = directory;
  const fd = runAs(identity, () => createFile(directory.fd, name, mode, umask));
  store.ownChanges?.nameChangedHere(directory.handle, name);
  let made: StoreNode;
  try {
    becomeServer();
    made = store.adopt(tree, openat(AT_FDCWD, `/proc/self/fd/${fd}`, O_PATH));
  } catch (error) {
    // Who asks again must not be told that there is such a file.
    unmake(identity, { directory, name }, fd);
    closeFd(fd);
    throw error;
  }
  store.writing.adopt(changeKey(made.handle), fd);
  return made;
}

/** Takes back a name, as far as it can be done, if it still leads to the file of the descriptor. */
function unmake(identity: Identity, { directory, name }: NamePlace, fd: number): void {
  try {
    const made = statFd(fd);
    const there = statx(directory.fd, name, AT_SYMLINK_NOFOLLOW);
    const isSame =
      there.ino === made.ino && there.devMajor === made.devMajor && there.devMinor === made.devMinor;
    if (isSame) {
      runAs(identity, () => {
        unlinkat(directory.fd, name);
      });
      directory.store.ownChanges?.nameChangedHere(directory.handle, name);
    }
  } catch {
    // What went wrong first is told.
  }
}

/** Whoever may change the directory may have put another file there, which must not get the new one's attributes. */
function isJustMade(status: FileStatus, type: NewNode['type'], notBeforeNs: bigint): boolean {
  return (
    (status.mode & S_IFMT) === TYPE_BITS[type] &&
    (type === 'directory' || status.nlink === 1) &&
    (status.btimeNs === 0n || status.btimeNs >= notBeforeNs)
  );
}

/** Gives a file that is no directory (EPERM) one name more (EEXIST); a link gets it itself. EXDEV: another export. */
export function linkName(identity: Identity, node: StoreNode, place: NamePlace): void {
  const { directory, name } = place;
  checkNewName(name);
  sameExport(node, directory);
  runAs(identity, () => {
    linkFd(node.fd, directory.fd, name);
  });
  directory.store.nameAdded(place, node.handle);
}

/** Refuses `.` (EINVAL) and `..` (EEXIST), as RFC 1813 section 3.3.13 wants it. */
export function checkNameToRemove(name: Uint8Array): void {
  checkName(name);
  if (isDots(name)) throw new ErrnoError(name.length === 1 ? 'EINVAL' : 'EEXIST', 'unlinkat');
}

/**
 * Removes the name of an empty directory (ENOTDIR, ENOTEMPTY), or of anything else (EISDIR). EACCES: a file system is
 * mounted there.
 *
 * @param victim what findName said in this turn
 */
export function removeName(
  identity: Identity,
  place: NamePlace,
  kind: 'directory' | 'other',
  victim: NamedFile,
): void {
  const { directory, name } = place;
  checkNameToRemove(name);
  notMounted(() => {
    runAs(identity, () => {
      if (kind === 'directory') rmdirat(directory.fd, name);
      else unlinkat(directory.fd, name);
    });
  });
  directory.store.nameRemoved(place, victim.handle, isLastName(victim));
}

/** Refuses `.` and `..` (EINVAL). */
export function checkNameToRename(name: Uint8Array): void {
  checkName(name);
  if (isDots(name)) throw new ErrnoError('EINVAL', 'renameat2');
}

/**
 * Renames a file, which takes the place of what has the new name, if the two go together: EISDIR, ENOTDIR, ENOTEMPTY.
 * EINVAL: a directory into itself; EXDEV: another export; EACCES: a file system is mounted there. Two names of one
 * file stay both (rename(2)).
 *
 * @param source what findName said in this turn of `from`
 * @param target what it said of `to`
 */
export function renameName(
  identity: Identity,
  from: NamePlace,
  to: NamePlace,
  source: NamedFile,
  target: NamedFile | undefined,
): void {
  checkNameToRename(from.name);
  checkNameToRename(to.name);
  sameExport(from.directory, to.directory);
  notMounted(() => {
    runAs(identity, () => {
      renameat2(from.directory.fd, from.name, to.directory.fd, to.name);
    });
  });
  if (target?.handle.equals(source.handle) === true) return;
  const { store } = to.directory;
  if (target !== undefined) store.nameRemoved(to, target.handle, isLastName(target));
  store.nameChanged(from, to, source.handle, () =>
    runAs(identity, () => statx(to.directory.fd, to.name, AT_SYMLINK_NOFOLLOW)),
  );
}

function isLastName({ status }: NamedFile): boolean {
  return (status.mode & S_IFMT) === S_IFDIR || status.nlink === 1;
}

/** EBUSY is for clients to try again, and that would not help here. */
function notMounted(change: () => void): void {
  try {
    change();
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.code !== 'EBUSY') throw error;
    throw new ErrnoError('EACCES', error.syscall, 'a file system is mounted there');
  }
}

function sameExport(a: StoreNode, b: StoreNode): void {
  if (a.export !== b.export) throw new ErrnoError('EXDEV', 'renameat2', 'between two exports');
}

const DOT = 0x2e;

function isDots(name: Uint8Array): boolean {
  return name.length <= 2 && name.every((byte) => byte === DOT);
}
