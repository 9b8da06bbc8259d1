import { AT_EMPTY_PATH, AT_FDCWD, MS_PRIVATE, O_CLOEXEC, O_DIRECTORY, O_RDONLY } from './constants.ts';
import { closeFd, openat } from './files.ts';
import { EMPTY_PATH, kernel, lastError, libc, pathArgument } from './libc.ts';

export interface MountRequest {
  source: string;
  target: string;
  /** The file system's type; empty for a bind mount or a change of flags. */
  type?: string;
  /** MS_* bits, 0 by default. */
  flags?: number;
  /** The file system's own options. */
  data?: string;
}

/** mount(2). Needs CAP_SYS_ADMIN. */
export function mountFileSystem(request: MountRequest): void {
  const { source, target, type = null, flags = 0, data = null } = request;
  if (libc.mount(source, target, type, flags, data) < 0) throw lastError('mount', target);
}

/** umount2(2) with MNT_* bits. */
export function unmount(target: string, flags = 0): void {
  if (libc.umount2(target, flags) < 0) throw lastError('umount2', target);
}

// include/uapi/linux/mount.h
const OPEN_TREE_CLONE = 1;
const MOUNT_ATTR_RDONLY = 0x1;
const MOUNT_ATTR_NOSUID = 0x2;
const MOUNT_ATTR_NODEV = 0x4;
const MOUNT_ATTR_IDMAP = 0x10_0000;

export interface PrivateMount {
  /** Writes give EROFS; default true. */
  readonly readOnly?: boolean;
  /**
   * Of a user namespace: ids that it does not know own nothing that can be changed here, and nothing can be given to them
   * (EOVERFLOW).
   */
  readonly userNamespaceFd?: number;
}

/**
 * A mount of its own of `directory` and what lies below on the same mount, attached nowhere: other mounts below are
 * not seen through it, nor are those made later. Returns a descriptor of its root that serves openat and
 * open_by_handle_at; the mount ends with the last descriptor reached through it. Writes give EROFS unless `readOnly`
 * is false; set-user-id bits and devices have no effect. Needs CAP_SYS_ADMIN (EPERM); ENOSYS before Linux 5.12; EINVAL
 * with `userNamespaceFd` on a file system that knows no ids of mounts.
 */
export function clonePrivateMount(
  directory: string,
  { readOnly = true, userNamespaceFd }: PrivateMount = {},
): number {
  const tree = kernel.openTree(AT_FDCWD, pathArgument(directory, 'open_tree'), OPEN_TREE_CLONE | O_CLOEXEC);
  if (tree < 0) throw lastError('open_tree', directory);
  try {
    const access = readOnly ? MOUNT_ATTR_RDONLY : 0;
    const ids = userNamespaceFd === undefined ? 0 : MOUNT_ATTR_IDMAP;
    const attributes = BigUint64Array.of(
      BigInt(access | ids | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV),
      0n,
      // A clone of a shared mount is its peer, and would be given what is mounted there later.
      BigInt(MS_PRIVATE),
      BigInt(userNamespaceFd ?? 0),
    );
    if (kernel.mountSetattr(tree, EMPTY_PATH, AT_EMPTY_PATH, attributes, attributes.byteLength) < 0) {
      throw lastError('mount_setattr', directory);
    }
    // The tree's own descriptor is O_PATH, with which open_by_handle_at gives EBADF.
    return openat(tree, '.', O_RDONLY | O_DIRECTORY);
  } finally {
    closeFd(tree);
  }
}
