import { AT_EACCESS, AT_EMPTY_PATH, O_CLOEXEC, O_CREAT, O_TMPFILE } from './constants.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { addressOf, EMPTY_PATH, kernel, lastErrno, lastError, libc, pathArgument } from './libc.ts';

/** Descriptors made here are closed on exec and belong to the caller, who gives them to closeFd. */

/** openat(2). `mode` counts only when a file is created. */
export function openat(dirFd: number, name: Uint8Array | string, flags: number, mode = 0): number {
  const fd = libc.openat(dirFd, pathArgument(name, 'openat'), flags | O_CLOEXEC, mode);
  if (fd < 0) throw lastError('openat');
  return fd;
}

export interface OpenHow {
  flags: number;
  /** Only with O_CREAT or O_TMPFILE. */
  mode?: number;
  /** RESOLVE_* bits; 0 by default. */
  resolve?: number;
}

const openHow = new BigUint64Array(3);

/** openat2(2), with limits on how the path is resolved. EXDEV: the path led outside; ELOOP: a link was met. */
export function openat2(dirFd: number, name: Uint8Array | string, how: OpenHow): number {
  const fd = openat2IfAny(dirFd, name, how);
  if (fd === undefined) throw new ErrnoError('ENOENT', 'openat2');
  return fd;
}

/** The same for names that are often missing: undefined for ENOENT, because an error takes long to make. */
export function openat2IfAny(dirFd: number, name: Uint8Array | string, how: OpenHow): number | undefined {
  const creates = (how.flags & O_CREAT) !== 0 || (how.flags & O_TMPFILE) === O_TMPFILE;
  openHow[0] = BigInt(how.flags | O_CLOEXEC);
  openHow[1] = BigInt(creates ? (how.mode ?? 0) : 0);
  openHow[2] = BigInt(how.resolve ?? 0);
  const fd = kernel.openat2(dirFd, pathArgument(name, 'openat2'), openHow, openHow.byteLength);
  if (fd >= 0) return fd;
  const errno = lastErrno();
  if (errno === ERRNO.ENOENT) return undefined;
  throw new ErrnoError(errno, 'openat2');
}

/** What statx(2) tells. Times are nanoseconds since 1970 and may be negative. */
export interface FileStatus {
  devMajor: number;
  devMinor: number;
  ino: bigint;
  /** Type and permissions (S_IFMT and the low twelve bits). */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdevMajor: number;
  rdevMinor: number;
  size: bigint;
  /** Allocated, in units of 512 bytes. */
  blocks: bigint;
  /** Preferred size of I/O, in bytes. */
  blockSizeBytes: number;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  /** Time of birth; 0 where the file system keeps none. */
  btimeNs: bigint;
  mountId: bigint;
}

const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;
const STATX_MNT_ID = 0x1000;
const STATX_WANTED = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;

// struct statx of include/uapi/linux/stat.h, 256 bytes, seen through one view for each width of integer.
const statxBytes = Buffer.alloc(256);
const statxU16 = new Uint16Array(statxBytes.buffer, statxBytes.byteOffset, 128);
const statxU32 = new Uint32Array(statxBytes.buffer, statxBytes.byteOffset, 64);
const statxU64 = new BigUint64Array(statxBytes.buffer, statxBytes.byteOffset, 32);
const statxS64 = new BigInt64Array(statxBytes.buffer, statxBytes.byteOffset, 32);

const u32At = (offset: number): number => statxU32[offset >> 2] as number;
const u64At = (offset: number): bigint => statxU64[offset >> 3] as bigint;
const timeAt = (offset: number): bigint =>
  (statxS64[offset >> 3] as bigint) * 1_000_000_000n + BigInt(u32At(offset + 8));

/** statx(2) of `name` in the directory, or of the descriptor itself with AT_EMPTY_PATH and an empty name. */
export function statx(dirFd: number, name: Uint8Array | string, flags: number): FileStatus {
  return readStatx(dirFd, pathArgument(name, 'statx'), flags);
}

// STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND of include/uapi/linux/stat.h
const STATX_ATTRIBUTES_OFFSET = 8;
const STATX_ATTR_FIXED = 0x10 | 0x20;

/** Whether an open file can be changed by nobody, or only be appended to (chattr(1) +i, +a). */
export function isFixed(fd: number): boolean {
  statFd(fd);
  return (u32At(STATX_ATTRIBUTES_OFFSET) & STATX_ATTR_FIXED) !== 0;
}

/** statx(2) of an open descriptor; O_PATH descriptors too. */
export function statFd(fd: number): FileStatus {
  return readStatx(fd, EMPTY_PATH, AT_EMPTY_PATH);
}

function readStatx(fd: number, name: Uint8Array, flags: number): FileStatus {
  if (kernel.statx(fd, name, flags, STATX_WANTED, statxBytes) < 0) throw lastError('statx');
  return {
    devMajor: u32At(136),
    devMinor: u32At(140),
    ino: u64At(32),
    mode: statxU16[14] as number,
    nlink: u32At(16),
    uid: u32At(20),
    gid: u32At(24),
    rdevMajor: u32At(128),
    rdevMinor: u32At(132),
    size: u64At(40),
    blocks: u64At(48),
    blockSizeBytes: u32At(4),
    atimeNs: timeAt(64),
    mtimeNs: timeAt(112),
    ctimeNs: timeAt(96),
    btimeNs: (u32At(0) & STATX_BTIME) === 0 ? 0n : timeAt(80),
    mountId: u64At(144),
  };
}

// Linux lets no link target grow beyond PATH_MAX - 1.
const linkScratch = Buffer.alloc(4096);

/** The target of the symbolic link that an O_PATH|O_NOFOLLOW descriptor holds. EINVAL or ENOENT: not a link. */
export function readlinkFd(fd: number): Buffer {
  const length = libc.readlinkat(fd, EMPTY_PATH, linkScratch, linkScratch.length);
  if (length < 0) throw lastError('readlinkat');
  return Buffer.from(linkScratch.subarray(0, length));
}

export interface DirectoryEntry {
  ino: bigint;
  /** d_off: where a later seek goes on after this entry. Opaque, unsigned 64 bits. */
  cookie: bigint;
  /** d_type; 0 when the file system does not say. */
  type: number;
  name: Buffer;
}

/**
 * getdents64(2): the entries that fit into `buffer`, an empty list at the end of the directory. Names are views
 * of the buffer, good until it is filled again. EINVAL: the buffer is too small for one entry.
 */
export function getdents64(fd: number, buffer: Buffer): DirectoryEntry[] {
  const filled = kernel.getdents64(fd, buffer, buffer.length);
  if (filled < 0) throw lastError('getdents64');
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < filled;) {
    const recordLength = buffer.readUInt16LE(at + 16);
    const nameStart = at + 19;
    entries.push({
      ino: buffer.readBigUInt64LE(at),
      cookie: buffer.readBigUInt64LE(at + 8),
      type: buffer.readUInt8(at + 18),
      name: buffer.subarray(nameStart, buffer.indexOf(0, nameStart)),
    });
    at += recordLength;
  }
  return entries;
}

/** lseek(2). The offset is taken as 64 bits, so that an unsigned directory cookie comes back as it was given. */
export function seek(fd: number, offset: bigint, whence: number): bigint {
  const position = libc.lseek(fd, BigInt.asIntN(64, offset), whence);
  // A directory position may have the highest bit set, so only -1 is an error.
  if (position === -1) throw lastError('lseek');
  return BigInt.asUintN(64, BigInt(position));
}

/**
 * Whether the calling thread's file-system identity (fsuid, fsgid, groups) may do all of `mode` (R_OK, W_OK, X_OK)
 * with the open file. A read-only file system denies writing.
 */
