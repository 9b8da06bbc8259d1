import koffi from 'koffi';
import { ErrnoError } from './errno.ts';

/** A pointer argument: the bytes themselves, an address, or null. */
export type Pointer = Uint8Array | Uint32Array | BigUint64Array | BigInt64Array | bigint | null;

// Null loads what the running Node is linked with, glibc or musl alike.
const library = koffi.load(null);

type Call<Args extends readonly unknown[], Result = number> = (...args: Args) => Result;

// The C definition and the TypeScript signature stand side by side; nothing can check one against the other.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
function declare<Signature>(definition: string): Signature {
  return library.func(definition) as unknown as Signature;
}

// Variadic functions (openat, fcntl, ioctl, syscall) are declared with the arguments we pass: the calling
// conventions of x86-64 and arm64 Linux put integers into the same registers either way.
export const libc = {
  close: declare<Call<[number]>>('int close(int)'),
  read: declare<Call<[number, Pointer, number]>>('long read(int, void *, size_t)'),
  write: declare<Call<[number, Pointer, number]>>('long write(int, void *, size_t)'),
  writev: declare<Call<[number, Pointer, number]>>('long writev(int, void *, int)'),
  open: declare<Call<[string, number, number]>>('int open(str, int, uint)'),
  openat: declare<Call<[number, Pointer, number, number]>>('int openat(int, void *, int, uint)'),
  pread: declare<Call<[number, Pointer, number, number]>>('long pread(int, void *, size_t, int64)'),
  posixFadvise: declare<Call<[number, number, number, number]>>('int posix_fadvise(int, int64, int64, int)'),
  lseek: declare<Call<[number, bigint, number], number | bigint>>('int64 lseek(int, int64, int)'),
  flock: declare<Call<[number, number]>>('int flock(int, int)'),
  fcntl: declare<Call<[number, number, number]>>('int fcntl(int, int, long)'),
  pipe2: declare<Call<[Pointer, number]>>('int pipe2(void *, int)'),
  poll: declare<Call<[Pointer, number, number]>>('int poll(void *, ulong, int)'),
  ioctl: declare<Call<[number, number, Pointer]>>('int ioctl(int, ulong, void *)'),
  readlinkat: declare<Call<[number, Pointer, Pointer, number]>>(
    'long readlinkat(int, void *, void *, size_t)',
  ),
  fstatfs: declare<Call<[number, Pointer]>>('int fstatfs(int, void *)'),
  getxattr: declare<Call<[string, Pointer, Pointer, number]>>('long getxattr(str, void *, void *, size_t)'),
  setxattr: declare<Call<[string, Pointer, Pointer, number, number]>>(
    'int setxattr(str, void *, void *, size_t, int)',
  ),
  listxattr: declare<Call<[string, Pointer, number]>>('long listxattr(str, void *, size_t)'),
  removexattr: declare<Call<[string, Pointer]>>('int removexattr(str, void *)'),
  mount: declare<Call<[string, string, string | null, number, string | null]>>(
    'int mount(str, str, str, ulong, str)',
  ),
  umount2: declare<Call<[string, number]>>('int umount2(str, int)'),
  prctl: declare<Call<[number, number, number, number, number]>>(
    'int prctl(int, ulong, ulong, ulong, ulong)',
  ),
  socket: declare<Call<[number, number, number]>>('int socket(int, int, int)'),
  socketpair: declare<Call<[number, number, number, Pointer]>>('int socketpair(int, int, int, void *)'),
  bind: declare<Call<[number, Pointer, number]>>('int bind(int, void *, uint)'),
  listen: declare<Call<[number, number]>>('int listen(int, int)'),
  connect: declare<Call<[number, Pointer, number]>>('int connect(int, void *, uint)'),
  accept4: declare<Call<[number, Pointer, Pointer, number]>>('int accept4(int, void *, void *, int)'),
  sendmsg: declare<Call<[number, Pointer, number]>>('long sendmsg(int, void *, int)'),
  recvmsg: declare<Call<[number, Pointer, number]>>('long recvmsg(int, void *, int)'),
  mkdirat: declare<Call<[number, Pointer, number]>>('int mkdirat(int, void *, uint)'),
  mknodat: declare<Call<[number, Pointer, number, number]>>('int mknodat(int, void *, uint, uint64)'),
  symlinkat: declare<Call<[Pointer, number, Pointer]>>('int symlinkat(void *, int, void *)'),
  linkat: declare<Call<[number, Pointer, number, Pointer, number]>>(
    'int linkat(int, void *, int, void *, int)',
  ),
  unlinkat: declare<Call<[number, Pointer, number]>>('int unlinkat(int, void *, int)'),
  fchmodat: declare<Call<[number, Pointer, number, number]>>('int fchmodat(int, void *, uint, int)'),
  fchownat: declare<Call<[number, Pointer, number, number, number]>>(
    'int fchownat(int, void *, uint, uint, int)',
  ),
  utimensat: declare<Call<[number, Pointer, Pointer, number]>>('int utimensat(int, void *, void *, int)'),
  ftruncate: declare<Call<[number, bigint]>>('int ftruncate(int, int64)'),
  syncFileRange: declare<Call<[number, bigint, number, number]>>(
    'int sync_file_range(int, int64, int64, uint)',
  ),
  fallocate: declare<Call<[number, number, number | bigint, number | bigint]>>(
    'int fallocate(int, int, int64, int64)',
  ),
  mmap: declare<Call<[bigint | null, number, number, number, number, number], bigint>>(
    'void *mmap(void *, size_t, int, int, int, int64)',
  ),
  munmap: declare<Call<[bigint, number]>>('int munmap(void *, size_t)'),
  clone: declare<Call<[bigint, bigint, number, Pointer]>>('int clone(void *, void *, int, void *)'),
  waitpid: declare<Call<[number, Pointer, number]>>('int waitpid(int, void *, int)'),
  getsockopt: declare<Call<[number, number, number, Pointer, Pointer]>>(
    'int getsockopt(int, int, int, void *, void *)',
  ),
};

