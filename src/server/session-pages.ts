/**
 * The pages of files that one session has been handed: runs in shared segments of its own, filled from the files, and
 * taken back when a file changes or room is needed. No other session sees these segments.
 */
import {
  MAP_BYTES_MAX,
  MAP_HANDLES_MAX,
  RUN_ORDER_MAX,
  SEGMENTS_PER_SESSION_MAX,
  SEGMENT_PAGES,
  SEGMENT_QUOTA_BYTES,
} from '../fgdp/limits.ts';
import { OwnSegment } from '../fgdp/own-segment.ts';
import type { page_handle } from '../fgdp/program.ts';
import { PAGE_BYTES, pageOfHandle } from '../fgdp/segment-layout.ts';
import type { SegmentPool } from '../fgdp/segment-pool.ts';
import { isSameVersion, type ChangeWatch, type FileVersion } from '../store/file-changes.ts';
import type { PageFile } from '../store/page-file.ts';
import type { FileStatus } from '../store/operations.ts';
import { errnoOf } from '../store/store-error.ts';
import { MAPPED_FILES_PER_SESSION_MAX } from './limits.ts';

/** 2^order pages of a file, or fewer at its end, in a run of a segment. */
interface Run {
  readonly file: FileRuns;
  readonly order: number;
  /** First page, counted in the file and in the segment. */
  readonly filePage: number;
  readonly segment: Segment;
  readonly page: number;
  readonly generation: bigint;
  readonly lengthBytes: number;
  state: 'filling' | 'valid' | 'recalled';
  /** Handed to the guest and not unmapped: as its slot says. */
  references: number;
  /** MAPs that are working on it: it is not given up for another run meanwhile. */
  pins: number;
  /** Whether it was filled with the file's version. Rejects when the file cannot be read. */
  filled: Promise<boolean>;
}

interface Segment {
  readonly memory: OwnSegment;
  /** Runs in use, by their first page. */
  readonly runs: Map<number, Run>;
}

/** The runs of one version of a file. */
interface FileRuns {
  readonly key: string;
  readonly version: FileVersion;
  /** For each order, the runs by their first page in the file. */
  readonly byOrder: readonly Map<number, Run>[];
  readonly watch: ChangeWatch;
  runs: number;
  /** MAPs that are working on it. */
  pins: number;
  /** Once the file has changed: what is still being filled is not to be handed out. */
  isOld: boolean;
}

export interface SessionPagesOptions {
  /** Memory of all sessions together. */
  readonly pool: SegmentPool;
  /** Hands a segment's descriptor to the guest; false when it cannot take it. */
  readonly send: (segment: bigint, pages: number, fd: number) => boolean;
  /** Default SEGMENT_PAGES; a multiple of 2^RUN_ORDER_MAX. */
  readonly segmentPages?: number;
  /** Default SEGMENT_QUOTA_BYTES. */
  readonly quotaBytes?: number;
}

export type MapOutcome =
  | {
      readonly kind: 'mapped';
      /** Where in the file the first handle begins. */
      readonly offset: bigint;
      readonly handles: readonly page_handle[];
      readonly eof: boolean;
      /** Of the version of the file that the pages hold. */
      readonly status: FileStatus;
    }
  | { readonly kind: 'bytes'; readonly reason: string };

/** A file that changes while it is copied is tried so often. */
const MAP_TRIES = 2;

export class SessionPages {
  readonly #options: Required<SessionPagesOptions>;
  readonly #segments = new Map<bigint, Segment>();
  /** From the least to the most recently used. */
  readonly #files = new Map<string, FileRuns>();
  /** Valid runs that the guest holds no handle of, and those it does; from the least to the most recently used. */
  readonly #idle = new Set<Run>();
  readonly #held = new Set<Run>();
  #nextSegment = 1n;
  #lastGeneration = 0n;
  #noRoom = '';
  #isClosed = false;

  constructor(options: SessionPagesOptions) {
    this.#options = { segmentPages: SEGMENT_PAGES, quotaBytes: SEGMENT_QUOTA_BYTES, ...options };
  }

  /** Bytes of segments this session has. */
  get bytesTaken(): number {
    return this.#segments.size * this.#options.segmentPages * PAGE_BYTES;
  }

