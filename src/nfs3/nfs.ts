/** The NFS program, version 3: RFC 1813 section 3. One table drives dispatcher, stubs and tests. */
import {
  bool,
  enumeration,
  list,
  nothing,
  opaqueFixed,
  opaquePieces,
  optional,
  struct,
  u32,
  u64,
  union,
  type Codec,
  type Infer,
} from '../xdr/codec.ts';
import { procedure, type Program } from '../rpc/program.ts';
import {
  DIRECTORY_ENTRIES_MAX,
  NFS3_CREATEVERFSIZE,
  NFS3_WRITEVERFSIZE,
  TRANSFER_BYTES_MAX,
} from './limits.ts';
import { NFS3_OK, nfsstat3 } from './status.ts';
import {
  FTYPE3,
  cookieverf3,
  diropargs3,
  fattr3,
  filename3,
  ftype3,
  nfs_fh3,
  nfspath3,
  nfstime3,
  post_op_attr,
  post_op_fh3,
  sattr3,
  specdata3,
  wcc_data,
} from './types.ts';

/** `union switch (nfsstat3 status)`: NFS3_OK with its fields, every other status with the fields of failure. */
function result<R, F>(name: string, resok: Codec<R>, resfail: Codec<F>) {
  return union(name, 'status', nfsstat3, { [NFS3_OK]: resok }, resfail);
}

const withAttributes = struct('resfail', { obj_attributes: post_op_attr });
const withDirAttributes = struct('resfail', { dir_attributes: post_op_attr });
const withSymlinkAttributes = struct('resfail', { symlink_attributes: post_op_attr });
const withFileAttributes = struct('resfail', { file_attributes: post_op_attr });
const withWcc = struct('resfail', { wcc: wcc_data });

// 3.3.1 GETATTR
export const GETATTR3args = struct('GETATTR3args', { object: nfs_fh3 });
export type GETATTR3args = Infer<typeof GETATTR3args>;
export const GETATTR3res = result('GETATTR3res', struct('resok', { obj_attributes: fattr3 }), nothing);
export type GETATTR3res = Infer<typeof GETATTR3res>;

// 3.3.2 SETATTR
export const SETATTR3args = struct('SETATTR3args', {
  object: nfs_fh3,
  new_attributes: sattr3,
  guard: optional(nfstime3),
});
export type SETATTR3args = Infer<typeof SETATTR3args>;
export const SETATTR3res = result('SETATTR3res', struct('resok', { wcc: wcc_data }), withWcc);
export type SETATTR3res = Infer<typeof SETATTR3res>;

// 3.3.3 LOOKUP
export const LOOKUP3args = struct('LOOKUP3args', { what: diropargs3 });
export type LOOKUP3args = Infer<typeof LOOKUP3args>;
export const LOOKUP3res = result(
  'LOOKUP3res',
  struct('resok', { object: nfs_fh3, obj_attributes: post_op_attr, dir_attributes: post_op_attr }),
  withDirAttributes,
);
export type LOOKUP3res = Infer<typeof LOOKUP3res>;

// 3.3.4 ACCESS
export const ACCESS3_READ = 0x0001;
export const ACCESS3_LOOKUP = 0x0002;
export const ACCESS3_MODIFY = 0x0004;
export const ACCESS3_EXTEND = 0x0008;
export const ACCESS3_DELETE = 0x0010;
export const ACCESS3_EXECUTE = 0x0020;
export const ACCESS3args = struct('ACCESS3args', { object: nfs_fh3, access: u32 });
export type ACCESS3args = Infer<typeof ACCESS3args>;
export const ACCESS3res = result(
  'ACCESS3res',
  struct('resok', { obj_attributes: post_op_attr, access: u32 }),
  withAttributes,
);
export type ACCESS3res = Infer<typeof ACCESS3res>;

