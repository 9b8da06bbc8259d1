/** The guest's half: the segments of one session, mapped for reading, and the runs of pages that handles lead to. */
import { ErrnoError } from '../system/errno.ts';
import { closeFd } from '../system/files.ts';
import { mapSegment, type Mapping } from '../system/mapping.ts';
import { SEGMENT_PAGES_MAX, SEGMENTS_PER_SESSION_MAX } from './limits.ts';
import type { page_handle } from './program.ts';
import { SlotTable, orderMemory, pageOfHandle, segmentBytes } from './segment-layout.ts';

interface GuestSegment {
  readonly pages: number;
  readonly mapping: Mapping;
  readonly slots: SlotTable;
}

/** A run of pages of a file in a shared segment. The server can take it back at any moment. */
export class SharedPages {
  readonly handle: page_handle;
  readonly lengthBytes: number;
  readonly #segment: GuestSegment;
  readonly #page: number;

  constructor(handle: page_handle, segment: GuestSegment, page: number) {
    this.handle = handle;
    this.lengthBytes = Number(handle.length);
    this.#segment = segment;
    this.#page = page;
  }

  /**
   * Whether the pages still hold what the handle stood for. Asked after a copy it says whether the copy is good; before
   * one it saves it.
   */
  isCurrent(): boolean {
    orderMemory();
    const { mapping, slots } = this.#segment;
    return mapping.isMapped && slots.isValid(this.#page, this.handle.generation);
  }

  /** Copies `lengthBytes` from `start` of the run on: good only if isCurrent() says so afterwards. */
  copyTo(target: Uint8Array, targetStart: number, start: number, lengthBytes: number): void {
    if (start < 0 || lengthBytes < 0 || start + lengthBytes > this.lengthBytes)
      throw new RangeError(`${lengthBytes} bytes at ${start} of a run of ${this.lengthBytes}`);
    const from = Number(this.handle.offset) + start;
    target.set(new Uint8Array(this.#segment.mapping.memory, from, lengthBytes), targetStart);
  }
}

export class GuestSegments {
  readonly #segments = new Map<bigint, GuestSegment>();

  /** Segments mapped now. */
  get size(): number {
    return this.#segments.size;
  }

  /**
   * Maps a segment that came over the channel; its descriptor is closed in any case. A server may be hostile: what is
   * not sealed or has another size than it says is refused, and so are more segments than a session has.
   */
  adopt(id: bigint, pages: number, fd: number): boolean {
    try {
      if (this.#segments.has(id) || this.#segments.size >= SEGMENTS_PER_SESSION_MAX) return false;
      if (pages < 1 || pages > SEGMENT_PAGES_MAX) return false;
      const mapping = mapSegment(fd, segmentBytes(pages));
      this.#segments.set(id, { pages, mapping, slots: new SlotTable(mapping.memory, pages) });
      return true;
    } catch (error) {
      if (error instanceof ErrnoError) return false;
      throw error;
    } finally {
      closeFd(fd);
    }
  }

  /** The pages of a handle; undefined where it does not lie in a segment we have. */
  find(handle: page_handle): SharedPages | undefined {
    const segment = this.#segments.get(handle.shared_file);
    if (segment === undefined) return undefined;
    const page = pageOfHandle(handle, segment.pages);
    return page === undefined ? undefined : new SharedPages(handle, segment, page);
  }

  /** Unmaps everything: no pages are current any more. */
  close(): void {
    for (const { mapping } of this.#segments.values()) mapping.unmap();
    this.#segments.clear();
  }
}
