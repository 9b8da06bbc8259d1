/** The lasting tie to a server: sessions come and go beneath it, calls are sent again until they are answered. */
import { setTimeout as delay } from 'node:timers/promises';
import { FGDP_PROGRAM } from '../fgdp/program.ts';
import { NFS_PROCEDURES, NFS_PROGRAM } from '../nfs3/nfs.ts';
import type { GETACL3res, SETACL3args, SETACL3res } from '../nfs3/nfsacl.ts';
import { NFSSTAT3 } from '../nfs3/status.ts';
import { freshXid } from '../rpc/caller.ts';
import type { opaque_auth } from '../rpc/auth.ts';
import { RpcError } from '../rpc/error.ts';
import type { ArgsOf, Procedures, Program, ResultOf } from '../rpc/program.ts';
import {
  JUKEBOX_PAUSE_MS,
  RECONNECT_PAUSE_MAX_MS,
  RECONNECT_PAUSE_MIN_MS,
  ROUTE_RECHECK_MS,
} from './limits.ts';
import type { LinkEvents, RetryOptions, RetryPauses, SessionOpener, Waiter } from './link-options.ts';
import { LOCK_CALLS, type LockProcedure } from './lock-calls.ts';
import { OnceSlots } from './once-slots.ts';
import type { GrantOutcome, GrantWish, MapOutcome, Session } from './session.ts';

export type { LinkEvents, RetryOptions, RetryPauses, SessionOpener, Waiter };

/** Timers may end this much early, in milliseconds. */
const TIMER_SLACK_MS = 5;

/** Every procedure name of NFS. */
export type NfsProcedure = keyof typeof NFS_PROCEDURES;
export type NfsArgs<K extends NfsProcedure> = ArgsOf<(typeof NFS_PROCEDURES)[K]>;
export type NfsResult<K extends NfsProcedure> = ResultOf<(typeof NFS_PROCEDURES)[K]>;
/** Procedures of FGDP that are about one file, as those of NFS are. */
export type FgdpProcedure =
  'GETXATTR' | 'SETXATTR' | 'LISTXATTRS' | 'REMOVEXATTR' | 'ALLOCATE' | 'SEEK' | 'COPY';
type FgdpProcedures = (typeof FGDP_PROGRAM)['procedures'];
type CountedCall = NfsProcedure | FgdpProcedure | 'GRANT' | 'MAP' | 'GETACL' | 'SETACL' | LockProcedure;

/** An answer, and what must be known to understand it. */
export interface OnceAnswer<Result> {
  readonly result: Result;
  /**
   * An earlier transmission of the call was lost, with its answer, at a server that does not know a call when it comes
   * again. It may have been carried out then, and this be the answer to its second time: EXIST, or NOENT.
   */
  readonly mayHaveRunBefore: boolean;
}

export class ServerLink {
  readonly #open: SessionOpener;
  readonly #options: RetryOptions;
  readonly #events: LinkEvents;
  readonly #onceSlots = new OnceSlots();
  readonly #callCounts = new Map<CountedCall, number>();
  #session: Session;
  #ready: Promise<Session> | undefined;
  #recheck: NodeJS.Timeout | undefined;
  #closed = false;
  #groupsCut = 0;
  #sentAgain = 0;
  #adoptedMs = performance.now();
  /** Calls that are not answered yet, by the session in use when they were begun. */
  readonly #unanswered = new Map<Session, number>();
  readonly #settledWaiters: (() => void)[] = [];
  readonly #pauses: Required<RetryPauses>;
  #pauseMs: number;
  /** The last look for a better route: two at once would judge the routes differently. */
  #rechecking: Promise<void> = Promise.resolve();

