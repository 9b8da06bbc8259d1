/** Locks that exclude programs of other guests: what this mount's programs hold, and how the server is asked. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Callbacks } from '../client/callbacks.ts';
import type { ServerLink, Waiter } from '../client/link.ts';
import {
  LOCK_CALLS,
  LOCK_END_MAX,
  LOCK_KIND,
  LOCK_STAT,
  LOCK_TYPE,
  TEST_STAT,
  type LockRange,
  type LOCKargs,
  type LOCKres,
  type lock_stat,
} from '../client/lock-calls.ts';
import type { Session } from '../client/session.ts';
import { errnoOfStatus } from '../nfs3/errno.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import type { Inode } from './inodes.ts';
import { inTurn, LockHolders, type Holder, type LockOwner, type LockWanted } from './lock-holders.ts';
import { unlessInterrupted } from './interruption.ts';
import { LOCK_RETRY_MS } from './limits.ts';
import type { Errno, FileLock, KernelServices, Outcome } from './operations.ts';
import { Progress } from './progress.ts';
import { StatusError } from './status-error.ts';

const EINTR = 4;
const EIO = 5;
const EAGAIN = 11;
const EDEADLK = 35;
const ENOLCK = 37;
/** fcntl(2), as FileLock has it; F_RDLCK and F_WRLCK are LOCK_TYPE. */
const F_UNLCK = 2;

export interface LocksOptions {
  readonly link: ServerLink;
  /** How the server tells of locks that were waited for; without it locks stay local to the mount. */
  readonly callbacks: Callbacks | undefined;
  /** Has what was written to a file so far put on stable storage. Never rejects. */
  readonly sync: (inode: Inode) => Promise<void>;
  /** A file was locked: others may have changed it until now. */
  readonly onAcquired: (inode: Inode) => void;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** A request that the server may have put in its queue. */
interface Waiting {
  readonly progress: Progress;
  /** Takes in that it was granted. */
  readonly grant: () => void;
  isGranted: boolean;
}

export class Locks {
  readonly #options: LocksOptions;
  readonly #holders = new LockHolders();
  readonly #waiting = new Map<bigint, Waiting>();
  /** Whether the kernel was told to ask here: the server could exclude other guests when the mount was made. */
  readonly isShared: boolean;
  #nextCookie = 1n;

  constructor(options: LocksOptions) {
    this.#options = options;
    const { link, callbacks } = options;
    this.isShared = callbacks !== undefined && link.session.canLock;
    if (callbacks === undefined) return;
    callbacks.onLockGranted = (cookie) => {
      this.#waiting.get(cookie)?.grant();
    };
  }