const dlsym = declare<Call<[Pointer, string], bigint>>('void *dlsym(void *, str)');

/** Where a function of libc lies in memory. */
export function symbolAddress(name: string): bigint {
  return dlsym(null, name);
}

// One `syscall` a shape of arguments.
const syscallInts = declare<Call<[number, number, number, number]>>('long syscall(long, long, long, long)');
const syscallPointer = declare<Call<[number, number, Pointer, number]>>(
  'long syscall(long, long, void *, long)',
);
const syscallPath = declare<Call<[number, number, Pointer, number, number, Pointer]>>(
  'long syscall(long, long, void *, long, long, void *)',
);
const syscallStructs = declare<Call<[number, number, Pointer, Pointer, number, number]>>(
  'long syscall(long, long, void *, void *, long, long)',
);
const syscallHandle = declare<Call<[number, number, Pointer, Pointer, Pointer, number]>>(
  'long syscall(long, long, void *, void *, void *, long)',
);
const syscallVector = declare<Call<[number, number, Pointer, number, bigint, number, number]>>(
  'long syscall(long, long, void *, long, int64, long, long)',
);
const syscallMountSetattr = declare<Call<[number, number, Pointer, number, Pointer, number]>>(
  'long syscall(long, long, void *, long, void *, size_t)',
);
const syscallName = declare<Call<[number, Pointer, number]>>('long syscall(long, void *, long)');
const syscallCommand = declare<Call<[number, number, number, Pointer, Pointer, number]>>(
  'long syscall(long, long, long, void *, void *, long)',
);
const syscallPair = declare<Call<[number, Pointer, Pointer]>>('long syscall(long, void *, void *)');

const syscallMark = declare<Call<[number, number, number, number, number, Pointer]>>(
  'long syscall(long, long, long, long, long, void *)',
);
const syscallCopy = declare<Call<[number, number, Pointer, number, Pointer, number, number]>>(
  'long syscall(long, long, void *, long, void *, size_t, long)',
);
const syscallTwoPaths = declare<Call<[number, number, Pointer, number, Pointer, number]>>(
  'long syscall(long, long, void *, long, void *, long)',
);

/** arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (arm64). */
const SYSCALL_NUMBERS = {
  x64: {
    getdents64: 217,
    statx: 332,
    openat2: 437,
    faccessat2: 439,
    name_to_handle_at: 303,
    open_by_handle_at: 304,
    preadv2: 327,
    pwritev2: 328,
    open_tree: 428,
    mount_setattr: 442,
    setgroups: 116,
    setfsuid: 122,
    setfsgid: 123,
    capget: 125,
    capset: 126,
    memfd_create: 319,
    pidfd_open: 434,
    fsopen: 430,
    fsconfig: 431,
    fsmount: 432,
    renameat2: 316,
    fchmodat2: 452,
    fanotify_init: 300,
    fanotify_mark: 301,
    copy_file_range: 326,
  },
  arm64: {
    getdents64: 61,
    statx: 291,
    openat2: 437,
    faccessat2: 439,
    name_to_handle_at: 264,
    open_by_handle_at: 265,
    preadv2: 286,
    pwritev2: 287,
    open_tree: 428,
    mount_setattr: 442,
    setgroups: 159,
    setfsuid: 151,
    setfsgid: 152,
    capget: 90,
    capset: 91,
    memfd_create: 279,
    pidfd_open: 434,
    fsopen: 430,
    fsconfig: 431,
    fsmount: 432,
    renameat2: 276,
    fchmodat2: 452,
    fanotify_init: 262,
    fanotify_mark: 263,
    copy_file_range: 285,
  },
} as const;

function syscallNumbers(): Record<keyof (typeof SYSCALL_NUMBERS)['x64'], number> {
  if (process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')) {
    return SYSCALL_NUMBERS[process.arch];
  }
  throw new Error(`nearmount runs on Linux on x64 and arm64, not on ${process.platform} ${process.arch}`);
}

const NR = syscallNumbers();

/**
 * System calls by number: what libc lacks in older versions, and setgroups, setfsuid and setfsgid, whose libc
 * wrappers change every thread of the process where the kernel changes only the calling one.
 */
export const kernel = {
  getdents64: (fd: number, buffer: Pointer, size: number) => syscallPointer(NR.getdents64, fd, buffer, size),
  statx: (fd: number, name: Pointer, flags: number, mask: number, result: Pointer) =>
    syscallPath(NR.statx, fd, name, flags, mask, result),
  openat2: (fd: number, name: Pointer, how: Pointer, size: number) =>
    syscallStructs(NR.openat2, fd, name, how, size, 0),
  faccessat2: (fd: number, name: Pointer, mode: number, flags: number) =>
    syscallPath(NR.faccessat2, fd, name, mode, flags, null),
  fchmodat2: (fd: number, name: Pointer, mode: number, flags: number) =>
    syscallPath(NR.fchmodat2, fd, name, mode, flags, null),
  nameToHandleAt: (fd: number, name: Pointer, handle: Pointer, mountId: Pointer, flags: number) =>
    syscallHandle(NR.name_to_handle_at, fd, name, handle, mountId, flags),
  openByHandleAt: (fd: number, handle: Pointer, flags: number) =>
    syscallPointer(NR.open_by_handle_at, fd, handle, flags),
  // The fifth argument is the high half of the offset, used on 32-bit kernels only.
  preadv2: (fd: number, vector: Pointer, count: number, offset: bigint, flags: number) =>
    syscallVector(NR.preadv2, fd, vector, count, offset, 0, flags),
  pwritev2: (fd: number, vector: Pointer, count: number, offset: bigint, flags: number) =>
    syscallVector(NR.pwritev2, fd, vector, count, offset, 0, flags),
  openTree: (fd: number, name: Pointer, flags: number) => syscallPointer(NR.open_tree, fd, name, flags),
  mountSetattr: (fd: number, name: Pointer, flags: number, attributes: Pointer, size: number) =>
    syscallMountSetattr(NR.mount_setattr, fd, name, flags, attributes, size),
  setgroups: (count: number, groups: Pointer) => syscallPointer(NR.setgroups, count, groups, 0),
  setfsuid: (uid: number) => syscallInts(NR.setfsuid, uid, 0, 0),
  setfsgid: (gid: number) => syscallInts(NR.setfsgid, gid, 0, 0),
  capget: (header: Pointer, data: Pointer) => syscallPair(NR.capget, header, data),
  capset: (header: Pointer, data: Pointer) => syscallPair(NR.capset, header, data),
  memfdCreate: (name: Pointer, flags: number) => syscallName(NR.memfd_create, name, flags),
  pidfdOpen: (pid: number, flags: number) => syscallInts(NR.pidfd_open, pid, flags, 0),
  fsopen: (type: Pointer, flags: number) => syscallName(NR.fsopen, type, flags),
  fsconfig: (fd: number, command: number) => syscallCommand(NR.fsconfig, fd, command, null, null, 0),
  fsmount: (fd: number, flags: number) => syscallInts(NR.fsmount, fd, flags, 0),
  renameat2: (fromFd: number, from: Pointer, toFd: number, to: Pointer, flags: number) =>
    syscallTwoPaths(NR.renameat2, fromFd, from, toFd, to, flags),
  fanotifyInit: (flags: number, eventFlags: number) => syscallInts(NR.fanotify_init, flags, eventFlags, 0),
  fanotifyMark: (fd: number, flags: number, mask: number, dirFd: number) =>
    syscallMark(NR.fanotify_mark, fd, flags, mask, dirFd, null),
  copyFileRange: (from: number, fromOffset: Pointer, to: number, toOffset: Pointer, length: number) =>
    syscallCopy(NR.copy_file_range, from, fromOffset, to, toOffset, length, 0),
};

