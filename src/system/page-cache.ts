import { ErrnoError } from './errno.ts';
import { lastError, libc } from './libc.ts';

const POSIX_FADV_DONTNEED = 4;

/** pread(2): how many bytes of `buffer` were filled from `offsetBytes`; 0 at the end of the file. */
export function pread(fd: number, buffer: Uint8Array, offsetBytes: number): number {
  const length = libc.pread(fd, buffer, buffer.length, offsetBytes);
  if (length < 0) throw lastError('pread');
  return length;
}

/** Asks the kernel to drop the whole file from this machine's page cache (posix_fadvise(2), DONTNEED): clean pages go. */
export function dropCachedPages(fd: number): void {
  const errno = libc.posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (errno !== 0) throw new ErrnoError(errno, 'posix_fadvise');
}
