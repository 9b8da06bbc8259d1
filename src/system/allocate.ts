import { lastError, libc } from './libc.ts';

/**
 * Gives a file its blocks, so that writing the first `lengthBytes` of it can meet no full disk (fallocate(2)); a shorter
 * file grows. ENOSPC, EDQUOT: there are not that many; EOPNOTSUPP: the file system promises nothing of the kind.
 */
export function allocate(fd: number, lengthBytes: number): void {
  if (libc.fallocate(fd, 0, 0, lengthBytes) < 0) throw lastError('fallocate');
}