  /** Ranges that programs of this mount have locked. */
  get held(): number {
    let held = 0;
    for (const { ranges } of this.#holders.all()) held += ranges.size;
    return held;
  }

  /** Whom they exclude, for people. */
  describe(kernel: KernelServices | undefined): string {
    if (!this.isShared) return 'local to this guest: the server has none to share';
    if (kernel?.passesLocks !== true) return 'local to this guest: the driver passes none on';
    const { session } = this.#options.link;
    return session.canLock
      ? 'shared with other guests'
      : 'none: the server that serves now has none to share';
  }

  /** F_GETLK: the first lock of somebody else that is in the way, or F_UNLCK. Rejects with RpcError. */
  async test(inode: Inode, owner: LockOwner, wanted: LockWanted, waiter: Waiter): Promise<Outcome<FileLock>> {
    const { type, start, end } = wanted;
    const args = { file: { data: inode.handle }, kind: owner.kind, owner: owner.id, type, start, end };
    for (;;) {
      const reply = await this.#options.link.lock('TEST', args, waiter);
      if (reply === undefined) return ENOLCK;
      if (reply.status === NFS3_OK) {
        const { body } = reply;
        if (body.test === TEST_STAT.FREE) return { ...wanted, type: F_UNLCK };
        if (body.test === TEST_STAT.HELD) {
          return { type: body.type, start: body.start, end: body.end, pid: body.pid };
        }
      } else if (reply.status !== NFSSTAT3.NFS3ERR_JUKEBOX) {
        return errnoOfStatus(reply.status);
      }
      await pause(waiter);
    }
  }

  /**
   * F_SETLK, F_SETLKW and flock(2) but for unlocking. Rejects with StatusError EINTR and RpcError; the lock is not had
   * then, and what the owner had before it still has.
   *
   * @param fileHandle of the open file by which it is asked
   * @param waits whether to wait for those who have it
   */
  async lock(
    inode: Inode,
    fileHandle: bigint,
    owner: LockOwner,
    wanted: LockWanted,
    waits: boolean,
    waiter: Waiter,
  ): Promise<Errno> {
    const holder = this.#holders.of(inode, owner, waiter);
    holder.through.add(fileHandle);
    return this.#holders.step(holder, () => this.#acquire(inode, holder, wanted, waits, waiter));
  }

  /**
   * Gives up what an owner has from `start` to `end`, with everything written before on the server's stable storage. Goes on
   * also when the waiter gives up: then it rejects with StatusError EINTR.
   */
  async unlock(
    inode: Inode,
    owner: LockOwner,
    start: bigint,
    end: bigint,
    waiter: Pick<Waiter, 'signal'>,
  ): Promise<Errno> {
    const holder = this.#holders.find(inode, owner);
    if (holder === undefined) return 0;
    await unlessInterrupted(this.#release(inode, holder, start, end), waiter);
    return 0;
  }

  /** Whether the owner has locked anything of a file. */
  has(inode: Inode, owner: LockOwner): boolean {
    return this.#holders.find(inode, owner) !== undefined;
  }

  /** An open file has ended: locks that were asked for through it alone are given up, whoever has them. */
  released(inode: Inode, fileHandle: bigint): void {
    for (const holder of this.#holders.inFile(inode)) {
      if (!holder.through.delete(fileHandle) || holder.through.size > 0) continue;
      void this.#release(inode, holder, 0n, LOCK_END_MAX);
    }
  }

  /**
   * A session was opened again, and nothing was asked by it yet: what programs have is claimed first, and what cannot be
   * had any more is lost. A server that was there all the time just confirms it.
   */
  restored(session: Session): void {
    if (!this.isShared) return;
    for (const holder of this.#holders.all()) {
      this.#reclaim(session, holder);
      this.#holders.forgetUnused(holder);
    }
    // Those that are waiting for the session would otherwise wait for the server's grace to end.
    if (session.canLock) ignoreFailure(session.call(LOCK_CALLS, 'RECLAIM_DONE', undefined));
    for (const { progress } of this.#waiting.values()) progress.tell();
  }

  /** Waits until what was given up is given up at the server too, as far as it can be reached. */
  async finish(): Promise<void> {
    await Promise.all(this.#holders.all().map((holder) => holder.turn));
  }

  async #acquire(
    inode: Inode,
    holder: Holder,
    wanted: LockWanted,
    waits: boolean,
    waiter: Waiter,
  ): Promise<Errno> {
    const { type, start, end } = wanted;
    const cookie = this.#nextCookie;
    this.#nextCookie += 1n;
    if (type === LOCK_TYPE.READ && hasExclusive(holder, start, end)) {
      // Others may look at it next.
      await unlessInterrupted(this.#options.sync(inode), waiter);
    }
    const hadIt = holder.ranges.covers(type, start, end);
    const waiting: Waiting = {
      progress: new Progress(),
      isGranted: false,
      grant: () => {
        if (waiter.signal.aborted || waiting.isGranted) return;
        waiting.isGranted = true;
        take(holder, wanted);
        waiting.progress.tell();
      },
    };
    if (waits) this.#waiting.set(cookie, waiting);
    try {
      for (;;) {
        const args = lockArgs(inode.handle, holder, wanted, { wait: waits, cookie });
        const outcome = await inTurn(holder, () => this.#ask(holder, args, waiting, waiter));
        if (typeof outcome === 'object') return outcome.errno;
        if (outcome === LOCK_STAT.GRACE) {
          await pause(waiter);
          continue;
        }
        if (outcome === LOCK_STAT.BLOCKED && !waiting.isGranted) {
          await this.#granted(holder, args, waiting, waiter);
          // Or the session is another one: its server is asked again.
          if (!this.#isGranted(waiting)) continue;
        }
        if (!hadIt) this.#options.onAcquired(inode);
        return 0;
      }
    } finally {
      this.#waiting.delete(cookie);
    }
  }

  /** Asked after something was awaited. */
  #isGranted(waiting: Waiting): boolean {
    return waiting.isGranted;
  }

  /** One LOCK; what is not to be asked again comes as an errno. */
  async #ask(
    holder: Holder,
    args: LOCKargs,
    waiting: Waiting,
    waiter: Waiter,
  ): Promise<lock_stat | { readonly errno: Errno }> {
    if (waiting.isGranted) return LOCK_STAT.GRANTED;
    if (holder.isLost) return { errno: EIO };
    // flock(2): the server takes away what is converted first.
    if (args.kind === LOCK_KIND.FLOCK && !holder.ranges.covers(args.type, args.start, args.end)) {
      holder.ranges.set(undefined, args.start, args.end, 0);
    }
    let reply: LOCKres | undefined;
    try {
      reply = await this.#options.link.lock('LOCK', args, waiter);
    } catch (error) {
      // It may have been granted all the same.
      holder.isUncertain = true;
      void this.#holders.step(holder, () => inTurn(holder, () => this.#makeCertain(holder)));
      throw error;
    }
    if (reply === undefined) return { errno: ENOLCK };
    if (reply.status !== NFS3_OK) {
      if (reply.status === NFSSTAT3.NFS3ERR_JUKEBOX) return LOCK_STAT.GRACE;
      return { errno: errnoOfStatus(reply.status) };
    }
    switch (reply.outcome) {
      case LOCK_STAT.GRANTED:
        if (waiter.signal.aborted) {
          // Nobody waits for it any more.
          holder.isUncertain = true;
          await this.#makeCertain(holder);
          return { errno: EINTR };
        }
        take(holder, args);
        return reply.outcome;
      case LOCK_STAT.DENIED:
        return { errno: EAGAIN };
      case LOCK_STAT.DEADLOCK:
        return { errno: EDEADLK };
      case LOCK_STAT.LIMIT:
      case LOCK_STAT.LOST:
        return { errno: ENOLCK };
      case LOCK_STAT.BLOCKED:
      case LOCK_STAT.GRACE:
        return reply.outcome;
    }
  }

  /** Waits until the server says that a request was granted, or another session was opened. Rejects with StatusError EINTR. */
  async #granted(holder: Holder, args: LOCKargs, waiting: Waiting, waiter: Waiter): Promise<void> {
    try {
      await unlessInterrupted(waiting.progress.next(), waiter);
    } catch (error) {
      if (waiting.isGranted) return;
      // From now on nobody listens to its being granted.
      this.#waiting.delete(args.cookie);
      await inTurn(holder, () => this.#withdraw(holder, args.cookie));
      throw error;
    }
  }

  async #withdraw(holder: Holder, cookie: bigint): Promise<void> {
    try {
      const reply = await this.#options.link.lock('CANCEL', { cookie }, patient(holder));
      if (reply?.was_waiting === true) return;
    } catch {
      // Seen to below.
    }
    // It was granted just now, or nobody knows.
    holder.isUncertain = true;
    await this.#makeCertain(holder);
  }

  /** Has the server know what is known here: what the owner has, it has, and nothing else. Never rejects. */
  async #makeCertain(holder: Holder): Promise<void> {
    if (!holder.isUncertain) return;
    const { link, onWarning } = this.#options;
    const { handle } = holder.file;
    try {
      for (const piece of [...holder.ranges.pieces(0n, LOCK_END_MAX)]) {
        const { type, start, end } = piece;
        if (type === undefined) {
          if (holder.owner.kind === LOCK_KIND.FLOCK && holder.ranges.size > 0) continue;
          await link.lock('UNLOCK', unlockArgs(handle, holder, start, end), patient(holder));
        } else {
          // A lock that is less than what the server has can always be had.
          const args = lockArgs(handle, holder, { ...piece, type }, { wait: false, cookie: 0n });
          await link.lock('LOCK', args, patient(holder));
        }
      }
      holder.isUncertain = false;
    } catch (error) {
      // The next session is told.
      onWarning('a lock could not be given up: the server may keep it', error);
    }
  }

  #release(inode: Inode, holder: Holder, start: bigint, end: bigint): Promise<void> {
    return this.#holders.step(holder, () =>
      inTurn(holder, async () => {
        if (holder.isLost) {
          holder.isLost = false;
          return;
        }
        const { link, sync, onWarning } = this.#options;
        await sync(inode);
        // Not to be claimed again, whatever becomes of the call.
        holder.ranges.set(undefined, start, end, 0);
        try {
          await link.lock('UNLOCK', unlockArgs(holder.file.handle, holder, start, end), patient(holder));
        } catch (error) {
          holder.isUncertain = true;
          onWarning('a lock could not be given up: the server may keep it', error);
        }
      }),
    );
  }

