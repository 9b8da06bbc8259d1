import { ERRNO, ErrnoError } from './errno.ts';
import { lastErrno, lastError, libc, pathArgument } from './libc.ts';

/** XATTR_SIZE_MAX and XATTR_LIST_MAX of include/uapi/linux/limits.h. */
const XATTR_BYTES_MAX = 65_536;
const scratch = Buffer.alloc(XATTR_BYTES_MAX);

/** Flags of setxattr(2). */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

/*
 * Extended attributes of an open file, O_PATH descriptors too: fgetxattr(2) and its like refuse those. A name is
 * bytes, with its namespace; one with a NUL inside is EINVAL.
 */
type Name = Uint8Array | string;

const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;

/** An extended attribute; undefined where the file has none of this name, or its file system keeps none (getxattr(2)). */
export function getXattr(fd: number, name: Name): Buffer | undefined {
  try {
    return readXattr(fd, name);
  } catch (error) {
    if (error instanceof ErrnoError && (error.code === 'ENODATA' || error.code === 'EOPNOTSUPP'))
      return undefined;
    throw error;
  }
}

/** An extended attribute. ErrnoError as getxattr(2) says: ENODATA, EOPNOTSUPP, EACCES. */
export function readXattr(fd: number, name: Name): Buffer {
  const length = libc.getxattr(pathOf(fd), pathArgument(name, 'getxattr'), scratch, scratch.length);
  if (length < 0) throw lastError('getxattr');
  return Buffer.from(scratch.subarray(0, length));
}

/** The names of all extended attributes that the caller may know of. ErrnoError as listxattr(2) says. */
export function listXattrs(fd: number): Buffer[] {
  const length = libc.listxattr(pathOf(fd), scratch, scratch.length);
  if (length < 0) throw lastError('listxattr');
  const names: Buffer[] = [];
  for (let at = 0; at < length;) {
    const end = scratch.indexOf(0, at);
    // Each name ends with a NUL.
    const next = end < 0 || end >= length ? length : end;
    names.push(Buffer.from(scratch.subarray(at, next)));
    at = next + 1;
  }
  return names;
}

/**
 * Sets an extended attribute. ErrnoError as setxattr(2) says.
 *
 * @param flags XATTR_CREATE (EEXIST where there is one), XATTR_REPLACE (ENODATA where there is none), or 0
 */
export function setXattr(fd: number, name: Name, value: Uint8Array, flags = 0): void {
  const nameArgument = pathArgument(name, 'setxattr');
  if (libc.setxattr(pathOf(fd), nameArgument, value, value.length, flags) < 0) throw lastError('setxattr');
}

/** Removes an extended attribute. ErrnoError as removexattr(2) says: ENODATA where there is none. */
export function removeXattr(fd: number, name: Name): void {
  if (libc.removexattr(pathOf(fd), pathArgument(name, 'removexattr')) < 0) throw lastError('removexattr');
}

/** The same where it need not be there. */
export function removeXattrIfAny(fd: number, name: Name): void {
  if (libc.removexattr(pathOf(fd), pathArgument(name, 'removexattr')) >= 0) return;
  const errno = lastErrno();
  if (errno !== ERRNO.ENODATA) throw new ErrnoError(errno, 'removexattr');
}
