/** The server's half of a shared segment. */
import { closeFd } from '../system/files.ts';
import { createSegment, type Mapping } from '../system/mapping.ts';
import { BuddyAllocator } from './buddy-allocator.ts';
import { PAGE_BYTES, SlotTable, pagesOffset, segmentBytes } from './segment-layout.ts';
import type { page_handle } from './program.ts';

export class OwnSegment {
  readonly id: bigint;
  readonly pages: number;
  /** All of the segment, the slots included. */
  readonly sizeBytes: number;
  readonly slots: SlotTable;
  /** Which runs are in use. */
  readonly allocator: BuddyAllocator;
  readonly #mapping: Mapping;
  #fd: number | undefined;

  /**
   * @param id names the segment within its session
   * @param pages a multiple of 2^orderMax
   * @param orderMax the largest run has 2^orderMax pages
   * @throws ErrnoError when there is no memory
   */
  constructor(id: bigint, pages: number, orderMax: number) {
    this.id = id;
    this.pages = pages;
    this.sizeBytes = segmentBytes(pages);
    this.allocator = new BuddyAllocator(pages, orderMax);
    const { fd, mapping } = createSegment('nearmount-pages', this.sizeBytes);
    this.#fd = fd;
    this.#mapping = mapping;
    this.slots = new SlotTable(mapping.memory, pages);
  }

  /** Gives the descriptor to `send`, once, and closes it here: the mapping stays. */
  handOver(send: (fd: number) => boolean): boolean {
    const fd = this.#fd;
    if (fd === undefined) return false;
    this.#fd = undefined;
    try {
      return send(fd);
    } finally {
      closeFd(fd);
    }
  }

  /** The memory of `lengthBytes` from a page on. */
  memory(page: number, lengthBytes: number): Buffer {
    return Buffer.from(this.#mapping.memory, pagesOffset(this.pages) + page * PAGE_BYTES, lengthBytes);
  }

  handle(page: number, lengthBytes: number, generation: bigint): page_handle {
    return {
      shared_file: this.id,
      offset: BigInt(pagesOffset(this.pages) + page * PAGE_BYTES),
      length: BigInt(lengthBytes),
      generation,
    };
  }

  /** Unmaps it here. A guest that has it mapped keeps it until it unmaps it, too. */
  close(): void {
    this.handOver(() => false);
    this.#mapping.unmap();
  }
}
