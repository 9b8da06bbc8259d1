/** Small writes next to each other, put together to one WRITE. */
import { STABLE_HOW, type WRITE3args } from '../nfs3/nfs.ts';
import type { Extent } from './extents.ts';
import { GATHER_CHUNK_MIN_BYTES, GATHER_COPY_BYTES } from './limits.ts';
import type { Author } from './write-author.ts';

export type stable_how = WRITE3args['stable'];

export class GatheredBytes {
  readonly start: bigint;
  readonly author: Author;
  /** How safe the bytes must be before the WRITE is answered. */
  stable: stable_how = STABLE_HOW.UNSTABLE;
  /** Number of the first write(2) that put bytes here: whoever waits for it waits for all of them. */
  readonly sequence: number;
  readonly #bytesMax: number;
  readonly #giveBack: (() => void)[] = [];
  readonly #pieces: Uint8Array[] = [];
  #lengthBytes = 0;
  /** Memory that the last piece lies in, as far as it is used. */
  #chunk: Buffer | undefined;
  #chunkUsed = 0;

  /** @param bytesMax how many bytes fit */
  constructor(start: bigint, author: Author, sequence: number, bytesMax: number) {
    this.start = start;
    this.author = author;
    this.sequence = sequence;
    this.#bytesMax = bytesMax;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  get end(): bigint {
    return this.start + BigInt(this.#lengthBytes);
  }

  get isFull(): boolean {
    return this.#lengthBytes >= this.#bytesMax;
  }

  /** Whether bytes at `offset` touch or overlap what is here, and are written with the same rights. */
  accepts(offset: bigint, author: Author): boolean {
    return this.start <= offset && offset <= this.end && author.key === this.author.key;
  }

  /**
   * Puts bytes over and behind what is here.
   *
   * @param offset where in the file they go; accepted before
   * @param isOwn whether `bytes` may be kept; otherwise they are copied
   * @returns how many of the bytes were taken, and by how many there are more than before
   */
  put(offset: bigint, bytes: Uint8Array, isOwn: boolean): { taken: number; added: number } {
    const at = Number(offset - this.start);
    const over = Math.min(bytes.length, this.#lengthBytes - at);
    if (over > 0) this.#overwrite(at, bytes.subarray(0, over));
    const added = Math.min(bytes.length - over, this.#bytesMax - this.#lengthBytes);
    if (added > 0) this.#append(bytes.subarray(over, over + added), isOwn);
    return { taken: over + added, added };
  }

  /** Memory that was lent to what was put last is wanted back: see Extent.giveBack. */
  lent(giveBack: () => void): void {
    this.#giveBack.push(giveBack);
  }

  /** What was gathered, to be sent; nothing is put here any more. */
  extent(): Extent {
    const { start, author, sequence } = this;
    this.#trim();
    return {
      start,
      pieces: this.#pieces,
      lengthBytes: this.#lengthBytes,
      author,
      sequence,
      resends: 0,
      giveBack: this.#giveBack,
    };
  }

  /** Memory that was taken for more than came is not kept: many small writes would hold many times their bytes. */
  #trim(): void {
    const chunk = this.#chunk;
    if (chunk === undefined || this.#chunkUsed * 2 > chunk.length) return;
    const exact = Buffer.allocUnsafeSlow(this.#chunkUsed);
    chunk.copy(exact, 0, 0, this.#chunkUsed);
    this.#pieces[this.#pieces.length - 1] = exact;
    this.#chunk = undefined;
  }

  #overwrite(at: number, bytes: Uint8Array): void {
    let position = 0;
    const end = at + bytes.length;
    for (const piece of this.#pieces) {
      const from = Math.max(at, position);
      const to = Math.min(end, position + piece.length);
      if (from < to) piece.set(bytes.subarray(from - at, to - at), from - position);
      position += piece.length;
      if (position >= end) return;
    }
  }

  #append(bytes: Uint8Array, isOwn: boolean): void {
    if (isOwn && bytes.length > GATHER_COPY_BYTES) {
      this.#pieces.push(bytes);
      this.#chunk = undefined;
      this.#lengthBytes += bytes.length;
      return;
    }
    for (let at = 0; at < bytes.length;) {
      const chunk = this.#room(bytes.length - at);
      const part = bytes.subarray(at, at + chunk.length - this.#chunkUsed);
      chunk.set(part, this.#chunkUsed);
      const isNew = this.#chunkUsed === 0;
      this.#chunkUsed += part.length;
      const piece = chunk.subarray(0, this.#chunkUsed);
      if (isNew) this.#pieces.push(piece);
      else this.#pieces[this.#pieces.length - 1] = piece;
      this.#lengthBytes += part.length;
      at += part.length;
    }
  }

  /** Memory with room for at least one byte: as much again as there is already, so that little is copied and little lies idle. */
  #room(wanted: number): Buffer {
    const known = this.#chunk;
    if (known !== undefined && this.#chunkUsed < known.length) return known;
    const size = Math.max(wanted, this.#lengthBytes, GATHER_CHUNK_MIN_BYTES);
    const chunk = Buffer.allocUnsafeSlow(Math.min(size, this.#bytesMax - this.#lengthBytes));
    this.#chunk = chunk;
    this.#chunkUsed = 0;
    return chunk;
  }
}
