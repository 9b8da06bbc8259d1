/** Answers of the operations, as the kernel's structures. */
import type {
  Attributes,
  AttributesReply,
  Entry,
  FileSystemStatistics,
  Opened,
} from '../gateway/operations.ts';
import {
  FOPEN_KEEP_CACHE,
  FOPEN_NOFLUSH,
  FOPEN_PASSTHROUGH,
  fuse_attr_out,
  fuse_entry_out,
  fuse_open_out,
  fuse_statfs_out,
  type fuse_attr,
} from './abi.ts';

const SECTOR_BYTES = 512n;
/** What st_blksize tells programs: the size in which they should read. */
export const IO_BLOCK_BYTES = 128 * 1024;

function attr(value: Attributes): fuse_attr {
  return {
    ino: value.ino,
    size: value.size,
    blocks: sectors(value.used),
    atime: BigInt(value.atime.seconds),
    mtime: BigInt(value.mtime.seconds),
    ctime: BigInt(value.ctime.seconds),
    atimensec: value.atime.nanoseconds,
    mtimensec: value.mtime.nanoseconds,
    ctimensec: value.ctime.nanoseconds,
    mode: value.mode,
    nlink: value.nlink,
    uid: value.uid,
    gid: value.gid,
    rdev: encodeDevice(value.rdevMajor, value.rdevMinor),
    blksize: IO_BLOCK_BYTES,
    flags: 0,
  };
}

/** What st_blocks counts. */
export function sectors(usedBytes: bigint): bigint {
  return (usedBytes + SECTOR_BYTES - 1n) / SECTOR_BYTES;
}

/** new_encode_dev of include/linux/kdev_t.h. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function validity(ms: number): { seconds: bigint; nanoseconds: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanoseconds: Math.floor((ms - seconds * 1000) * 1e6) };
}

const NO_ATTRIBUTES: Attributes = {
  ino: 0n,
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  rdevMajor: 0,
  rdevMinor: 0,
  size: 0n,
  used: 0n,
  atime: { seconds: 0, nanoseconds: 0 },
  mtime: { seconds: 0, nanoseconds: 0 },
  ctime: { seconds: 0, nanoseconds: 0 },
};

/** The entry that names nothing; READDIRPLUS sends it for names that are only listed. */
export const NO_ENTRY: Entry = { nodeId: 0n, entryValidMs: 0, attributes: undefined };

export function encodeEntry(entry: Entry): Buffer {
  const entryValid = validity(entry.entryValidMs);
  const attrValid = validity(entry.attributes?.validMs ?? 0);
  return fuse_entry_out.encode({
    nodeid: entry.nodeId,
    generation: 0n,
    entry_valid: entryValid.seconds,
    attr_valid: attrValid.seconds,
    entry_valid_nsec: entryValid.nanoseconds,
    attr_valid_nsec: attrValid.nanoseconds,
    attr: attr(entry.attributes?.attributes ?? NO_ATTRIBUTES),
  });
}

export function encodeAttributes(reply: AttributesReply): Buffer {
  const valid = validity(reply.validMs);
  return fuse_attr_out.encode({
    attr_valid: valid.seconds,
    attr_valid_nsec: valid.nanoseconds,
    dummy: 0,
    attr: attr(reply.attributes),
  });
}

/**
 * @param isFlushed whether the close of each descriptor is told by FLUSH: where nothing can have been written, nor locked,
 * no close need wait for it
 */
export function encodeOpened(opened: Opened, isFlushed: boolean): Buffer {
  let openFlags = isFlushed ? 0 : FOPEN_NOFLUSH;
  if (opened.keepCache) openFlags |= FOPEN_KEEP_CACHE;
  if (opened.backingId !== undefined) openFlags |= FOPEN_PASSTHROUGH;
  return fuse_open_out.encode({
    fh: opened.fileHandle,
    open_flags: openFlags,
    backing_id: opened.backingId ?? 0,
  });
}

export function encodeStatistics(value: FileSystemStatistics): Buffer {
  return fuse_statfs_out.encode({
    blocks: value.blocks,
    bfree: value.blocksFree,
    bavail: value.blocksAvailable,
    files: value.files,
    ffree: value.filesFree,
    bsize: value.blockSizeBytes,
    namelen: value.nameBytesMax,
    frsize: value.blockSizeBytes,
    padding: 0,
    spare: new Uint8Array(24),
  });
}
