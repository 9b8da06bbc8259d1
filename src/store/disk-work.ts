import { poolThreads } from '../system/pool-capabilities.ts';
import { AHEAD_LONG_MS, AHEAD_PAUSE_MS } from './limits.ts';

/**
 * The threads that may wait for disks to write: all of libuv's pool but one, which is left for reading. Who comes when none
 * is free waits in line.
 */
export class DiskWork {
  readonly #threads: number;
  readonly #now: () => number;
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #notAheadUntilMs = -Infinity;

  /** @param now a clock, in milliseconds */
  constructor(threads = Math.max(1, poolThreads() - 1), now = () => performance.now()) {
    this.#threads = threads;
    this.#now = now;
  }

  /** Work that is being done now. */
  get busy(): number {
    return this.#busy;
  }

  /**
   * Has a disk begin with what a thread is about to wait for, on the main thread: a call that mostly takes no time. It is
   * left out where another thread waits for a disk already, and for a while after such a call took long. Throws as
   * `begin` does.
   */
  ahead(begin: () => void): void {
    const beganMs = this.#now();
    if (this.#busy > 1 || beganMs < this.#notAheadUntilMs) return;
    try {
      begin();
    } finally {
      const endMs = this.#now();
      if (endMs - beganMs > AHEAD_LONG_MS) this.#notAheadUntilMs = endMs + AHEAD_PAUSE_MS;
    }
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy >= this.#threads) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    } else {
      this.#busy += 1;
    }
    try {
      return await work();
    } finally {
      // The thread goes from hand to hand: nobody who comes now passes those who wait.
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy -= 1;
      else next();
    }
  }
}
