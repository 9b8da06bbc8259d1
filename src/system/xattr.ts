import { lastErrno, lastError, libc } from './libc.ts';
import { ERRNO } from './errno.ts';

/** XATTR_SIZE_MAX of limits.h, in bytes. */
const VALUE_BYTES_MAX = 65_536;

/** fgetxattr(2); undefined where the file has no such attribute, or its file system none at all. */
export function getXattr(fd: number, name: string): Buffer | undefined {
  const value = Buffer.alloc(VALUE_BYTES_MAX);
  const length = libc.fgetxattr(fd, name, value, value.length);
  if (length >= 0) return value.subarray(0, length);
  const errno = lastErrno();
  if (errno === ERRNO.ENODATA || errno === ERRNO.EOPNOTSUPP) return undefined;
  throw lastError('fgetxattr', name);
}
