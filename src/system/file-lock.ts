import { lastError, libc } from './libc.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes the exclusive lock of an open file (flock(2)), which ends with its last descriptor, so also with its process.
 *
 * @returns false where somebody else has it
 */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const error = lastError('flock');
  if (error.code === 'EAGAIN') return false;
  throw error;
}
