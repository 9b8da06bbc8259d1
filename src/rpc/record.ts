/** Record marking: RFC 5531 section 11. */
import { RpcError } from './error.ts';
import { RECORD_BYTES_MAX, RECORD_EMPTY_FRAGMENTS_MAX } from './limits.ts';

const LAST_FRAGMENT = 0x80000000;
const HEADER_BYTES = 4;
/** Pieces below this size are gathered by copying, so that a record of one-byte fragments stays small in memory. */
const GATHER_BELOW_BYTES = 1024;
const GATHER_BUFFER_BYTES = 4096;
/** Records up to this size are sent as one buffer; larger ones as their chunks. */
const JOIN_BELOW_BYTES = 4096;

/** Puts a record mark before a record: one fragment, its data by reference. */
export function frameRecord(chunks: readonly Uint8Array[]): Uint8Array[] {
  const length = lengthOf(chunks);
  if (length <= JOIN_BELOW_BYTES) {
    const joined = Buffer.allocUnsafe(HEADER_BYTES + length);
    frameInto(joined, chunks);
    return [joined];
  }
  const mark = Buffer.allocUnsafe(HEADER_BYTES);
  writeMark(mark, length);
  return [mark, ...chunks];
}

/** The same, copied to the start of `target`. Returns how many bytes it takes; 0 where they do not fit. */
export function frameInto(target: Buffer, chunks: readonly Uint8Array[]): number {
  const length = lengthOf(chunks);
  if (HEADER_BYTES + length > target.length) return 0;
  writeMark(target, length);
  let at = HEADER_BYTES;
  for (const chunk of chunks) {
    target.set(chunk, at);
    at += chunk.length;
  }
  return at;
}

function writeMark(target: Buffer, lengthBytes: number): void {
  target.writeUInt32BE((lengthBytes | LAST_FRAGMENT) >>> 0, 0);
}

function lengthOf(chunks: readonly Uint8Array[]): number {
  let length = 0;
  for (const chunk of chunks) length += chunk.length;
  return length;
}

/**
 * Cuts a byte stream into records. Feed it with `push`; it calls `onRecord` once for each complete record with
 * the pieces it arrived in. Fragments may have any size down to nothing, and headers may be split anywhere.
 */
export class RecordDecoder {
  readonly #onRecord: (chunks: Uint8Array[]) => void;
  readonly #maxBytes: number;
  #pieces: Uint8Array[] = [];
  #length = 0;
  #gather: Buffer | undefined;
  #gathered = 0;
  #header = 0;
  #headerBytes = 0;
  #fragmentLeft = 0;
  #last = false;
  #emptyFragments = 0;

  /**
   * @param onRecord receives each record; its chunks may be kept
   * @param maxBytes records over this size are an error before their bytes are kept
   */
  constructor(onRecord: (chunks: Uint8Array[]) => void, maxBytes: number = RECORD_BYTES_MAX) {
    this.#onRecord = onRecord;
    this.#maxBytes = maxBytes;
  }

  /** Whether a record has begun and not ended. */
  get isWithin(): boolean {
    return this.#headerBytes > 0 || this.#fragmentLeft > 0 || this.#length > 0 || this.#emptyFragments > 0;
  }

  /** Bytes kept of a record that has not ended. */
  get keptBytes(): number {
    return this.#length;
  }

  /** Takes the next bytes of the stream; throws RpcError BAD_RECORD, after which the stream is unusable. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#fragmentLeft === 0) {
        at = this.#readHeader(chunk, at);
        continue;
      }
      const length = Math.min(this.#fragmentLeft, chunk.length - at);
      this.#keep(chunk.subarray(at, at + length));
      at += length;
      this.#fragmentLeft -= length;
      if (this.#fragmentLeft === 0) this.#endFragment();
    }
  }

  #readHeader(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length && this.#headerBytes < HEADER_BYTES) {
      this.#header = ((this.#header << 8) | (chunk[at] ?? 0)) >>> 0;
      this.#headerBytes += 1;
      at += 1;
    }
    if (this.#headerBytes < HEADER_BYTES) return at;
    this.#last = (this.#header & LAST_FRAGMENT) !== 0;
    this.#fragmentLeft = this.#header & 0x7fffffff;
    this.#header = 0;
    this.#headerBytes = 0;
    if (this.#length + this.#fragmentLeft > this.#maxBytes) {
      throw new RpcError(
        'BAD_RECORD',
        `record of at least ${this.#length + this.#fragmentLeft} bytes, at most ${this.#maxBytes} allowed`,
      );
    }
    if (this.#fragmentLeft > 0) return at;
    this.#emptyFragments += 1;
    if (this.#emptyFragments > RECORD_EMPTY_FRAGMENTS_MAX) {
      throw new RpcError(
        'BAD_RECORD',
        `more than ${RECORD_EMPTY_FRAGMENTS_MAX} empty fragments in one record`,
      );
    }
    this.#endFragment();
    return at;
  }

  #keep(piece: Uint8Array): void {
    this.#length += piece.length;
    if (
      piece.length >= GATHER_BELOW_BYTES ||
      (this.#last && this.#pieces.length === 0 && this.#gathered === 0)
    ) {
      this.#flushGathered();
      this.#pieces.push(piece);
      return;
    }
    if (this.#gather === undefined || this.#gather.length - this.#gathered < piece.length) {
      this.#flushGathered();
      this.#gather = Buffer.allocUnsafe(GATHER_BUFFER_BYTES);
    }
    this.#gather.set(piece, this.#gathered);
    this.#gathered += piece.length;
  }

  #flushGathered(): void {
    if (this.#gather === undefined || this.#gathered === 0) return;
    this.#pieces.push(this.#gather.subarray(0, this.#gathered));
    this.#gather = this.#gather.subarray(this.#gathered);
    this.#gathered = 0;
  }

  #endFragment(): void {
    if (!this.#last) return;
    this.#flushGathered();
    const record = this.#pieces;
    this.#pieces = [];
    this.#gather = undefined;
    this.#length = 0;
    this.#emptyFragments = 0;
    this.#onRecord(record);
  }
}