  #reclaim(session: Session, holder: Holder): void {
    const { handle } = holder.file;
    if (holder.isUncertain && session.canLock) {
      holder.isUncertain = false;
      for (const { type, start, end } of holder.ranges.pieces(0n, LOCK_END_MAX)) {
        if (type !== undefined || (holder.owner.kind === LOCK_KIND.FLOCK && holder.ranges.size > 0)) continue;
        ignoreFailure(session.call(LOCK_CALLS, 'UNLOCK', unlockArgs(handle, holder, start, end)));
      }
    }
    for (const range of [...holder.ranges]) {
      if (!session.canLock) {
        this.#lost(holder, range, 'the server knows no locks');
        continue;
      }
      const args = lockArgs(handle, holder, range, { wait: false, cookie: 0n, reclaim: true });
      session.call(LOCK_CALLS, 'LOCK', args).then(
        (reply) => {
          if (reply.status === NFSSTAT3.NFS3ERR_JUKEBOX) return;
          if (reply.status !== NFS3_OK) this.#lost(holder, range, `status ${reply.status}`);
          else if (reply.outcome !== LOCK_STAT.GRANTED) this.#lost(holder, range, 'the server gave it up');
        },
        // The next session is asked.
        () => undefined,
      );
    }
  }

  /** Nobody knows what others have done meanwhile: the owner is told by EIO, until it unlocks. */
  #lost(holder: Holder, range: LockRange, why: string): void {
    // It was given up meanwhile.
    if (holder.isLost || !holder.ranges.covers(range.type, range.start, range.end)) return;
    holder.isLost = true;
    holder.ranges.set(undefined, 0n, LOCK_END_MAX, 0);
    holder.isUncertain = true;
    void this.#holders.step(holder, () => inTurn(holder, () => this.#makeCertain(holder)));
    this.#options.onWarning(`a lock of process ${range.pid} is lost: ${why}`, undefined);
  }
}

