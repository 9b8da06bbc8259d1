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
 * The same file once more, reached through another mount of the export, as an O_PATH descriptor that the caller closes. Where
 * it is the mount in which files are found anyway, it is a second descriptor of the same open file. StoreError STALE when
 * the file was deleted or moved outside meanwhile.
 *
 * @param mountFd the export's root in that mount: see ExportTree.readOnlyFd and ExportTree.writableFd
 */
export function openInGrantMount(tree: ExportTree, mountFd: number, fd: number): number {
  becomeServer();
  if (mountFd === tree.rootFd) return duplicateFd(fd);
  let found: number;
  try {
    found = tree.handles === 'kernel' ? openByHandle(mountFd, fd) : openByPath(tree, mountFd, fd);
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

function openByHandle(mountFd: number, fd: number): number {
  return openByHandleAt(mountFd, nameToHandleAt(fd), O_PATH | O_NOFOLLOW);
}

function openByPath(tree: ExportTree, mountFd: number, fd: number): number {
  const path = tree.relativePath(fd);
  if (path === undefined) throw new StoreError('STALE', 'the file is not in the export any more');
  return openat2(mountFd, path.length === 0 ? '.' : path, {
    flags: O_PATH | O_NOFOLLOW,
    resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
  });
}
