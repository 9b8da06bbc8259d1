import { XdrError } from './error.ts';

const FIRST_BUFFER_BYTES = 512;
/** Opaque data from this size up is appended by reference instead of being copied. */
const BY_REFERENCE_BYTES = 2048;
const PADDING = new Uint8Array(3);

/**
 * Writes big-endian XDR (RFC 4506) into a list of chunks: small fields share a buffer, large opaque data is
 * kept by reference, so the caller must leave it untouched until the chunks have been written out.
 */
export class XdrWriter {
  #chunks: Uint8Array[] = [];
  #buffer: Buffer = Buffer.allocUnsafe(FIRST_BUFFER_BYTES);
  #start = 0;
  #offset = 0;
  #written = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#written + this.#offset - this.#start;
  }

  u32(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw rangeError(value, 'u32');
    const at = this.#reserve(4);
    this.#buffer.writeUInt32BE(value, at);
  }

  i32(value: number): void {
    if (!Number.isInteger(value) || value < -0x80000000 || value > 0x7fffffff) throw rangeError(value, 'i32');
    const at = this.#reserve(4);
    this.#buffer.writeInt32BE(value, at);
  }

  u64(value: bigint): void {
    if (value < 0n || value > 0xffffffffffffffffn) throw rangeError(value, 'u64');
    const at = this.#reserve(8);
    this.#buffer.writeBigUInt64BE(value, at);
  }

  i64(value: bigint): void {
    if (value < -0x8000000000000000n || value > 0x7fffffffffffffffn) throw rangeError(value, 'i64');
    const at = this.#reserve(8);
    this.#buffer.writeBigInt64BE(value, at);
  }

  /** Appends bytes as they are, without padding. */
  bytes(value: Uint8Array): void {
    if (value.length >= BY_REFERENCE_BYTES) {
      this.#seal();
      this.#chunks.push(value);
      this.#written += value.length;
      return;
    }
    const at = this.#reserve(value.length);
    this.#buffer.set(value, at);
  }

  /** Pads what follows a field of `lengthBytes` bytes to a multiple of four. */
  pad(lengthBytes: number): void {
    const padding = (4 - (lengthBytes & 3)) & 3;
    if (padding > 0) this.bytes(PADDING.subarray(0, padding));
  }

  /** Room for a fixed-size structure: writes happen through the returned view at the returned offset. */
  room(lengthBytes: number): { buffer: Buffer; offset: number } {
    const offset = this.#reserve(lengthBytes);
    return { buffer: this.#buffer, offset };
  }

  /** Everything written, in order. The writer is empty afterwards. */
  finish(): Uint8Array[] {
    this.#seal();
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#written = 0;
    return chunks;
  }

  #reserve(lengthBytes: number): number {
    if (this.#buffer.length - this.#offset < lengthBytes) {
      this.#seal();
      this.#buffer = Buffer.allocUnsafe(Math.max(lengthBytes, FIRST_BUFFER_BYTES * 4));
      this.#start = 0;
      this.#offset = 0;
    }
    const at = this.#offset;
    this.#offset += lengthBytes;
    return at;
  }

  #seal(): void {
    if (this.#offset === this.#start) return;
    this.#chunks.push(this.#buffer.subarray(this.#start, this.#offset));
    this.#written += this.#offset - this.#start;
    this.#start = this.#offset;
  }
}

function rangeError(value: number | bigint, type: string): XdrError {
  return new XdrError('RANGE', `${value} does not fit ${type}`);
}
