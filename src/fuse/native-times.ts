/**
 * fuse-native 2.2 hands the access time on twice, in the place of the time of change too (FUSE_METHOD_VOID(utimens) in its
 * fuse-native.c), so a copied or unpacked file would get a wrong time. Both times stand in the notes of libfuse's thread,
 * which come with every request: struct fuse_thread_locals_t of the same file, on 64-bit little-endian machines.
 */
import type { NativeHandler } from 'fuse-native';

/** op_utimens */
export const UTIMENS_OPCODE = 12;

const OPCODE_AT = 8;
/** Milliseconds since 1970, as size_t; before it they wrap around. */
const ATIME_AT = 104;
const MTIME_AT = 112;

/**
 * A handler of utimens that gets both times. Where the notes do not look as they should the time of change is NaN: a wrong
 * one must not be set.
 */
export function withBothTimes(handler: NativeHandler): NativeHandler {
  return (thread, opcode, path, atimeLow, atimeHigh) => {
    const { atimeMs, mtimeMs } = readTimes(thread, opcode, Number(atimeLow), Number(atimeHigh));
    // It adds each pair up, the second times 2^32.
    handler(thread, opcode, path, atimeMs, 0, mtimeMs, 0);
  };
}

function readTimes(
  thread: Buffer,
  opcode: number,
  atimeLow: number,
  atimeHigh: number,
): { readonly atimeMs: number; readonly mtimeMs: number } {
  const isAsKnown =
    thread.length >= MTIME_AT + 8 &&
    thread.readUInt32LE(OPCODE_AT) === opcode &&
    thread.readUInt32LE(ATIME_AT) === atimeLow &&
    thread.readUInt32LE(ATIME_AT + 4) === atimeHigh;
  if (!isAsKnown) return { atimeMs: NaN, mtimeMs: NaN };
  return {
    atimeMs: Number(thread.readBigInt64LE(ATIME_AT)),
    mtimeMs: Number(thread.readBigInt64LE(MTIME_AT)),
  };
}
