import { authSys, type opaque_auth } from '../rpc/auth.ts';
import { AUTH_SYS_GROUPS_MAX } from '../rpc/limits.ts';

/** A caller with more groups than AUTH_SYS can carry. */
export interface WideCredential {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, all of them, without `gid`. */
  readonly groups: readonly number[];
  /** Equal for equal uid, gid and groups. */
  readonly key: string;
}

/** What a call says about its caller. */
export interface CallCredential {
  /** AUTH_SYS; of a wide caller with the groups that fit. */
  readonly auth: opaque_auth;
  /** Equal for equal uid, gid and groups. */
  readonly key: string;
  readonly wide: WideCredential | undefined;
}

/** An AUTH_SYS credential, encoded once for all calls of one caller. */
export interface Credential extends CallCredential {
  /**
   * The credential for a call about files of these groups. It differs for wide callers only: such a group comes first,
   * and the lowest numbers after it, so that the same question is always asked in the same name.
   */
  forFilesOf(gids: readonly number[]): CallCredential;
}

/** @param groups supplementary groups; past the sixteenth they do not fit AUTH_SYS (RFC 5531 appendix A) */
export function authSysCredential(
  machineName: string,
  uid: number,
  gid: number,
  groups: readonly number[],
): Credential {
  const others = groups.filter((group) => group !== gid);
  const key = `${uid}:${gid}:${others.join(',')}`;
  if (others.length <= AUTH_SYS_GROUPS_MAX) {
    const call = { auth: authSys(machineName, uid, gid, others), key, wide: undefined };
    return { ...call, forFilesOf: () => call };
  }
  const wide = { uid, gid, groups: others, key };
  const ascending = [...others].sort((a, b) => a - b);
  const lowest = { auth: authSys(machineName, uid, gid, ascending), key, wide };
  return {
    ...lowest,
    forFilesOf: (gids) => {
      const first = new Set(gids.filter((group) => others.includes(group)));
      if (first.size === 0) return lowest;
      const chosen = [...first, ...ascending.filter((group) => !first.has(group))];
      return { auth: authSys(machineName, uid, gid, chosen), key, wide };
    },
  };
}
