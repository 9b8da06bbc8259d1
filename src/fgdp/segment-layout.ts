/**
 * What a shared segment holds: a table of slots, one for each page, then the pages. A page handle (offset, generation)
 * leads straight to the slot of its first page. Numbers are in the byte order of the machine: both ends share it.
 */
import type { page_handle } from './program.ts';

/** The smallest piece of a segment that is handed out, in bytes. */
export const PAGE_BYTES = 4096;

/** One slot; offsets in bytes. Only the server writes it, and only the slot of a run's first page counts. */
export const SLOT = {
  sizeBytes: 32,
  /** u64: changes whenever what the pages hold does, and never comes back. */
  generation: 0,
  /** u32: SLOT_VALID or SLOT_RECALLED. */
  valid: 8,
  /** u32: how often the guest was handed the run and has not unmapped it. */
  references: 12,
  /** u32: bytes of the run that are the file's; the rest of its pages is undefined. */
  length: 16,
} as const;

export const SLOT_RECALLED = 0;
export const SLOT_VALID = 1;

/** Where the pages begin in a segment of so many pages, in bytes: the next page border behind the slots. */
export function pagesOffset(pages: number): number {
  return Math.ceil((pages * SLOT.sizeBytes) / PAGE_BYTES) * PAGE_BYTES;
}

/** Size of a segment of so many pages, in bytes. */
export function segmentBytes(pages: number): number {
  return pagesOffset(pages) + pages * PAGE_BYTES;
}

/** The page a handle begins with; undefined where it does not lie in a segment of so many pages, on page borders. */
export function pageOfHandle(handle: page_handle, pages: number): number | undefined {
  const start = pagesOffset(pages);
  const end = segmentBytes(pages);
  const { offset, length } = handle;
  if (offset < BigInt(start) || length < 1n || offset + length > BigInt(end)) return undefined;
  const page = (Number(offset) - start) / PAGE_BYTES;
  return Number.isInteger(page) ? page : undefined;
}

/** The slots of a mapped segment, as words that Atomics can take. */
export class SlotTable {
  readonly #words: Int32Array;
  readonly #longs: BigUint64Array;

  constructor(memory: ArrayBuffer, pages: number) {
    this.#words = new Int32Array(memory, 0, (pages * SLOT.sizeBytes) / 4);
    this.#longs = new BigUint64Array(memory, 0, (pages * SLOT.sizeBytes) / 8);
  }

  isValid(page: number, generation: bigint): boolean {
    return (
      Atomics.load(this.#longs, (page * SLOT.sizeBytes + SLOT.generation) / 8) === generation &&
      Atomics.load(this.#words, wordOf(page, SLOT.valid)) === SLOT_VALID
    );
  }

  references(page: number): number {
    return Atomics.load(this.#words, wordOf(page, SLOT.references));
  }

  setReferences(page: number, references: number): void {
    Atomics.store(this.#words, wordOf(page, SLOT.references), references);
  }

  /** Everything written to the pages before is seen by whoever finds the slot valid. */
  publish(page: number, generation: bigint, lengthBytes: number): void {
    Atomics.store(this.#words, wordOf(page, SLOT.length), lengthBytes);
    Atomics.store(this.#longs, (page * SLOT.sizeBytes + SLOT.generation) / 8, generation);
    Atomics.store(this.#words, wordOf(page, SLOT.valid), SLOT_VALID);
  }

  /** From here on nobody takes the pages for `generation`, and nothing written to them later is seen before this. */
  recall(page: number, generation: bigint): void {
    Atomics.store(this.#words, wordOf(page, SLOT.valid), SLOT_RECALLED);
    Atomics.store(this.#longs, (page * SLOT.sizeBytes + SLOT.generation) / 8, generation + 1n);
    this.setReferences(page, 0);
    orderMemory();
  }
}

function wordOf(page: number, field: number): number {
  return (page * SLOT.sizeBytes + field) / 4;
}

const fence = new Int32Array(1);

/**
 * Keeps plain accesses before it before those after it: an atomic load alone does not hold back earlier plain loads
 * on arm64, an atomic read-modify-write between them does.
 */
export function orderMemory(): void {
  Atomics.add(fence, 0, 0);
}
