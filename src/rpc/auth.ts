/** Authentication: RFC 5531 section 8 and appendix A (AUTH_SYS). */
import { array, decodeAll, encodeAll, enumeration, opaque, struct, u32, type Infer } from '../xdr/codec.ts';
import { AUTH_BODY_BYTES_MAX, AUTH_MACHINENAME_BYTES_MAX, AUTH_SYS_GROUPS_MAX } from './limits.ts';

export const AUTH_NONE = 0;
export const AUTH_SYS = 1;
/** RFC 5531 section 8.2: a credential that this server has named before. */
export const AUTH_SHORT = 2;

/** The flavor stays a plain number: an unknown one is answered with AUTH_BADCRED, it is not garbage. */
export const opaque_auth = struct('opaque_auth', { flavor: u32, body: opaque('body', AUTH_BODY_BYTES_MAX) });
export type opaque_auth = Infer<typeof opaque_auth>;

export const authsys_parms = struct('authsys_parms', {
  stamp: u32,
  machinename: opaque('machinename', AUTH_MACHINENAME_BYTES_MAX),
  uid: u32,
  gid: u32,
  gids: array(u32, AUTH_SYS_GROUPS_MAX),
});
export type authsys_parms = Infer<typeof authsys_parms>;

export const auth_stat = enumeration('auth_stat', {
  AUTH_OK: 0,
  AUTH_BADCRED: 1,
  AUTH_REJECTEDCRED: 2,
  AUTH_BADVERF: 3,
  AUTH_REJECTEDVERF: 4,
  AUTH_TOOWEAK: 5,
  AUTH_INVALIDRESP: 6,
  AUTH_FAILED: 7,
});
export type auth_stat = Infer<typeof auth_stat>;
export const AUTH_BADCRED = 1;
export const AUTH_REJECTEDCRED = 2;
export const AUTH_TOOWEAK = 5;

export const NO_AUTH: opaque_auth = { flavor: AUTH_NONE, body: new Uint8Array(0) };

export interface SysCredential {
  readonly flavor: 'sys';
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Who a call says it comes from. Groups past the sixteenth do not fit AUTH_SYS and are cut by `authSys`. */
export type Credential = { readonly flavor: 'none' } | SysCredential;

export const ANONYMOUS: Credential = { flavor: 'none' };

/** The opaque_auth of an AUTH_SYS credential; at most 16 groups go over the wire. */
export function authSys(
  machineName: string,
  uid: number,
  gid: number,
  groups: readonly number[],
): opaque_auth {
  const body = encodeAll(authsys_parms, {
    stamp: 0,
    machinename: Buffer.from(machineName).subarray(0, AUTH_MACHINENAME_BYTES_MAX),
    uid,
    gid,
    gids: groups.slice(0, AUTH_SYS_GROUPS_MAX),
  });
  return { flavor: AUTH_SYS, body: Buffer.concat(body) };
}

/** The AUTH_SHORT credential that stands for one the server has named by `shorthand`. */
export function authShort(shorthand: Uint8Array): opaque_auth {
  return { flavor: AUTH_SHORT, body: shorthand };
}

/** The credential behind an opaque_auth; undefined for a flavor not spoken here. Throws XdrError on a bad body. */
export function readCredential(auth: opaque_auth): Credential | undefined {
  if (auth.flavor === AUTH_NONE) return ANONYMOUS;
  if (auth.flavor !== AUTH_SYS) return undefined;
  const parms = decodeAll(authsys_parms, [auth.body]);
  return { flavor: 'sys', uid: parms.uid, gid: parms.gid, groups: parms.gids };
}
