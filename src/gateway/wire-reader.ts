/**
 * The wire data path of one open file: READs of rsize, several under way, ahead of a sequential reader.
 * Data stays in the pieces it was received in.
 */
import { READ_AHEAD_AFTER, READ_AHEAD_BYTES, READ_NEIGHBOURS } from './limits.ts';

export interface WireRead {
  readonly pieces: readonly Uint8Array[];
  /** Sum of the pieces, in bytes. */
  readonly lengthBytes: number;
  /** Nothing of the file lies behind these bytes. */
  readonly eof: boolean;
}

/** One READ call: as many bytes as the server likes to give, at least one unless at the end. Rejects with RpcError. */
export type FetchRange = (offset: bigint, countBytes: number) => Promise<WireRead>;

interface Block {
  readonly index: number;
  readonly data: Promise<WireRead>;
}

export class WireReader {
  readonly #fetch: FetchRange;
  readonly #blockBytes: number;
  readonly #windowBlocks: number;
  /** Blocks asked for and not fully read yet, oldest first. */
  readonly #blocks = new Map<number, Block>();
  #expected = 0n;
  #version = 0;
  #sequential = 0;
  #aheadBlocks = 1;
  /** First block known to lie behind the end. */
  #endBlock = Infinity;

  /** @param rsizeBytes bytes of one READ */
  constructor(fetch: FetchRange, rsizeBytes: number) {
    this.#fetch = fetch;
    this.#blockBytes = rsizeBytes;
    this.#windowBlocks = Math.max(1, Math.floor(READ_AHEAD_BYTES / rsizeBytes));
  }

  /**
   * Reads up to `sizeBytes` at `offset`: fewer only at the end of the file.
   *
   * @param version of the file as the gateway knows it; with another one, what was read ahead is dropped
   */
  async read(offset: bigint, sizeBytes: number, version: number): Promise<readonly Uint8Array[]> {
    const isSame = version === this.#version;
    if (!isSame) this.#reset();
    this.#version = version;
    const near = offset - this.#expected;
    const ahead = this.#windowBlocks * this.#blockBytes;
    // The kernel's own read-ahead sends neighbouring requests in any order. Who jumps about in a small file is no neighbour.
    const window = BigInt(Math.min(ahead, sizeBytes * READ_NEIGHBOURS));
    // Whoever reads between writes would read ahead for nothing: the next write drops it.
    const isSequential = isSame && near >= -window && near <= window;
    this.#sequential = isSequential ? this.#sequential + 1 : 0;
    const end = offset + BigInt(sizeBytes);
    if (!isSequential || end > this.#expected) this.#expected = end;
    if (!isSequential) this.#reset();
    if (this.#sequential < READ_AHEAD_AFTER) return (await this.#fetchFully(offset, sizeBytes)).pieces;
    return this.#readBlocks(offset, sizeBytes);
  }

  /** Reads past everything that was read ahead, for files opened with O_DIRECT. */
  async readDirect(offset: bigint, sizeBytes: number): Promise<readonly Uint8Array[]> {
    return (await this.#fetchFully(offset, sizeBytes)).pieces;
  }

  /** Forgets what was read ahead: the file has changed, or the reader went elsewhere. */
  #reset(): void {
    this.#blocks.clear();
    this.#aheadBlocks = 1;
    this.#endBlock = Infinity;
  }

  async #readBlocks(offset: bigint, sizeBytes: number): Promise<readonly Uint8Array[]> {
    const blockBytes = BigInt(this.#blockBytes);
    const first = Number(offset / blockBytes);
    const last = Number((offset + BigInt(sizeBytes) - 1n) / blockBytes);
    const wanted: Block[] = [];
    for (let index = first; index <= last; index += 1) wanted.push(this.#block(index));
    this.#aheadBlocks = Math.min(this.#aheadBlocks * 2, this.#windowBlocks);
    for (let index = last + 1; index <= last + this.#aheadBlocks && index < this.#endBlock; index += 1)
      this.#block(index);

    const pieces: Uint8Array[] = [];
    let position = offset;
    let left = sizeBytes;
    for (const block of wanted) {
      const data = await block.data;
      const start = Number(position - BigInt(block.index) * blockBytes);
      const length = Math.min(left, data.lengthBytes - start);
      if (length > 0) {
        for (const piece of slicePieces(data.pieces, start, start + length)) pieces.push(piece);
        position += BigInt(length);
        left -= length;
      }
      if (data.eof) break;
    }
    this.#retire(first);
    return pieces;
  }

  #block(index: number): Block {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const offset = BigInt(index) * BigInt(this.#blockBytes);
    const data = this.#fetchFully(offset, this.#blockBytes);
    const block = { index, data };
    this.#blocks.set(index, block);
    data.then(
      (read) => {
        // What lies at the end may grow, so it is not kept for a later read.
        if (read.eof) {
          this.#endBlock = Math.min(this.#endBlock, index + 1);
          this.#blocks.delete(index);
        }
      },
      () => {
        this.#blocks.delete(index);
      },
    );
    return block;
  }

  /** Drops blocks the reader has passed, keeping one window for requests that come out of order. */
  #retire(current: number): void {
    for (const index of this.#blocks.keys()) {
      if (index >= current - 1 && index <= current + 2 * this.#windowBlocks) continue;
      this.#blocks.delete(index);
    }
  }

  /** A server may answer with fewer bytes than were asked for, so ask until they are all there. */
  async #fetchFully(offset: bigint, countBytes: number): Promise<WireRead> {
    let read = await this.#fetch(offset, countBytes);
    if (read.eof || read.lengthBytes >= countBytes) return read;
    const pieces = [...read.pieces];
    let lengthBytes = read.lengthBytes;
    while (!read.eof && read.lengthBytes > 0 && lengthBytes < countBytes) {
      read = await this.#fetch(offset + BigInt(lengthBytes), countBytes - lengthBytes);
      pieces.push(...read.pieces);
      lengthBytes += read.lengthBytes;
    }
    return { pieces, lengthBytes, eof: read.eof };
  }
}

/** The bytes from `start` to `end` of a list of pieces, without copying. */
export function slicePieces(pieces: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const slices: Uint8Array[] = [];
  let at = 0;
  for (const piece of pieces) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, piece.length);
    if (from < to) slices.push(piece.subarray(from, to));
    at += piece.length;
    if (at >= end) break;
  }
  return slices;
}
