/** The kernel's FUSE structures: include/uapi/linux/fuse.h, protocol 7.45. Little-endian machines. */
import {
  fixedI32 as i32,
  fixedStruct,
  fixedBytes,
  fixedU16 as u16,
  fixedU32 as u32,
  fixedU64 as u64,
  type FixedStruct,
} from '../xdr/fixed.ts';

export type StructOf<S> = S extends FixedStruct<infer T> ? T : never;

export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 45;

export const FUSE_OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  READLINK: 5,
  OPEN: 14,
  READ: 15,
  STATFS: 17,
  RELEASE: 18,
  GETXATTR: 22,
  LISTXATTR: 23,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  ACCESS: 34,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  READDIRPLUS: 44,
  LSEEK: 46,
} as const;

export const fuse_in_header = fixedStruct('fuse_in_header', 'little', {
  len: u32,
  opcode: u32,
  unique: u64,
  nodeid: u64,
  uid: u32,
  gid: u32,
  pid: u32,
  total_extlen: u16,
  padding: u16,
});
export type fuse_in_header = StructOf<typeof fuse_in_header>;

export const fuse_out_header = fixedStruct('fuse_out_header', 'little', {
  len: u32,
  error: i32,
  unique: u64,
});

export const fuse_init_in = fixedStruct('fuse_init_in', 'little', {
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  flags2: u32,
  unused: fixedBytes(44),
});
export type fuse_init_in = StructOf<typeof fuse_init_in>;

export const fuse_init_out = fixedStruct('fuse_init_out', 'little', {
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  max_background: u16,
  congestion_threshold: u16,
  max_write: u32,
  time_gran: u32,
  max_pages: u16,
  map_alignment: u16,
  flags2: u32,
  max_stack_depth: u32,
  request_timeout: u16,
  unused: fixedBytes(22),
});
export type fuse_init_out = StructOf<typeof fuse_init_out>;

/** Bits of flags, and from 32 up of flags2, in INIT. */
export const FUSE_INIT_FLAG = {
  ASYNC_READ: 1n << 0n,
  AUTO_INVAL_DATA: 1n << 12n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  ASYNC_DIO: 1n << 15n,
  PARALLEL_DIROPS: 1n << 18n,
  /** The kernel asks for ACLs by GETXATTR and decides by them. */
  POSIX_ACL: 1n << 20n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  INIT_EXT: 1n << 30n,
  PASSTHROUGH: 1n << 37n,
} as const;

export const fuse_attr = fixedStruct('fuse_attr', 'little', {
  ino: u64,
  size: u64,
  blocks: u64,
  atime: u64,
  mtime: u64,
  ctime: u64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blksize: u32,
  flags: u32,
});
export type fuse_attr = StructOf<typeof fuse_attr>;

export const fuse_entry_out = fixedStruct('fuse_entry_out', 'little', {
  nodeid: u64,
  generation: u64,
  entry_valid: u64,
  attr_valid: u64,
  entry_valid_nsec: u32,
  attr_valid_nsec: u32,
  attr: fuse_attr,
});
export type fuse_entry_out = StructOf<typeof fuse_entry_out>;

export const fuse_attr_out = fixedStruct('fuse_attr_out', 'little', {
  attr_valid: u64,
  attr_valid_nsec: u32,
  dummy: u32,
  attr: fuse_attr,
});

export const fuse_getattr_in = fixedStruct('fuse_getattr_in', 'little', {
  getattr_flags: u32,
  dummy: u32,
  fh: u64,
});
export const fuse_forget_in = fixedStruct('fuse_forget_in', 'little', { nlookup: u64 });
export const fuse_batch_forget_in = fixedStruct('fuse_batch_forget_in', 'little', { count: u32, dummy: u32 });
export const fuse_forget_one = fixedStruct('fuse_forget_one', 'little', { nodeid: u64, nlookup: u64 });
export const fuse_access_in = fixedStruct('fuse_access_in', 'little', { mask: u32, padding: u32 });
export const fuse_open_in = fixedStruct('fuse_open_in', 'little', { flags: u32, open_flags: u32 });

export const fuse_open_out = fixedStruct('fuse_open_out', 'little', {
  fh: u64,
  open_flags: u32,
  backing_id: i32,
});
/** Bits of open_flags. */
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_NOFLUSH = 1 << 5;
export const FOPEN_PASSTHROUGH = 1 << 7;

export const fuse_read_in = fixedStruct('fuse_read_in', 'little', {
  fh: u64,
  offset: u64,
  size: u32,
  read_flags: u32,
  lock_owner: u64,
  flags: u32,
  padding: u32,
});

export const fuse_release_in = fixedStruct('fuse_release_in', 'little', {
  fh: u64,
  flags: u32,
  release_flags: u32,
  lock_owner: u64,
});

export const fuse_flush_in = fixedStruct('fuse_flush_in', 'little', {
  fh: u64,
  unused: u32,
  padding: u32,
  lock_owner: u64,
});

export const fuse_statfs_out = fixedStruct('fuse_statfs_out', 'little', {
  blocks: u64,
  bfree: u64,
  bavail: u64,
  files: u64,
  ffree: u64,
  bsize: u32,
  namelen: u32,
  frsize: u32,
  padding: u32,
  spare: fixedBytes(24),
});

export const fuse_getxattr_in = fixedStruct('fuse_getxattr_in', 'little', { size: u32, padding: u32 });
export const fuse_getxattr_out = fixedStruct('fuse_getxattr_out', 'little', { size: u32, padding: u32 });
export const fuse_interrupt_in = fixedStruct('fuse_interrupt_in', 'little', { unique: u64 });

export const fuse_lseek_in = fixedStruct('fuse_lseek_in', 'little', {
  fh: u64,
  offset: u64,
  whence: u32,
  padding: u32,
});
export const fuse_lseek_out = fixedStruct('fuse_lseek_out', 'little', { offset: u64 });

/** Followed by the name, and zeros up to a multiple of eight bytes. */
export const fuse_dirent = fixedStruct('fuse_dirent', 'little', {
  ino: u64,
  off: u64,
  namelen: u32,
  type: u32,
});

/** Notification codes, in the error field of a header whose unique is 0. */
export const FUSE_NOTIFY_INVAL_INODE = 2;
export const fuse_notify_inval_inode_out = fixedStruct('fuse_notify_inval_inode_out', 'little', {
  ino: u64,
  off: u64,
  len: u64,
});
