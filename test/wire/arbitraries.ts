/**
 * Values of every structure of the procedure tables, for property tests: one arbitrary for each declaration,
 * under the declaration's name.
 */
import fc, { type Arbitrary } from 'fast-check';
import {
  MSG_TYPE,
  REJECT_STAT,
  REPLY_STAT,
  type call_body,
  type message_header,
  type reply_body,
} from '../../src/rpc/message.ts';
import type { authsys_parms } from '../../src/rpc/auth.ts';
import type { ArgsOf, Procedures, ResultOf } from '../../src/rpc/program.ts';
import {
  CREATEMODE3,
  STABLE_HOW,
  type NFS_PROCEDURES,
  type CREATE3args,
  type MKNOD3args,
} from '../../src/nfs3/nfs.ts';
import type { NFSACL_PROCEDURES } from '../../src/nfs3/nfsacl.ts';
import type { MOUNT_PROCEDURES } from '../../src/nfs3/mount.ts';
import { MOUNTSTAT3, NFS3_OK, NFSSTAT3, type mountstat3, type nfs3error } from '../../src/nfs3/status.ts';
import { FTYPE3, TIME_HOW } from '../../src/nfs3/types.ts';
import type * as nfs from '../../src/nfs3/types.ts';
import type { Infer } from '../../src/xdr/codec.ts';
import {
  CLIENT_ID_BYTES,
  EXPORT_LEVEL,
  GRANT_STAT,
  HELLO_STAT,
  MAP_STAT,
  NONCE_BYTES,
  PUBLIC_KEY_BYTES,
  SERVER_ID_BYTES,
  SHARED_FILE_KIND,
  SUBSCRIBE_STAT,
  SIGNATURE_BYTES,
  TOKEN_BYTES,
  type FGDP_PROCEDURES,
} from '../../src/fgdp/program.ts';
import { LOCK_KIND, LOCK_STAT, LOCK_TYPE, TEST_STAT } from '../../src/fgdp/locks.ts';
import { XATTR_KEY_BYTES_MAX } from '../../src/fgdp/limits.ts';
import { SEEK_WHAT } from '../../src/fgdp/space.ts';
import { FGDP_STAT, type fgdperror } from '../../src/fgdp/status.ts';
import { SETXATTR_OPTION } from '../../src/fgdp/xattrs.ts';

export type ProcedureArbitraries<P extends Procedures> = {
  readonly [K in keyof P]: {
    readonly args: Arbitrary<ArgsOf<P[K]>>;
    readonly result: Arbitrary<ResultOf<P[K]>>;
  };
};

const record = <T>(fields: { [K in keyof T]: Arbitrary<T[K]> }): Arbitrary<T> =>
  fc.record(fields, { noNullPrototype: true });
const bytes = (maxLength: number, minLength = 0) => fc.uint8Array({ minLength, maxLength });
const exactly = (length: number) => bytes(length, length);
const optional = <T>(value: Arbitrary<T>): Arbitrary<T | null> => fc.option(value, { nil: null });
const oneOf = <T>(values: Readonly<Record<string, T>>): Arbitrary<T> =>
  fc.constantFrom(...Object.values(values));
const few = <T>(value: Arbitrary<T>): Arbitrary<T[]> => fc.array(value, { maxLength: 4 });

/** Words and their edges: plain random numbers hardly ever meet 0 or the sign bit. */
const u32 = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff));
const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n),
);
const nothing = fc.constant(undefined);
/** Bulk data in one or several pieces, some of them over the size that is kept by reference. */
const pieces = fc.oneof(
  few(bytes(300, 1)),
  fc.integer({ min: 2040, max: 5000 }).map((size) => [Buffer.alloc(size, size)]),
);

