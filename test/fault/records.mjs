/** What writers and the ledgers that check them must see alike: random numbers of a seed, and the bytes of a record. */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';

/** No divisor of a page or block: bytes that came to lie in another one show. */
const STAMP_BYTES = 31;

/** Numbers from 0 up to but not `below`, the same for the same seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** No two records have the same bytes. */
export function recordBytes(record, length) {
  const stamp = createHash('sha256').update(record).digest().subarray(0, STAMP_BYTES);
  return Buffer.alloc(length, stamp);
}

/** Blocks of files that several writers share: on no page's border, so that neighbours share pages. */
export const BLOCK_BYTES = 5_000;
export const BLOCKS = 120;
export const RANGE_FILES = ['one', 'two', 'three'];

export function blockBytes(seed, file, block) {
  return recordBytes(`${seed}.${file}.${block}`, BLOCK_BYTES);
}
