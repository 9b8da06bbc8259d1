/** ONC RPC messages, version 2: RFC 5531 section 9. */
import { enumeration, nothing, struct, u32, union, type Infer } from '../xdr/codec.ts';
import { auth_stat, opaque_auth } from './auth.ts';

export const RPC_VERSION = 2;

export const MSG_TYPE = { CALL: 0, REPLY: 1 } as const;
export const msg_type = enumeration('msg_type', MSG_TYPE);

export const REPLY_STAT = { MSG_ACCEPTED: 0, MSG_DENIED: 1 } as const;
const reply_stat = enumeration('reply_stat', REPLY_STAT);

export const ACCEPT_STAT = {
  SUCCESS: 0,
  PROG_UNAVAIL: 1,
  PROG_MISMATCH: 2,
  PROC_UNAVAIL: 3,
  GARBAGE_ARGS: 4,
  SYSTEM_ERR: 5,
} as const;
const accept_stat = enumeration('accept_stat', ACCEPT_STAT);

export const REJECT_STAT = { RPC_MISMATCH: 0, AUTH_ERROR: 1 } as const;
const reject_stat = enumeration('reject_stat', REJECT_STAT);

/** The first two words of every message: enough to tell a call from a reply and to match it. */
export const message_header = struct('rpc_msg', { xid: u32, mtype: msg_type });
export type message_header = Infer<typeof message_header>;

/** What follows the header of a CALL, up to the procedure's arguments. */
export const call_body = struct('call_body', {
  rpcvers: u32,
  prog: u32,
  vers: u32,
  proc: u32,
  cred: opaque_auth,
  verf: opaque_auth,
});
export type call_body = Infer<typeof call_body>;

const mismatch_info = struct('mismatch_info', { low: u32, high: u32 });

const accepted_reply_data = union('accepted_reply', 'stat', accept_stat, {
  [ACCEPT_STAT.SUCCESS]: nothing,
  [ACCEPT_STAT.PROG_UNAVAIL]: nothing,
  [ACCEPT_STAT.PROG_MISMATCH]: mismatch_info,
  [ACCEPT_STAT.PROC_UNAVAIL]: nothing,
  [ACCEPT_STAT.GARBAGE_ARGS]: nothing,
  [ACCEPT_STAT.SYSTEM_ERR]: nothing,
});

const accepted_reply = struct('accepted_reply', { verf: opaque_auth, data: accepted_reply_data });

const rejected_reply = union('rejected_reply', 'reject', reject_stat, {
  [REJECT_STAT.RPC_MISMATCH]: mismatch_info,
  [REJECT_STAT.AUTH_ERROR]: struct('auth_error', { why: auth_stat }),
});

/** What follows the header of a REPLY; with SUCCESS the procedure's result comes next. */
export const reply_body = union('reply_body', 'reply', reply_stat, {
  [REPLY_STAT.MSG_ACCEPTED]: accepted_reply,
  [REPLY_STAT.MSG_DENIED]: rejected_reply,
});
export type reply_body = Infer<typeof reply_body>;
