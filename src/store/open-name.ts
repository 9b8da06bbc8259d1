import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd, openat2, openat2IfAny, statFd } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import type { ExportTree } from './export-tree.ts';
import { DIRECTORY_DEPTH_MAX, NAME_BYTES_MAX } from './limits.ts';
import { isDotDot } from './read-directory.ts';
import type { StoreNode } from './store.ts';
import { StoreError } from './store-error.ts';

/* From a name in a directory to its file: where it is made sure that nobody leaves the export. */

const SLASH = 0x2f;

/** StoreError BAD_NAME, NAME_TOO_LONG for what is no name of one component. */
export function checkName(name: Uint8Array): void {
  if (name.length === 0 || name.includes(SLASH) || name.includes(0)) {
    throw new StoreError('BAD_NAME', "a name is not empty and contains no '/' or NUL");
  }
  if (name.length > NAME_BYTES_MAX) throw new StoreError('NAME_TOO_LONG', `${name.length} bytes`);
}

/** An O_PATH descriptor of the name, which the caller closes; errors as with lookup. */
export function openName(identity: Identity, directory: StoreNode, name: Uint8Array): number {
  const fd = openNameIfAny(identity, directory, name);
  if (fd === undefined) throw new ErrnoError('ENOENT', 'lookup');
  return fd;
}

/** The same; undefined where there is no such name (ENOENT). */
export function openNameIfAny(
  identity: Identity,
  directory: StoreNode,
  name: Uint8Array,
): number | undefined {
  checkName(name);
  if (isDotDot(name)) return openParent(identity, directory);
  return runAs(identity, () => openat2IfAny(directory.fd, name, WITHIN));
}

const WITHIN = {
  flags: O_PATH | O_NOFOLLOW,
  resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
};

function openParent(identity: Identity, directory: StoreNode): number {
  const tree = directory.export;
  const isRoot = tree.isRoot(statFd(directory.fd));
  let parent: number | undefined;
  try {
    parent = runAs(identity, () => openat2(directory.fd, isRoot ? '.' : '..', CLIMB));
    becomeServer();
    if (isRoot || leadsToRoot(tree, parent)) return parent;
  } catch (error) {
    if (parent !== undefined) closeFd(parent);
    throw isOutside(error) ? movedOut() : error;
  }
  closeFd(parent);
  throw movedOut();
}

function movedOut(): ErrnoError {
  return new ErrnoError('EACCES', 'lookup', 'the directory is not in the export any more');
}

/** fs/namei.c: a directory that its mount does not reach has no parent (ENOENT); a mount above is another (EXDEV). */
function isOutside(error: unknown): boolean {
  return error instanceof ErrnoError && (error.code === 'ENOENT' || error.code === 'EXDEV');
}

const CLIMB = {
  flags: O_PATH | O_DIRECTORY | O_NOFOLLOW,
  resolve: RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
};

function leadsToRoot(tree: ExportTree, start: number): boolean {
  let fd = start;
  try {
    let status = statFd(fd);
    for (let depth = 0; depth < DIRECTORY_DEPTH_MAX; depth += 1) {
      if (tree.isRoot(status)) return true;
      const above = openat2(fd, '..', CLIMB);
      if (fd !== start) closeFd(fd);
      fd = above;
      const { ino } = status;
      status = statFd(fd);
      // The top of the mount is its own parent.
      if (status.ino === ino) return false;
    }
    return false;
  } finally {
    if (fd !== start) closeFd(fd);
  }
}
