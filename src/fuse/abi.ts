/** The kernel's FUSE structures: include/uapi/linux/fuse.h, protocol 7.45. Little-endian machines. */
import {
  fixedI32 as i32,
  fixedI64 as i64,
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
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
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
  /** OPEN and CREATE carry O_TRUNC, instead of a SETATTR after them. */
  ATOMIC_O_TRUNC: 1n << 3n,
  /** A WRITE may be larger than a page. */
  BIG_WRITES: 1n << 5n,
  /** Modes of new files come without the caller's umask, and the umask beside them: a default ACL takes its place. */
  DONT_MASK: 1n << 6n,
  /**
   * Attributes with another time of change make the kernel drop the file's pages: so foreign changes are seen while a
   * file is open. Our own writes change the time, too, and cost the pages at the next GETATTR (fuse_change_attributes of
   * fs/fuse/inode.c); EXPLICIT_INVAL_DATA would keep them, and foreign changes would then never be seen.
   */
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

/** Those by which the locks of fcntl(2) and flock(2) come here; without them the kernel keeps them to itself. */
export const FUSE_LOCK_FLAGS = (1n << 1n) | (1n << 10n);

export const fuse_attr = fixedStruct('fuse_attr', 'little', {
  ino: u64,
  size: u64,
  blocks: u64,
  // The header says u64, fs/fuse takes them as signed: seconds before 1970 are negative.
  atime: i64,
  mtime: i64,
  ctime: i64,
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

export const fuse_setattr_in = fixedStruct('fuse_setattr_in', 'little', {
  valid: u32,
  padding: u32,
  fh: u64,
  size: u64,
  lock_owner: u64,
  atime: i64,
  mtime: i64,
  ctime: i64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  unused4: u32,
  uid: u32,
  gid: u32,
  unused5: u32,
});
export type fuse_setattr_in = StructOf<typeof fuse_setattr_in>;
/** Bits of fuse_setattr_in.valid: which fields count. */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** Followed by the name. */
export const fuse_mknod_in = fixedStruct('fuse_mknod_in', 'little', {
  mode: u32,
  rdev: u32,
  umask: u32,
  padding: u32,
});
/** Followed by the name. */
export const fuse_mkdir_in = fixedStruct('fuse_mkdir_in', 'little', { mode: u32, umask: u32 });
/** Followed by the old name and the new one. */
export const fuse_rename_in = fixedStruct('fuse_rename_in', 'little', { newdir: u64 });
/** Followed by the old name and the new one. */
export const fuse_rename2_in = fixedStruct('fuse_rename2_in', 'little', {
  newdir: u64,
  flags: u32,
  padding: u32,
});
/** Followed by the new name. */
export const fuse_link_in = fixedStruct('fuse_link_in', 'little', { oldnodeid: u64 });
export const fuse_forget_in = fixedStruct('fuse_forget_in', 'little', { nlookup: u64 });
export const fuse_batch_forget_in = fixedStruct('fuse_batch_forget_in', 'little', { count: u32, dummy: u32 });
export const fuse_forget_one = fixedStruct('fuse_forget_one', 'little', { nodeid: u64, nlookup: u64 });
export const fuse_access_in = fixedStruct('fuse_access_in', 'little', { mask: u32, padding: u32 });
export const fuse_open_in = fixedStruct('fuse_open_in', 'little', { flags: u32, open_flags: u32 });

/** Followed by the name. */
export const fuse_create_in = fixedStruct('fuse_create_in', 'little', {
  flags: u32,
  mode: u32,
  umask: u32,
  open_flags: u32,
});

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

/** Followed by `size` bytes. */
export const fuse_write_in = fixedStruct('fuse_write_in', 'little', {
  fh: u64,
  offset: u64,
  size: u32,
  write_flags: u32,
  lock_owner: u64,
  flags: u32,
  padding: u32,
});
export const fuse_write_out = fixedStruct('fuse_write_out', 'little', { size: u32, padding: u32 });

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

/** struct fuse_file_lock: type is F_RDLCK, F_WRLCK or F_UNLCK, `end` the last byte. */
const FUSE_FILE_LOCK = { start: u64, end: u64, type: u32, pid: u32 };
export const fuse_lk_in = fixedStruct('fuse_lk_in', 'little', {
  fh: u64,
  owner: u64,
  ...FUSE_FILE_LOCK,
  lk_flags: u32,
  padding: u32,
});
/** Bit of lk_flags: flock(2). */
export const FUSE_LK_FLOCK = 1 << 0;
export const fuse_lk_out = fixedStruct('fuse_lk_out', 'little', FUSE_FILE_LOCK);

export const fuse_fsync_in = fixedStruct('fuse_fsync_in', 'little', {
  fh: u64,
  fsync_flags: u32,
  padding: u32,
});
/** Bit of fsync_flags: fdatasync(2). */
export const FUSE_FSYNC_FDATASYNC = 1 << 0;

export const fuse_fallocate_in = fixedStruct('fuse_fallocate_in', 'little', {
  fh: u64,
  offset: u64,
  length: u64,
  mode: u32,
  padding: u32,
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
/** Without FUSE_SETXATTR_EXT in INIT. Followed by the name and the value. */
export const fuse_setxattr_in = fixedStruct('fuse_setxattr_in', 'little', { size: u32, flags: u32 });
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

export const FUSE_NOTIFY_INVAL_ENTRY = 3;
/** Of fuse_notify_inval_entry_out: look it up again, instead of dropping it with all that is below. */
export const FUSE_EXPIRE_ONLY = 0x1;
/** Followed by the name and NUL. */
export const fuse_notify_inval_entry_out = fixedStruct('fuse_notify_inval_entry_out', 'little', {
  parent: u64,
  namelen: u32,
  flags: u32,
});

/** Answered with fuse_write_out. */
export const fuse_copy_file_range_in = fixedStruct('fuse_copy_file_range_in', 'little', {
  fh_in: u64,
  off_in: u64,
  nodeid_out: u64,
  fh_out: u64,
  off_out: u64,
  len: u64,
  flags: u64,
});