// 3.3.5 READLINK
export const READLINK3args = struct('READLINK3args', { symlink: nfs_fh3 });
export type READLINK3args = Infer<typeof READLINK3args>;
export const READLINK3res = result(
  'READLINK3res',
  struct('resok', { symlink_attributes: post_op_attr, data: nfspath3 }),
  withSymlinkAttributes,
);
export type READLINK3res = Infer<typeof READLINK3res>;

// 3.3.6 READ
export const READ3args = struct('READ3args', { file: nfs_fh3, offset: u64, count: u32 });
export type READ3args = Infer<typeof READ3args>;
export const READ3res = result(
  'READ3res',
  struct('resok', {
    file_attributes: post_op_attr,
    count: u32,
    eof: bool,
    data: opaquePieces('data', TRANSFER_BYTES_MAX),
  }),
  withFileAttributes,
);
export type READ3res = Infer<typeof READ3res>;

// 3.3.7 WRITE
export const STABLE_HOW = { UNSTABLE: 0, DATA_SYNC: 1, FILE_SYNC: 2 } as const;
export const stable_how = enumeration('stable_how', STABLE_HOW);
export const WRITE3args = struct('WRITE3args', {
  file: nfs_fh3,
  offset: u64,
  count: u32,
  stable: stable_how,
  data: opaquePieces('data', TRANSFER_BYTES_MAX),
});
export type WRITE3args = Infer<typeof WRITE3args>;
const writeverf3 = opaqueFixed('writeverf3', NFS3_WRITEVERFSIZE);
export const WRITE3res = result(
  'WRITE3res',
  struct('resok', { wcc: wcc_data, count: u32, committed: stable_how, verf: writeverf3 }),
  withWcc,
);
export type WRITE3res = Infer<typeof WRITE3res>;

// 3.3.8 CREATE
export const CREATEMODE3 = { UNCHECKED: 0, GUARDED: 1, EXCLUSIVE: 2 } as const;
const createmode3 = enumeration('createmode3', CREATEMODE3);
const createAttributes = struct('createhow3', { obj_attributes: sattr3 });
const createhow3 = union('createhow3', 'mode', createmode3, {
  [CREATEMODE3.UNCHECKED]: createAttributes,
  [CREATEMODE3.GUARDED]: createAttributes,
  [CREATEMODE3.EXCLUSIVE]: struct('createhow3', { verf: opaqueFixed('createverf3', NFS3_CREATEVERFSIZE) }),
});
export const CREATE3args = struct('CREATE3args', { where: diropargs3, how: createhow3 });
export type CREATE3args = Infer<typeof CREATE3args>;
const newObject = struct('resok', { obj: post_op_fh3, obj_attributes: post_op_attr, wcc: wcc_data });
export const CREATE3res = result('CREATE3res', newObject, withWcc);
export type CREATE3res = Infer<typeof CREATE3res>;

// 3.3.9 MKDIR
export const MKDIR3args = struct('MKDIR3args', { where: diropargs3, attributes: sattr3 });
export type MKDIR3args = Infer<typeof MKDIR3args>;
export const MKDIR3res = result('MKDIR3res', newObject, withWcc);

// 3.3.10 SYMLINK
export const SYMLINK3args = struct('SYMLINK3args', {
  where: diropargs3,
  symlink_attributes: sattr3,
  symlink_data: nfspath3,
});
export type SYMLINK3args = Infer<typeof SYMLINK3args>;
export const SYMLINK3res = result('SYMLINK3res', newObject, withWcc);

// 3.3.11 MKNOD
const deviceData = struct('devicedata3', { dev_attributes: sattr3, spec: specdata3 });
const pipeData = struct('mknoddata3', { pipe_attributes: sattr3 });
const mknoddata3 = union('mknoddata3', 'type', ftype3, {
  [FTYPE3.NF3CHR]: deviceData,
  [FTYPE3.NF3BLK]: deviceData,
  [FTYPE3.NF3SOCK]: pipeData,
  [FTYPE3.NF3FIFO]: pipeData,
  [FTYPE3.NF3REG]: nothing,
  [FTYPE3.NF3DIR]: nothing,
  [FTYPE3.NF3LNK]: nothing,
});
export const MKNOD3args = struct('MKNOD3args', { where: diropargs3, what: mknoddata3 });
export type MKNOD3args = Infer<typeof MKNOD3args>;
export const MKNOD3res = result('MKNOD3res', newObject, withWcc);

