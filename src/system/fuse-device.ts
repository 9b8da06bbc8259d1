import { fstatSync, readdirSync, statSync } from 'node:fs';
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from './constants.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { addressOf, lastErrno, lastError, libc, onPool } from './libc.ts';

// fs/fuse/dev.c gives these errors on /dev/fuse their meaning.

/** Why a read of the device brought no request. */
export type NoRequest = 'drained' | 'retry' | 'unmounted';

/** /dev/fuse, non-blocking. The caller closes it. ENOENT, ENXIO, EACCES: no FUSE for this process. */
export function openFuseDevice(): number {
  const fd = libc.open('/dev/fuse', O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) throw lastError('open', '/dev/fuse');
  return fd;
}

const F_GETFL = 3;
const F_SETFL = 4;

/** Makes a descriptor of /dev/fuse that another program opened as openFuseDevice opens it: non-blocking. */
export function adoptFuseDevice(fd: number): void {
  const flags = libc.fcntl(fd, F_GETFL, 0);
  if (flags < 0) throw lastError('fcntl', 'F_GETFL');
  if (libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) throw lastError('fcntl', 'F_SETFL');
}

/**
 * The descriptors of this process that are /dev/fuse: for a library that keeps its own to itself. They stay its own.
 */
export function findFuseDevices(): number[] {
  const { rdev } = statSync('/dev/fuse');
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      try {
        return fstatSync(fd).rdev === rdev;
      } catch {
        // That of the listing itself.
        return false;
      }
    });
}

const POLLERR = 0x8;
// struct pollfd: fd i32, events i16, revents i16.
const pollDescriptor = Buffer.alloc(8);

/** Whether the file system of a device is unmounted or aborted (fuse_dev_poll). Does not wait. */
export function isConnectionOver(fd: number): boolean {
  pollDescriptor.fill(0);
  pollDescriptor.writeInt32LE(fd, 0);
  if (libc.poll(pollDescriptor, 1, 0) < 0) throw lastError('poll', '/dev/fuse');
  return (pollDescriptor.readInt16LE(6) & POLLERR) !== 0;
}

const POLLIN = 0x1;

/** Whether requests wait to be read. Does not wait itself. */
export function hasRequests(fd: number): boolean {
  pollDescriptor.fill(0);
  pollDescriptor.writeInt32LE(fd, 0);
  pollDescriptor.writeInt16LE(POLLIN, 4);
  if (libc.poll(pollDescriptor, 1, 0) < 0) throw lastError('poll', '/dev/fuse');
  return (pollDescriptor.readInt16LE(6) & POLLIN) !== 0;
}

/**
 * One request into `buffer`, which must hold max_write + 4096 bytes. Its length in bytes, or: `drained` (nothing
 * waits), `retry` (a request was aborted while being read; read again), `unmounted` (the connection is over).
 */
export function readDevice(fd: number, buffer: Uint8Array): number | NoRequest {
  const length = libc.read(fd, buffer, buffer.length);
  if (length >= 0) return length;
  const errno = lastErrno();
  switch (errno) {
    case ERRNO.EAGAIN:
      return 'drained';
    case ERRNO.ENOENT:
    case ERRNO.EINTR:
      return 'retry';
    case ERRNO.ENODEV:
      return 'unmounted';
    default:
      throw new ErrnoError(errno, 'read', '/dev/fuse');
  }
}

const CHUNKS_MAX = 1024; // UIO_MAXIOV
let vector = new BigUint64Array(2 * 16);

/**
 * One reply or notification, its chunks in order, in one write: the kernel takes a message whole or not at all.
 * False when the request is gone (ENOENT: interrupted and aborted, or an inode unknown to the kernel).
 */
export function writeDevice(fd: number, chunks: readonly Uint8Array[]): boolean {
  const lengthBytes = totalBytes(chunks);
  const written =
    lengthBytes <= joined.length
      ? libc.write(fd, join(chunks), lengthBytes)
      : libc.writev(fd, vectorOf(chunks), chunks.length);
  if (written >= 0) return true;
  const errno = lastErrno();
  if (errno === ERRNO.ENOENT) return false;
  throw new ErrnoError(errno, 'write', '/dev/fuse');
}

/**
 * One notification, written on another thread, where it may be blocked by a lock that somebody holds who waits for an answer of
 * this process. Whether the kernel took it is not told: mostly it has forgotten what is meant.
 *
 * @param message must not be changed until `done` is called, from the event loop
 */
export function notifyDeviceAside(fd: number, message: Uint8Array, done: () => void): void {
  onPool.write(fd, message, message.length, () => {
    // Held by this function until now.
    if (message.length > 0) done();
  });
}

// Copying what is small takes less time than telling the kernel where its pieces lie.
const joined = Buffer.allocUnsafeSlow(4096);

function join(chunks: readonly Uint8Array[]): Buffer {
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}

function totalBytes(chunks: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const chunk of chunks) bytes += chunk.length;
  return bytes;
}

function vectorOf(chunks: readonly Uint8Array[]): BigUint64Array {
  if (chunks.length > CHUNKS_MAX) throw new ErrnoError('EINVAL', 'writev', `${chunks.length} chunks`);
  if (2 * chunks.length > vector.length) vector = new BigUint64Array(2 * chunks.length);
  let at = 0;
  for (const chunk of chunks) {
    vector[at++] = chunk.length === 0 ? 0n : addressOf(chunk);
    vector[at++] = BigInt(chunk.length);
  }
  return vector;
}

// include/uapi/linux/fuse.h; struct fuse_backing_map is fd i32, flags u32, padding u64.
const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;
const backingMap = Buffer.alloc(16);

/**
 * Registers an open file as a backing for passthrough; its id (> 0) stays good after the descriptor is closed, until
 * closeBacking. EPERM: not allowed here (needs CAP_SYS_ADMIN in the initial user namespace); ELOOP: too deep a
 * stack of file systems; EOPNOTSUPP, ENOTTY, EINVAL: not offered by this connection, kernel or file.
 */
export function openBacking(fuseFd: number, backingFd: number): number {
  backingMap.fill(0);
  backingMap.writeInt32LE(backingFd, 0);
  const id = libc.ioctl(fuseFd, FUSE_DEV_IOC_BACKING_OPEN, backingMap);
  if (id <= 0)
    throw id < 0 ? lastError('ioctl', 'FUSE_DEV_IOC_BACKING_OPEN') : new ErrnoError('EIO', 'ioctl');
  return id;
}

/** Gives a backing id back; files opened with it go on. */
export function closeBacking(fuseFd: number, id: number): void {
  backingMap.fill(0);
  backingMap.writeInt32LE(id, 0);
  if (libc.ioctl(fuseFd, FUSE_DEV_IOC_BACKING_CLOSE, backingMap) < 0) {
    throw lastError('ioctl', 'FUSE_DEV_IOC_BACKING_CLOSE');
  }
}
