import { XdrError } from './error.ts';

/**
 * Reads big-endian XDR (RFC 4506) out of a record that may lie in several chunks, as it came off a socket.
 *
 * Small fields are taken as views of the chunk they lie in and copied only where they straddle two;
 * `takeChunks` never copies. Views share memory with the chunks: whoever keeps one keeps the chunk alive.
 */
export class XdrReader {
  readonly #chunks: readonly Uint8Array[];
  #index = 0;
  #offset = 0;
  #remaining: number;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = chunks;
    let total = 0;
    for (const chunk of chunks) total += chunk.length;
    this.#remaining = total;
  }

  /** Bytes not yet taken. */
  get remaining(): number {
    return this.#remaining;
  }

  /** Throws TRUNCATED unless `lengthBytes` more bytes are there. Nothing is allocated before this has passed. */
  require(lengthBytes: number): void {
    if (lengthBytes > this.#remaining) {
      throw new XdrError('TRUNCATED', `needs ${lengthBytes} bytes, ${this.#remaining} left`);
    }
  }

  /** The next `lengthBytes` bytes in one piece. */
  take(lengthBytes: number): Uint8Array {
    this.require(lengthBytes);
    let chunk = this.#current();
    if (lengthBytes === 0) return chunk?.subarray(0, 0) ?? new Uint8Array(0);
    if (chunk !== undefined && chunk.length - this.#offset >= lengthBytes) {
      const start = this.#offset;
      this.#offset += lengthBytes;
      this.#remaining -= lengthBytes;
      return chunk.subarray(start, start + lengthBytes);
    }
    const joined = Buffer.allocUnsafe(lengthBytes);
    let filled = 0;
    while (filled < lengthBytes) {
      chunk = this.#current();
      if (chunk === undefined) throw new XdrError('TRUNCATED', 'record ended inside a field');
      const length = Math.min(lengthBytes - filled, chunk.length - this.#offset);
      joined.set(chunk.subarray(this.#offset, this.#offset + length), filled);
      this.#offset += length;
      filled += length;
    }
    this.#remaining -= lengthBytes;
    return joined;
  }

  /** The next `lengthBytes` bytes as views of the chunks they lie in; joins nothing. */
  takeChunks(lengthBytes: number): Uint8Array[] {
    this.require(lengthBytes);
    const pieces: Uint8Array[] = [];
    let wanted = lengthBytes;
    while (wanted > 0) {
      const chunk = this.#current();
      if (chunk === undefined) throw new XdrError('TRUNCATED', 'record ended inside a field');
      const length = Math.min(wanted, chunk.length - this.#offset);
      pieces.push(chunk.subarray(this.#offset, this.#offset + length));
      this.#offset += length;
      wanted -= length;
    }
    this.#remaining -= lengthBytes;
    return pieces;
  }

  /** Skips the 0 to 3 bytes that pad a field of `lengthBytes` to a multiple of four (RFC 4506 section 4.9). */
  skipPadding(lengthBytes: number): void {
    const padding = (4 - (lengthBytes & 3)) & 3;
    if (padding > 0) this.take(padding);
  }

  u32(): number {
    const chunk = this.#current();
    if (chunk !== undefined && chunk.length - this.#offset >= 4) {
      const at = this.#offset;
      this.#offset += 4;
      this.#remaining -= 4;
      return (
        (((chunk[at] ?? 0) << 24) |
          ((chunk[at + 1] ?? 0) << 16) |
          ((chunk[at + 2] ?? 0) << 8) |
          (chunk[at + 3] ?? 0)) >>>
        0
      );
    }
    const bytes = this.take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
  }

  u64(): bigint {
    const bytes = this.take(8);
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
  }

  /** Throws LEFTOVER unless every byte was taken. */
  expectEnd(): void {
    if (this.#remaining !== 0)
      throw new XdrError('LEFTOVER', `${this.#remaining} bytes after the last field`);
  }

  #current(): Uint8Array | undefined {
    let chunk = this.#chunks[this.#index];
    while (chunk !== undefined && this.#offset >= chunk.length) {
      this.#index += 1;
      this.#offset = 0;
      chunk = this.#chunks[this.#index];
    }
    return chunk;
  }
}
