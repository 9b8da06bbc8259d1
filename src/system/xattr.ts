import { ERRNO, ErrnoError } from './errno.ts';
import { lastErrno, lastError, libc } from './libc.ts';

/** XATTR_SIZE_MAX of include/uapi/linux/limits.h. */
const XATTR_BYTES_MAX = 65_536;
const scratch = Buffer.alloc(XATTR_BYTES_MAX);

/**
 * An extended attribute of an open file, O_PATH descriptors too; undefined where the file has none of this name, or its
 * file system keeps none (getxattr(2)).
 */
export function getXattr(fd: number, name: string): Buffer | undefined {
  // fgetxattr refuses O_PATH descriptors.
  const length = libc.getxattr(`/proc/self/fd/${fd}`, name, scratch, scratch.length);
  if (length >= 0) return Buffer.from(scratch.subarray(0, length));
  const errno = lastErrno();
  if (errno === ERRNO.ENODATA || errno === ERRNO.EOPNOTSUPP) return undefined;
  throw new ErrnoError(errno, 'getxattr', name);
}

/** Sets an extended attribute of an open file, O_PATH descriptors too. ErrnoError as setxattr(2) says. */
export function setXattr(fd: number, name: string, value: Uint8Array): void {
  if (libc.setxattr(`/proc/self/fd/${fd}`, name, value, value.length, 0) < 0) throw lastError('setxattr');
}

/** Removes an extended attribute of an open file, if it is there. ErrnoError as removexattr(2) says. */
export function removeXattr(fd: number, name: string): void {
  if (libc.removexattr(`/proc/self/fd/${fd}`, name) >= 0) return;
  const errno = lastErrno();
  if (errno !== ERRNO.ENODATA) throw new ErrnoError(errno, 'removexattr', name);
}
