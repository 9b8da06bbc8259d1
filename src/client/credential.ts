import { authSys, type opaque_auth } from '../rpc/auth.ts';

/** An AUTH_SYS credential, encoded once for all calls of one caller. */
export interface Credential {
  readonly auth: opaque_auth;
  /** Equal for equal uid, gid and groups. */
  readonly key: string;
}

/** @param groups supplementary groups; past the sixteenth they do not fit AUTH_SYS (RFC 5531 appendix A) */
export function authSysCredential(
  machineName: string,
  uid: number,
  gid: number,
  groups: readonly number[],
): Credential {
  const others = groups.filter((group) => group !== gid);
  return { auth: authSys(machineName, uid, gid, others), key: `${uid}:${gid}:${others.join(',')}` };
}
