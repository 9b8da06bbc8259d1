import type { Errno } from './operations.ts';

/** The errno of a failed call on a descriptor; anything else is a fault of ours and passes on. */
export function errnoOfSystemError(error: unknown): Errno {
  const { errno } = error as NodeJS.ErrnoException;
  if (typeof errno !== 'number') throw error;
  return Math.abs(errno);
}