export function faccess(fd: number, mode: number): boolean {
  if (kernel.faccessat2(fd, EMPTY_PATH, mode, AT_EACCESS | AT_EMPTY_PATH) === 0) return true;
  const errno = lastErrno();
  if (errno === ERRNO.EACCES || errno === ERRNO.EROFS || errno === ERRNO.EPERM || errno === ERRNO.ETXTBSY) {
    return false;
  }
  throw new ErrnoError(errno, 'faccessat2');
}

/** As faccess, but throws why not: EACCES, EROFS, EPERM (immutable, or no such right for this identity), ETXTBSY. */
export function checkAccess(fd: number, mode: number): void {
  if (kernel.faccessat2(fd, EMPTY_PATH, mode, AT_EACCESS | AT_EMPTY_PATH) < 0) throw lastError('faccessat2');
}

/** What statfs(2) tells. Counts of blocks are in units of fragmentSizeBytes. */
export interface FileSystemStatus {
  /** The magic number of the kind of file system. */
  type: bigint;
  blockSizeBytes: bigint;
  fragmentSizeBytes: bigint;
  blocks: bigint;
  blocksFree: bigint;
  /** Free to those who may not use the reserve. */
  blocksAvailable: bigint;
  files: bigint;
  filesFree: bigint;
  /** f_fsid: names the file system while it is mounted; 0 where it has none. */
  fsid: bigint;
  nameLengthMax: number;
}

const statfsBytes = Buffer.alloc(128);

/** fstatfs(2). */
export function fstatfs(fd: number): FileSystemStatus {
  if (libc.fstatfs(fd, statfsBytes) < 0) throw lastError('fstatfs');
  const blockSizeBytes = statfsBytes.readBigInt64LE(8);
  const fragmentSizeBytes = statfsBytes.readBigInt64LE(72);
  return {
    type: statfsBytes.readBigInt64LE(0),
    blockSizeBytes,
    // Old file systems leave the fragment size 0 and count in blocks.
    fragmentSizeBytes: fragmentSizeBytes === 0n ? blockSizeBytes : fragmentSizeBytes,
    blocks: statfsBytes.readBigUInt64LE(16),
    blocksFree: statfsBytes.readBigUInt64LE(24),
    blocksAvailable: statfsBytes.readBigUInt64LE(32),
    files: statfsBytes.readBigUInt64LE(40),
    filesFree: statfsBytes.readBigUInt64LE(48),
    fsid: statfsBytes.readBigUInt64LE(56),
    nameLengthMax: Number(statfsBytes.readBigInt64LE(64)),
  };
}

const RWF_NOWAIT = 0x8;
const readVector = new BigUint64Array(2);

/**
 * preadv2(2) with RWF_NOWAIT: reads only what is in the page cache, so it never waits for a disk. The number of
 * bytes read (fewer than asked where the cache or the file ends; 0 at the end of the file), or undefined when
 * nothing is cached or the file system cannot tell: read it asynchronously then.
 */
export function preadNowait(fd: number, buffer: Uint8Array, offsetBytes: bigint): number | undefined {
  // To preadv2 an offset of -1 is the file's own position.
  if (offsetBytes < 0n) throw new ErrnoError('EINVAL', 'preadv2');
  if (buffer.length === 0) return 0;
  readVector[0] = addressOf(buffer);
  readVector[1] = BigInt(buffer.length);
  const length = kernel.preadv2(fd, readVector, 1, offsetBytes, RWF_NOWAIT);
  if (length >= 0) return length;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.EOPNOTSUPP || errno === ERRNO.EINTR) return undefined;
  throw new ErrnoError(errno, 'preadv2');
}

/** close(2). The descriptor is gone whatever is reported, so only EBADF, a defect of the caller, is thrown. */
export function closeFd(fd: number): void {
  if (libc.close(fd) < 0 && lastErrno() === ERRNO.EBADF) throw new ErrnoError('EBADF', 'close');
}

const F_DUPFD_CLOEXEC = 1030;

/** A second descriptor of the same open file. */
export function duplicateFd(fd: number): number {
  const duplicate = libc.fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (duplicate < 0) throw lastError('fcntl');
  return duplicate;
}
