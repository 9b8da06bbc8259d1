/**
 * The pages in shared memory that the gateway holds handles of, file by file. They outlive the last close, so that a
 * file which is opened again needs no MAP, until others were used more lately or the file has changed.
 */
import type { ServerLink } from '../client/link.ts';
import type { MappedRun, Session } from '../client/session.ts';
import { NFSSTAT3 } from '../nfs3/status.ts';
import { attributesOfFattr3, sameVersion } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { MAP_RETRY_MS, PAGES_HELD_BYTES_MAX } from './limits.ts';
import type { Attributes } from './operations.ts';
import { StatusError } from './status-error.ts';

/** A run of pages that is held: bytes `start` to `end` of the file. */
interface HeldRun {
  readonly file: FilePages;
  readonly start: number;
  readonly end: number;
  readonly pages: MappedRun['pages'];
}

/** What a MAP that is under way was asked for. */
interface Asked {
  readonly start: number;
  readonly end: number;
  readonly done: Promise<string | undefined>;
}

export class MappedFiles {
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;
  readonly #bytesMax: number;
  readonly #files = new Map<string, FilePages>();
  /** From the least to the most recently used. */
  readonly #runs = new Set<HeldRun>();
  #bytes = 0;

  /** @param bytesMax default PAGES_HELD_BYTES_MAX */
  constructor(link: ServerLink, knowledge: Knowledge, bytesMax = PAGES_HELD_BYTES_MAX) {
    this.#link = link;
    this.#knowledge = knowledge;
    this.#bytesMax = bytesMax;
  }

  /** Bytes of pages held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The pages of a file; what is held of it from before is found by its handle. */
  of(inode: Inode): FilePages {
    const key = keyOf(inode);
    let file = this.#files.get(key);
    if (file === undefined) {
      file = new FilePages(this, key, inode);
      this.#files.set(key, file);
    }
    file.inode = inode;
    return file;
  }

