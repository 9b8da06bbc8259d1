/** How failures of the store and the kernel become nfsstat3. */
import { statusOfErrno } from '../nfs3/errno.ts';
import { NFSSTAT3, statusName, type nfs3error } from '../nfs3/status.ts';
import { StoreError, errnoOf, type StoreErrorCode } from '../store/store-error.ts';

const STATUS_OF_STORE: Readonly<Record<StoreErrorCode, nfs3error>> = {
  BADHANDLE: NFSSTAT3.NFS3ERR_BADHANDLE,
  STALE: NFSSTAT3.NFS3ERR_STALE,
  BAD_NAME: NFSSTAT3.NFS3ERR_ACCES,
  NAME_TOO_LONG: NFSSTAT3.NFS3ERR_NAMETOOLONG,
  BAD_COOKIE: NFSSTAT3.NFS3ERR_BAD_COOKIE,
  NOT_NOW: NFSSTAT3.NFS3ERR_JUKEBOX,
  TOO_SMALL: NFSSTAT3.NFS3ERR_TOOSMALL,
};

/** A failure that has a status and no errno. */
export class StatusError extends Error {
  readonly status: nfs3error;

  constructor(status: nfs3error) {
    super(statusName(status));
    this.name = 'StatusError';
    this.status = status;
  }
}

/** The status of an expected failure; undefined for a fault of ours, which is to be thrown on. */
export function statusOfError(error: unknown): nfs3error | undefined {
  if (error instanceof StatusError) return error.status;
  if (error instanceof StoreError) return STATUS_OF_STORE[error.code];
  const errno = errnoOf(error);
  return errno === undefined ? undefined : statusOfErrno(errno);
}

/** Runs a procedure's body; an expected failure becomes `fail(status)`. */
export function orStatus<T>(body: () => T, fail: (status: nfs3error) => T): T {
  try {
    return body();
  } catch (error) {
    const status = statusOfError(error);
    if (status === undefined) throw error;
    return fail(status);
  }
}
