/** nfsstat3 and mountstat3: RFC 1813 sections 2.6 and 5.1.5. */
import { enumeration, type Infer } from '../xdr/codec.ts';

export const NFSSTAT3 = {
  NFS3_OK: 0,
  NFS3ERR_PERM: 1,
  NFS3ERR_NOENT: 2,
  NFS3ERR_IO: 5,
  NFS3ERR_NXIO: 6,
  NFS3ERR_ACCES: 13,
  NFS3ERR_EXIST: 17,
  NFS3ERR_XDEV: 18,
  NFS3ERR_NODEV: 19,
  NFS3ERR_NOTDIR: 20,
  NFS3ERR_ISDIR: 21,
  NFS3ERR_INVAL: 22,
  NFS3ERR_FBIG: 27,
  NFS3ERR_NOSPC: 28,
  NFS3ERR_ROFS: 30,
  NFS3ERR_MLINK: 31,
  NFS3ERR_NAMETOOLONG: 63,
  NFS3ERR_NOTEMPTY: 66,
  NFS3ERR_DQUOT: 69,
  NFS3ERR_STALE: 70,
  NFS3ERR_REMOTE: 71,
  NFS3ERR_BADHANDLE: 10001,
  NFS3ERR_NOT_SYNC: 10002,
  NFS3ERR_BAD_COOKIE: 10003,
  NFS3ERR_NOTSUPP: 10004,
  NFS3ERR_TOOSMALL: 10005,
  NFS3ERR_SERVERFAULT: 10006,
  NFS3ERR_BADTYPE: 10007,
  NFS3ERR_JUKEBOX: 10008,
} as const;
export const nfsstat3 = enumeration('nfsstat3', NFSSTAT3);
export type nfsstat3 = Infer<typeof nfsstat3>;
export const NFS3_OK = NFSSTAT3.NFS3_OK;
/** Every status but NFS3_OK. */
export type nfs3error = Exclude<nfsstat3, typeof NFS3_OK>;

export const MOUNTSTAT3 = {
  MNT3_OK: 0,
  MNT3ERR_PERM: 1,
  MNT3ERR_NOENT: 2,
  MNT3ERR_IO: 5,
  MNT3ERR_ACCES: 13,
  MNT3ERR_NOTDIR: 20,
  MNT3ERR_INVAL: 22,
  MNT3ERR_NAMETOOLONG: 63,
  MNT3ERR_NOTSUPP: 10004,
  MNT3ERR_SERVERFAULT: 10006,
} as const;
export const mountstat3 = enumeration('mountstat3', MOUNTSTAT3);
export type mountstat3 = Infer<typeof mountstat3>;
export const MNT3_OK = MOUNTSTAT3.MNT3_OK;

const STATUS_NAMES = new Map<number, string>(Object.entries(NFSSTAT3).map(([name, value]) => [value, name]));
const MOUNT_STATUS_NAMES = new Map<number, string>(
  Object.entries(MOUNTSTAT3).map(([name, value]) => [value, name]),
);

export function statusName(status: nfsstat3): string {
  return STATUS_NAMES.get(status) ?? String(status);
}

export function mountStatusName(status: mountstat3): string {
  return MOUNT_STATUS_NAMES.get(status) ?? String(status);
}
