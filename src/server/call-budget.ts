/**
 * Memory that calls take, from when they were received until they are carried out: so much for each connection and so
 * much in all. Who has more is not read from, so that writers who are faster than the disks wait in their own sockets.
 */
import type { CallMemory } from '../rpc/connection.ts';
import { CALL_BYTES_MAX, CALL_BYTES_PER_CONNECTION_MAX } from './limits.ts';

export interface CallBudgetLimits {
  /** Of all connections together, in bytes; default CALL_BYTES_MAX. */
  readonly allCallBytesMax?: number;
  /** Of one connection, in bytes; default CALL_BYTES_PER_CONNECTION_MAX. */
  readonly connectionCallBytesMax?: number;
}

export class CallBudget {
  readonly allBytesMax: number;
  readonly connectionBytesMax: number;
  readonly #waiting = new Set<CallAccount>();
  #usedBytes = 0;

  constructor(limits: CallBudgetLimits = {}) {
    this.allBytesMax = limits.allCallBytesMax ?? CALL_BYTES_MAX;
    this.connectionBytesMax = limits.connectionCallBytesMax ?? CALL_BYTES_PER_CONNECTION_MAX;
  }

  /** Bytes that calls take now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get isFull(): boolean {
    return this.#usedBytes >= this.allBytesMax;
  }

  /** Counts bytes taken, or with a negative number given back; then who waited for longest goes on first. */
  count(bytes: number): void {
    this.#usedBytes += bytes;
    if (bytes > 0) return;
    for (const account of this.#waiting) {
      if (this.isFull) return;
      this.#waiting.delete(account);
      account.goOn();
    }
  }

  waits(account: CallAccount): void {
    this.#waiting.add(account);
  }

  forget(account: CallAccount): void {
    this.#waiting.delete(account);
  }
}

/** One connection's part of the budget. */
export class CallAccount implements CallMemory {
  onRoom: () => void = () => undefined;
  readonly #budget: CallBudget;
  #heldBytes = 0;
  /** More of a long record is coming, for which memory is taken already. */
  #isReceivingLong = false;

  constructor(budget: CallBudget) {
    this.#budget = budget;
  }

  /**
   * A connection that holds nothing is always read from, so that nobody can starve another; but not on to the end of a
   * long record while the whole is used up.
   */
  get isFull(): boolean {
    if (this.#heldBytes >= this.#budget.connectionBytesMax) return true;
    if (!this.#budget.isFull || (this.#heldBytes === 0 && !this.#isReceivingLong)) return false;
    this.#budget.waits(this);
    return true;
  }

  /** Whether a long record has begun and not ended. */
  receivesLong(isLong: boolean): void {
    if (this.#isReceivingLong === isLong) return;
    this.#isReceivingLong = isLong;
    if (isLong && this.#budget.isFull) this.onRoom();
  }

  take(bytes: number): void {
    this.#heldBytes += bytes;
    this.#budget.count(bytes);
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes;
    this.#budget.count(-bytes);
  }

  goOn(): void {
    this.onRoom();
  }

  /** The connection has ended: what it holds is given back as its calls end. */
  close(): void {
    this.onRoom = () => undefined;
    this.#budget.forget(this);
  }
}
