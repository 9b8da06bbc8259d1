/**
 * Writing to one inode over the wire: bytes that are not sent, not answered, or not on stable storage yet.
 * RFC 1813 sections 3.3.7 and 3.3.21: WRITE UNSTABLE, several under way; held until a COMMIT with the same verifier.
 */
import { errnoOfRpcError } from '../client/errno.ts';
import type { Session } from '../client/session.ts';
import { STABLE_HOW } from '../nfs3/nfs.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import type { wcc_data } from '../nfs3/types.ts';
import type { DirtyFile } from './dirty-bytes.ts';
import {
  endOf,
  giveBack,
  HeldExtents,
  overlaps,
  sliceExtent,
  weightOf,
  type Extent,
  type HeldExtent,
} from './extents.ts';
import { GatheredBytes, type stable_how } from './gathered-bytes.ts';
import type { Inode } from './inodes.ts';
import { LentBytes } from './lent-bytes.ts';
import {
  COMMIT_BEHIND_MS,
  EXTENT_OVERHEAD_BYTES,
  SHORT_WRITES_MAX,
  WRITE_BEHIND_MS,
  WRITE_RESENDS_MAX,
  WRITES_IN_FLIGHT_BYTES,
  WRITES_IN_FLIGHT_MAX,
} from './limits.ts';
import { Progress } from './progress.ts';
import { StatusError } from './status-error.ts';
import type { Author } from './write-author.ts';
import type { WritingSite } from './writing-site.ts';

const EIO = 5;

/** An extent on its way out. */
interface Sending {
  readonly extent: Extent;
  readonly stable: stable_how;
}

/** A call about the file that waits for its reply. */
interface Call {
  /** No other such call was under way at the same time: its attributes come in the order of events. */
  isAlone: boolean;
}

export class FileWriter implements DirtyFile {
  readonly #inode: Inode;
  readonly #site: WritingSite;
  /** Number of the last write(2). */
  #sequence = 0;
  #tail: GatheredBytes | undefined;
  /** Full, or to be sent for another reason; in the order they are to be sent. */
  #queue: Sending[] = [];
  readonly #inFlight = new Set<Sending>();
  #inFlightBytes = 0;
  readonly #calls = new Set<Call>();
  readonly #held = new HeldExtents();
  /** The verifier of all that is held. */
  #verifier: string | undefined;
  /** WRITEs that were sent. */
  #sends = 0;
  /** Replies to WRITE that were taken. */
  #answers = 0;
  /** Where the last byte ends that no reply has acknowledged; 0n where all are. */
  #unsettledEnd = 0n;
  /** The session of which is known that its server has what is held. */
  #confirmed: Session | undefined;
  #committing: Promise<void> | undefined;
  /** A commit in the background is under way, or about to begin. */
  #isBackground = false;
  /** Set while nothing may be sent. */
  #isPaused = false;
  #weight = 0;
  /** A call has ended, or may be made again. */
  readonly #progress = new Progress();
  #sendTimer: NodeJS.Timeout | undefined;
  #commitTimer: NodeJS.Timeout | undefined;

  constructor(inode: Inode, site: WritingSite) {
    this.#inode = inode;
    this.#site = site;
  }

  /** What is held counts for so much against the bound of the mount, in bytes. */
  get weight(): number {
    return this.#weight;
  }

  /** Nothing is held: whatever was written is on stable storage, or known to be lost. */
  get isClean(): boolean {
    return this.#weight === 0;
  }

  /** The server has not acknowledged everything that was written. */
  get isUnsettled(): boolean {
    return this.#tail !== undefined || this.#queue.length > 0 || this.#inFlight.size > 0;
  }

  /**
   * Attributes from the server may lack what was written: the file is at least so long, in bytes. Undefined where they
   * show everything.
   */
  get hiddenEnd(): bigint | undefined {
    if (this.isUnsettled) return this.#unsettledEnd > this.#held.end ? this.#unsettledEnd : this.#held.end;
    return this.#isConfirmed() ? undefined : this.#held.end;
  }

