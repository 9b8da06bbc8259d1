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
      this.#beginSync();
    }
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

  #beginSync(): void {
    if (this.#isSyncing) return;
    const first = this.#firstOpen;
    const beyond = this.#syncs.findIndex(({ arrival }) => arrival >= first);
    const due = this.#syncs.splice(0, beyond < 0 ? this.#syncs.length : beyond);
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
