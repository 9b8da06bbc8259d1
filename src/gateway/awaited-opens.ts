/**
 * Files that are about to be opened. Between the LOOKUP and the OPEN of a file another program may rename a new one over it:
 * the server knows it no more, and the OPEN fails with ESTALE. The kernel then looks the name up again, but once only
 * (do_filp_open in fs/namei.c): so what this finds must not be lost, too.
 */
import type { Inode } from './inodes.ts';
import { AWAITED_OPEN_MS } from './limits.ts';
import type { Outcome } from './operations.ts';

const ESTALE = 116;

interface Expected {
  readonly inode: Inode;
  readonly timer: NodeJS.Timeout;
}

export class AwaitedOpens {
  readonly #onGivenUp: (inode: Inode) => void;
  /** Who looks a name up again, by process id; each until its timer ends. */
  readonly #retrying = new Map<number, NodeJS.Timeout>();
  /** What each of them has found last. */
  readonly #expected = new Map<number, Expected>();

  /** @param onGivenUp is told of a file that nobody is about to open any more, unless the last of them has opened it */
  constructor(onGivenUp: (inode: Inode) => void) {
    this.#onGivenUp = onGivenUp;
  }

  /** Whether a file is to be kept as if it were open. */
  has(inode: Inode): boolean {
    for (const expected of this.#expected.values()) if (expected.inode === inode) return true;
    return false;
  }

  /** Whether the next LOOKUP of a process is for an OPEN that failed. */
  isRetrying(pid: number): boolean {
    return this.#retrying.has(pid);
  }

  /** A file was found for such an OPEN, in place of what was found before. */
  expect(pid: number, inode: Inode): void {
    this.#end(pid, inode);
    const timer = setTimeout(() => this.#end(pid), AWAITED_OPEN_MS).unref();
    this.#expected.set(pid, { inode, timer });
  }

  /** Passes the answer of an OPEN on: ESTALE makes the kernel look again. */
  opened<T>(pid: number, inode: Inode, answer: Outcome<T>): Outcome<T> {
    clearTimeout(this.#retrying.get(pid));
    this.#retrying.delete(pid);
    this.#end(pid, typeof answer === 'number' ? undefined : inode);
    if (answer === ESTALE) {
      this.#retrying.set(pid, setTimeout(() => this.#retrying.delete(pid), AWAITED_OPEN_MS).unref());
    }
    return answer;
  }

  /** Waits for nobody any more. */
  clear(): void {
    for (const timer of this.#retrying.values()) clearTimeout(timer);
    for (const { timer } of this.#expected.values()) clearTimeout(timer);
    this.#retrying.clear();
    this.#expected.clear();
  }

  /** A process is not about to open what it has found. */
  #end(pid: number, wanted?: Inode): void {
    const expected = this.#expected.get(pid);
    if (expected === undefined) return;
    clearTimeout(expected.timer);
    this.#expected.delete(pid);
    const { inode } = expected;
    if (inode !== wanted && !this.has(inode)) this.#onGivenUp(inode);
  }
}
