/** In which order the writes and syncs of one file happen. */
import { WRITES_AT_ONCE_PER_FILE } from './limits.ts';

interface Range {
  readonly offset: bigint;
  readonly end: bigint;
}

interface Write extends Range {
  /** Counts up in the order of arrival. */
  readonly arrival: number;
  readonly begin: () => void;
}

interface Sync {
  /** It is to cover the writes that arrived up to this one. */
  readonly arrival: number;
  readonly dataOnly: boolean;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

function overlap(a: Range, b: Range): boolean {
  return a.offset < b.end && b.offset < a.end;
}

/** Takes those out that arrived before `first`. */
function takeBefore<T extends { readonly arrival: number }>(sorted: T[], first: number): T[] {
  const beyond = sorted.findIndex(({ arrival }) => arrival >= first);
  return sorted.splice(0, beyond < 0 ? sorted.length : beyond);
}

/**
 * Writes begin in the order in which they arrived, and one that overlaps another only after its end: so a
 * retransmitted old WRITE never lands on a newer one. A sync begins after the writes that arrived before it have ended;
 * those that are due at the same time are one.
 */
export class WriteOrder {
  readonly #sync: (dataOnly: boolean) => Promise<void>;
  readonly #waiting: Write[] = [];
  readonly #running = new Set<Write>();
  /** In the order of arrival. */
  readonly #syncs: Sync[] = [];
  /** In the order of arrival, as the syncs are. */
  readonly #settlings: Pick<Sync, 'arrival' | 'resolve'>[] = [];
  #isSyncing = false;
  #lastArrival = 0;

  /** @param sync brings to the disk what was written until it begins */
  constructor(sync: (dataOnly: boolean) => Promise<void>) {
    this.#sync = sync;
  }

  /** Whether a write here would begin at once: it may then be done right away, in this turn. */
  isFree(offset: bigint, lengthBytes: number): boolean {
    const range = { offset, end: offset + BigInt(lengthBytes) };
    return this.#waiting.length === 0 && !this.#isBlocked(range);
  }

  /** Whether no write is under way or waits. */
  get isIdle(): boolean {
    return this.#running.size === 0 && this.#waiting.length === 0;
  }

  async write<T>(offset: bigint, lengthBytes: number, run: () => Promise<T>): Promise<T> {
    const end = offset + BigInt(lengthBytes);
    let write: Write | undefined;
    await new Promise<void>((begin) => {
      this.#lastArrival += 1;
      write = { offset, end, arrival: this.#lastArrival, begin };
      this.#waiting.push(write);
      this.#beginWrites();
    });
    try {
      return await run();
    } finally {
      if (write !== undefined) this.#running.delete(write);
      this.#beginWrites();
      this.#tellSettled();
      this.#beginSync();
    }
  }

  /** Resolves when the writes that arrived before have ended, in whatever way; undefined where they have. */
  settled(): Promise<void> | undefined {
    const arrival = this.#lastArrival;
    if (this.#firstOpen > arrival) return undefined;
    return new Promise((resolve) => {
      this.#settlings.push({ arrival, resolve });
    });
  }

  /** Resolves when all that arrived before is on the disk. Rejects as the sync does. */
  sync(dataOnly: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#syncs.push({ arrival: this.#lastArrival, dataOnly, resolve, reject });
      this.#beginSync();
    });
  }

  #isBlocked(range: Range): boolean {
    for (const running of this.#running) if (overlap(running, range)) return true;
    return false;
  }

  #beginWrites(): void {
    while (this.#running.size < WRITES_AT_ONCE_PER_FILE) {
      const [next] = this.#waiting;
      if (next === undefined || this.#isBlocked(next)) return;
      this.#waiting.shift();
      this.#running.add(next);
      next.begin();
    }
  }

  /** The arrival of the first write that has not ended. */
  get #firstOpen(): number {
    let first = this.#waiting[0]?.arrival ?? Infinity;
    for (const { arrival } of this.#running) first = Math.min(first, arrival);
    return first;
  }

  #tellSettled(): void {
    for (const { resolve } of takeBefore(this.#settlings, this.#firstOpen)) resolve();
  }

  #beginSync(): void {
    if (this.#isSyncing) return;
    const due = takeBefore(this.#syncs, this.#firstOpen);
    if (due.length === 0) return;
    this.#isSyncing = true;
    void this.#runSync(due);
  }

  async #runSync(due: readonly Sync[]): Promise<void> {
    try {
      await this.#sync(due.every(({ dataOnly }) => dataOnly));
      for (const { resolve } of due) resolve();
    } catch (error) {
      for (const { reject } of due) reject(error);
    }
    this.#isSyncing = false;
    this.#beginSync();
  }
}