// 3.3.12 REMOVE, 3.3.13 RMDIR
export const REMOVE3args = struct('REMOVE3args', { object: diropargs3 });
export type REMOVE3args = Infer<typeof REMOVE3args>;
export const REMOVE3res = result('REMOVE3res', struct('resok', { wcc: wcc_data }), withWcc);
export const RMDIR3args = struct('RMDIR3args', { object: diropargs3 });
export type RMDIR3args = Infer<typeof RMDIR3args>;
export const RMDIR3res = result('RMDIR3res', struct('resok', { wcc: wcc_data }), withWcc);

// 3.3.14 RENAME
export const RENAME3args = struct('RENAME3args', { from: diropargs3, to: diropargs3 });
export type RENAME3args = Infer<typeof RENAME3args>;
const renameWcc = struct('resok', { fromdir_wcc: wcc_data, todir_wcc: wcc_data });
export const RENAME3res = result('RENAME3res', renameWcc, renameWcc);
export type RENAME3res = Infer<typeof RENAME3res>;

// 3.3.15 LINK
export const LINK3args = struct('LINK3args', { file: nfs_fh3, link: diropargs3 });
export type LINK3args = Infer<typeof LINK3args>;
const linkWcc = struct('resok', { file_attributes: post_op_attr, linkdir_wcc: wcc_data });
export const LINK3res = result('LINK3res', linkWcc, linkWcc);
export type LINK3res = Infer<typeof LINK3res>;

// 3.3.16 READDIR
export const READDIR3args = struct('READDIR3args', {
  dir: nfs_fh3,
  cookie: u64,
  cookieverf: cookieverf3,
  count: u32,
});
export type READDIR3args = Infer<typeof READDIR3args>;
export const entry3 = struct('entry3', { fileid: u64, name: filename3, cookie: u64 });
export type entry3 = Infer<typeof entry3>;
export const READDIR3res = result(
  'READDIR3res',
  struct('resok', {
    dir_attributes: post_op_attr,
    cookieverf: cookieverf3,
    entries: list(entry3, DIRECTORY_ENTRIES_MAX),
    eof: bool,
  }),
  withDirAttributes,
);
export type READDIR3res = Infer<typeof READDIR3res>;

// 3.3.17 READDIRPLUS
export const READDIRPLUS3args = struct('READDIRPLUS3args', {
  dir: nfs_fh3,
  cookie: u64,
  cookieverf: cookieverf3,
  dircount: u32,
  maxcount: u32,
});
export type READDIRPLUS3args = Infer<typeof READDIRPLUS3args>;
export const entryplus3 = struct('entryplus3', {
  fileid: u64,
  name: filename3,
  cookie: u64,
  name_attributes: post_op_attr,
  name_handle: post_op_fh3,
});
export type entryplus3 = Infer<typeof entryplus3>;
export const READDIRPLUS3res = result(
  'READDIRPLUS3res',
  struct('resok', {
    dir_attributes: post_op_attr,
    cookieverf: cookieverf3,
    entries: list(entryplus3, DIRECTORY_ENTRIES_MAX),
    eof: bool,
  }),
  withDirAttributes,
);
export type READDIRPLUS3res = Infer<typeof READDIRPLUS3res>;

// 3.3.18 FSSTAT
export const FSSTAT3args = struct('FSSTAT3args', { fsroot: nfs_fh3 });
export type FSSTAT3args = Infer<typeof FSSTAT3args>;
export const FSSTAT3res = result(
  'FSSTAT3res',
  struct('resok', {
    obj_attributes: post_op_attr,
    tbytes: u64,
    fbytes: u64,
    abytes: u64,
    tfiles: u64,
    ffiles: u64,
    afiles: u64,
    invarsec: u32,
  }),
  withAttributes,
);
export type FSSTAT3res = Infer<typeof FSSTAT3res>;