  /** The last file of an inode was closed. */
  closed(inode: Inode): void {
    const key = keyOf(inode);
    if (this.#files.get(key)?.isEmpty === true) this.#files.delete(key);
  }

  /** For FilePages: whether `file` is still the one that stands for its file. */
  has(key: string, file: FilePages): boolean {
    return this.#files.get(key) === file;
  }

  /** Lets go of everything, at the end of the mount: the server takes its pages back with the session. */
  close(): void {
    this.#files.clear();
    this.#runs.clear();
    this.#bytes = 0;
  }

  /** For FilePages: asks the server. Undefined where the session in use shares no pages. */
  ask(inode: Inode, start: number, count: number, caller: Caller) {
    return this.#link.map(inode.handle, BigInt(start), count, caller);
  }

  /** For FilePages: whether a file of so many bytes can be held as a whole. */
  fits(bytes: number): boolean {
    return bytes <= this.#bytesMax;
  }

  /** For FilePages: what came with a MAP. */
  get knowledge(): Knowledge {
    return this.#knowledge;
  }

  /** For FilePages: a run is held from now on; those not used for longest may have to go. */
  hold(run: HeldRun): void {
    this.#runs.add(run);
    this.#bytes += run.end - run.start;
    for (const oldest of this.#runs) {
      if (this.#bytes <= this.#bytesMax || oldest === run) return;
      oldest.file.letGo(oldest);
    }
  }

  /** For FilePages: a run was used just now. */
  touch(run: HeldRun): void {
    if (this.#runs.delete(run)) this.#runs.add(run);
  }

  /** For FilePages: a run is not held any more. */
  dropped(run: HeldRun): void {
    if (this.#runs.delete(run)) this.#bytes -= run.end - run.start;
  }

  /** For FilePages: a file without runs is forgotten, unless somebody has it open. */
  emptied(key: string, file: FilePages): void {
    if (file.inode.open === undefined && this.#files.get(key) === file) this.#files.delete(key);
  }
}

function keyOf({ handle }: Inode): string {
  return Buffer.from(handle.buffer, handle.byteOffset, handle.length).toString('latin1');
}

export class FilePages {
  /** The inode by which the file is known now. */
  inode: Inode;
  readonly #owner: MappedFiles;
  readonly #key: string;
  /** By where they begin; none overlap. */
  #runs: HeldRun[] = [];
  #asked: Asked[] = [];
  /** The version of the file that the runs hold, and whose session they belong to. */
  #attributes: Attributes | undefined;
  #session: Session | undefined;
  #refusal: { readonly reason: string; readonly untilMs: number } | undefined;

  constructor(owner: MappedFiles, key: string, inode: Inode) {
    this.#owner = owner;
    this.#key = key;
    this.inode = inode;
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0;
  }

  /** The size of the file in the version that is held, in bytes; undefined while nothing is known. */
  get size(): number | undefined {
    this.#dropOld();
    return this.#attributes === undefined ? undefined : Number(this.#attributes.size);
  }

  /**
   * Copies the bytes from `start` to `end` of the file; false where they are not all held, or were recalled under
   * the copy: what is in `target` then is worth nothing.
   */
  copy(target: Uint8Array, start: number, end: number): boolean {
    this.#dropOld();
    const used: HeldRun[] = [];
    let at = start;
    for (let index = this.#indexAt(start); at < end; index += 1) {
      const run = this.#runs[index];
      if (run === undefined || run.start > at) return false;
      const upTo = Math.min(end, run.end);
      if (!run.pages.isCurrent()) {
        this.#forget(run);
        return false;
      }
      run.pages.copyTo(target, at - start, at - run.start, upTo - at);
      used.push(run);
      at = upTo;
    }
    // After all of it was copied: the bytes are of one version, also where they lie in several runs.
    const recalled = used.filter((run) => !run.pages.isCurrent());
    for (const run of recalled) this.#forget(run);
    if (recalled.length > 0) return false;
    for (const run of used) this.#owner.touch(run);
    return true;
  }

  /** The first byte from `start` on that is neither held nor asked for; `end` where all is. */
  firstMissing(start: number, end: number): number {
    this.#dropOld();
    let at = start;
    for (let moved = true; moved && at < end;) {
      moved = false;
      for (let index = this.#indexAt(at); at < end; index += 1) {
        const run = this.#runs[index];
        if (run === undefined || run.start > at) break;
        if (!run.pages.isCurrent()) {
          this.#forget(run);
          index -= 1;
          continue;
        }
        at = run.end;
        moved = true;
      }
      const asked = this.#asked.find((each) => each.start <= at && at < each.end);
      if (asked !== undefined) {
        at = asked.end;
        moved = true;
      }
    }
    return Math.min(at, end);
  }

  /**
   * Waits for what was asked for between `start` and `end`; false when nothing was. Whether it came is for the caller to
   * see: what others were refused in their names, it may have in its own.
   */
  async arrived(start: number, end: number): Promise<boolean> {
    const asked = this.#asked.filter((each) => each.start < end && start < each.end);
    await Promise.allSettled(asked.map((each) => each.done));
    return asked.length > 0;
  }

  /**
   * Asks for the pages that hold `count` bytes from `start` on. The answer undefined says that they, or the first of
   * them, are held; a string says why bytes are to be read instead. Rejects with StatusError or RpcError.
   */
  ask(start: number, count: number, caller: Caller): Promise<string | undefined> {
    const refusal = this.#refusal;
    if (refusal !== undefined && performance.now() < refusal.untilMs) return Promise.resolve(refusal.reason);
    this.#refusal = undefined;
    const done = this.#ask(start, count, caller).finally(() => {
      this.#asked = this.#asked.filter((each) => each !== asked);
    });
    const asked: Asked = { start, end: start + count, done };
    this.#asked.push(asked);
    return done;
  }

  async #ask(start: number, count: number, caller: Caller): Promise<string | undefined> {
    const answer = await this.#owner.ask(this.inode, start, count, caller);
    if (answer === undefined) return 'the route in use shares no pages';
    const { session, outcome } = answer;
    const { knowledge } = this.#owner;
    if (outcome.kind === 'failed') {
      if (outcome.status === NFSSTAT3.NFS3ERR_JUKEBOX)
        return this.#refuse('the server cannot open the file now');
      throw new StatusError(knowledge.failed(this.inode, outcome.status));
    }
    knowledge.learn(this.inode, outcome.attributes);
    if (outcome.kind === 'bytes') return this.#refuse(outcome.reason);
    if (!this.#owner.has(this.#key, this)) {
      for (const { pages } of outcome.runs) session.unmap(pages);
      return 'the file was closed meanwhile';
    }
    const attributes = attributesOfFattr3(outcome.attributes);
    this.#dropOld();
    if (this.#session !== session || this.#attributes === undefined) this.#dropAll();
    // What was dropped may have been all that kept a closed file here.
    if (!this.#owner.has(this.#key, this)) {
      for (const { pages } of outcome.runs) session.unmap(pages);
      return 'the file was closed meanwhile';
    }
    this.#session = session;
    this.#attributes = attributes;
    let isCovered = false;
    for (const run of outcome.runs) {
      const from = Number(run.offset);
      const held = { file: this, start: from, end: from + run.pages.lengthBytes, pages: run.pages };
      isCovered ||= held.start <= start && start < held.end;
      this.#insert(held);
    }
    // A server that answers beside the question would be asked for ever.
    if (!isCovered && start < Number(attributes.size)) return this.#refuse('the server mapped other pages');
    return undefined;
  }

  #refuse(reason: string): string {
    this.#refusal = { reason, untilMs: performance.now() + MAP_RETRY_MS };
    return reason;
  }

  #insert(run: HeldRun): void {
    const first = this.#indexAt(run.start);
    let last = first;
    while ((this.#runs[last]?.start ?? Infinity) < run.end) last += 1;
    const overlapping = this.#runs.slice(first, last);
    if (
      overlapping.some((known) => known.start <= run.start && known.end >= run.end && known.pages.isCurrent())
    ) {
      // Held already: this handle is one too many.
      this.#session?.unmap(run.pages);
      return;
    }
    for (const known of overlapping) this.letGo(known);
    this.#runs.splice(this.#indexAt(run.start), 0, run);
    this.#owner.hold(run);
  }

  /**
   * A sequential reader has passed what lies between `start` and `end`. A file too large to be held as a whole is
   * given back behind its reader, which leaves the room to others and goes round in little memory.
   */
  passed(start: number, end: number): void {
    if (this.#owner.fits(this.size ?? 0)) return;
    for (let index = this.#indexAt(start); ;) {
      const run = this.#runs[index];
      if (run === undefined || run.end > end) return;
      this.letGo(run, true);
    }
  }

  /** Gives a run back to the server. */
  letGo(run: HeldRun, discard = false): void {
    this.#session?.unmap(run.pages, discard);
    this.#forget(run);
  }

  #forget(run: HeldRun): void {
    const index = this.#runs.indexOf(run);
    if (index >= 0) this.#runs.splice(index, 1);
    this.#owner.dropped(run);
    if (this.#runs.length === 0) this.#owner.emptied(this.#key, this);
  }

  /** What is held of another version than the gateway knows now is of no use. */
  #dropOld(): void {
    if (this.#attributes === undefined || sameVersion(this.#attributes, this.inode.attributes)) return;
    this.#dropAll();
  }

  #dropAll(): void {
    for (const run of [...this.#runs]) this.letGo(run);
    this.#attributes = undefined;
    this.#session = undefined;
  }

  /** The first run that ends behind `offset`. */
  #indexAt(offset: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#runs[middle]?.end ?? Infinity) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
