/** The reply to READDIR and READDIRPLUS: entries one after the other, as many as fit. */
import type { DirectorySink, Entry } from '../gateway/operations.ts';
import { fuse_dirent, fuse_entry_out } from './abi.ts';
import { NO_ENTRY, encodeEntry } from './encode.ts';

const ALIGNMENT = 8;
/** DT_* of a directory entry is the type bits of st_mode, shifted. */
const TYPE_SHIFT = 12;

/** The node ids that a READDIRPLUS reply refers to. */
export function nodeIdsOf(reply: Uint8Array): bigint[] {
  const ids: bigint[] = [];
  const headBytes = fuse_entry_out.sizeBytes + fuse_dirent.sizeBytes;
  for (let at = 0; at + headBytes <= reply.length;) {
    const { nodeid } = fuse_entry_out.decode(reply.subarray(at));
    const { namelen } = fuse_dirent.decode(reply.subarray(at + fuse_entry_out.sizeBytes));
    if (nodeid !== 0n) ids.push(nodeid);
    at += Math.ceil((headBytes + namelen) / ALIGNMENT) * ALIGNMENT;
  }
  return ids;
}

export class DirectoryBuffer implements DirectorySink {
  readonly wantsEntries: boolean;
  readonly #bytes: Buffer;
  #length = 0;

  /**
   * @param sizeBytes what the kernel has room for
   * @param plus whether each entry carries attributes (READDIRPLUS)
   */
  constructor(sizeBytes: number, plus: boolean) {
    this.#bytes = Buffer.alloc(sizeBytes);
    this.wantsEntries = plus;
  }

  add(name: Uint8Array, cookie: bigint, ino: bigint, fileType: number, entry: Entry = NO_ENTRY): boolean {
    const entryBytes = this.wantsEntries ? fuse_entry_out.sizeBytes : 0;
    const unpadded = entryBytes + fuse_dirent.sizeBytes + name.length;
    const padded = Math.ceil(unpadded / ALIGNMENT) * ALIGNMENT;
    if (this.#length + padded > this.#bytes.length) return false;
    let at = this.#length;
    if (this.wantsEntries) {
      this.#bytes.set(encodeEntry(entry), at);
      at += entryBytes;
    }
    const type = fileType >>> TYPE_SHIFT;
    fuse_dirent.encodeInto(this.#bytes, at, { ino, off: cookie, namelen: name.length, type });
    this.#bytes.set(name, at + fuse_dirent.sizeBytes);
    this.#length += padded;
    return true;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}
