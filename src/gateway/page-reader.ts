/** The reader of one open file whose pages the server shares in memory: maps ahead of a sequential reader. */
import type { Caller } from './callers.ts';
import {
  MAP_AHEAD_BYTES,
  MAP_BEHIND_BYTES,
  MAP_FIRST_BYTES,
  MAP_RANDOM_BYTES,
  MAP_ROUNDS_MAX,
  MAP_TRIES,
  MAP_WINDOW_BYTES,
  RSIZE_MAX_BYTES,
  SPARE_BUFFERS_MAX,
} from './limits.ts';
import type { FilePages } from './mapped-files.ts';

/** Reads that are answered at once share this memory: their bytes are good until the next of them. */
let sharedBuffer: Buffer | undefined;

/** Memory of reads that were answered by promise, for the next of them. */
const spareBuffers: Buffer[] = [];

/** Memory that is good until the turn of the event loop is over in which it was taken. */
function takeBuffer(): Buffer {
  const buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(RSIZE_MAX_BYTES);
  setImmediate(() => {
    if (spareBuffers.length < SPARE_BUFFERS_MAX) spareBuffers.push(buffer);
  });
  return buffer;
}

/** Why bytes are to be read by wire. */
export interface NoPages {
  readonly reason: string;
}

export class PageReader {
  readonly #pages: FilePages;
  readonly #caller: Caller;
  #expected = 0;
  #windowBytes = MAP_FIRST_BYTES;
  /** What lies before it was given back, if it is not to be kept. */
  #passed = 0;

  constructor(pages: FilePages, caller: Caller) {
    this.#pages = pages;
    this.#caller = caller;
  }

  /**
   * Up to `sizeBytes` at `offset`, fewer only at the end of the file, if all of it is held: without a call to the server,
   * in memory that the next read uses again.
   */
  readHeld(offset: bigint, sizeBytes: number): Uint8Array | undefined {
    const range = this.#range(offset, sizeBytes);
    if (range === undefined || sizeBytes > RSIZE_MAX_BYTES) return undefined;
    const { start, end } = range;
    if (start >= end) return new Uint8Array(0);
    sharedBuffer ??= Buffer.allocUnsafeSlow(RSIZE_MAX_BYTES);
    const target = sharedBuffer.subarray(0, end - start);
    if (!this.#pages.copy(target, start, end)) return undefined;
    this.#mapAhead(start, end);
    return target;
  }

  /**
   * The same with the calls it takes. The bytes are good until the turn of the event loop in which they come is over.
   * Rejects with StatusError or RpcError.
   *
   * @param fresh asks the server first whether what is held still holds, as O_DIRECT wants
   */
  async read(offset: bigint, sizeBytes: number, fresh: boolean): Promise<Uint8Array | NoPages> {
    if (offset + BigInt(sizeBytes) > BigInt(Number.MAX_SAFE_INTEGER)) {
      return { reason: 'the offset is beyond what is mapped' };
    }
    const start = Number(offset);
    if (fresh) {
      const reason = await this.#pages.ask(start, sizeBytes, this.#caller);
      if (reason !== undefined) return { reason };
    }
    for (let tries = 0; tries < MAP_TRIES; tries += 1) {
      const reason = await this.#obtain(start, start + sizeBytes);
      if (reason !== undefined) return { reason };
      const range = this.#range(offset, sizeBytes);
      if (range === undefined) continue;
      if (range.start >= range.end) return new Uint8Array(0);
      const length = range.end - range.start;
      const target =
        length > RSIZE_MAX_BYTES ? Buffer.allocUnsafeSlow(length) : takeBuffer().subarray(0, length);
      if (!this.#pages.copy(target, range.start, range.end)) continue;
      this.#mapAhead(range.start, range.end);
      return target;
    }
    return { reason: 'the pages were recalled again and again' };
  }

  /** What of the wanted bytes lies in the file; undefined while its size is not known. */
  #range(offset: bigint, sizeBytes: number): { start: number; end: number } | undefined {
    const { size } = this.#pages;
    if (size === undefined || offset + BigInt(sizeBytes) > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
    const start = Number(offset);
    return { start, end: Math.min(start + sizeBytes, size) };
  }

  /** Maps what is missing between `start` and `end`; a string says why that cannot be. */
  async #obtain(start: number, end: number): Promise<string | undefined> {
    let at = start;
    for (let rounds = 0; at < end && rounds < MAP_ROUNDS_MAX; rounds += 1) {
      const missing = this.#pages.firstMissing(at, end);
      if (await this.#pages.arrived(at, missing)) continue;
      if (missing >= end || missing >= (this.#pages.size ?? Infinity)) return undefined;
      const { from, count } = this.#question(missing, end);
      const reason = await this.#pages.ask(from, count, this.#caller);
      if (reason !== undefined) return reason;
      const reached = this.#pages.firstMissing(missing, end);
      // Recalled at once, or at the end of the file: the copy will see.
      if (reached === missing) return undefined;
      at = reached;
    }
    return undefined;
  }

  #question(start: number, end: number): { from: number; count: number } {
    if (this.#isSequential(start)) return { from: start, count: Math.max(end - start, this.#windowBytes) };
    const from = start - (start % MAP_RANDOM_BYTES);
    return { from, count: Math.ceil((end - from) / MAP_RANDOM_BYTES) * MAP_RANDOM_BYTES };
  }

  /** The kernel's own read-ahead sends neighbouring requests in any order. */
  #isSequential(start: number): boolean {
    return Math.abs(start - this.#expected) <= MAP_WINDOW_BYTES;
  }

  #mapAhead(start: number, end: number): void {
    const isSequential = this.#isSequential(start);
    if (!isSequential) this.#windowBytes = MAP_FIRST_BYTES;
    if (!isSequential || end > this.#expected) this.#expected = end;
    const passed = end - MAP_BEHIND_BYTES;
    if (isSequential && passed > this.#passed) this.#pages.passed(this.#passed, passed);
    this.#passed = isSequential ? Math.max(this.#passed, passed) : start;
    const size = this.#pages.size ?? end;
    if (!isSequential || end >= size) return;
    const aheadBytes = (MAP_AHEAD_BYTES / MAP_WINDOW_BYTES) * this.#windowBytes;
    const missing = this.#pages.firstMissing(end, Math.min(end + aheadBytes, size));
    if (missing >= size || missing - end > aheadBytes - this.#windowBytes) return;
    const count = Math.min(this.#windowBytes, size - missing);
    this.#windowBytes = Math.min(this.#windowBytes * 2, MAP_WINDOW_BYTES);
    // Whoever comes to read these bytes hears what became of it.
    this.#pages.ask(missing, count, this.#caller).catch(() => undefined);
  }
}