  /** Pages in runs, and handles the guest holds. */
  get inUse(): { readonly pages: number; readonly references: number; readonly files: number } {
    let pages = 0;
    let references = 0;
    for (const { memory, runs } of this.#segments.values()) {
      pages += memory.allocator.pagesUsed;
      for (const run of runs.values()) references += run.references;
    }
    return { pages, references, files: this.#files.size };
  }

  /**
   * Handles of the pages that hold `count` bytes of a file from `offset` on, or of the first of them. The caller keeps the
   * file open meanwhile. Rejects as reading the file does.
   */
  async map(file: PageFile, offset: bigint, count: number): Promise<MapOutcome> {
    for (let tries = 0; tries < MAP_TRIES; tries += 1) {
      const outcome = await this.#mapVersion(file, offset, Math.min(count, MAP_BYTES_MAX));
      if (outcome !== 'changed') return outcome;
    }
    return { kind: 'bytes', reason: 'the file changes while it is read' };
  }

  /**
   * The guest gives a handle back. What it never had, or what was recalled meanwhile, is ignored.
   *
   * @param discard true frees the memory at once, where no other handle of the pages is out
   */
  unmap(handle: page_handle, discard = false): void {
    const segment = this.#segments.get(handle.shared_file);
    if (segment === undefined) return;
    const page = pageOfHandle(handle, segment.memory.pages);
    const run = page === undefined ? undefined : segment.runs.get(page);
    if (run?.state !== 'valid' || run.generation !== handle.generation) return;
    // A MAP that has not been answered yet counts already, and is not the guest's to give back.
    if (run.references <= run.pins) return;
    this.#setReferences(run, run.references - 1);
    if (discard && run.references === 0) this.#recall(run);
  }

  /** Takes everything back and gives the memory to the pool: the session has ended. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const file of [...this.#files.values()]) this.#recallFile(file);
    this.#options.pool.release(this.bytesTaken);
    for (const { memory } of this.#segments.values()) memory.close();
    this.#segments.clear();
  }

  async #mapVersion(file: PageFile, offset: bigint, count: number): Promise<MapOutcome | 'changed'> {
    if (this.#isClosed) return { kind: 'bytes', reason: 'the session has ended' };
    const known = this.#current(file);
    if (typeof known === 'string') return { kind: 'bytes', reason: known };
    known.pins += 1;
    const runs: Run[] = [];
    try {
      const { size } = known.version;
      const asked = offset + BigInt(count);
      const end = asked < size ? asked : size;
      if (offset >= end)
        return { kind: 'mapped', offset, handles: [], eof: offset >= size, status: file.status() };
      const endPage = pageAfter(end);
      for (let at = pageOf(offset); at < endPage && runs.length < MAP_HANDLES_MAX;) {
        // The largest run first: runs lie within each other or apart, so the next one begins where this one ends.
        const run = findRun(known, at) ?? this.#begin(known, file, at, endPage);
        if (run === undefined) break;
        run.pins += 1;
        run.references += 1;
        runs.push(run);
        at = run.filePage + 2 ** run.order;
      }
      const first = runs[0];
      const last = runs.at(-1);
      if (first === undefined || last === undefined) return { kind: 'bytes', reason: this.#refusal(file) };
      // Every run is waited for, also when one fails: none may be filled behind our back.
      const filled = await Promise.allSettled(runs.map((run) => run.filled));
      for (const result of filled) if (result.status === 'rejected') throw result.reason;
      if (known.isOld || filled.some((result) => result.status === 'fulfilled' && !result.value))
        return 'changed';
      const status = file.status();
      if (!isSameVersion(status, known.version)) return 'changed';
      const handles = runs.map((run) => run.segment.memory.handle(run.page, run.lengthBytes, run.generation));
      for (const run of runs.splice(0)) {
        run.pins -= 1;
        this.#setReferences(run, run.references);
      }
      const eof = BigInt(last.filePage * PAGE_BYTES) + BigInt(last.lengthBytes) >= size;
      return { kind: 'mapped', offset: BigInt(first.filePage * PAGE_BYTES), handles, eof, status };
    } finally {
      for (const run of runs) {
        run.pins -= 1;
        this.#setReferences(run, run.references - 1);
      }
      known.pins -= 1;
      this.#dropUnused(known);
    }
  }

  /** The runs of the file as it is now; a string says why it cannot be mapped. */
  #current(file: PageFile): FileRuns | string {
    const known = this.#files.get(file.key);
    if (known !== undefined) {
      if (isSameVersion(known.version, file.status())) {
        this.#files.delete(known.key);
        this.#files.set(known.key, known);
        return known;
      }
      this.#recallFile(known);
    }
    // Watched first, then looked at: no change is missed in between.
    const told: { file?: FileRuns } = {};
    const watch = file.watch(() => {
      if (told.file !== undefined) this.#recallFile(told.file);
    });
    if (watch === undefined) return 'no more files can be watched for changes';
    const byOrder = Array.from({ length: RUN_ORDER_MAX + 1 }, () => new Map<number, Run>());
    const fresh = { key: file.key, version: file.status(), byOrder, watch, runs: 0, pins: 0, isOld: false };
    told.file = fresh;
    this.#files.set(fresh.key, fresh);
    if (this.#files.size > MAPPED_FILES_PER_SESSION_MAX) {
      const [oldest] = this.#files.values();
      if (oldest !== undefined && oldest !== fresh) this.#recallFile(oldest);
    }
    return fresh;
  }

