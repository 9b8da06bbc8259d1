/** Why a call has no result; stable, safe to match on. */
export type RpcErrorCode =
  | 'CONNECTION_LOST' // the connection broke or was closed before the reply
  | 'TIMED_OUT' // no reply within the call's time
  | 'ABORTED' // the caller gave up
  | 'RPC_MISMATCH' // RFC 5531: the peer does not speak RPC version 2
  | 'AUTH_ERROR' // RFC 5531: the peer refuses the credential
  | 'AUTH_REJECTEDCRED' // RFC 5531: the peer has forgotten what the credential stands for
  | 'PROG_UNAVAIL' // RFC 5531: the peer has no such program
  | 'PROG_MISMATCH' // RFC 5531: the program has other versions
  | 'PROC_UNAVAIL' // RFC 5531: the program has no such procedure
  | 'GARBAGE_ARGS' // RFC 5531: the peer could not decode the arguments
  | 'SYSTEM_ERR' // RFC 5531: the peer failed inside
  | 'BAD_REPLY' // the reply does not decode
  | 'BAD_RECORD'; // record marking is broken or over its limit: the connection is lost

/** A call or a connection failed below the procedure's own results. */
export class RpcError extends Error {
  readonly code: RpcErrorCode;

  constructor(code: RpcErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RpcError';
    this.code = code;
  }
}