  /** @param first a session that is open already: a mount is not made before one works */
  constructor(first: Session, open: SessionOpener, options: RetryOptions, events: LinkEvents) {
    this.#open = open;
    this.#options = options;
    this.#pauses = {
      jukeboxMs: JUKEBOX_PAUSE_MS,
      reconnectMinMs: RECONNECT_PAUSE_MIN_MS,
      reconnectMaxMs: RECONNECT_PAUSE_MAX_MS,
      recheckMs: ROUTE_RECHECK_MS,
      ...options.pauses,
    };
    this.#pauseMs = this.#pauses.reconnectMinMs;
    this.#events = events;
    this.#session = first;
    this.#watch(first);
  }

  /** The session in use, or the last one while the link is down. */
  get session(): Session {
    return this.#session;
  }

  get isConnected(): boolean {
    return this.#session.closed === undefined;
  }

  /** Calls made so far, by procedure. */
  get callCounts(): ReadonlyMap<string, number> {
    return this.#callCounts;
  }

  /** Calls made with 16 of their caller's groups, because the server takes no more. */
  get groupsCut(): number {
    return this.#groupsCut;
  }

  /** Calls that the server has put off (JUKEBOX) and that were sent again since: they come after others that were sent later. */
  get sentAgain(): number {
    return this.#sentAgain;
  }

  /** Ends the link and its session. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#recheck);
    this.#session.close();
  }

  /**
   * Whether a call that is sent again takes effect once: the server of the session in use knows calls again. Otherwise
   * nfsOnce says what an answer may mean.
   */
  get takesEffectOnce(): boolean {
    return this.#session.takesEffectOnce;
  }

  /**
   * Calls an NFS procedure, over as many sessions as it takes; the xid stays the same when a call is sent again.
   *
   * @throws RpcError TIMED_OUT on a soft mount, ABORTED when the waiter gave up, or what the server answered
   */
  async nfs<K extends NfsProcedure>(
    name: K,
    args: ArgsOf<(typeof NFS_PROCEDURES)[K]>,
    waiter: Waiter,
  ): Promise<ResultOf<(typeof NFS_PROCEDURES)[K]>> {
    return (await this.nfsOnce(name, args, waiter)).result;
  }

  /** As nfs, for whoever must know whether the call may have run before the answer came: see OnceAnswer. */
  nfsOnce<K extends NfsProcedure>(
    name: K,
    args: ArgsOf<(typeof NFS_PROCEDURES)[K]>,
    waiter: Waiter,
  ): Promise<OnceAnswer<ResultOf<(typeof NFS_PROCEDURES)[K]>>> {
    this.#count(name);
    const call = (): Promise<OnceAnswer<NfsResult<K>>> => this.#answered(NFS_PROGRAM, name, args, waiter);
    return NFS_PROCEDURES[name].idempotent ? call() : this.#onceSlots.run(waiter, call);
  }

  /**
   * Calls a procedure of FGDP about a file, as `nfs` does; undefined where the server does not have it.
   *
   * @param feature FEATURE_* bit that says whether it has
   */
  async fgdp<K extends FgdpProcedure>(
    name: K,
    feature: number,
    args: ArgsOf<FgdpProcedures[K]>,
    waiter: Waiter,
  ): Promise<ResultOf<FgdpProcedures[K]> | undefined> {
    if (this.isConnected && !this.#session.has(feature)) return undefined;
    this.#count(name);
    const call = (): Promise<OnceAnswer<ResultOf<FgdpProcedures[K]> | undefined>> =>
      this.#answered<FgdpProcedures, K, undefined>(FGDP_PROGRAM, name, args, waiter, (session) =>
        session.has(feature) ? undefined : { instead: undefined },
      );
    const isOnce = !FGDP_PROGRAM.procedures[name].idempotent;
    return (await (isOnce ? this.#onceSlots.run(waiter, call) : call())).result;
  }

  /** @param instead what a session that cannot be asked is taken to answer */
  async #answered<P extends Procedures, K extends keyof P & string, Instead = never>(
    program: Program<P>,
    name: K,
    args: ArgsOf<P[K]>,
    waiter: Waiter,
    instead?: (session: Session) => { readonly instead: Instead } | undefined,
  ): Promise<OnceAnswer<ResultOf<P[K]> | Instead>> {
    let mayHaveRunBefore = false;
    for (;;) {
      const xid = freshXid();
      let transmissions = 0;
      const result = await this.#persist<ResultOf<P[K]> | Instead>(waiter, (session, timeoutMs) => {
        const other = instead?.(session);
        if (other !== undefined) return Promise.resolve(other.instead);
        return this.#as(session, waiter, timeoutMs, (credential) => {
          // What a closed session is given is not sent.
          if (session.closed === undefined) transmissions += 1;
          if (session.takesEffectOnce) mayHaveRunBefore = false;
          else if (transmissions > 1) mayHaveRunBefore = true;
          return session.call(program, name, args, { xid, timeoutMs, credential });
        });
      });
      const status = (result as { status?: number } | undefined)?.status;
      if (status !== NFSSTAT3.NFS3ERR_JUKEBOX) return { result, mayHaveRunBefore };
      await delay(this.#pauses.jukeboxMs, undefined, { signal: waiter.signal }).catch((error: unknown) => {
        throw new RpcError('ABORTED', `${name} was given up`, { cause: error });
      });
      this.#sentAgain += 1;
    }
  }

  /**
   * Asks the near session for a grant; undefined where the session in use has none to give.
   *
   * @param wish what the caller opens the file for, and whether the guest can use more
   */
  async grant(handle: Uint8Array, wish: GrantWish, waiter: Waiter): Promise<GrantOutcome | undefined> {
    if (this.isConnected && !this.#session.canGrant) return undefined;
    this.#count('GRANT');
    return this.#persist(waiter, async (session, timeoutMs) => {
      if (!session.canGrant) return undefined;
      return this.#as(session, waiter, timeoutMs, (credential) =>
        session.grant(handle, wish, { credential, timeoutMs }),
      );
    });
  }

  /**
   * Asks for a file's ACLs; undefined where the server of the session in use knows none.
   *
   * @param mask of NFS_ACL and NFS_DFACL
   */
  async getAcl(handle: Uint8Array, mask: number, waiter: Waiter): Promise<GETACL3res | undefined> {
    if (this.isConnected && !this.#session.knowsAcls) return undefined;
    this.#count('GETACL');
    return this.#persist(waiter, (session, timeoutMs) =>
      session.getAcl(handle, mask, { credential: waiter.credential, timeoutMs }),
    );
  }

  /**
   * Calls a lock procedure, again over other sessions until it is answered: none does anything when it comes twice.
   * Undefined where the server of the session in use knows no locks.
   */
  async lock<K extends LockProcedure>(
    name: K,
    args: ArgsOf<(typeof LOCK_CALLS.procedures)[K]>,
    waiter: Waiter,
  ): Promise<ResultOf<(typeof LOCK_CALLS.procedures)[K]> | undefined> {
    this.#count(name);
    return this.#persist(waiter, async (session, timeoutMs) => {
      if (!session.canLock) return undefined;
      const { credential } = waiter;
      return session.call(LOCK_CALLS, name, args, { credential, timeoutMs });
    });
  }

  /** Sets a file's ACLs; undefined where the server of the session in use knows none. */
  async setAcl(args: SETACL3args, waiter: Waiter): Promise<SETACL3res | undefined> {
    if (this.isConnected && !this.#session.knowsAcls) return undefined;
    this.#count('SETACL');
    return this.#persist(waiter, (session, timeoutMs) =>
      this.#as(session, waiter, timeoutMs, (credential) => session.setAcl(args, { credential, timeoutMs })),
    );
  }

  /** Makes a call in the waiter's name, with all its groups where the server takes them. */
  #as<T>(
    session: Session,
    waiter: Waiter,
    timeoutMs: number,
    call: (credential: opaque_auth) => Promise<T>,
  ): Promise<T> {
    const { wide } = waiter;
    if (wide !== undefined && !session.carriesAllGroups) {
      this.#groupsCut += 1;
      if (this.#groupsCut === 1) this.#events.onGroupsCut?.(wide);
    }
    return session.as(waiter, timeoutMs, call);
  }

  /** Asks the near session for pages of a file; undefined where the session in use has none to share. */
  async map(
    handle: Uint8Array,
    offset: bigint,
    countBytes: number,
    waiter: Waiter,
  ): Promise<{ readonly session: Session; readonly outcome: MapOutcome } | undefined> {
    if (this.isConnected && !this.#session.canMap) return undefined;
    this.#count('MAP');
    return this.#persist(waiter, async (session, timeoutMs) => {
      if (!session.canMap) return undefined;
      const outcome = await this.#as(session, waiter, timeoutMs, (credential) =>
        session.map(handle, offset, countBytes, { credential, timeoutMs }),
      );
      return { session, outcome };
    });
  }

  /**
   * Resolves when all calls that were begun before `session` was in use have been answered, and their answers taken in: these may
   * tell what another session was told.
   */
  async settled(session: Session): Promise<void> {
    const isOld = (each: Session): boolean => each !== session;
    while ([...this.#unanswered.keys()].some(isOld)) {
      await new Promise<void>((resolve) => this.#settledWaiters.push(resolve));
    }
    // Whoever waited for the last of them runs first.
    await new Promise((resolve) => setImmediate(resolve));
  }

  #begun(session: Session): void {
    this.#unanswered.set(session, (this.#unanswered.get(session) ?? 0) + 1);
  }

  #ended(session: Session): void {
    const left = (this.#unanswered.get(session) ?? 0) - 1;
    if (left > 0) {
      this.#unanswered.set(session, left);
      return;
    }
    this.#unanswered.delete(session);
    for (const resolve of this.#settledWaiters.splice(0)) resolve();
  }

  /** Asked after something was awaited. */
  #isClosed(): boolean {
    return this.#closed;
  }

  #isInUse(session: Session): boolean {
    return session === this.#session && session.closed === undefined && !this.#closed;
  }

  #count(name: CountedCall): void {
    this.#callCounts.set(name, (this.#callCounts.get(name) ?? 0) + 1);
  }

  /** Makes a call until it is answered; a transmission waits for `timeoutMs`, the last of a soft mount's for what is left. */
  async #persist<T>(waiter: Waiter, call: (session: Session, timeoutMs: number) => Promise<T>): Promise<T> {
    const first = this.#session;
    this.#begun(first);
    try {
      return await this.#persistUntilAnswered(waiter, call);
    } finally {
      this.#ended(first);
    }
  }

  async #persistUntilAnswered<T>(
    waiter: Waiter,
    call: (session: Session, timeoutMs: number) => Promise<T>,
  ): Promise<T> {
    const { hard, timeoutMs, retransmissions } = this.#options;
    const allowedMs = hard ? Infinity : timeoutMs * (retransmissions + 1);
    const startedMs = performance.now();
    for (let transmissions = 1; ; transmissions += 1) {
      const leftMs = (): number => allowedMs - (performance.now() - startedMs);
      const session = this.isConnected ? this.#session : await this.#restored(waiter, leftMs());
      try {
        return await call(session, Math.max(1, Math.min(timeoutMs, leftMs())));
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        if (error.code === 'TIMED_OUT') await endSession(session, error);
        else if (error.code !== 'CONNECTION_LOST' && error.code !== 'BAD_RECORD') throw error;
        if (this.#closed) throw error;
        // A lost connection takes no time: the server may be back at once. The last time-out ends it to the millisecond.
        if (leftMs() <= TIMER_SLACK_MS) {
          throw new RpcError('TIMED_OUT', `the server did not answer ${transmissions} transmissions`, {
            cause: error,
          });
        }
      }
    }
  }

  /** Waits for the next session: for ever on a hard mount, until the waiter gives up or a soft mount's time is over. */
  #restored(waiter: Waiter, leftMs: number): Promise<Session> {
    const ready = this.#ready;
    if (ready === undefined) return Promise.resolve(this.#session);
    const { signal } = waiter;
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        finish();
      };
      const onAbort = (): void => {
        settle(() => {
          reject(new RpcError('ABORTED', 'given up while the server was away'));
        });
      };
      if (leftMs !== Infinity) {
        timer = setTimeout(() => {
          settle(() => {
            reject(new RpcError('TIMED_OUT', 'the server is away'));
          });
        }, leftMs);
      }
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      ready.then(
        (session) => {
          settle(() => {
            resolve(session);
          });
        },
        (error: unknown) => {
          settle(() => {
            reject(error instanceof Error ? error : new Error(String(error)));
          });
        },
      );
    });
  }

  #watch(session: Session): void {
    session.onClose((reason) => {
      if (this.#closed || session !== this.#session) return;
      this.#events.onLost(reason);
      this.#ready = this.#reconnect();
      this.#ready.catch(() => undefined);
    });
    this.#scheduleRecheck();
  }

  async #reconnect(): Promise<Session> {
    // A server that ends every session soon after it began is not asked again at once.
    const { reconnectMinMs, reconnectMaxMs } = this.#pauses;
    const wasShort = performance.now() - this.#adoptedMs < reconnectMaxMs;
    this.#pauseMs = wasShort ? Math.min(this.#pauseMs * 2, reconnectMaxMs) : reconnectMinMs;
    if (wasShort) await delay(this.#pauseMs, undefined, { ref: false });
    await this.#rechecking;
    for (let pauseMs = this.#pauseMs; ; pauseMs = Math.min(pauseMs * 2, reconnectMaxMs)) {
      if (this.#isClosed()) throw ending();
      try {
        const session = await this.#open();
        if (session !== undefined) {
          if (this.#isClosed()) {
            session.close();
            throw ending();
          }
          this.#adopt(session);
          this.#events.onRestored(session);
          return session;
        }
      } catch (error) {
        if (this.#isClosed()) throw ending();
        this.#events.onTryFailed(error as Error, pauseMs);
      }
      await delay(pauseMs, undefined, { ref: false });
    }
  }

  #adopt(session: Session): void {
    this.#session = session;
    this.#adoptedMs = performance.now();
    this.#ready = undefined;
    this.#watch(session);
  }

  /** A mount that had to take a worse route goes back to a better one when that works again. */
  #scheduleRecheck(): void {
    clearTimeout(this.#recheck);
    if (this.#session.route === 'near' || this.#closed) return;
    this.#recheck = setTimeout(() => {
      this.#rechecking = this.#tryBetter();
    }, this.#pauses.recheckMs);
    this.#recheck.unref();
  }

  async #tryBetter(): Promise<void> {
    const current = this.#session;
    if (!this.#isInUse(current)) return;
    try {
      const better = await this.#open(current);
      if (better !== undefined && this.#isInUse(current)) {
        this.#adopt(better);
        this.#events.onRestored(better);
        // Calls under way on the old session are answered there or sent again on the new one.
        current.close(new RpcError('CONNECTION_LOST', 'a better route was found'));
        return;
      }
      better?.close();
    } catch {
      // The reasons are kept by the opener; the route in use goes on.
    }
    this.#scheduleRecheck();
  }
}

function ending(): RpcError {
  return new RpcError('CONNECTION_LOST', 'the mount is ending');
}

/** Cuts off a session whose server does not answer, and waits until it counts as closed. */
function endSession(session: Session, reason: RpcError): Promise<void> {
  return new Promise((resolve) => {
    session.onClose(() => {
      resolve();
    });
    session.close(reason);
  });
}