// rpc
const opaque_auth = record({ flavor: u32, body: bytes(400) });
export const authsys: Arbitrary<authsys_parms> = record<authsys_parms>({
  stamp: u32,
  machinename: bytes(255),
  uid: u32,
  gid: u32,
  gids: fc.array(u32, { maxLength: 16 }),
});
export const header: Arbitrary<message_header> = record<message_header>({ xid: u32, mtype: oneOf(MSG_TYPE) });
export const callBody: Arbitrary<call_body> = record<call_body>({
  rpcvers: u32,
  prog: u32,
  vers: u32,
  proc: u32,
  cred: opaque_auth,
  verf: opaque_auth,
});
export const replyBody: Arbitrary<reply_body> = fc.oneof(
  record({
    reply: fc.constant(REPLY_STAT.MSG_ACCEPTED),
    verf: opaque_auth,
    data: fc.oneof(
      record({ stat: fc.constantFrom(0, 1, 3, 4, 5) }),
      record({ stat: fc.constant(2), low: u32, high: u32 }),
    ),
  }),
  record({
    reply: fc.constant(REPLY_STAT.MSG_DENIED),
    reject: fc.constant(REJECT_STAT.RPC_MISMATCH),
    low: u32,
    high: u32,
  }),
  record({
    reply: fc.constant(REPLY_STAT.MSG_DENIED),
    reject: fc.constant(REJECT_STAT.AUTH_ERROR),
    why: fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7),
  }),
);

