/** The locks that one owner has on one file: ranges of bytes that do not overlap, as fcntl(2) keeps them. */
import type { lock_type } from './locks.ts';

export interface LockRange {
  /** First and last byte. */
  readonly start: bigint;
  readonly end: bigint;
  readonly type: lock_type;
  /** Of the process that has asked for it. */
  readonly pid: number;
}

/** A part of a range that was looked at; without a type nothing is locked there. */
export interface LockPiece {
  readonly start: bigint;
  readonly end: bigint;
  readonly type: lock_type | undefined;
  readonly pid: number;
}

export class LockRanges {
  /** In their order. Neighbours of one type are one range. */
  readonly #ranges: LockRange[] = [];

  get size(): number {
    return this.#ranges.length;
  }

  [Symbol.iterator](): IterableIterator<LockRange> {
    return this.#ranges.values();
  }

  /**
   * Locks the bytes from `start` to `end`, or unlocks them: what was locked there before is replaced, and ranges that reach
   * beyond are split.
   *
   * @param type undefined unlocks
   */
  set(type: lock_type | undefined, start: bigint, end: bigint, pid: number): void {
    const ranges = this.#ranges;
    const from = this.#firstEndingFrom(start);
    const replacement: LockRange[] = [];
    let to = from;
    let after: LockRange | undefined;
    for (let range = ranges[to]; range !== undefined && range.start <= end; range = ranges[to]) {
      if (range.start < start) replacement.push({ ...range, end: start - 1n });
      if (range.end > end) after = { ...range, start: end + 1n };
      to += 1;
    }
    if (type !== undefined) replacement.push({ start, end, type, pid });
    if (after !== undefined) replacement.push(after);
    ranges.splice(from, to - from, ...replacement);
    this.#merge(Math.max(0, from - 1), from + replacement.length);
  }

  /** The ranges that have bytes in common with `start` to `end`, in their order. */
  *overlapping(start: bigint, end: bigint): Generator<LockRange> {
    for (let index = this.#firstEndingFrom(start); index < this.#ranges.length; index += 1) {
      const range = this.#ranges[index];
      if (range === undefined || range.start > end) return;
      yield range;
    }
  }

  /** What is locked from `start` to `end`, and what is not: without a gap, in its order. */
  *pieces(start: bigint, end: bigint): Generator<LockPiece> {
    let at = start;
    for (const range of this.overlapping(start, end)) {
      if (range.start > at) yield { start: at, end: range.start - 1n, type: undefined, pid: 0 };
      const first = range.start > at ? range.start : at;
      const last = range.end < end ? range.end : end;
      yield { start: first, end: last, type: range.type, pid: range.pid };
      at = last + 1n;
    }
    if (at <= end) yield { start: at, end, type: undefined, pid: 0 };
  }

  /** Whether every byte from `start` to `end` is locked by this type. */
  covers(type: lock_type, start: bigint, end: bigint): boolean {
    for (const range of this.overlapping(start, end)) {
      return range.type === type && range.start <= start && range.end >= end;
    }
    return false;
  }

  /** Index of the first range that ends at `offset` or behind it. */
  #firstEndingFrom(offset: bigint): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.#ranges[middle];
      if (range !== undefined && range.end < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Makes neighbours of one type one, among the ranges with these indexes and the one behind. */
  #merge(first: number, last: number): void {
    const ranges = this.#ranges;
    let left = last - first;
    for (let index = first; left >= 0; left -= 1) {
      const range = ranges[index];
      const next = ranges[index + 1];
      if (range === undefined || next === undefined) return;
      if (range.type === next.type && range.end + 1n === next.start) {
        ranges.splice(index, 2, { ...range, end: next.end });
      } else {
        index += 1;
      }
    }
  }
}
