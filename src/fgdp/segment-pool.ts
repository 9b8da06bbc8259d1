/**
 * The memory that a server's segments may take together. It counts the segments of live sessions: a guest may keep its
 * mapping after its session has ended, and holds the memory then, but sees nothing new in it, as no segment is ever
 * used by two sessions.
 */
export class SegmentPool {
  readonly budgetBytes: number;
  #usedBytes = 0;

  constructor(budgetBytes: number) {
    this.budgetBytes = budgetBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** False when the budget does not hold so much more. */
  reserve(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.budgetBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}
