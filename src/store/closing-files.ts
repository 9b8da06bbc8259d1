import { CLOSING_WRITERS_MAX } from './limits.ts';

/**
 * Files that nobody has open any more, and that are open until what was written to them is on the disk. A client that
 * writes to many files, and commits none, makes more of them than a disk can take: who writes waits for room then.
 */
export class ClosingFiles {
  readonly #max: number;
  #waiting: (() => void)[] = [];
  #size = 0;

  constructor(max = CLOSING_WRITERS_MAX) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  /** @param closed resolves when the file is closed; never rejects */
  add(closed: Promise<void>): void {
    this.#size += 1;
    void closed.then(() => {
      this.#size -= 1;
      if (this.#size >= this.#max) return;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const goOn of waiting) goOn();
    });
  }

  /** Resolves when there are fewer than the most: at once, most of the time. */
  async room(): Promise<void> {
    while (this.#size >= this.#max) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }
}
