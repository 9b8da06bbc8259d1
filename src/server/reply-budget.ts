/**
 * Memory that bulk replies take, from before they are made until their peer has taken them: so much for each connection
 * and so much in all. A call that finds none waits; a peer that reads nothing makes only itself wait.
 */
import { READ_BYTES_MAX, SMALL_READ_BYTES_MAX } from '../store/limits.ts';
import { REPLY_BYTES_MAX, REPLY_BYTES_PER_CONNECTION_MAX } from './limits.ts';

export interface ReplyBudgetLimits {
  /** Of all connections together, in bytes; default REPLY_BYTES_MAX. */
  readonly allBytesMax?: number;
  /** Of one connection, in bytes; default REPLY_BYTES_PER_CONNECTION_MAX. */
  readonly connectionBytesMax?: number;
}

export class ReplyBudget {
  readonly allBytesMax: number;
  readonly connectionBytesMax: number;
  readonly #waiting = new Set<ReplyAccount>();
  #usedBytes = 0;

  constructor(limits: ReplyBudgetLimits = {}) {
    this.allBytesMax = limits.allBytesMax ?? REPLY_BYTES_MAX;
    this.connectionBytesMax = limits.connectionBytesMax ?? REPLY_BYTES_PER_CONNECTION_MAX;
  }

  /** Bytes that replies take now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get freeBytes(): number {
    return this.allBytesMax - this.#usedBytes;
  }

  /** Counts bytes taken, or with a negative number given back. */
  count(bytes: number): void {
    this.#usedBytes += bytes;
  }

  waits(account: ReplyAccount, isWaiting: boolean): void {
    if (isWaiting) this.#waiting.add(account);
    else this.#waiting.delete(account);
  }

  /** There is room again: who waits longest is served first. */
  wake(): void {
    for (const account of this.#waiting) {
      if (this.freeBytes <= 0) return;
      account.serve();
    }
  }
}

interface Waiting {
  readonly bytes: number;
  readonly resolve: (bytes: number) => void;
}

/** One connection's part of the budget. */
export class ReplyAccount {
  readonly #budget: ReplyBudget;
  readonly #waiting: Waiting[] = [];
  #heldBytes = 0;
  #isClosed = false;

  constructor(budget: ReplyBudget) {
    this.#budget = budget;
  }

  /**
   * Takes room for a reply of up to `bytes`. A connection that holds none always gets some: SMALL_READ_BYTES_MAX where
   * the whole is used up, so that nobody can starve another.
   *
   * @returns the bytes that the reply may have, at most what was asked; 0 when the connection has ended
   */
  take(bytes: number): number | Promise<number> {
    if (this.#isClosed) return 0;
    const taken = this.#waiting.length === 0 ? this.#tryTake(bytes) : undefined;
    if (taken !== undefined) return taken;
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, resolve });
      this.#budget.waits(this, true);
    });
  }

  /** Gives back what `take` gave. */
  give(bytes: number): void {
    if (bytes === 0) return;
    const cost = costOf(bytes);
    this.#heldBytes -= cost;
    this.#budget.count(-cost);
    this.serve();
    this.#budget.wake();
  }

  /** Lets those go on that there is room for now. */
  serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const taken = this.#tryTake(next.bytes);
      if (taken === undefined) return;
      this.#waiting.shift();
      next.resolve(taken);
    }
    this.#budget.waits(this, false);
  }

  /** The connection has ended: whoever waits is let go, and gets nothing. */
  close(): void {
    this.#isClosed = true;
    this.#budget.waits(this, false);
    for (const { resolve } of this.#waiting.splice(0)) resolve(0);
  }

  #tryTake(bytes: number): number | undefined {
    let given = bytes;
    const fits = (): boolean =>
      costOf(given) <= this.#budget.freeBytes &&
      this.#heldBytes + costOf(given) <= this.#budget.connectionBytesMax;
    if (!fits()) {
      if (this.#heldBytes > 0) return undefined;
      given = Math.min(bytes, SMALL_READ_BYTES_MAX);
    }
    const cost = costOf(given);
    this.#heldBytes += cost;
    this.#budget.count(cost);
    return given;
  }
}

/** What is not small is read into a buffer of READ_BYTES_MAX, however much of it is used. */
function costOf(bytes: number): number {
  return bytes <= SMALL_READ_BYTES_MAX ? bytes : READ_BYTES_MAX;
}
