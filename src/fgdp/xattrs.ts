/**
 * Extended attributes by FGDP, after RFC 8276, which gave them to NFSv4.2: only those of the `user.` namespace, whose names
 * travel without it (section 8.2).
 */
import { array, enumeration, opaque, struct, u32, union, type Infer } from '../xdr/codec.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { fattr3, nfs_fh3, post_op_attr, wcc_data } from '../nfs3/types.ts';
import { procedure } from '../rpc/program.ts';
import { XATTR_KEYS_MAX, XATTR_KEY_BYTES_MAX, XATTR_VALUE_BYTES_MAX } from './limits.ts';
import { fgdp_stat } from './status.ts';

/** An extended attribute's name without `user.`. */
const xattrkey = opaque('xattrkey', XATTR_KEY_BYTES_MAX);
const xattrvalue = opaque('xattrvalue', XATTR_VALUE_BYTES_MAX);
/** At least the length of each name is on the wire. */
const XATTRKEY_BYTES_MIN = 4;

export const SETXATTR_OPTION = {
  EITHER: 0,
  /** NFS3ERR_EXIST where there is one of this name. */
  CREATE: 1,
  /** FGDPERR_NOXATTR where there is none. */
  REPLACE: 2,
} as const;
const setxattr_option = enumeration('setxattr_option', SETXATTR_OPTION);
export type setxattr_option = Infer<typeof setxattr_option>;

const resfail = struct('resfail', { obj_attributes: post_op_attr });

export const GETXATTRargs = struct('GETXATTRargs', { file: nfs_fh3, name: xattrkey });
export type GETXATTRargs = Infer<typeof GETXATTRargs>;
export const GETXATTRres = union(
  'GETXATTRres',
  'status',
  fgdp_stat,
  { [NFS3_OK]: struct('resok', { obj_attributes: fattr3, value: xattrvalue }) },
  resfail,
);
export type GETXATTRres = Infer<typeof GETXATTRres>;

export const SETXATTRargs = struct('SETXATTRargs', {
  file: nfs_fh3,
  option: setxattr_option,
  name: xattrkey,
  value: xattrvalue,
});
export type SETXATTRargs = Infer<typeof SETXATTRargs>;

export const LISTXATTRSargs = struct('LISTXATTRSargs', { file: nfs_fh3 });
export type LISTXATTRSargs = Infer<typeof LISTXATTRSargs>;
/** All names at once: Linux has no longer lists (XATTR_LIST_MAX). */
export const LISTXATTRSres = union(
  'LISTXATTRSres',
  'status',
  fgdp_stat,
  {
    [NFS3_OK]: struct('resok', {
      obj_attributes: fattr3,
      names: array(xattrkey, XATTR_KEYS_MAX, XATTRKEY_BYTES_MIN),
      /** NFS_ACL and NFS_DFACL of nfs3/nfsacl.ts: the POSIX ACLs that the file has, which NFSACL tells. */
      acls: u32,
    }),
  },
  resfail,
);
export type LISTXATTRSres = Infer<typeof LISTXATTRSres>;

export const REMOVEXATTRargs = struct('REMOVEXATTRargs', { file: nfs_fh3, name: xattrkey });
export type REMOVEXATTRargs = Infer<typeof REMOVEXATTRargs>;

/** Of SETXATTR and REMOVEXATTR. */
export const XATTRchangeres = struct('XATTRchangeres', { status: fgdp_stat, wcc: wcc_data });
export type XATTRchangeres = Infer<typeof XATTRchangeres>;

export const XATTR_PROCEDURES = {
  GETXATTR: procedure(16, GETXATTRargs, GETXATTRres),
  SETXATTR: procedure(17, SETXATTRargs, XATTRchangeres, { idempotent: false }),
  LISTXATTRS: procedure(18, LISTXATTRSargs, LISTXATTRSres),
  REMOVEXATTR: procedure(19, REMOVEXATTRargs, XATTRchangeres, { idempotent: false }),
} as const;
