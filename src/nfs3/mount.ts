/** The MOUNT program, version 3: RFC 1813 section 5 (appendix I). */
import { array, list, nothing, opaque, struct, u32, union, type Infer } from '../xdr/codec.ts';
import { procedure, type Program } from '../rpc/program.ts';
import { MNTNAMLEN, MNTPATHLEN, MOUNT_FLAVORS_MAX, MOUNT_LIST_MAX, NFS3_FHSIZE } from './limits.ts';
import { MNT3_OK, mountstat3 } from './status.ts';

const fhandle3 = opaque('fhandle3', NFS3_FHSIZE);
const dirpath = opaque('dirpath', MNTPATHLEN);
const name = opaque('name', MNTNAMLEN);

export const mountres3 = union(
  'mountres3',
  'status',
  mountstat3,
  { [MNT3_OK]: struct('mountres3_ok', { fhandle: fhandle3, auth_flavors: array(u32, MOUNT_FLAVORS_MAX) }) },
  nothing,
);
export type mountres3 = Infer<typeof mountres3>;

const mountbody = struct('mountbody', { ml_hostname: name, ml_directory: dirpath });
export type mountbody = Infer<typeof mountbody>;
const exportnode = struct('exportnode', { ex_dir: dirpath, ex_groups: list(name, MOUNT_LIST_MAX) });
export type exportnode = Infer<typeof exportnode>;

/** All six procedures. */
export const MOUNT_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  MNT: procedure(1, dirpath, mountres3),
  DUMP: procedure(2, nothing, list(mountbody, MOUNT_LIST_MAX)),
  UMNT: procedure(3, dirpath, nothing),
  UMNTALL: procedure(4, nothing, nothing),
  EXPORT: procedure(5, nothing, list(exportnode, MOUNT_LIST_MAX)),
} as const;

export const MOUNT_PROGRAM: Program<typeof MOUNT_PROCEDURES> = {
  name: 'MOUNT',
  number: 100005,
  version: 3,
  procedures: MOUNT_PROCEDURES,
};
