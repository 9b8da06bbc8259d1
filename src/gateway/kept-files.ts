/** Granted files after their last close: kept for a while, so that an open of the same file needs no call. */
import type { Inode } from './inodes.ts';
import { GRANT_KEPT_MS, GRANTS_KEPT_MAX } from './limits.ts';
import type { HeldFile } from './open-inode.ts';

interface Kept {
  readonly held: HeldFile;
  readonly sinceMs: number;
}

export class KeptFiles {
  readonly #release: (held: HeldFile) => void;
  readonly #keptMs: number;
  /** Oldest first. */
  readonly #kept = new Map<Inode, Kept>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param release lets go of a file nobody will ask for
   * @param keptMs how long files are kept, in milliseconds
   */
  constructor(release: (held: HeldFile) => void, keptMs = GRANT_KEPT_MS) {
    this.#release = release;
    this.#keptMs = keptMs;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Takes a file that nobody has open any more. */
  keep(inode: Inode, held: HeldFile): void {
    this.drop(inode);
    this.#kept.set(inode, { held, sinceMs: performance.now() });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > GRANTS_KEPT_MAX && oldest !== undefined) this.drop(oldest);
    this.#timer ??= setInterval(() => {
      this.#expire();
    }, this.#keptMs / 2).unref();
  }

  /** Hands the file of an inode back, where one is kept. A grant ends with its session, so it is not used after it. */
  take(inode: Inode): HeldFile | undefined {
    const kept = this.#kept.get(inode);
    if (kept === undefined) return undefined;
    this.#kept.delete(inode);
    if (kept.held.session.closed === undefined) return kept.held;
    this.#release(kept.held);
    return undefined;
  }

  /** Lets go of the file of an inode, where one is kept. */
  drop(inode: Inode): void {
    const kept = this.#kept.get(inode);
    if (kept === undefined) return;
    this.#kept.delete(inode);
    this.#release(kept.held);
  }

  /** Lets go of everything. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const inode of [...this.#kept.keys()]) this.drop(inode);
  }

  #expire(): void {
    const beforeMs = performance.now() - this.#keptMs;
    for (const [inode, { sinceMs }] of this.#kept) {
      if (sinceMs > beforeMs) break;
      this.drop(inode);
    }
    if (this.#kept.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