/** Told what C returned; an error is koffi's own, and errno is that of another thread. */
type Done = (error: unknown, result: number) => void;
interface OnPool<Args extends readonly unknown[]> {
  readonly async: (...args: [...Args, Done]) => void;
}

/**
 * Calls that run on a thread of libuv's pool, where they may block, and tell their result through the event loop. Memory
 * that they are given must stay reachable until then.
 */
export const onPool = {
  capset: (header: Pointer, data: Pointer, done: Done): void => {
    (syscallPair as unknown as OnPool<[number, Pointer, Pointer]>).async(NR.capset, header, data, done);
  },
  write: (fd: number, buffer: Pointer, lengthBytes: number, done: Done): void => {
    (libc.write as unknown as OnPool<[number, Pointer, number]>).async(fd, buffer, lengthBytes, done);
  },
  fallocate: (fd: number, mode: number, offset: bigint, lengthBytes: bigint, done: Done): void => {
    (libc.fallocate as unknown as OnPool<[number, number, bigint, bigint]>).async(
      fd,
      mode,
      offset,
      lengthBytes,
      done,
    );
  },
  copyFileRange: (
    [from, fromOffset]: readonly [number, Pointer],
    [to, toOffset]: readonly [number, Pointer],
    lengthBytes: number,
    done: Done,
  ): void => {
    (syscallCopy as unknown as OnPool<[number, number, Pointer, number, Pointer, number, number]>).async(
      NR.copy_file_range,
      from,
      fromOffset,
      to,
      toOffset,
      lengthBytes,
      0,
      done,
    );
  },
};

/** The error of the call just made: errno is read first thing, before anything else can change it. */
export function lastError(syscall: string, detail?: string): ErrnoError {
  return new ErrnoError(koffi.errno(), syscall, detail);
}

/** The number of the error of the call just made. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Where the bytes lie. The address is good while the array is reachable: hold it over the call that uses it. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** The memory at an address as bytes; nobody keeps it mapped but the caller. */
export function memoryAt(address: bigint, lengthBytes: number): ArrayBuffer {
  return koffi.view(address, lengthBytes);
}

const PATH_MAX = 4096;
const pathScratch = Buffer.alloc(PATH_MAX);
const secondPathScratch = Buffer.alloc(PATH_MAX);

/**
 * The name as C wants it, valid until the next call of this function (system calls here are synchronous).
 * Throws EINVAL for a name with a NUL inside, which C would cut, and ENAMETOOLONG from 4096 bytes.
 */
export function pathArgument(name: Uint8Array | string, syscall: string): Buffer {
  return writePath(pathScratch, name, syscall);
}

/** The same for the second name of a call that takes two. */
export function secondPathArgument(name: Uint8Array | string, syscall: string): Buffer {
  return writePath(secondPathScratch, name, syscall);
}

function writePath(scratch: Buffer, name: Uint8Array | string, syscall: string): Buffer {
  const length =
    typeof name === 'string'
      ? Buffer.byteLength(name) < PATH_MAX
        ? scratch.write(name)
        : PATH_MAX
      : name.length;
  if (length >= PATH_MAX) throw new ErrnoError('ENAMETOOLONG', syscall);
  if (typeof name !== 'string') scratch.set(name);
  scratch[length] = 0;
  if (scratch.indexOf(0) < length) throw new ErrnoError('EINVAL', syscall, 'a name contains NUL');
  return scratch;
}

export const EMPTY_PATH = Buffer.alloc(1);

/** A libuv poll handle on a descriptor: koffi's way into the event loop. The callback also comes for errors. */
export function pollHandle(fd: number, onEvent: () => void): { close(): void } {
  return koffi.node.poll(fd, { readable: true }, onEvent);
}
