import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_WRONLY,
} from './constants.ts';
import { ErrnoError } from './errno.ts';
import { openat } from './files.ts';
import { kernel, lastError, libc, pathArgument, secondPathArgument } from './libc.ts';

/*
 * Calls that change the names in a directory. `dirFd` may be O_PATH; names are one component, or the caller knows
 * where they lead. The last component is never followed where it is a symbolic link. Modes are taken as they are given,
 * whatever the process's umask is; a default ACL of the directory still counts (acl(5)). A `umask` is taken off, unless
 * there is a default ACL, which takes its place.
 */

type Name = Uint8Array | string;

/** mkdirat(2). Of `mode` the permissions and the sticky bit count. */
export function mkdirat(dirFd: number, name: Name, mode: number, umask = 0): void {
  withUmask(umask, () => {
    if (libc.mkdirat(dirFd, pathArgument(name, 'mkdirat'), mode) < 0) throw lastError('mkdirat');
  });
}

/** A device's number, as its file tells it. */
export interface DeviceNumber {
  /** At most 4095. */
  readonly major: number;
  /** At most 1048575. */
  readonly minor: number;
}

const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xf_ffff;

/**
 * mknodat(2): a regular file, fifo or socket, or a device with its number. `mode` has the type (S_IFMT) and the
 * permissions. EINVAL: a number too large. EPERM: a device without CAP_MKNOD.
 */
export function mknodat(dirFd: number, name: Name, mode: number, device?: DeviceNumber, umask = 0): void {
  const { major, minor } = device ?? { major: 0, minor: 0 };
  if (major > MAJOR_MAX || minor > MINOR_MAX) throw new ErrnoError('EINVAL', 'mknodat', 'a device number');
  // Number arithmetic: the highest bits of the minor number would make a 32-bit integer negative.
  const dev = (minor & 0xff) + major * 0x100 + (minor >>> 8) * 0x10_0000;
  withUmask(umask, () => {
    if (libc.mknodat(dirFd, pathArgument(name, 'mknodat'), mode, dev) < 0) throw lastError('mknodat');
  });
}

/**
 * A regular file that this call has made (EEXIST where there is the name), open for writing whatever `mode` says: the
 * caller's descriptor, for closeFd. Of `mode` the low twelve bits count.
 */
export function createFile(dirFd: number, name: Name, mode: number, umask = 0): number {
  // Without waiting, should somebody take a lease on it at once.
  const flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  return withUmask(umask, () => openat(dirFd, name, flags, mode));
}

/** symlinkat(2). ENOENT: the target is empty; ENAMETOOLONG: it has 4096 bytes or more. */
export function symlinkat(target: Name, dirFd: number, name: Name): void {
  const targetArgument = pathArgument(target, 'symlinkat');
  if (libc.symlinkat(targetArgument, dirFd, secondPathArgument(name, 'symlinkat')) < 0) {
    throw lastError('symlinkat');
  }
}

/**
 * linkat(2) of an open file, O_PATH too; of a symbolic link itself where the descriptor holds one. (With AT_EMPTY_PATH it
 * would need CAP_DAC_READ_SEARCH.) EPERM: a directory, or not allowed by fs.protected_hardlinks (proc_sys_fs(5)).
 */
export function linkFd(fd: number, dirFd: number, name: Name): void {
  const source = pathArgument(`/proc/self/fd/${fd}`, 'linkat');
  if (libc.linkat(AT_FDCWD, source, dirFd, secondPathArgument(name, 'linkat'), AT_SYMLINK_FOLLOW) < 0) {
    throw lastError('linkat');
  }
}

/** unlinkat(2) of everything but a directory (EISDIR). */
export function unlinkat(dirFd: number, name: Name): void {
  if (libc.unlinkat(dirFd, pathArgument(name, 'unlinkat'), 0) < 0) throw lastError('unlinkat');
}

/** unlinkat(2) of an empty directory. ENOTEMPTY, and EEXIST with some file systems: it is not; EBUSY: a mount point. */
export function rmdirat(dirFd: number, name: Name): void {
  if (libc.unlinkat(dirFd, pathArgument(name, 'rmdirat'), AT_REMOVEDIR) < 0) throw lastError('rmdirat');
}

/** renameat2(2) with RENAME_* flags. */
export function renameat2(fromFd: number, from: Name, toFd: number, to: Name, flags = 0): void {
  const fromArgument = pathArgument(from, 'renameat2');
  if (kernel.renameat2(fromFd, fromArgument, toFd, secondPathArgument(to, 'renameat2'), flags) < 0) {
    throw lastError('renameat2');
  }
}

/** The umask belongs to the process, so it is put back at once. */
function withUmask<T>(umask: number, call: () => T): T {
  const before = process.umask(umask);
  try {
    return call();
  } finally {
    if (before !== umask) process.umask(before);
  }
}
