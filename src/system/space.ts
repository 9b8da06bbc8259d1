import { ErrnoError } from './errno.ts';
import { kernel, lastError, libc, onPool } from './libc.ts';

// include/uapi/linux/falloc.h
export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;

// lseek(2)
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

const OFFSET_MAX = 2n ** 63n - 1n;

/** A range of a file as fallocate(2) wants it. */
export interface SpaceRange {
  /** FALLOC_FL_* bits. */
  readonly mode: number;
  /** Bytes. */
  readonly offset: bigint;
  /** Bytes. */
  readonly length: bigint;
}

/** Bytes of an open file, from an offset on. */
export interface CopyEnd {
  readonly fd: number;
  readonly offset: bigint;
}

/** EINVAL for what fits no off_t, or is empty, before it could be taken for something else; EFBIG as fallocate(2). */
export function checkSpaceRange({ offset, length }: Omit<SpaceRange, 'mode'>): void {
  if (offset > OFFSET_MAX || length > OFFSET_MAX || length === 0n)
    throw new ErrnoError('EINVAL', 'fallocate');
  if (offset + length > OFFSET_MAX) throw new ErrnoError('EFBIG', 'fallocate');
}

/** fallocate(2), on the calling thread and so under its identity. */
export function fallocateHere(fd: number, { mode, offset, length }: SpaceRange): void {
  if (libc.fallocate(fd, mode, offset, length) < 0) throw lastError('fallocate');
}

/**
 * The same on libuv's pool, as the server.
 *
 * @returns false where it failed: what went wrong is known to that thread only. It can be tried again here, to be told
 */
export function fallocateOnPool(fd: number, { mode, offset, length }: SpaceRange): Promise<boolean> {
  return new Promise((resolve, reject) => {
    onPool.fallocate(fd, mode, offset, length, (error, result) => {
      if (error instanceof Error) reject(error);
      else resolve(result === 0);
    });
  });
}

/**
 * copy_file_range(2), on the calling thread and so under its identity. The file systems that can share the blocks.
 *
 * @returns how many bytes were copied; 0 at the end of the source
 */
export function copyRangeHere(from: CopyEnd, to: CopyEnd, lengthBytes: number): number {
  const [fromOffset, toOffset] = [BigInt64Array.of(from.offset), BigInt64Array.of(to.offset)];
  const copied = kernel.copyFileRange(from.fd, fromOffset, to.fd, toOffset, lengthBytes);
  if (copied < 0) throw lastError('copy_file_range');
  return copied;
}

/** The same on libuv's pool, as the server; undefined where it failed, as with fallocateOnPool. */
export function copyRangeOnPool(
  from: CopyEnd,
  to: CopyEnd,
  lengthBytes: number,
): Promise<number | undefined> {
  const [fromOffset, toOffset] = [BigInt64Array.of(from.offset), BigInt64Array.of(to.offset)];
  return new Promise((resolve, reject) => {
    onPool.copyFileRange([from.fd, fromOffset], [to.fd, toOffset], lengthBytes, (error, result) => {
      // Named here so that the memory stays reachable until the kernel has written to it.
      if (fromOffset.length !== toOffset.length) throw new Error('offsets are single numbers');
      if (error instanceof Error) reject(error);
      else resolve(result < 0 ? undefined : result);
    });
  });
}
