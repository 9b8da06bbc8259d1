/** Where a file has space, and bytes that are copied within the server: what NFSv4.2 (RFC 7862) has beside NFSv3. */
import { enumeration, struct, u32, u64, union, type Infer } from '../xdr/codec.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { fattr3, nfs_fh3, post_op_attr, wcc_data } from '../nfs3/types.ts';
import { procedure } from '../rpc/program.ts';
import { fgdp_stat } from './status.ts';

/** Bits of ALLOCATE's mode, those of fallocate(2). */
export const ALLOCATE_MODE = {
  /** The file does not grow. */
  KEEP_SIZE: 0x01,
  /** Takes the space away; with KEEP_SIZE only. */
  PUNCH_HOLE: 0x02,
  /** The bytes are zero afterwards, and have space. */
  ZERO_RANGE: 0x10,
} as const;

export const ALLOCATEargs = struct('ALLOCATEargs', { file: nfs_fh3, mode: u32, offset: u64, length: u64 });
export type ALLOCATEargs = Infer<typeof ALLOCATEargs>;
/** What was done is on stable storage. */
export const ALLOCATEres = struct('ALLOCATEres', { status: fgdp_stat, wcc: wcc_data });
export type ALLOCATEres = Infer<typeof ALLOCATEres>;

export const SEEK_WHAT = { DATA: 0, HOLE: 1 } as const;
const seek_what = enumeration('seek_what', SEEK_WHAT);
export type seek_what = Infer<typeof seek_what>;

export const SEEKargs = struct('SEEKargs', { file: nfs_fh3, offset: u64, what: seek_what });
export type SEEKargs = Infer<typeof SEEKargs>;
/** NFS3ERR_NXIO at and behind the end of the file, and where no data follows: as lseek(2). */
export const SEEKres = union(
  'SEEKres',
  'status',
  fgdp_stat,
  { [NFS3_OK]: struct('resok', { obj_attributes: fattr3, offset: u64 }) },
  struct('resfail', { obj_attributes: post_op_attr }),
);
export type SEEKres = Infer<typeof SEEKres>;

export const COPYargs = struct('COPYargs', {
  /** Where the bytes go. */
  file: nfs_fh3,
  offset: u64,
  source: nfs_fh3,
  source_offset: u64,
  /** Bytes; COPY_BYTES_MAX of them at most are copied. */
  count: u64,
});
export type COPYargs = Infer<typeof COPYargs>;
export const COPYres = union(
  'COPYres',
  'status',
  fgdp_stat,
  {
    /** What was copied is on stable storage. Fewer than asked: the rest is to be asked for; 0: the source ends here. */
    [NFS3_OK]: struct('resok', { wcc: wcc_data, count: u64 }),
  },
  struct('resfail', { wcc: wcc_data }),
);
export type COPYres = Infer<typeof COPYres>;

/** ALLOCATE and COPY may come again as WRITE may: they leave the same bytes. */
export const SPACE_PROCEDURES = {
  ALLOCATE: procedure(20, ALLOCATEargs, ALLOCATEres),
  SEEK: procedure(21, SEEKargs, SEEKres),
  COPY: procedure(22, COPYargs, COPYres),
} as const;
