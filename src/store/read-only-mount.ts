import {
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd, duplicateFd, openat2, statFd } from '../system/files.ts';
import { nameToHandleAt, openByHandleAt } from '../system/handles.ts';
import { becomeServer } from '../system/identity.ts';
import type { ExportTree } from './export-tree.ts';
import { StoreError } from './store-error.ts';

/**
 * The same file once more, reached through the export's read-only mount, as an O_PATH descriptor that the caller closes. In a
 * read-only export, or one without private mounts, it is a second descriptor of the same open file. StoreError STALE when the
 * file was deleted or moved outside meanwhile.
 */
export function openInReadOnlyMount(tree: ExportTree, fd: number): number {
  becomeServer();
  if (tree.readOnlyFd === tree.rootFd) return duplicateFd(fd);
  let found: number;
  try {
    found = tree.handles === 'kernel' ? openByHandle(tree, fd) : openByPath(tree, fd);
  } catch (error) {
    if (error instanceof ErrnoError && GONE.has(error.code))
      throw new StoreError('STALE', 'the file is not there any more');
    throw error;
  }
  const [wanted, got] = [statFd(fd), statFd(found)];
  if (got.ino === wanted.ino && got.devMajor === wanted.devMajor && got.devMinor === wanted.devMinor)
    return found;
  closeFd(found);
  throw new StoreError('STALE', 'another file is where it was');
}

const GONE: ReadonlySet<string> = new Set(['ESTALE', 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV']);

function openByHandle(tree: ExportTree, fd: number): number {
  return openByHandleAt(tree.readOnlyFd, nameToHandleAt(fd), O_PATH | O_NOFOLLOW);
}

function openByPath(tree: ExportTree, fd: number): number {
  const path = tree.relativePath(fd);
  if (path === undefined) throw new StoreError('STALE', 'the file is not in the export any more');
  return openat2(tree.readOnlyFd, path.length === 0 ? '.' : path, {
    flags: O_PATH | O_NOFOLLOW,
    resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
  });
}