  /**
   * Takes bytes to write, which DirtyBytes has admitted.
   *
   * @param bytes a copy is made unless they are `isOwn`
   * @param stable STABLE_HOW: more than UNSTABLE has them sent at once
   * @param release tells whoever lent the bytes that they are needed no more
   * @returns the number of this write, for settle and commit
   */
  write(
    offset: bigint,
    bytes: Uint8Array,
    isOwn: boolean,
    author: Author,
    stable: stable_how,
    release?: () => void,
  ): number {
    const lent = release === undefined ? undefined : new LentBytes(release);
    this.#sequence += 1;
    const end = offset + BigInt(bytes.length);
    if (end > this.#unsettledEnd) this.#unsettledEnd = end;
    for (let at = 0; at < bytes.length;) {
      const position = offset + BigInt(at);
      if (this.#tail?.accepts(position, author) !== true) {
        this.#sendTail();
        this.#tail = new GatheredBytes(position, author, this.#sequence, this.#site.wsizeBytes);
        this.#weigh(EXTENT_OVERHEAD_BYTES);
      }
      const { taken, added } = this.#tail.put(position, at === 0 ? bytes : bytes.subarray(at), isOwn);
      if (stable > this.#tail.stable) this.#tail.stable = stable;
      if (lent !== undefined) this.#tail.lent(lent.share());
      this.#weigh(added);
      at += taken;
      if (this.#tail.isFull) this.#sendTail();
    }
    lent?.done();
    if (stable !== STABLE_HOW.UNSTABLE) this.#sendTail();
    if (this.#tail !== undefined) {
      this.#sendTimer ??= setTimeout(() => {
        this.#sendTail();
      }, WRITE_BEHIND_MS).unref();
    }
    return this.#sequence;
  }

  /** Sends what was written up to a write, and waits until the server has acknowledged it. Never rejects. */
  async settle(upTo = this.#sequence): Promise<void> {
    this.#sendTail();
    while (this.#isUnanswered(upTo)) await this.#progress.next();
  }

  /**
   * Has everything up to a write put on stable storage. Never rejects: what could not be written is told to the open
   * files, and dropped.
   */
  async commit(upTo = this.#sequence): Promise<void> {
    // All there is fits one WRITE: then that can do it alone.
    if (this.#tail !== undefined && this.#queue.length + this.#inFlight.size === 0 && this.#held.isEmpty) {
      this.#tail.stable = STABLE_HOW.FILE_SYNC;
    }
    for (;;) {
      await this.settle(upTo);
      if (!this.#held.hasUpTo(upTo)) {
        // Unless a reply that came since has told that they were lost.
        if (!this.#isUnanswered(upTo)) return;
        continue;
      }
      if (this.#isPaused) {
        await this.#progress.next();
        continue;
      }
      this.#committing ??= this.#commitHeld().finally(() => {
        this.#committing = undefined;
      });
      await this.#committing;
    }
  }

  commitSoon(): void {
    if (this.#isBackground) return;
    this.#isBackground = true;
    // Not at once: it may be asked for in the middle of a write.
    void Promise.resolve()
      .then(() => this.commit())
      .finally(() => {
        this.#isBackground = false;
        if (!this.#held.isEmpty) this.#commitLater();
        this.#site.dirty.committed();
      });
  }

  /**
   * Asks the server something whose answer must show all that was written here; again where it may have come from a server
   * that had just lost it. Rejects as `ask` does.
   */
  async showing<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.settle();
      // A server that was started anew has lost what it held in memory; COMMIT tells.
      while (!this.#isConfirmed()) await this.commit();
      const { session } = this.#site.link;
      const answer = await ask();
      if (this.#held.isEmpty || session === this.#site.link.session) return answer;
    }
  }

  /**
   * Changes the file in another way than by writing, with everything written before acknowledged and nothing sent
   * meanwhile. Rejects as `change` does.
   *
   * @param isStable whether everything is put on stable storage first: what is sent again later would undo the change
   */
  async exclusively<T>(isStable: boolean, change: () => Promise<T>): Promise<T> {
    const upTo = this.#sequence;
    for (;;) {
      await (isStable ? this.commit(upTo) : this.settle(upTo));
      if (this.#isPaused) {
        await this.#progress.next();
        continue;
      }
      this.#isPaused = true;
      while (this.#inFlight.size > 0 || this.#committing !== undefined)
        await (this.#committing ?? this.#progress.next());
      // The last replies may have told that older bytes were lost.
      if (!this.#isUnanswered(upTo) && !(isStable && this.#held.hasUpTo(upTo))) break;
      this.#goOn();
    }
    try {
      return await change();
    } finally {
      this.#goOn();
    }
  }

  /**
   * The same with everything put on stable storage. A server that keeps the order of calls about a file is asked for both
   * at once; the change is made again where bytes were sent again after it.
   *
   * @param author in whose name the change is made
   */
  async committingBefore<T>(author: Author, change: () => Promise<T>): Promise<T> {
    const { link } = this.#site;
    const { session, sentAgain } = link;
    const isOrdered = session.isNearmount && link.isConnected && author.wide === undefined;
    if (!isOrdered || this.#isPaused || this.#committing !== undefined) return this.exclusively(true, change);
    const committed = this.commit();
    const sends = this.#sends;
    // What still waits to be sent would come after the change.
    if (this.#queue.length > 0) return this.exclusively(true, change);
    const changed = change();
    await Promise.allSettled([changed, committed]);
    const isInOrder = sends === this.#sends && session === link.session && sentAgain === link.sentAgain;
    return isInOrder ? changed : this.exclusively(true, change);
  }

  #goOn(): void {
    this.#isPaused = false;
    this.#pump();
    this.#progress.tell();
  }

  /** The file was cut to `size` bytes, exclusively: what lay behind is not sent again. */
  truncated(size: bigint): void {
    const before = this.#held.weight;
    this.#held.cut(size, 1n << 64n);
    this.#weigh(this.#held.weight - before);
    // What waits was written since, and makes the file longer again.
    this.#unsettledEnd = this.#tail?.end ?? 0n;
    for (const { extent } of this.#queue) {
      if (endOf(extent) > this.#unsettledEnd) this.#unsettledEnd = endOf(extent);
    }
  }

  #isConfirmed(): boolean {
    return this.#held.isEmpty || this.#confirmed === this.#site.link.session;
  }

  /** Whether anything written up to a write waits for a reply. The queue is sorted by the number of the write. */
  #isUnanswered(upTo: number): boolean {
    const next = this.#queue[0];
    if (next !== undefined && next.extent.sequence <= upTo) return true;
    for (const { extent } of this.#inFlight) if (extent.sequence <= upTo) return true;
    return false;
  }

  #sendTail(): void {
    const tail = this.#tail;
    if (tail === undefined) return;
    this.#tail = undefined;
    clearTimeout(this.#sendTimer);
    this.#sendTimer = undefined;
    this.#queue.push({ extent: tail.extent(), stable: tail.stable });
    this.#pump();
  }

  /** Sends what waits, in order: as much as may be under way, and nothing that overlaps what is. */
  #pump(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#isPaused || !this.#maySend(next.extent)) return;
      this.#queue.shift();
      void this.#send(next);
    }
  }

  #maySend(extent: Extent): boolean {
    if (this.#inFlight.size === 0) return true;
    if (this.#inFlight.size >= WRITES_IN_FLIGHT_MAX) return false;
    if (this.#inFlightBytes + extent.lengthBytes > WRITES_IN_FLIGHT_BYTES) return false;
    for (const other of this.#inFlight) if (overlaps(other.extent, extent)) return false;
    return true;
  }

  async #send({ extent, stable }: Sending): Promise<void> {
    const before = this.#held.weight;
    const replaced = this.#held.cut(extent.start, endOf(extent));
    this.#weigh(this.#held.weight - before);
    // Who waits for the bytes that this replaces waits for this now.
    const sending = { extent: { ...extent, sequence: Math.min(extent.sequence, replaced) }, stable };
    this.#inFlight.add(sending);
    this.#inFlightBytes += extent.lengthBytes;
    const call = this.#begin();
    let left: Extent | undefined = sending.extent;
    try {
      for (let parts = 0; left !== undefined; parts += 1) {
        if (parts >= SHORT_WRITES_MAX) throw new StatusError(EIO);
        left = await this.#sendOnce(left, stable, call);
      }
    } catch (error) {
      if (left !== undefined) this.#lose([left], error);
    } finally {
      this.#calls.delete(call);
      this.#inFlight.delete(sending);
      this.#inFlightBytes -= extent.lengthBytes;
      if (!this.isUnsettled) this.#unsettledEnd = 0n;
      this.#pump();
      this.#progress.tell();
    }
  }

  /** One WRITE; returns what the server has left over. */
  async #sendOnce(extent: Extent, stable: stable_how, call: Call): Promise<Extent | undefined> {
    this.#sends += 1;
    const { link, knowledge } = this.#site;
    const { session } = link;
    const { start, lengthBytes, pieces, author } = extent;
    const reply = await link.nfs(
      'WRITE',
      { file: { data: this.#inode.handle }, offset: start, count: lengthBytes, stable, data: [...pieces] },
      author,
    );
    this.#learn(reply.wcc, call);
    if (reply.status !== NFS3_OK) throw new StatusError(knowledge.failed(this.#inode, reply.status));
    const { count, committed } = reply;
    // RFC 1813: count is what was written, at most what was sent; a server that writes nothing would be asked for ever.
    if (count === 0 || count > lengthBytes) throw new StatusError(EIO);
    this.#site.onWritten(count);
    const middle = start + BigInt(count);
    const done = sliceExtent(extent, start, middle);
    const rest = count < lengthBytes ? sliceExtent(extent, middle, endOf(extent)) : undefined;
    const verifier = Buffer.from(reply.verf).toString('latin1');
    this.#answers += 1;
    const isStable =
      committed === STABLE_HOW.FILE_SYNC || (committed >= stable && stable !== STABLE_HOW.UNSTABLE);
    if (isStable) giveBack(done);
    else this.#hold({ ...done, verifier, answer: this.#answers });
    const weight = (rest === undefined ? 0 : weightOf(rest)) + (isStable ? 0 : weightOf(done));
    this.#weigh(weight - weightOf(extent));
    this.#compareVerifiers(verifier, session);
    return rest;
  }

  #hold(extent: HeldExtent): void {
    this.#held.add(extent);
    this.#commitLater();
  }

  #commitLater(): void {
    this.#commitTimer ??= setTimeout(() => {
      this.#commitTimer = undefined;
      this.commitSoon();
    }, COMMIT_BEHIND_MS).unref();
  }

  /** COMMIT of the whole file. Never rejects. */
  async #commitHeld(): Promise<void> {
    const { link, knowledge } = this.#site;
    const { session } = link;
    const author = this.#held.first?.author;
    if (author === undefined) return;
    clearTimeout(this.#commitTimer);
    this.#commitTimer = undefined;
    const answers = this.#answers;
    const isCovered = ({ answer }: HeldExtent): boolean => answer <= answers;
    const call = this.#begin();
    try {
      const reply = await link.nfs(
        'COMMIT',
        { file: { data: this.#inode.handle }, offset: 0n, count: 0 },
        author,
      );
      // COMMIT changes nothing that attributes show.
      if (call.isAlone) knowledge.learn(this.#inode, reply.wcc.after);
      if (reply.status !== NFS3_OK) throw new StatusError(knowledge.failed(this.#inode, reply.status));
      const verifier = Buffer.from(reply.verf).toString('latin1');
      for (const extent of this.#takeHeld((held) => isCovered(held) && held.verifier === verifier)) {
        this.#weigh(-weightOf(extent));
        giveBack(extent);
      }
      this.#compareVerifiers(verifier, session);
    } catch (error) {
      this.#lose(this.#takeHeld(isCovered), error);
    } finally {
      this.#calls.delete(call);
      this.#progress.tell();
    }
  }

  /** Takes extents out of those that are held. They still weigh what they did. */
  #takeHeld(isWanted: (extent: HeldExtent) => boolean): HeldExtent[] {
    return this.#held.take(isWanted);
  }

  /**
   * A server has answered: what another verifier acknowledged is lost there, and sent again.
   *
   * @param session in use when the call was made
   */
  #compareVerifiers(verifier: string, session: Session): void {
    if (this.#site.link.session === session) this.#confirmed = session;
    if (verifier === this.#verifier) return;
    this.#verifier = verifier;
    const lost = this.#takeHeld((extent) => extent.verifier !== verifier);
    if (lost.length === 0) return;
    const again: Sending[] = [];
    for (const { start, pieces, lengthBytes, author, sequence, resends, giveBack } of lost) {
      const extent = { start, pieces, lengthBytes, author, sequence, resends: resends + 1, giveBack };
      if (endOf(extent) > this.#unsettledEnd) this.#unsettledEnd = endOf(extent);
      if (resends >= WRITE_RESENDS_MAX) {
        this.#lose([extent], new StatusError(EIO));
        continue;
      }
      // A server that forgets again and again is not asked to remember.
      again.push({ extent, stable: resends === 0 ? STABLE_HOW.UNSTABLE : STABLE_HOW.FILE_SYNC });
    }
    // Where a second server forgets before all is sent again that the first one forgot, what is older goes first still.
    this.#queue = [...again, ...this.#queue].sort((a, b) => a.extent.sequence - b.extent.sequence);
    this.#pump();
  }

  /** Drops what cannot be written; the open files are told. */
  #lose(extents: readonly Extent[], error: unknown): void {
    if (extents.length === 0) return;
    let bytes = 0;
    for (const extent of extents) {
      bytes += extent.lengthBytes;
      this.#weigh(-weightOf(extent));
    }
    // The kernel's pages may hold what the server does not.
    this.#inode.changedHere();
    const errno =
      error instanceof StatusError ? error.errno : errnoOfRpcError(error, this.#site.timedOutErrno);
    this.#site.onLost(this.#inode, errno ?? EIO, bytes, error);
  }

  #begin(): Call {
    const call = { isAlone: this.#calls.size === 0 };
    if (!call.isAlone) for (const other of this.#calls) other.isAlone = false;
    this.#calls.add(call);
    return call;
  }

  #learn({ after }: wcc_data, { isAlone }: Call): void {
    this.#site.knowledge.changed(this.#inode, after, isAlone);
  }

  #weigh(bytes: number): void {
    if (bytes === 0) return;
    this.#weight += bytes;
    this.#site.dirty.changed(this, bytes);
    if (this.#held.isEmpty) {
      clearTimeout(this.#commitTimer);
      this.#commitTimer = undefined;
    }
  }
}
