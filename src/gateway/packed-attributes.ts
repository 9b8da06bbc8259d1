/**
 * Attributes of inodes nobody looks at, small: the kernel keeps every inode it was ever told of, so a `find` over a large
 * tree leaves hundreds of thousands of them here. As an object one set takes 320 bytes, as a string 96.
 */
import type { Attributes, Timestamp } from './operations.ts';

/** One set of attributes; the characters are the bytes of a record (latin1). */
export type PackedAttributes = string & { readonly packed: unique symbol };

// ino, size, used u64 | seconds and nanoseconds of atime, mtime, ctime u32 | mode, nlink, uid, gid, rdev u32
const record = Buffer.alloc(72);
const u64 = new BigUint64Array(record.buffer, record.byteOffset, 3);
const u32 = new Uint32Array(record.buffer, record.byteOffset, 18);

/** In the mode, above type and permissions: lacksAcl. */
const LACKS_ACL = 0x0001_0000;

const u64At = (index: number): bigint => u64[index] as bigint;
const u32At = (index: number): number => u32[index] as number;
const timeAt = (index: number): Timestamp => ({ seconds: u32At(index), nanoseconds: u32At(index + 1) });

export function packAttributes(attributes: Attributes): PackedAttributes {
  const { atime, mtime, ctime } = attributes;
  u64[0] = attributes.ino;
  u64[1] = attributes.size;
  u64[2] = attributes.used;
  u32[6] = atime.seconds;
  u32[7] = atime.nanoseconds;
  u32[8] = mtime.seconds;
  u32[9] = mtime.nanoseconds;
  u32[10] = ctime.seconds;
  u32[11] = ctime.nanoseconds;
  u32[12] = attributes.mode | (attributes.lacksAcl === true ? LACKS_ACL : 0);
  u32[13] = attributes.nlink;
  u32[14] = attributes.uid;
  u32[15] = attributes.gid;
  u32[16] = attributes.rdevMajor;
  u32[17] = attributes.rdevMinor;
  return record.toString('latin1') as PackedAttributes;
}

export function unpackAttributes(packed: PackedAttributes): Attributes {
  record.write(packed, 'latin1');
  return {
    ino: u64At(0),
    size: u64At(1),
    used: u64At(2),
    atime: timeAt(6),
    mtime: timeAt(8),
    ctime: timeAt(10),
    mode: u32At(12) & ~LACKS_ACL,
    nlink: u32At(13),
    uid: u32At(14),
    gid: u32At(15),
    rdevMajor: u32At(16),
    rdevMinor: u32At(17),
    lacksAcl: (u32At(12) & LACKS_ACL) !== 0,
  };
}
