/**
 * - `BADHANDLE`: not a handle this store has issued
 * - `STALE`: the file of the handle is gone, or its export is
 * - `BAD_NAME`: an empty name, or one with '/' or NUL
 * - `NAME_TOO_LONG`: more than NAME_BYTES_MAX bytes
 * - `BAD_COOKIE`: not a position in this directory
 * - `NOT_NOW`: what must be on record before a change could not be recorded; nothing was changed
 * - `TOO_SMALL`: not even one directory entry was taken
 */
export type StoreErrorCode =
  'BADHANDLE' | 'STALE' | 'BAD_NAME' | 'NAME_TOO_LONG' | 'BAD_COOKIE' | 'NOT_NOW' | 'TOO_SMALL';

/** An answer of the store itself; the kernel's answers pass as ErrnoError. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, detail: string) {
    super(`${code}: ${detail}`);
    this.name = 'StoreError';
    this.code = code;
  }
}

/** The errno of an ErrnoError or of an error of Node's file calls; undefined for any other. */
export { errnoOf } from '../system/errno.ts';
