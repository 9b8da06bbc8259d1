/** Basic data types of NFS version 3: RFC 1813 sections 2.5 and 2.6. */
import {
  enumeration,
  opaque,
  opaqueFixed,
  optional,
  struct,
  u32,
  u64,
  union,
  nothing,
  type Infer,
} from '../xdr/codec.ts';
import { FILENAME_BYTES_MAX, NFS3_COOKIEVERFSIZE, NFS3_FHSIZE, NFS_PATH_BYTES_MAX } from './limits.ts';

export const FTYPE3 = {
  NF3REG: 1,
  NF3DIR: 2,
  NF3BLK: 3,
  NF3CHR: 4,
  NF3LNK: 5,
  NF3SOCK: 6,
  NF3FIFO: 7,
} as const;
export const ftype3 = enumeration('ftype3', FTYPE3);
export type ftype3 = Infer<typeof ftype3>;

export const filename3 = opaque('filename3', FILENAME_BYTES_MAX);
export const nfspath3 = opaque('nfspath3', NFS_PATH_BYTES_MAX);
export const cookieverf3 = opaqueFixed('cookieverf3', NFS3_COOKIEVERFSIZE);

export const specdata3 = struct('specdata3', { specdata1: u32, specdata2: u32 });
export type specdata3 = Infer<typeof specdata3>;

export const nfs_fh3 = struct('nfs_fh3', { data: opaque('data', NFS3_FHSIZE) });
export type nfs_fh3 = Infer<typeof nfs_fh3>;

export const nfstime3 = struct('nfstime3', { seconds: u32, nseconds: u32 });
export type nfstime3 = Infer<typeof nfstime3>;

export const fattr3 = struct('fattr3', {
  type: ftype3,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  size: u64,
  used: u64,
  rdev: specdata3,
  fsid: u64,
  fileid: u64,
  atime: nfstime3,
  mtime: nfstime3,
  ctime: nfstime3,
});
export type fattr3 = Infer<typeof fattr3>;

export const post_op_attr = optional(fattr3);
export type post_op_attr = Infer<typeof post_op_attr>;

export const post_op_fh3 = optional(nfs_fh3);

export const wcc_attr = struct('wcc_attr', { size: u64, mtime: nfstime3, ctime: nfstime3 });
export type wcc_attr = Infer<typeof wcc_attr>;
export const wcc_data = struct('wcc_data', { before: optional(wcc_attr), after: post_op_attr });
export type wcc_data = Infer<typeof wcc_data>;

export const TIME_HOW = { DONT_CHANGE: 0, SET_TO_SERVER_TIME: 1, SET_TO_CLIENT_TIME: 2 } as const;
const time_how = enumeration('time_how', TIME_HOW);
const set_time = (name: string) =>
  union(name, 'set_it', time_how, {
    [TIME_HOW.DONT_CHANGE]: nothing,
    [TIME_HOW.SET_TO_SERVER_TIME]: nothing,
    [TIME_HOW.SET_TO_CLIENT_TIME]: struct('time', { time: nfstime3 }),
  });

export const sattr3 = struct('sattr3', {
  mode: optional(u32),
  uid: optional(u32),
  gid: optional(u32),
  size: optional(u64),
  atime: set_time('set_atime'),
  mtime: set_time('set_mtime'),
});
export type sattr3 = Infer<typeof sattr3>;

export const diropargs3 = struct('diropargs3', { dir: nfs_fh3, name: filename3 });
export type diropargs3 = Infer<typeof diropargs3>;
