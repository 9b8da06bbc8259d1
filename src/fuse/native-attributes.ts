/** Attributes as fuse-native takes them: numbers of 32 bits for nearly everything, times in milliseconds. */
import type { NativeStat, NativeStatfs } from 'fuse-native';
import type { Attributes, FileSystemStatistics, Timestamp } from '../gateway/operations.ts';
import { IO_BLOCK_BYTES, encodeDevice, sectors } from './encode.ts';

const UINT32_MAX = 0xffff_ffffn;
/** From here on numbers are given out; below, they are the inodes' own. */
const FIRST_GIVEN = 0x8000_0000;

/**
 * Inode numbers of 32 bits that stay apart where those of 64 bits do: two files with the same number and more than one
 * name would be taken for one by programs that copy trees.
 */
export class InodeNumbers {
  readonly #given = new Map<bigint, number>();
  readonly #entriesMax: number;
  #next = FIRST_GIVEN;

  /** @param entriesMax numbers remembered; of those forgotten first, an inode gets another number the next time */
  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  of(ino: bigint): number {
    if (ino < BigInt(FIRST_GIVEN)) return Number(ino);
    const given = this.#given.get(ino);
    if (given !== undefined) return given;
    const number = this.#next;
    this.#next = number === Number(UINT32_MAX) ? FIRST_GIVEN : number + 1;
    this.#given.set(ino, number);
    if (this.#given.size > this.#entriesMax) {
      for (const oldest of this.#given.keys()) {
        this.#given.delete(oldest);
        break;
      }
    }
    return number;
  }
}

function milliseconds({ seconds, nanoseconds }: Timestamp): number {
  return seconds * 1000 + Math.floor(nanoseconds / 1e6);
}

export function nativeStat(attributes: Attributes, numbers: InodeNumbers): NativeStat {
  const { mode, uid, gid, nlink, rdevMajor, rdevMinor } = attributes;
  return {
    mode,
    uid,
    gid,
    nlink,
    ino: numbers.of(attributes.ino),
    rdev: encodeDevice(rdevMajor, rdevMinor),
    size: Number(attributes.size),
    blksize: IO_BLOCK_BYTES,
    blocks: Number(sectors(attributes.used)),
    atime: milliseconds(attributes.atime),
    mtime: milliseconds(attributes.mtime),
    ctime: milliseconds(attributes.ctime),
  };
}

/** What a directory tells about an entry: its number and its type (bits of S_IFMT). */
export function nativeEntry(ino: number, mode: number): NativeStat {
  return { ino, mode, atime: 0, mtime: 0, ctime: 0 };
}

/** Blocks are counted in larger ones where their number would not fit. */
export function nativeStatfs(statistics: FileSystemStatistics): NativeStatfs {
  let shift = 0n;
  while (statistics.blocks >> shift > UINT32_MAX) shift += 1n;
  const blockSizeBytes = statistics.blockSizeBytes * 2 ** Number(shift);
  const blocks = (count: bigint): number => Number(count >> shift);
  const files = (count: bigint): number => Number(count > UINT32_MAX ? UINT32_MAX : count);
  return {
    bsize: blockSizeBytes,
    frsize: blockSizeBytes,
    blocks: blocks(statistics.blocks),
    bfree: blocks(statistics.blocksFree),
    bavail: blocks(statistics.blocksAvailable),
    files: files(statistics.files),
    ffree: files(statistics.filesFree),
    favail: files(statistics.filesFree),
    namemax: statistics.nameBytesMax,
  };
}
