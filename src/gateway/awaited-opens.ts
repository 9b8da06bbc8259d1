/**
 * Files that are about to be opened. Between the LOOKUP and the OPEN of a file another program may rename a new one over it:
 * the server knows it no more, and the OPEN fails with ESTALE. The kernel then looks the name up again, but once only
 * (do_filp_open in fs/namei.c): so what this finds must not be lost, too.
 */
import type { Inode } from './inodes.ts';
import { AWAITED_OPEN_MS } from './limits.ts';
import type { Outcome } from './operations.ts';

const ESTALE = 116;

export class AwaitedOpens {
  readonly #onGivenUp: (inode: Inode) => void;
  /** Who looks a name up again, by process id; each until its timer ends. */
  readonly #retrying = new Map<number, NodeJS.Timeout>();
  readonly #files = new Map<Inode, NodeJS.Timeout>();

  /** @param onGivenUp is told of a file that nobody has opened within AWAITED_OPEN_MS */
  constructor(onGivenUp: (inode: Inode) => void) {
    this.#onGivenUp = onGivenUp;
  }

  /** Whether a file is to be kept as if it were open. */
  has(inode: Inode): boolean {
    return this.#files.has(inode);
  }

  /** Whether the next LOOKUP of a process is for an OPEN that failed. */
  isRetrying(pid: number): boolean {
    return this.#retrying.has(pid);
  }

  /** A file was found for such an OPEN. */
  expect(inode: Inode): void {
    clearTimeout(this.#files.get(inode));
    this.#files.set(inode, setTimeout(() => this.#giveUp(inode), AWAITED_OPEN_MS).unref());
  }

  /** Passes the answer of an OPEN on: ESTALE makes the kernel look again. */
  opened<T>(pid: number, inode: Inode, answer: Outcome<T>): Outcome<T> {
    clearTimeout(this.#retrying.get(pid));
    this.#retrying.delete(pid);
    if (answer === ESTALE) {
      this.#retrying.set(pid, setTimeout(() => this.#retrying.delete(pid), AWAITED_OPEN_MS).unref());
    } else if (typeof answer !== 'number') {
      clearTimeout(this.#files.get(inode));
      this.#files.delete(inode);
    }
    return answer;
  }

  /** Waits for nobody any more. */
  clear(): void {
    for (const timer of [...this.#retrying.values(), ...this.#files.values()]) clearTimeout(timer);
    this.#retrying.clear();
    this.#files.clear();
  }

  #giveUp(inode: Inode): void {
    this.#files.delete(inode);
    this.#onGivenUp(inode);
  }
}
