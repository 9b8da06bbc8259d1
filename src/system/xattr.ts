import { ERRNO, ErrnoError } from './errno.ts';
import { lastErrno, libc } from './libc.ts';

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
