import fs from 'node:fs';
import { ERRNO, ErrnoError } from './errno.ts';
import { addressOf, kernel, lastErrno, libc } from './libc.ts';

/** What lies in pieces in memory, one after the other in the file. */
export type Pieces = readonly Uint8Array[];

/** Bytes that went into the file, from its first on. `error` says why they are fewer than there were. */
export interface Written {
  readonly bytes: number;
  readonly error?: Error;
}

const RWF_NOWAIT = 0x8;
/** UIO_MAXIOV of include/uapi/linux/uio.h. */
const VECTOR_MAX = 1024;
const vector = new BigUint64Array(2 * VECTOR_MAX);

export function lengthOf(pieces: Pieces): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

/** The pieces without their first `bytes` bytes. */
function after(pieces: Pieces, bytes: number): Pieces {
  let left = bytes;
  let index = 0;
  for (let piece = pieces[0]; piece !== undefined && left >= piece.length; piece = pieces[index]) {
    left -= piece.length;
    index += 1;
  }
  if (left === 0) return index === 0 ? pieces : pieces.slice(index);
  const [first, ...rest] = pieces.slice(index);
  return first === undefined ? [] : [first.subarray(left), ...rest];
}

/** One pwritev2(2) of as many pieces as it takes. Returns the bytes written, or the negative errno. */
function pwritev2(fd: number, pieces: Pieces, offset: bigint, flags: number): number {
  const count = Math.min(pieces.length, VECTOR_MAX);
  for (let index = 0; index < count; index += 1) {
    const piece = pieces[index] as Uint8Array;
    vector[2 * index] = addressOf(piece);
    vector[2 * index + 1] = BigInt(piece.length);
  }
  const written = kernel.pwritev2(fd, vector, count, offset, flags);
  return written < 0 ? -lastErrno() : written;
}

/**
 * Writes on the calling thread, and so under its identity; it may wait for a disk. Interrupted and short writes are
 * continued. `offset` is below 2^63.
 */
export function writeHere(fd: number, pieces: Pieces, offset: bigint): Written {
  let bytes = 0;
  for (let rest = pieces; rest.length > 0; rest = after(pieces, bytes)) {
    const written = pwritev2(fd, rest, offset + BigInt(bytes), 0);
    if (written === -ERRNO.EINTR) continue;
    if (written < 0) return { bytes, error: new ErrnoError(-written, 'pwritev2') };
    if (written === 0 && lengthOf(rest) > 0) return { bytes, error: new ErrnoError('EIO', 'pwritev2') };
    bytes += written;
  }
  return { bytes };
}

/**
 * Writes what takes no waiting (RWF_NOWAIT), on the calling thread. `unsupported` where the file system never can (ext4 and
 * tmpfs give EOPNOTSUPP, xfs writes); otherwise how many bytes went into the page cache.
 */
export function writeNowait(fd: number, pieces: Pieces, offset: bigint): Written | 'unsupported' {
  const written = pwritev2(fd, pieces, offset, RWF_NOWAIT);
  if (written >= 0) return { bytes: written };
  if (written === -ERRNO.EOPNOTSUPP) return 'unsupported';
  if (written === -ERRNO.EAGAIN || written === -ERRNO.EINTR) return { bytes: 0 };
  return { bytes: 0, error: new ErrnoError(-written, 'pwritev2') };
}

/**
 * Writes on libuv's pool, as the server; short writes are continued. Never rejects. `offset` and the end are at most
 * Number.MAX_SAFE_INTEGER: Node takes what is no such number for the file's own position.
 */
export async function writeOnPool(fd: number, pieces: Pieces, offset: number): Promise<Written> {
  let bytes = 0;
  for (let rest = pieces; rest.length > 0; rest = after(pieces, bytes)) {
    const position = offset + bytes;
    if (!Number.isSafeInteger(position)) throw new RangeError(`offset ${position} is not exact`);
    const result = await writev(fd, rest, position);
    if (result.error !== undefined) return { bytes, error: result.error };
    if (result.bytes === 0 && lengthOf(rest) > 0) return { bytes, error: new ErrnoError('EIO', 'pwritev') };
    bytes += result.bytes;
  }
  return { bytes };
}

function writev(fd: number, pieces: Pieces, position: number): Promise<Written> {
  return new Promise((resolve) => {
    fs.writev(fd, pieces, position, (error, bytes) => {
      resolve(error === null ? { bytes } : { bytes: 0, error });
    });
  });
}

/**
 * fsync(2), or fdatasync(2) with `dataOnly`, on libuv's pool. Rejects with a system error of Node's: EIO, ENOSPC and EDQUOT
 * also when what failed to be written was written through another descriptor that is open (see errseq.h of the kernel).
 */
export function syncOnPool(fd: number, dataOnly = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null): void => {
      if (error === null) resolve();
      else reject(error);
    };
    if (dataOnly) fs.fdatasync(fd, done);
    else fs.fsync(fd, done);
  });
}

const SYNC_FILE_RANGE_WRITE = 2;

/** What is no error of a disk: not a file for it (ESPIPE), or a kernel that does not let us. */
const NOT_POSSIBLE: readonly number[] = [ERRNO.EINVAL, ERRNO.ENOSYS, ERRNO.EPERM, ERRNO.ESPIPE];

/**
 * Has the disk begin with what the page cache has of a range, without waiting for it: sync_file_range(2). It may wait for
 * the journal of the file system, as making a file does, and where the disk has more to do than its queue can hold.
 *
 * @throws ErrnoError EIO, ENOSPC, EDQUOT: pages may be lost, and a later fsync(2) may not tell
 */
export function startWriteback(fd: number, offset: bigint, length: number): void {
  if (libc.syncFileRange(fd, offset, length, SYNC_FILE_RANGE_WRITE) >= 0) return;
  const errno = lastErrno();
  if (!NOT_POSSIBLE.includes(errno)) throw new ErrnoError(errno, 'sync_file_range');
}
