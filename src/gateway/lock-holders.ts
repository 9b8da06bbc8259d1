/** Who of this mount has locks, or asks for some: by file and owner. */
import type { lock_kind, lock_type } from '../client/lock-calls.ts';
import { LockRanges } from '../client/lock-calls.ts';
import type { Waiter } from '../client/link.ts';
import type { Inode } from './inodes.ts';

/** Who asks for a lock: a process (POSIX) or an open file, by the kernel's number. */
export interface LockOwner {
  readonly kind: lock_kind;
  readonly id: bigint;
}

export interface LockWanted {
  readonly type: lock_type;
  readonly start: bigint;
  readonly end: bigint;
  readonly pid: number;
}

/** What one owner has on one file. */
export interface Holder {
  readonly owner: LockOwner;
  readonly file: LockedFile;
  readonly ranges: LockRanges;
  /** The open files by which it has locked, as the kernel numbers them: the last one's end is the end of the locks. */
  readonly through: Set<bigint>;
  /** Calls about it are made one after the other. */
  turn: Promise<unknown>;
  /** Steps that were begun and have not ended. */
  steps: number;
  /** The server gave up what it had; locking fails until it has unlocked. */
  isLost: boolean;
  /** The server may have more of it than is known here. */
  isUncertain: boolean;
  credential: Waiter['credential'];
}

export interface LockedFile {
  readonly key: string;
  readonly handle: Uint8Array;
  readonly holders: Map<string, Holder>;
}

export class LockHolders {
  readonly #files = new Map<string, LockedFile>();

  /** All of them now. */
  all(): Holder[] {
    return [...this.#files.values()].flatMap(({ holders }) => [...holders.values()]);
  }

  /** Those of a file now. */
  inFile(inode: Inode): Holder[] {
    return [...(this.#files.get(inode.handleKey)?.holders.values() ?? [])];
  }

  /** What an owner has on a file; undefined where it has nothing, and asks for nothing. */
  find(inode: Inode, owner: LockOwner): Holder | undefined {
    return this.#files.get(inode.handleKey)?.holders.get(keyOf(owner));
  }

  /** The same, made where there is none yet. */
  of(inode: Inode, owner: LockOwner, { credential }: Waiter): Holder {
    const key = inode.handleKey;
    const file = this.#files.get(key) ?? { key, handle: inode.handle, holders: new Map<string, Holder>() };
    this.#files.set(key, file);
    let holder = file.holders.get(keyOf(owner));
    if (holder === undefined) {
      holder = {
        owner,
        file,
        ranges: new LockRanges(),
        through: new Set(),
        turn: Promise.resolve(),
        steps: 0,
        isLost: false,
        isUncertain: false,
        credential,
      };
      file.holders.set(keyOf(owner), holder);
    }
    holder.credential = credential;
    return holder;
  }

  /** Keeps the holder known until the step has ended, and then only if there is something to know. */
  async step<T>(holder: Holder, step: () => Promise<T>): Promise<T> {
    holder.steps += 1;
    try {
      return await step();
    } finally {
      holder.steps -= 1;
      this.forgetUnused(holder);
    }
  }

  forgetUnused(holder: Holder): void {
    const { file, owner, ranges, steps, isLost, isUncertain } = holder;
    if (steps > 0 || ranges.size > 0 || isLost || isUncertain) return;
    if (file.holders.get(keyOf(owner)) === holder) file.holders.delete(keyOf(owner));
    if (file.holders.size === 0 && this.#files.get(file.key) === file) this.#files.delete(file.key);
  }
}

/** Does something about a holder after what was begun before. */
export function inTurn<T>(holder: Holder, step: () => Promise<T>): Promise<T> {
  const result = holder.turn.then(step);
  holder.turn = result.catch(() => undefined);
  return result;
}

function keyOf({ kind, id }: LockOwner): string {
  return `${kind} ${id}`;
}
