/** The bytes that are written: another at every place and in every round, so that lost, old and misplaced ones show. */
export const BLOCK_BYTES = 1024 * 1024;
export const PAGE_BYTES = 4096;

/** Fills `buffer` with the piece at `number` of a file; pieces have the size of the buffer. */
export function fillPiece(buffer: Buffer, number: number, seed: number): void {
  // One word in a page tells it from all others; making all bytes anew would be what is timed.
  for (let page = 0; page < buffer.length; page += PAGE_BYTES) {
    buffer.writeUInt32LE(seed, page);
    buffer.writeUInt32LE(number * (buffer.length / PAGE_BYTES) + page / PAGE_BYTES, page + 4);
  }
}

/** What `fillPiece` does not touch, the same in every page. */
export function makePiece(bytes: number): Buffer {
  const page = Buffer.from(
    Array.from({ length: PAGE_BYTES }, (_none, index) => (index * 131 + (index >>> 8)) & 0xff),
  );
  return Buffer.alloc(bytes, page);
}
