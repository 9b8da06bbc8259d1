/**
 * How FGDP's procedures about extended attributes and space end: nfsstat3, and what it has no number for. Those numbers
 * are NFSv4.2's (RFC 8276 section 8.3).
 */
import { errnoOfStatus } from '../nfs3/errno.ts';
import { NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import { enumeration, type Infer } from '../xdr/codec.ts';

/** What nfsstat3 lacks. */
const FGDP_ONLY = {
  /** There is no such extended attribute. */
  FGDPERR_NOXATTR: 10095,
  /** The value is larger than the file system keeps, or the names are more than it can list. */
  FGDPERR_XATTR2BIG: 10096,
} as const;

export const FGDP_STAT = { ...NFSSTAT3, ...FGDP_ONLY } as const;
export const fgdp_stat = enumeration('fgdp_stat', FGDP_STAT);
export type fgdp_stat = Infer<typeof fgdp_stat>;
/** Every status but NFS3_OK. */
export type fgdperror = Exclude<fgdp_stat, typeof NFSSTAT3.NFS3_OK>;
type OnlyHere = (typeof FGDP_ONLY)[keyof typeof FGDP_ONLY];

const ERANGE = 34;
/** Numbers of Linux. */
const ERRNO_OF: Readonly<Record<OnlyHere, number>> = {
  [FGDP_ONLY.FGDPERR_NOXATTR]: 61, // ENODATA
  [FGDP_ONLY.FGDPERR_XATTR2BIG]: 7, // E2BIG
};

/** A status of NFS as it is; undefined for one that only FGDP has. */
export function nfsStatusOf(status: fgdperror): nfs3error | undefined {
  return isOnlyHere(status) ? undefined : status;
}

export function errnoOfFgdpStatus(status: fgdperror): number {
  return isOnlyHere(status) ? ERRNO_OF[status] : errnoOfStatus(status);
}

/** The status for an errno that NFS has none for, or another one; of calls about extended attributes. */
export function xattrStatusOfErrno(errno: number): OnlyHere | undefined {
  if (errno === ERRNO_OF[FGDP_ONLY.FGDPERR_NOXATTR]) return FGDP_ONLY.FGDPERR_NOXATTR;
  // Some file systems answer ERANGE for a value that they have no room for.
  const isTooBig = errno === ERRNO_OF[FGDP_ONLY.FGDPERR_XATTR2BIG] || errno === ERANGE;
  return isTooBig ? FGDP_ONLY.FGDPERR_XATTR2BIG : undefined;
}

function isOnlyHere(status: fgdperror): status is OnlyHere {
  return status === FGDP_ONLY.FGDPERR_NOXATTR || status === FGDP_ONLY.FGDPERR_XATTR2BIG;
}
