/** Locks as the kernel asks for them, by open file: fcntl(2), flock(2), and what a close takes away. */
import { LOCK_END_MAX, LOCK_KIND } from '../client/lock-calls.ts';
import type { Caller } from './callers.ts';
import type { Interruptible } from './dirty-bytes.ts';
import type { Inode } from './inodes.ts';
import type { Locks } from './locks.ts';
import type { OpenFiles } from './open-files.ts';
import type { Errno, FileLock, Outcome } from './operations.ts';

const EINVAL = 22;
/** fcntl(2), as FileLock has it. */
const F_UNLCK = 2;

/** Which owner asks, as the kernel numbers them within the mount. */
export interface LockAsker {
  readonly kind: 'posix' | 'flock';
  readonly id: bigint;
}

/** All of them reject with StatusError EINTR or RpcError. */
export class FileLocks {
  readonly #files: OpenFiles;
  readonly #locks: Locks;

  constructor(files: OpenFiles, locks: Locks) {
    this.#files = files;
    this.#locks = locks;
  }

  /** Whether closing a descriptor leaves nothing to do. */
  hasNothingToFlush(inode: Inode, fileHandle: bigint, lockOwner: bigint | undefined): boolean {
    return this.#files.hasNothingToFlush(fileHandle) && !this.#hasLocked(inode, lockOwner);
  }

  /** A descriptor is closed: what was written goes to the server, and then the POSIX locks of its process go. */
  async flush(
    inode: Inode,
    fileHandle: bigint,
    lockOwner: bigint | undefined,
    waiter: Interruptible,
  ): Promise<Errno> {
    try {
      return await this.#files.flush(fileHandle, waiter);
    } finally {
      // Whatever became of what was written, and whoever gave up waiting.
      if (lockOwner !== undefined && this.#hasLocked(inode, lockOwner))
        await this.#locks.unlock(inode, posix(lockOwner), 0n, LOCK_END_MAX, waiter);
    }
  }

  /** F_GETLK; EINVAL where no lock is asked about. */
  test(inode: Inode, owner: bigint, lock: FileLock, caller: Caller): Promise<Outcome<FileLock>> | Errno {
    if (lock.type === F_UNLCK) return EINVAL;
    return this.#locks.test(inode, posix(owner), { ...lock, type: lock.type }, caller);
  }

  /** F_SETLK, F_SETLKW and flock(2), unlocking too. */
  set(
    inode: Inode,
    fileHandle: bigint,
    asker: LockAsker,
    lock: FileLock,
    waits: boolean,
    caller: Caller,
  ): Promise<Errno> {
    const isFlock = asker.kind === 'flock';
    const owner = isFlock ? { kind: LOCK_KIND.FLOCK, id: asker.id } : posix(asker.id);
    const [start, end] = isFlock ? [0n, LOCK_END_MAX] : [lock.start, lock.end];
    const { type, pid } = lock;
    if (type === F_UNLCK) return this.#locks.unlock(inode, owner, start, end, caller);
    return this.#locks.lock(inode, fileHandle, owner, { type, start, end, pid }, waits, caller);
  }

  #hasLocked(inode: Inode, lockOwner: bigint | undefined): boolean {
    return lockOwner !== undefined && this.#locks.has(inode, posix(lockOwner));
  }
}

function posix(id: bigint): { readonly kind: typeof LOCK_KIND.POSIX; readonly id: bigint } {
  return { kind: LOCK_KIND.POSIX, id };
}
