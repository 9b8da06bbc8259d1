import type { Errno } from './operations.ts';

/** Carries an errno out of a read that several readers may share. */
export class StatusError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}
