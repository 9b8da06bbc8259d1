/**
 * The NFS_ACL program, version 3: POSIX ACLs beside NFS, as Solaris began it and Linux speaks it. No RFC has it; its
 * source is the kernel's fs/nfs_common/nfsacl.c, fs/nfsd/nfs3acl.c and include/uapi/linux/nfsacl.h.
 */
import { array, nothing, struct, u32, union, type Infer } from '../xdr/codec.ts';
import { procedure, type Program } from '../rpc/program.ts';
import { NFS_ACL_ENTRIES_MAX } from './limits.ts';
import { NFS3_OK, nfsstat3 } from './status.ts';
import { nfs_fh3, post_op_attr } from './types.ts';

/** What GETACL is asked for and answers: the access ACL, its count, the default ACL (directories), its count. */
export const NFS_ACL = 0x0001;
export const NFS_ACLCNT = 0x0002;
export const NFS_DFACL = 0x0004;
export const NFS_DFACLCNT = 0x0008;

/** Added to the type of each entry of a default ACL. */
export const NFS_ACL_DEFAULT = 0x1000;

export const aclent = struct('aclent', {
  /** A tag of posix-acl.ts, with NFS_ACL_DEFAULT in a default ACL. */
  type: u32,
  /** Of the owner and the owning group too; 0 where the entry is nobody's. */
  id: u32,
  /** r 4, w 2, x 1. */
  perm: u32,
});
export type aclent = Infer<typeof aclent>;

const ACLENT_BYTES = 12;
const entries = array(aclent, NFS_ACL_ENTRIES_MAX, ACLENT_BYTES);

/** `count` is told also where the entries were not asked for. */
const acl_list = struct('secattr', { count: u32, entries });

export const GETACL3args = struct('GETACL3args', { object: nfs_fh3, mask: u32 });
export type GETACL3args = Infer<typeof GETACL3args>;
export const GETACL3res = union(
  'GETACL3res',
  'status',
  nfsstat3,
  {
    [NFS3_OK]: struct('resok', {
      obj_attributes: post_op_attr,
      mask: u32,
      access: acl_list,
      default: acl_list,
    }),
  },
  struct('resfail', { obj_attributes: post_op_attr }),
);
export type GETACL3res = Infer<typeof GETACL3res>;

export const SETACL3args = struct('SETACL3args', {
  object: nfs_fh3,
  mask: u32,
  access: acl_list,
  default: acl_list,
});
export type SETACL3args = Infer<typeof SETACL3args>;
export const SETACL3res = union(
  'SETACL3res',
  'status',
  nfsstat3,
  { [NFS3_OK]: struct('resok', { obj_attributes: post_op_attr }) },
  struct('resfail', { obj_attributes: post_op_attr }),
);
export type SETACL3res = Infer<typeof SETACL3res>;

export const NFSACL_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  GETACL: procedure(1, GETACL3args, GETACL3res),
  SETACL: procedure(2, SETACL3args, SETACL3res),
} as const;

export const NFSACL_PROGRAM: Program<typeof NFSACL_PROCEDURES> = {
  name: 'NFSACL',
  number: 100227,
  version: 3,
  procedures: NFSACL_PROCEDURES,
};
