/** Runs of written bytes, and those among them that were sent but are not on stable storage yet. */
import { EXTENT_OVERHEAD_BYTES } from './limits.ts';
import { slicePieces } from './wire-reader.ts';
import type { Author } from './write-author.ts';

/** A run of bytes that were written, with whose rights, and when. */
export interface Extent {
  /** Where in the file it begins, in bytes. */
  readonly start: bigint;
  /** Never changed once the extent is made. */
  readonly pieces: readonly Uint8Array[];
  /** Sum of the pieces. */
  readonly lengthBytes: number;
  readonly author: Author;
  /** Number of the first write(2) it answers for: fsync waits for those before it only. */
  readonly sequence: number;
  /** How often it was sent again because a server forgot it. */
  readonly resends: number;
  /** To be called when nobody looks at the pieces any more, no socket either: whoever lent their memory uses it again. */
  readonly giveBack?: readonly (() => void)[] | undefined;
}

/** The extent is on stable storage, whole. */
export function giveBack({ giveBack = [] }: Extent): void {
  for (const give of giveBack) give();
}

/** An extent that the server has, perhaps in memory only. */
export interface HeldExtent extends Extent {
  /** Of the reply that acknowledged it. */
  readonly verifier: string;
  /** Number of that reply: a COMMIT covers those that came before it was sent. */
  readonly answer: number;
}

export function endOf({ start, lengthBytes }: Extent): bigint {
  return start + BigInt(lengthBytes);
}

export function overlaps(a: Extent, b: Extent): boolean {
  return a.start < endOf(b) && b.start < endOf(a);
}

/** What an extent counts for against the bound of the mount, in bytes. */
export function weightOf({ lengthBytes }: Extent): number {
  return lengthBytes + EXTENT_OVERHEAD_BYTES;
}

/**
 * The bytes `from` to `to` of the file, which lie in the extent. A small rest does not keep all of its memory. The memory of
 * parts is not given back, because the other part is in it.
 */
export function sliceExtent<E extends Extent>(extent: E, from: bigint, to: bigint): E {
  const at = Number(from - extent.start);
  const lengthBytes = Number(to - from);
  if (at === 0 && lengthBytes === extent.lengthBytes) return extent;
  const pieces = slicePieces(extent.pieces, at, at + lengthBytes);
  const isSmall = lengthBytes * 2 < extent.lengthBytes;
  const kept = isSmall ? [Buffer.concat(pieces)] : pieces;
  return { ...extent, start: from, lengthBytes, pieces: kept, giveBack: undefined };
}

/** Extents that wait for their COMMIT: sorted, and no two overlap. */
export class HeldExtents {
  #extents: HeldExtent[] = [];
  #weight = 0;

  get isEmpty(): boolean {
    return this.#extents.length === 0;
  }

  /** What all of them count for, in bytes. */
  get weight(): number {
    return this.#weight;
  }

  /** Where the last of them ends; 0n without any. */
  get end(): bigint {
    const last = this.#extents.at(-1);
    return last === undefined ? 0n : endOf(last);
  }

  get first(): HeldExtent | undefined {
    return this.#extents[0];
  }

  /** Whether any was written not later than `sequence`. */
  hasUpTo(sequence: number): boolean {
    return this.#extents.some((extent) => extent.sequence <= sequence);
  }

  /** @param extent overlaps none that is held */
  add(extent: HeldExtent): void {
    this.#extents.splice(this.#indexAt(extent.start), 0, extent);
    this.#weight += weightOf(extent);
  }

  /**
   * Lets go of the bytes `start` to `end`: newer ones have taken their place, or they are gone from the file.
   *
   * @returns the lowest sequence among what went: who waits for those bytes now waits for the newer ones; Infinity
   * where nothing did
   */
  cut(start: bigint, end: bigint): number {
    const first = this.#indexAt(start);
    let last = first;
    let sequence = Infinity;
    const rests: HeldExtent[] = [];
    for (; ; last += 1) {
      const extent = this.#extents[last];
      if (extent === undefined || extent.start >= end) break;
      this.#weight -= weightOf(extent);
      sequence = Math.min(sequence, extent.sequence);
      if (extent.start < start) rests.push(sliceExtent(extent, extent.start, start));
      if (endOf(extent) > end) rests.push(sliceExtent(extent, end, endOf(extent)));
    }
    for (const rest of rests) this.#weight += weightOf(rest);
    if (last > first) this.#extents.splice(first, last - first, ...rests);
    return sequence;
  }

  /** Takes out those for which `isWanted` says so, in the order they were written. */
  take(isWanted: (extent: HeldExtent) => boolean): HeldExtent[] {
    const taken: HeldExtent[] = [];
    this.#extents = this.#extents.filter((extent) => {
      if (!isWanted(extent)) return true;
      this.#weight -= weightOf(extent);
      taken.push(extent);
      return false;
    });
    return taken.sort((a, b) => a.sequence - b.sequence);
  }

  /** The first extent that ends behind `offset`. */
  #indexAt(offset: bigint): number {
    let low = 0;
    let high = this.#extents.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const extent = this.#extents[middle];
      if (extent === undefined || endOf(extent) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
