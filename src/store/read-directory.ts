import { AT_FDCWD, O_DIRECTORY, O_NONBLOCK, O_RDONLY, SEEK_SET } from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd, getdents64, openat, seek, statFd } from '../system/files.ts';
import { runAs, type Identity } from '../system/identity.ts';
import { NO_VERIFIER, type DirectoryVerifier } from './held-directories.ts';
import { DIRECTORY_BUFFER_BYTES } from './limits.ts';
import type { StoreNode } from './store.ts';
import { StoreError } from './store-error.ts';

export interface DirectoryItem {
  /** The inode number of the entry. */
  fileid: bigint;
  /** Goes on after this entry. */
  cookie: bigint;
  name: Buffer;
}

/** Where a listing goes on: after the entry with this cookie (0n: from the start). */
export interface DirectoryPosition {
  readonly cookie: bigint;
  /** Of the part before; NO_VERIFIER at the start. An unknown one is no error. */
  readonly verifier: DirectoryVerifier;
}

export const DIRECTORY_START: DirectoryPosition = { cookie: 0n, verifier: NO_VERIFIER };

export interface DirectoryPart {
  /** Whether the end was reached. */
  readonly isEnd: boolean;
  /** For the position of the next part. */
  readonly verifier: DirectoryVerifier;
}

/**
 * Gives the entries from a position on, with `.` and `..`, to `visit` until it returns false; that entry then counts as
 * not taken. ErrnoError ENOTDIR, EACCES; StoreError BAD_COOKIE; TOO_SMALL when not even the first entry was taken.
 *
 * No listing is kept: a cookie is the file system's own position (d_off), and names that stay are given once, whatever
 * comes and goes meanwhile, also after a restart. ext4 gives the hash of the name, btrfs a number that each entry
 * gets for ever, tmpfs the same, xfs the place in the directory's file, which entries keep. Only overlayfs counts:
 * see held-directories.ts.
 */
export function readDirectory(
  identity: Identity,
  directory: StoreNode,
  position: DirectoryPosition,
  visit: (item: DirectoryItem) => boolean,
): DirectoryPart {
  return directory.export.positions === 'of-open-directory'
    ? readHeld(identity, directory, position, visit)
    : readAfresh(identity, directory, position.cookie, visit);
}

function readAfresh(
  identity: Identity,
  directory: StoreNode,
  cookie: bigint,
  visit: (item: DirectoryItem) => boolean,
): DirectoryPart {
  const fd = openDirectory(identity, directory);
  try {
    return { isEnd: readEntries(fd, directory, cookie, visit), verifier: NO_VERIFIER };
  } finally {
    closeFd(fd);
  }
}

function readHeld(
  identity: Identity,
  directory: StoreNode,
  { cookie, verifier }: DirectoryPosition,
  visit: (item: DirectoryItem) => boolean,
): DirectoryPart {
  const held = directory.store.directories;
  const { handle } = directory;
  // From the start there is always a new one: reading the first entry again would make another listing its list.
  let fd = cookie === 0n ? undefined : held.find(verifier, handle, identity);
  let now = verifier;
  if (fd === undefined) {
    fd = openDirectory(identity, directory);
    now = held.hold(handle, identity, fd);
  }
  const isEnd = readEntries(fd, directory, cookie, visit);
  if (isEnd) held.release(now, handle, identity);
  return { isEnd, verifier: now };
}

function openDirectory(identity: Identity, directory: StoreNode): number {
  return runAs(identity, () =>
    openat(AT_FDCWD, `/proc/self/fd/${directory.fd}`, O_RDONLY | O_DIRECTORY | O_NONBLOCK),
  );
}

/** Returns whether the end was reached. */
function readEntries(
  fd: number,
  directory: StoreNode,
  cookie: bigint,
  visit: (item: DirectoryItem) => boolean,
): boolean {
  if (cookie !== 0n) seekDirectory(fd, cookie);
  const rootFileid = exportRootFileid(directory);
  let taken = 0;
  for (;;) {
    // A new buffer each time: names are views of it, and visitors may keep them.
    const entries = getdents64(fd, Buffer.allocUnsafeSlow(DIRECTORY_BUFFER_BYTES));
    if (entries.length === 0) return true;
    for (const { ino, cookie: next, name } of entries) {
      const fileid = rootFileid !== undefined && isDotDot(name) ? rootFileid : ino;
      if (!visit({ fileid, cookie: next, name })) {
        if (taken === 0) throw new StoreError('TOO_SMALL', 'no room for one directory entry');
        return false;
      }
      taken += 1;
    }
  }
}

function exportRootFileid(directory: StoreNode): bigint | undefined {
  const status = statFd(directory.fd);
  return directory.export.isRoot(status) ? status.ino : undefined;
}

const DOT = 0x2e;

export function isDotDot(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === DOT && name[1] === DOT;
}

function seekDirectory(fd: number, cookie: bigint): void {
  try {
    seek(fd, cookie, SEEK_SET);
  } catch (error) {
    if (error instanceof ErrnoError && error.code === 'EINVAL') {
      throw new StoreError('BAD_COOKIE', 'not a position in a directory');
    }
    throw error;
  }
}
