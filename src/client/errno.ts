import { RpcError, type RpcErrorCode } from '../rpc/error.ts';

const EINTR = 4;
const EIO = 5;
const EACCES = 13;
const EPROTONOSUPPORT = 93;

/** What a program sees when a call has no result: nfs(5) for soft mounts, EINTR for one that was given up. */
const ERRNO_OF_RPC: Readonly<Record<RpcErrorCode, number>> = {
  CONNECTION_LOST: EIO,
  TIMED_OUT: EIO,
  ABORTED: EINTR,
  RPC_MISMATCH: EPROTONOSUPPORT,
  AUTH_ERROR: EACCES,
  AUTH_REJECTEDCRED: EACCES,
  PROG_UNAVAIL: EPROTONOSUPPORT,
  PROG_MISMATCH: EPROTONOSUPPORT,
  PROC_UNAVAIL: EPROTONOSUPPORT,
  GARBAGE_ARGS: EIO,
  SYSTEM_ERR: EIO,
  BAD_REPLY: EIO,
  BAD_RECORD: EIO,
};

/**
 * The errno for a failed call; undefined when the error is none of RPC's, and therefore a fault of ours.
 *
 * @param timedOutErrno what a soft mount answers when it gives up: nfs(5) soft EIO (default), softerr ETIMEDOUT
 */
export function errnoOfRpcError(error: unknown, timedOutErrno = ERRNO_OF_RPC.TIMED_OUT): number | undefined {
  if (!(error instanceof RpcError)) return undefined;
  return error.code === 'TIMED_OUT' ? timedOutErrno : ERRNO_OF_RPC[error.code];
}
