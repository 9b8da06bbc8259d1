/** System calls that Node's fs lacks, for the probes: each throws { errno: -number }, as fs does. */
import { Buffer } from 'node:buffer';
import { constants } from 'node:os';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;
export const O_PATH = 0o10000000;
/** Contains O_DIRECTORY. */
export const O_TMPFILE = 0o20200000;
export const O_CLOEXEC = 0o2000000;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const UTIME_NOW = 0x3fffffffn;
export const UTIME_OMIT = 0x3ffffffen;
/** The largest offset there is: off_t is signed. */
export const OFFSET_MAX = 2n ** 63n - 1n;

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
const MS_SYNC = 4;
const MAP_FAILED = 0xffffffffffffffffn;
const RLIMIT_FSIZE = 1;

const calls = {
  renameat2: libc.func('int renameat2(int from, const char *old, int to, const char *name, uint32_t flags)'),
  mknodat: libc.func('int mknodat(int at, const char *path, uint32_t mode, uint64_t device)'),
  linkat: libc.func('int linkat(int from, const char *old, int to, const char *name, int flags)'),
  utimensat: libc.func('int utimensat(int at, const char *path, const int64_t *times, int flags)'),
  futimens: libc.func('int futimens(int fd, const int64_t *times)'),
  fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  posix_fallocate: libc.func('int posix_fallocate(int fd, int64_t offset, int64_t length)'),
  copy_file_range: libc.func(
    'int64_t copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t length, uint32_t flags)',
  ),
  lseek: libc.func('int64_t lseek(int fd, int64_t offset, int whence)'),
  pwrite: libc.func('int64_t pwrite64(int fd, const uint8_t *bytes, size_t length, int64_t offset)'),
  truncate: libc.func('int truncate64(const char *path, int64_t length)'),
  ftruncate: libc.func('int ftruncate64(int fd, int64_t length)'),
  mmap: libc.func('void *mmap(void *at, size_t length, int prot, int flags, int fd, int64_t offset)'),
  munmap: libc.func('int munmap(void *at, size_t length)'),
  msync: libc.func('int msync(void *at, size_t length, int flags)'),
  setrlimit: libc.func('int setrlimit(int resource, const uint64_t *limits)'),
  fchmod: libc.func('int fchmod(int fd, uint32_t mode)'),
  lsetxattr: libc.func(
    'int lsetxattr(const char *path, const uint8_t *name, const uint8_t *value, size_t length, int flags)',
  ),
  lgetxattr: libc.func(
    'int64_t lgetxattr(const char *path, const uint8_t *name, uint8_t *value, size_t length)',
  ),
  llistxattr: libc.func('int64_t llistxattr(const char *path, uint8_t *names, size_t length)'),
  lremovexattr: libc.func('int lremovexattr(const char *path, const uint8_t *name)'),
};

export const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

function checked(result) {
  if (Number(result) < 0) throw { errno: -koffi.errno() };
  return Number(result);
}

export const renameat2 = (from, to, flags) => checked(calls.renameat2(AT_FDCWD, from, AT_FDCWD, to, flags));
export const linkat = (from, to, flags = 0) => checked(calls.linkat(AT_FDCWD, from, AT_FDCWD, to, flags));

/** @param mode type and permission bits */
export function mknod(path, mode, major = 0, minor = 0) {
  // makedev(3)
  const [a, b] = [BigInt(major), BigInt(minor)];
  const device = ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn);
  return checked(calls.mknodat(AT_FDCWD, path, mode, device));
}

/** @param atime, mtime [seconds, nanoseconds], both bigint; UTIME_NOW and UTIME_OMIT are nanoseconds */
export function utimensat(path, [atime, mtime], flags = 0) {
  return checked(calls.utimensat(AT_FDCWD, path, BigInt64Array.from([...atime, ...mtime]), flags));
}
export const utimensNow = (path) => checked(calls.utimensat(AT_FDCWD, path, null, 0));
export const futimens = (fd, [atime, mtime]) =>
  checked(calls.futimens(fd, BigInt64Array.from([...atime, ...mtime])));

export const fallocate = (fd, mode, offset, length) =>
  checked(calls.fallocate(fd, mode, BigInt(offset), BigInt(length)));
export function posixFallocate(fd, offset, length) {
  // Returns the error instead of setting errno.
  const error = calls.posix_fallocate(fd, BigInt(offset), BigInt(length));
  if (error !== 0) throw { errno: -error };
  return 0;
}

/** Copies at the files' own positions. */
export const copyFileRange = (from, to, length) =>
  checked(calls.copy_file_range(from, null, to, null, length, 0));
export const lseek = (fd, offset, whence) => checked(calls.lseek(fd, BigInt(offset), whence));
export const pwrite = (fd, text, offset) => {
  const bytes = Buffer.from(text);
  return checked(calls.pwrite(fd, bytes, bytes.length, BigInt(offset)));
};
export const truncate = (path, length) => checked(calls.truncate(path, BigInt(length)));
export const ftruncate = (fd, length) => checked(calls.ftruncate(fd, BigInt(length)));
const XATTR_BYTES = 65_536;
/** Names and values are bytes as latin1. */
const named = (name) => Buffer.from(`${name}\0`, 'latin1');
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

export function setXattr(path, name, value, flags = 0) {
  const bytes = Buffer.from(value, 'latin1');
  return checked(calls.lsetxattr(path, named(name), bytes, bytes.length, flags));
}

export function getXattr(path, name, room = XATTR_BYTES) {
  const value = Buffer.alloc(room);
  const length = checked(calls.lgetxattr(path, named(name), value, room));
  return room === 0 ? length : value.toString('latin1', 0, length);
}

export function listXattrs(path, room = XATTR_BYTES) {
  const names = Buffer.alloc(room);
  const length = checked(calls.llistxattr(path, names, room));
  return room === 0 ? length : names.toString('latin1', 0, length).split('\0').slice(0, -1).sort();
}

export const removeXattr = (path, name) => checked(calls.lremovexattr(path, named(name)));
export const fchmod = (fd, mode) => checked(calls.fchmod(fd, mode));

/** Limits the size of files this process may write; `undefined` lifts the limit. SIGXFSZ must be caught before. */
export function limitFileSize(bytes) {
  const INFINITY = 2n ** 64n - 1n;
  return checked(calls.setrlimit(RLIMIT_FSIZE, BigUint64Array.from([BigInt(bytes ?? INFINITY), INFINITY])));
}

function mapped(fd, length, prot, flags, offset, action) {
  const at = calls.mmap(null, length, prot, flags, fd, BigInt(offset));
  if (koffi.address(at) === MAP_FAILED) checked(-1);
  try {
    return action(Buffer.from(koffi.view(at, length)), () => checked(calls.msync(at, length, MS_SYNC)));
  } finally {
    calls.munmap(at, length);
  }
}

/** @param action gets the mapped bytes, and a function that puts them into the file (msync) */
export const withSharedMap = (fd, length, offset, action) =>
  mapped(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, offset, action);
export const withReadMap = (fd, length, offset, action) =>
  mapped(fd, length, PROT_READ, MAP_SHARED, offset, action);
/** Memory on page boundaries, as O_DIRECT wants it. */
export const withAlignedMemory = (length, action) =>
  mapped(-1, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0, action);