  /** A run that begins to be filled; undefined where there is no room, or the file should not be copied. */
  #begin(known: FileRuns, file: PageFile, filePage: number, endPage: number): Run | undefined {
    if (known.runs === 0 && file.isBeingWritten()) return undefined;
    const order = orderFor(filePage, endPage - filePage);
    const room = this.#obtain(order);
    if (room === undefined) return undefined;
    const start = filePage * PAGE_BYTES;
    const left = known.version.size - BigInt(start);
    const runBytes = 2 ** order * PAGE_BYTES;
    this.#lastGeneration += 2n;
    const run: Run = {
      file: known,
      order,
      filePage,
      ...room,
      generation: this.#lastGeneration,
      lengthBytes: left < BigInt(runBytes) ? Number(left) : runBytes,
      state: 'filling',
      references: 0,
      pins: 0,
      filled: Promise.resolve(false),
    };
    room.segment.runs.set(room.page, run);
    known.byOrder[order]?.set(filePage, run);
    known.runs += 1;
    run.filled = this.#fill(run, file);
    // Whoever waits for it hears of a failure; by then it must not count as unheard.
    run.filled.catch(() => undefined);
    return run;
  }

  async #fill(run: Run, file: PageFile): Promise<boolean> {
    const { memory } = run.segment;
    let isGood = false;
    try {
      const target = memory.memory(run.page, run.lengthBytes);
      const length = await file.read(BigInt(run.filePage * PAGE_BYTES), target);
      const isSame = length === run.lengthBytes && isSameVersion(file.status(), run.file.version);
      isGood = isSame && !file.isBeingWritten();
    } finally {
      if (isGood && !run.file.isOld && !this.#isClosed) {
        run.state = 'valid';
        memory.slots.publish(run.page, run.generation, run.lengthBytes);
        this.#setReferences(run, run.references);
      } else {
        isGood = false;
        run.state = 'recalled';
        this.#giveUp(run);
        this.#recallFile(run.file);
      }
    }
    return isGood;
  }

  /** Why nothing could be mapped. */
  #refusal(file: PageFile): string {
    return file.isBeingWritten() ? 'the file is open for writing on the server' : this.#noRoom;
  }

  /** Room for a run of 2^order pages: free, in a new segment, or taken from runs not used for long. */
  #obtain(order: number): { segment: Segment; page: number } | undefined {
    for (const segment of this.#segments.values()) {
      const page = segment.memory.allocator.allocate(order);
      if (page !== undefined) return { segment, page };
    }
    const added = this.#addSegment();
    if (added !== undefined) {
      const page = added.memory.allocator.allocate(order);
      return page === undefined ? undefined : { segment: added, page };
    }
    for (const runs of [this.#idle, this.#held]) {
      for (const { segment, page } of runs) {
        if (!this.#clear(segment, page, order)) continue;
        const freed = segment.memory.allocator.allocate(order);
        if (freed !== undefined) return { segment, page: freed };
      }
    }
    return undefined;
  }

  /** Recalls every run around `page` that a run of 2^order pages needs gone; false when one of them is in work. */
  #clear(segment: Segment, page: number, order: number): boolean {
    const pages = 2 ** order;
    const first = page - (page % pages);
    const inside: Run[] = [];
    for (let at = first; at < first + pages; at += 1) {
      const run = segment.runs.get(at);
      if (run !== undefined) inside.push(run);
    }
    const larger = segment.runs.get(page);
    if (larger !== undefined && !inside.includes(larger)) inside.push(larger);
    if (inside.some((run) => run.pins > 0 || run.state !== 'valid')) return false;
    for (const run of inside) this.#recall(run);
    return true;
  }

  #addSegment(): Segment | undefined {
    const { pool, send, segmentPages, quotaBytes } = this.#options;
    const bytes = segmentPages * PAGE_BYTES;
    if (this.bytesTaken + bytes > quotaBytes || this.#segments.size >= SEGMENTS_PER_SESSION_MAX) {
      this.#noRoom = `this guest's share of the page pool (${quotaBytes} bytes) is in use`;
      return undefined;
    }
    if (!pool.reserve(bytes)) {
      this.#noRoom = `the server's page pool (${pool.budgetBytes} bytes) is in use`;
      return undefined;
    }
    let memory: OwnSegment | undefined;
    try {
      memory = new OwnSegment(this.#nextSegment, segmentPages, RUN_ORDER_MAX);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      this.#noRoom = `the server has no memory for a segment (errno ${errno})`;
    }
    if (memory?.handOver((fd) => send(this.#nextSegment, segmentPages, fd)) !== true) {
      if (memory !== undefined) this.#noRoom = 'the descriptor channel is full or broken';
      memory?.close();
      pool.release(bytes);
      return undefined;
    }
    this.#nextSegment += 1n;
    const segment = { memory, runs: new Map<number, Run>() };
    this.#segments.set(memory.id, segment);
    return segment;
  }

  /** Notes how often the guest holds a run, and that it was used just now. */
  #setReferences(run: Run, references: number): void {
    run.references = references;
    if (run.state !== 'valid') return;
    run.segment.memory.slots.setReferences(run.page, references);
    this.#idle.delete(run);
    this.#held.delete(run);
    (references === 0 ? this.#idle : this.#held).add(run);
  }

  #recallFile(file: FileRuns): void {
    if (!file.isOld) {
      file.isOld = true;
      file.watch.stop();
      if (this.#files.get(file.key) === file) this.#files.delete(file.key);
    }
    // What is being filled is given up when its read is done: until then the kernel writes to its memory.
    for (const runs of file.byOrder) for (const run of runs.values()) this.#recall(run);
  }

  #recall(run: Run): void {
    if (run.state !== 'valid') return;
    run.state = 'recalled';
    run.segment.memory.slots.recall(run.page, run.generation);
    this.#giveUp(run);
    this.#dropUnused(run.file);
  }

  /** Its memory may be used for something else from now on. */
  #giveUp(run: Run): void {
    this.#idle.delete(run);
    this.#held.delete(run);
    if (run.file.byOrder[run.order]?.delete(run.filePage) === true) run.file.runs -= 1;
    run.segment.runs.delete(run.page);
    run.segment.memory.allocator.free(run.page);
  }

  /** A file without runs is not watched any longer. */
  #dropUnused(file: FileRuns): void {
    if (file.runs === 0 && file.pins === 0 && !file.isOld) this.#recallFile(file);
  }
}

function pageOf(offset: bigint): number {
  return Number(offset / BigInt(PAGE_BYTES));
}

function pageAfter(end: bigint): number {
  return pageOf(end + BigInt(PAGE_BYTES) - 1n);
}

/** The largest run that the page lies in. */
function findRun(file: FileRuns, page: number): Run | undefined {
  for (let order = RUN_ORDER_MAX; order >= 0; order -= 1) {
    const run = file.byOrder[order]?.get(page - (page % 2 ** order));
    if (run !== undefined) return run;
  }
  return undefined;
}

/** The smallest run that holds so many pages, or the largest that may begin at this page of a file. */
function orderFor(filePage: number, pages: number): number {
  let order = 0;
  while (order < RUN_ORDER_MAX && filePage % 2 ** (order + 1) === 0 && 2 ** order < pages) order += 1;
  return order;
}
