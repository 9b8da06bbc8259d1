import { poolThreads } from '../system/pool-capabilities.ts';

/**
 * The threads that may wait for disks to write: all of libuv's pool but one, which is left for reading. Who comes when none
 * is free waits in line.
 */
export class DiskWork {
  readonly #threads: number;
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(threads = Math.max(1, poolThreads() - 1)) {
    this.#threads = threads;
  }

  /** Work that is being done now. */
  get busy(): number {
    return this.#busy;
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