// nfs3/types
const nfs_fh3 = record<nfs.nfs_fh3>({ data: bytes(64) });
const filename3 = bytes(255);
const nfspath3 = bytes(600);
const verifier = exactly(8);
const nfstime3 = record<nfs.nfstime3>({ seconds: u32, nseconds: u32 });
const specdata3 = record({ specdata1: u32, specdata2: u32 });
const fattr3 = record<nfs.fattr3>({
  type: oneOf(FTYPE3),
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
const post_op_attr = optional(fattr3);
const post_op_fh3 = optional(nfs_fh3);
const wcc_attr = record<Infer<typeof nfs.wcc_attr>>({ size: u64, mtime: nfstime3, ctime: nfstime3 });
const wcc_data = record({ before: optional(wcc_attr), after: post_op_attr });
const set_time: Arbitrary<nfs.sattr3['atime']> = fc.oneof(
  record({ set_it: fc.constantFrom(TIME_HOW.DONT_CHANGE, TIME_HOW.SET_TO_SERVER_TIME) }),
  record({ set_it: fc.constant(TIME_HOW.SET_TO_CLIENT_TIME), time: nfstime3 }),
);
const sattr3 = record<nfs.sattr3>({
  mode: optional(u32),
  uid: optional(u32),
  gid: optional(u32),
  size: optional(u64),
  atime: set_time,
  mtime: set_time,
});
const diropargs3 = record({ dir: nfs_fh3, name: filename3 });

// nfs3/nfs
const ok = fc.constant(NFSSTAT3.NFS3_OK);
const failed = oneOf(NFSSTAT3).filter((status): status is nfs3error => status !== NFSSTAT3.NFS3_OK);
const attributes = { obj_attributes: post_op_attr };
const dirAttributes = { dir_attributes: post_op_attr };
const wcc = { wcc: wcc_data };
const stable_how = oneOf(STABLE_HOW);
const newObject = { obj: post_op_fh3, obj_attributes: post_op_attr, wcc: wcc_data };
const renameWcc = { fromdir_wcc: wcc_data, todir_wcc: wcc_data };
const linkWcc = { file_attributes: post_op_attr, linkdir_wcc: wcc_data };

type Fields<F> = { [K in keyof F]: F[K] extends Arbitrary<infer T> ? T : never };
type Result<R, F> = (Fields<R> & { status: typeof NFSSTAT3.NFS3_OK }) | (Fields<F> & { status: nfs3error });
/** Either arm of `union switch (nfsstat3 status)`. */
const result = <R extends Record<string, Arbitrary<unknown>>, F extends Record<string, Arbitrary<unknown>>>(
  resok: R,
  resfail: F,
): Arbitrary<Result<R, F>> =>
  fc.oneof(
    { arbitrary: fc.record({ status: ok, ...resok }, { noNullPrototype: true }), weight: 3 },
    { arbitrary: fc.record({ status: failed, ...resfail }, { noNullPrototype: true }), weight: 1 },
  ) as unknown as Arbitrary<Result<R, F>>;

type How = CREATE3args['how'];
const createhow3: Arbitrary<How> = fc.oneof(
  record({ mode: fc.constantFrom(CREATEMODE3.UNCHECKED, CREATEMODE3.GUARDED), obj_attributes: sattr3 }),
  record({ mode: fc.constant(CREATEMODE3.EXCLUSIVE), verf: verifier }),
);
type What = MKNOD3args['what'];
const mknoddata3: Arbitrary<What> = fc.oneof(
  record({
    type: fc.constantFrom(FTYPE3.NF3CHR, FTYPE3.NF3BLK),
    dev_attributes: sattr3,
    spec: specdata3,
  }),
  record({ type: fc.constantFrom(FTYPE3.NF3SOCK, FTYPE3.NF3FIFO), pipe_attributes: sattr3 }),
  record({ type: fc.constantFrom(FTYPE3.NF3REG, FTYPE3.NF3DIR, FTYPE3.NF3LNK) }),
);
const entry3 = { fileid: u64, name: filename3, cookie: u64 };

export const NFS_ARBITRARIES: ProcedureArbitraries<typeof NFS_PROCEDURES> = {
  NULL: { args: nothing, result: nothing },
  GETATTR: { args: record({ object: nfs_fh3 }), result: result({ obj_attributes: fattr3 }, {}) },
  SETATTR: {
    args: record({ object: nfs_fh3, new_attributes: sattr3, guard: optional(nfstime3) }),
    result: result(wcc, wcc),
  },
  LOOKUP: {
    args: record({ what: diropargs3 }),
    result: result({ object: nfs_fh3, obj_attributes: post_op_attr, ...dirAttributes }, dirAttributes),
  },
  ACCESS: {
    args: record({ object: nfs_fh3, access: u32 }),
    result: result({ ...attributes, access: u32 }, attributes),
  },
  READLINK: {
    args: record({ symlink: nfs_fh3 }),
    result: result(
      { symlink_attributes: post_op_attr, data: nfspath3 },
      { symlink_attributes: post_op_attr },
    ),
  },
  READ: {
    args: record({ file: nfs_fh3, offset: u64, count: u32 }),
    result: result(
      { file_attributes: post_op_attr, count: u32, eof: fc.boolean(), data: pieces },
      { file_attributes: post_op_attr },
    ),
  },
  WRITE: {
    args: record({ file: nfs_fh3, offset: u64, count: u32, stable: stable_how, data: pieces }),
    result: result({ ...wcc, count: u32, committed: stable_how, verf: verifier }, wcc),
  },
  CREATE: { args: record({ where: diropargs3, how: createhow3 }), result: result(newObject, wcc) },
  MKDIR: { args: record({ where: diropargs3, attributes: sattr3 }), result: result(newObject, wcc) },
  SYMLINK: {
    args: record({ where: diropargs3, symlink_attributes: sattr3, symlink_data: nfspath3 }),
    result: result(newObject, wcc),
  },
  MKNOD: { args: record({ where: diropargs3, what: mknoddata3 }), result: result(newObject, wcc) },
  REMOVE: { args: record({ object: diropargs3 }), result: result(wcc, wcc) },
  RMDIR: { args: record({ object: diropargs3 }), result: result(wcc, wcc) },
  RENAME: { args: record({ from: diropargs3, to: diropargs3 }), result: result(renameWcc, renameWcc) },
  LINK: { args: record({ file: nfs_fh3, link: diropargs3 }), result: result(linkWcc, linkWcc) },
  READDIR: {
    args: record({ dir: nfs_fh3, cookie: u64, cookieverf: verifier, count: u32 }),
    result: result(
      { ...dirAttributes, cookieverf: verifier, entries: few(record(entry3)), eof: fc.boolean() },
      dirAttributes,
    ),
  },
  READDIRPLUS: {
    args: record({ dir: nfs_fh3, cookie: u64, cookieverf: verifier, dircount: u32, maxcount: u32 }),
    result: result(
      {
        ...dirAttributes,
        cookieverf: verifier,
        entries: few(record({ ...entry3, name_attributes: post_op_attr, name_handle: post_op_fh3 })),
        eof: fc.boolean(),
      },
      dirAttributes,
    ),
  },
  FSSTAT: {
    args: record({ fsroot: nfs_fh3 }),
    result: result(
      {
        ...attributes,
        tbytes: u64,
        fbytes: u64,
        abytes: u64,
        tfiles: u64,
        ffiles: u64,
        afiles: u64,
        invarsec: u32,
      },
      attributes,
    ),
  },
  FSINFO: {
    args: record({ fsroot: nfs_fh3 }),
    result: result(
      {
        ...attributes,
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
      },
      attributes,
    ),
  },
  PATHCONF: {
    args: record({ object: nfs_fh3 }),
    result: result(
      {
        ...attributes,
        linkmax: u32,
        name_max: u32,
        no_trunc: fc.boolean(),
        chown_restricted: fc.boolean(),
        case_insensitive: fc.boolean(),
        case_preserving: fc.boolean(),
      },
      attributes,
    ),
  },
  COMMIT: {
    args: record({ file: nfs_fh3, offset: u64, count: u32 }),
    result: result({ ...wcc, verf: verifier }, wcc),
  },
};

// nfs3/nfsacl
const acl = record({ count: u32, entries: few(record({ type: u32, id: u32, perm: u32 })) });

export const NFSACL_ARBITRARIES: ProcedureArbitraries<typeof NFSACL_PROCEDURES> = {
  NULL: { args: nothing, result: nothing },
  GETACL: {
    args: record({ object: nfs_fh3, mask: u32 }),
    result: result({ ...attributes, mask: u32, access: acl, default: acl }, attributes),
  },
  SETACL: {
    args: record({ object: nfs_fh3, mask: u32, access: acl, default: acl }),
    result: result(attributes, attributes),
  },
};

// nfs3/mount
const dirpath = bytes(1024);
const mountName = bytes(255);
const mountFailed = oneOf(MOUNTSTAT3).filter(
  (status): status is Exclude<mountstat3, typeof MOUNTSTAT3.MNT3_OK> => status !== MOUNTSTAT3.MNT3_OK,
);

export const MOUNT_ARBITRARIES: ProcedureArbitraries<typeof MOUNT_PROCEDURES> = {
  NULL: { args: nothing, result: nothing },
  MNT: {
    args: dirpath,
    result: fc.oneof(
      record({
        status: fc.constant(MOUNTSTAT3.MNT3_OK),
        fhandle: bytes(64),
        auth_flavors: fc.array(u32, { maxLength: 32 }),
      }),
      record({ status: mountFailed }),
    ),
  },
  DUMP: { args: nothing, result: few(record({ ml_hostname: mountName, ml_directory: dirpath })) },
  UMNT: { args: dirpath, result: nothing },
  UMNTALL: { args: nothing, result: nothing },
  EXPORT: { args: nothing, result: few(record({ ex_dir: dirpath, ex_groups: few(mountName) })) },
};

// fgdp
const page_handle = record({ shared_file: u64, offset: u64, length: u64, generation: u64 });
type Grant = Extract<ResultOf<(typeof FGDP_PROCEDURES)['GRANT']>, { body: unknown }>['body'];
const grant: Arbitrary<Grant> = fc.oneof(
  record({
    grant: fc.constant(GRANT_STAT.GRANTED),
    grant_id: u64,
    kind: oneOf(SHARED_FILE_KIND),
    handle: page_handle,
    writable: fc.boolean(),
    access: u32,
  }),
  record({ grant: fc.constant(GRANT_STAT.USE_WIRE), reason: bytes(255) }),
);

type MapBody = Extract<ResultOf<(typeof FGDP_PROCEDURES)['MAP']>, { body: unknown }>['body'];
const mapBody: Arbitrary<MapBody> = fc.oneof(
  record({
    map: fc.constant(MAP_STAT.MAPPED),
    offset: u64,
    handles: fc.array(page_handle, { maxLength: 20 }),
    eof: fc.boolean(),
  }),
  record({ map: fc.constant(MAP_STAT.USE_READ), reason: bytes(255) }),
);

const lockRange = { file: nfs_fh3, kind: oneOf(LOCK_KIND), owner: u64, start: u64, end: u64 };
const lockFound: Arbitrary<LockFound> = fc.oneof(
  record({ test: fc.constantFrom(TEST_STAT.FREE, TEST_STAT.GRACE) }),
  record({
    test: fc.constant(TEST_STAT.HELD),
    type: oneOf(LOCK_TYPE),
    start: u64,
    end: u64,
    pid: u32,
  }),
);
type LockFound = Extract<ResultOf<(typeof FGDP_PROCEDURES)['TEST']>, { body: unknown }>['body'];

type Subscription = Extract<ResultOf<(typeof FGDP_PROCEDURES)['SUBSCRIBE']>, { body: unknown }>['body'];
const subscription: Arbitrary<Subscription> = fc.oneof(
  record({ subscription: fc.constant(SUBSCRIBE_STAT.SUBSCRIBED) }),
  record({ subscription: fc.constant(SUBSCRIBE_STAT.NOT_WATCHED), reason: bytes(255) }),
);

const xattrkey = bytes(XATTR_KEY_BYTES_MAX);
const fgdpFailed = oneOf(FGDP_STAT).filter((status): status is fgdperror => status !== FGDP_STAT.NFS3_OK);
/** A result of FGDP that has its own statuses. */
function fgdpResult<Ok, Failed>(
  ok: { [K in keyof Ok]: Arbitrary<Ok[K]> },
  other: { [K in keyof Failed]: Arbitrary<Failed[K]> },
) {
  return fc.oneof(
    record({ status: fc.constant(NFS3_OK), ...ok }),
    record({ status: fgdpFailed, ...other }),
  ) as unknown as Arbitrary<({ status: typeof NFS3_OK } & Ok) | ({ status: fgdperror } & Failed)>;
}

export const FGDP_ARBITRARIES: ProcedureArbitraries<typeof FGDP_PROCEDURES> = {
  SUBSCRIBE: {
    args: record({ root: nfs_fh3 }),
    result: fc.oneof(
      record({ status: fc.constant(NFS3_OK), body: subscription }),
      record({ status: failed }),
    ),
  },
  LEVEL: {
    args: record({ root: nfs_fh3 }),
    result: fc.oneof(
      record({ status: fc.constant(NFS3_OK), level: oneOf(EXPORT_LEVEL), reason: bytes(255) }),
      record({ status: failed }),
    ),
  },
  NULL: { args: nothing, result: nothing },
  HELLO: {
    args: record({
      version: u32,
      features: u32,
      nonce: exactly(NONCE_BYTES),
      channel_token: bytes(TOKEN_BYTES),
    }),
    result: fc.oneof(
      record({
        status: fc.constant(HELLO_STAT.HELLO_OK),
        version: u32,
        features: u32,
        server_id: exactly(SERVER_ID_BYTES),
        server_name: bytes(255),
        boot_id: bytes(64),
        public_key: exactly(PUBLIC_KEY_BYTES),
        signature: exactly(SIGNATURE_BYTES),
        channel: fc.boolean(),
      }),
      record({ status: fc.constant(HELLO_STAT.HELLO_VERSION), low: u32, high: u32 }),
    ),
  },
  GRANT: {
    args: record({ file: nfs_fh3, wants: u32 }),
    result: result({ file_attributes: fattr3, body: grant }, { file_attributes: post_op_attr }),
  },
  CREDENTIAL: {
    args: record({ uid: u32, gid: u32, groups: fc.array(u32, { maxLength: 64 }) }),
    result: record({ shorthand: bytes(400) }),
  },
  RELEASE: { args: record({ grants: fc.array(u64, { maxLength: 20 }) }), result: nothing },
  MAP: {
    args: record({ file: nfs_fh3, offset: u64, count: u32 }),
    result: result({ file_attributes: fattr3, body: mapBody }, { file_attributes: post_op_attr }),
  },
  UNMAP: {
    args: record({ handles: fc.array(page_handle, { maxLength: 20 }), discard: fc.boolean() }),
    result: nothing,
  },
  CLIENT: { args: record({ client_id: exactly(CLIENT_ID_BYTES) }), result: nothing },
  LOCK: {
    args: record({
      ...lockRange,
      pid: u32,
      type: oneOf(LOCK_TYPE),
      wait: fc.boolean(),
      reclaim: fc.boolean(),
      cookie: u64,
    }),
    result: fc.oneof(
      record({ status: fc.constant(NFS3_OK), outcome: oneOf(LOCK_STAT) }),
      record({ status: failed }),
    ),
  },
  TEST: {
    args: record({ ...lockRange, type: oneOf(LOCK_TYPE) }),
    result: fc.oneof(record({ status: fc.constant(NFS3_OK), body: lockFound }), record({ status: failed })),
  },
  UNLOCK: {
    args: record(lockRange),
    result: record({ status: fc.oneof(fc.constant(NFS3_OK), failed) }),
  },
  RECLAIM_DONE: { args: nothing, result: nothing },
  CANCEL: {
    args: record({ cookie: u64 }),
    result: record({ status: fc.oneof(fc.constant(NFS3_OK), failed), was_waiting: fc.boolean() }),
  },
  GETXATTR: {
    args: record({ file: nfs_fh3, name: xattrkey }),
    result: fgdpResult({ obj_attributes: fattr3, value: bytes(300) }, { obj_attributes: post_op_attr }),
  },
  SETXATTR: {
    args: record({ file: nfs_fh3, option: oneOf(SETXATTR_OPTION), name: xattrkey, value: bytes(300) }),
    result: record({ status: oneOf(FGDP_STAT), wcc: wcc_data }),
  },
  LISTXATTRS: {
    args: record({ file: nfs_fh3 }),
    result: fgdpResult(
      { obj_attributes: fattr3, names: fc.array(xattrkey, { maxLength: 20 }), acls: u32 },
      { obj_attributes: post_op_attr },
    ),
  },
  REMOVEXATTR: {
    args: record({ file: nfs_fh3, name: xattrkey }),
    result: record({ status: oneOf(FGDP_STAT), wcc: wcc_data }),
  },
  ALLOCATE: {
    args: record({ file: nfs_fh3, mode: u32, offset: u64, length: u64 }),
    result: record({ status: oneOf(FGDP_STAT), wcc: wcc_data }),
  },
  SEEK: {
    args: record({ file: nfs_fh3, offset: u64, what: oneOf(SEEK_WHAT) }),
    result: fgdpResult({ obj_attributes: fattr3, offset: u64 }, { obj_attributes: post_op_attr }),
  },
  COPY: {
    args: record({ file: nfs_fh3, offset: u64, source: nfs_fh3, source_offset: u64, count: u64 }),
    result: fgdpResult({ wcc: wcc_data, count: u64 }, { wcc: wcc_data }),
  },
};