function take(holder: Holder, { type, start, end, pid }: LockWanted): void {
  holder.ranges.set(type, start, end, pid);
}

function hasExclusive({ ranges }: Holder, start: bigint, end: bigint): boolean {
  for (const range of ranges.overlapping(start, end)) if (range.type === LOCK_TYPE.WRITE) return true;
  return false;
}

function lockArgs(
  handle: Uint8Array,
  { owner }: Holder,
  { type, start, end, pid }: LockWanted,
  { wait, cookie, reclaim = false }: { wait: boolean; cookie: bigint; reclaim?: boolean },
): LOCKargs {
  const file = { data: handle };
  return { file, kind: owner.kind, owner: owner.id, pid, type, start, end, wait, reclaim, cookie };
}

function unlockArgs(handle: Uint8Array, { owner }: Holder, start: bigint, end: bigint) {
  return { file: { data: handle }, kind: owner.kind, owner: owner.id, start, end };
}

/** Somebody who does not give up. */
function patient({ credential }: Holder): Waiter {
  return { credential, signal: new AbortController().signal };
}

/** Until what the server puts off may be asked again. Rejects with StatusError EINTR. */
async function pause({ signal }: Waiter): Promise<void> {
  await delay(LOCK_RETRY_MS, undefined, { signal }).catch(() => {
    throw new StatusError(EINTR);
  });
}

/** The next session is told. */
function ignoreFailure(call: Promise<unknown>): void {
  call.catch(() => undefined);
}