// 3.3.19 FSINFO
export const FSF3_LINK = 0x0001;
export const FSF3_SYMLINK = 0x0002;
export const FSF3_HOMOGENEOUS = 0x0008;
export const FSF3_CANSETTIME = 0x0010;
export const FSINFO3args = struct('FSINFO3args', { fsroot: nfs_fh3 });
export type FSINFO3args = Infer<typeof FSINFO3args>;
export const FSINFO3res = result(
  'FSINFO3res',
  struct('resok', {
    obj_attributes: post_op_attr,
    rtmax: u32,
    rtpref: u32,
    rtmult: u32,
    wtmax: u32,
    wtpref: u32,
    wtmult: u32,
    dtpref: u32,
    maxfilesize: u64,
    time_delta: nfstime3,
    properties: u32,
  }),
  withAttributes,
);
export type FSINFO3res = Infer<typeof FSINFO3res>;

// 3.3.20 PATHCONF
export const PATHCONF3args = struct('PATHCONF3args', { object: nfs_fh3 });
export type PATHCONF3args = Infer<typeof PATHCONF3args>;
export const PATHCONF3res = result(
  'PATHCONF3res',
  struct('resok', {
    obj_attributes: post_op_attr,
    linkmax: u32,
    name_max: u32,
    no_trunc: bool,
    chown_restricted: bool,
    case_insensitive: bool,
    case_preserving: bool,
  }),
  withAttributes,
);
export type PATHCONF3res = Infer<typeof PATHCONF3res>;

// 3.3.21 COMMIT
export const COMMIT3args = struct('COMMIT3args', { file: nfs_fh3, offset: u64, count: u32 });
export type COMMIT3args = Infer<typeof COMMIT3args>;
export const COMMIT3res = result('COMMIT3res', struct('resok', { wcc: wcc_data, verf: writeverf3 }), withWcc);
export type COMMIT3res = Infer<typeof COMMIT3res>;

const once = { idempotent: false } as const;

/** All 22 procedures. */
export const NFS_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  GETATTR: procedure(1, GETATTR3args, GETATTR3res),
  SETATTR: procedure(2, SETATTR3args, SETATTR3res, once),
  LOOKUP: procedure(3, LOOKUP3args, LOOKUP3res),
  ACCESS: procedure(4, ACCESS3args, ACCESS3res),
  READLINK: procedure(5, READLINK3args, READLINK3res),
  READ: procedure(6, READ3args, READ3res),
  WRITE: procedure(7, WRITE3args, WRITE3res),
  CREATE: procedure(8, CREATE3args, CREATE3res, once),
  MKDIR: procedure(9, MKDIR3args, MKDIR3res, once),
  SYMLINK: procedure(10, SYMLINK3args, SYMLINK3res, once),
  MKNOD: procedure(11, MKNOD3args, MKNOD3res, once),
  REMOVE: procedure(12, REMOVE3args, REMOVE3res, once),
  RMDIR: procedure(13, RMDIR3args, RMDIR3res, once),
  RENAME: procedure(14, RENAME3args, RENAME3res, once),
  LINK: procedure(15, LINK3args, LINK3res, once),
  READDIR: procedure(16, READDIR3args, READDIR3res),
  READDIRPLUS: procedure(17, READDIRPLUS3args, READDIRPLUS3res),
  FSSTAT: procedure(18, FSSTAT3args, FSSTAT3res),
  FSINFO: procedure(19, FSINFO3args, FSINFO3res),
  PATHCONF: procedure(20, PATHCONF3args, PATHCONF3res),
  COMMIT: procedure(21, COMMIT3args, COMMIT3res),
} as const;

export const NFS_PROGRAM: Program<typeof NFS_PROCEDURES> = {
  name: 'NFS',
  number: 100003,
  version: 3,
  procedures: NFS_PROCEDURES,
};
