/** The locks of a server's clients over their connections: who may ask, how long locks outlive a connection or the server. */
import { FGDP_CALLBACK_PROGRAM } from '../fgdp/callback.ts';
import { LOCK_STAT, TEST_STAT, type LOCKargs, type lock_stat } from '../fgdp/locks.ts';
import type { Logger } from '../observe/log.ts';
import type { ClientSession } from './client-session.ts';
import {
  LOCK_CLIENTS_MAX,
  LOCK_GRACE_MS,
  LOCK_GRANTED_TIMEOUT_MS,
  LOCK_RECONNECT_MS,
  LOCK_RECONNECT_NEAR_MS,
  LOCK_RECORD_IDLE_MS,
} from './limits.ts';
import { LockRecord } from './lock-record.ts';
import {
  LockTable,
  type ClientId,
  type HeldLock,
  type LockAnswer,
  type LockPlace,
  type LockRequest,
  type LockTableLimits,
} from './lock-table.ts';

export interface LockServiceOptions {
  readonly stateDirectory: string;
  readonly log: Logger;
  /** Other limits than those of limits.ts. */
  readonly limits?: Partial<LockServiceLimits & LockTableLimits>;
}

export interface LockServiceLimits {
  readonly reconnectNearMs: number;
  readonly reconnectMs: number;
  readonly graceMs: number;
  readonly recordIdleMs: number;
}

/** A mount, over all its connections. */
interface Client {
  /** The oldest first, each with its number: that of the newest is the greatest. */
  readonly sessions: Map<ClientSession, number>;
  /** The newest connection that has said anything of locks: what older ones still say was said before. */
  newest: number;
  /** Runs while the client has no connection. */
  ending: NodeJS.Timeout | undefined;
  /** Runs while it has no locks, and is on record. */
  idle: NodeJS.Timeout | undefined;
}

/** The time after a start in which locks are given to those only who had them before. */
interface Grace {
  /** Who has not said yet that it has claimed all it had. */
  readonly awaited: Set<ClientId>;
  /** All who may claim. */
  readonly listed: ReadonlySet<ClientId>;
  readonly timer: NodeJS.Timeout;
}

const ANSWERS: Readonly<Record<LockAnswer, lock_stat>> = {
  granted: LOCK_STAT.GRANTED,
  denied: LOCK_STAT.DENIED,
  blocked: LOCK_STAT.BLOCKED,
  deadlock: LOCK_STAT.DEADLOCK,
  limit: LOCK_STAT.LIMIT,
};

export class LockService {
  readonly table: LockTable;
  readonly #record: LockRecord;
  readonly #log: Logger;
  readonly #limits: LockServiceLimits;
  readonly #clients = new Map<ClientId, Client>();
  #sessions = 0;
  #grace: Grace | undefined;
  #isStopped = false;

  /**
   * Takes the record of a state directory, which nobody else may have open; `close` gives it back.
   *
   * @throws Error of the file system, or when another server has it
   */
  constructor({ stateDirectory, log, limits = {} }: LockServiceOptions) {
    this.#log = log;
    this.#limits = {
      reconnectNearMs: LOCK_RECONNECT_NEAR_MS,
      reconnectMs: LOCK_RECONNECT_MS,
      graceMs: LOCK_GRACE_MS,
      recordIdleMs: LOCK_RECORD_IDLE_MS,
      ...limits,
    };
    this.table = new LockTable((client, cookie) => {
      this.#tell(client, cookie);
    }, limits);
    this.#record = LockRecord.open(stateDirectory, log);
    const listed = new Set(this.#record.clients);
    if (listed.size === 0) return;
    log.info({ clients: listed.size }, 'locks that guests had are theirs to claim; others wait');
    const timer = setTimeout(() => {
      this.#endGrace();
    }, this.#limits.graceMs);
    timer.unref();
    this.#grace = { awaited: new Set(listed), listed, timer };
  }

  get isInGrace(): boolean {
    return this.#grace !== undefined;
  }

  /** A connection has said whose it is. */
  joined(session: ClientSession, clientId: ClientId): void {
    let client = this.#clients.get(clientId);
    if (client === undefined) {
      client = { sessions: new Map(), newest: 0, ending: undefined, idle: undefined };
      this.#clients.set(clientId, client);
    }
    clearTimeout(client.ending);
    client.ending = undefined;
    this.#sessions += 1;
    client.sessions.set(session, this.#sessions);
  }

  /** A connection has ended, or is another client's from now on. */
  left(session: ClientSession, clientId: ClientId): void {
    const client = this.#clients.get(clientId);
    if (client?.sessions.delete(session) !== true || client.sessions.size > 0 || this.#isStopped) return;
    const { reconnectNearMs, reconnectMs } = this.#limits;
    client.ending = setTimeout(
      () => {
        this.#free(clientId);
      },
      session.peer.kind === 'unix' ? reconnectNearMs : reconnectMs,
    );
    client.ending.unref();
  }

  /**
   * Whether a connection's word on locks counts: it has said whose it is, and no newer connection of the same client has
   * spoken of locks. What an older one still brings was sent before, and sent again since.
   */
  admits(session: ClientSession): boolean {
    const client = this.#clients.get(session.clientId ?? '');
    const number = client?.sessions.get(session);
    if (client === undefined || number === undefined || number < client.newest) return false;
    client.newest = number;
    return true;
  }

  /** Asks for a lock, for a connection that was admitted. */
  lock(session: ClientSession, request: LockRequest, { wait, reclaim, cookie }: LOCKargs): lock_stat {
    const { client } = request;
    if (reclaim) return this.#reclaim(request);
    if (this.#grace !== undefined) return LOCK_STAT.GRACE;
    const isKnown = this.#record.clients.has(client);
    if (!isKnown && (this.#record.clients.size >= LOCK_CLIENTS_MAX || !this.#record.add(client)))
      return LOCK_STAT.LIMIT;
    const answer = this.table.lock(request, wait && session.hearsOfLocks ? cookie : undefined);
    this.#forgetLater(client);
    return ANSWERS[answer];
  }

  test(request: LockRequest): HeldLock | (typeof TEST_STAT)['FREE' | 'GRACE'] {
    if (this.#grace !== undefined) return TEST_STAT.GRACE;
    return this.table.test(request) ?? TEST_STAT.FREE;
  }

  unlock(place: LockPlace, start: bigint, end: bigint): void {
    this.table.unlock(place, start, end);
    this.#forgetLater(place.client);
  }

  /** @returns whether the request was waiting */
  cancel(client: ClientId, cookie: bigint): boolean {
    const wasWaiting = this.table.cancel(client, cookie);
    this.#forgetLater(client);
    return wasWaiting;
  }

  /** A client has claimed all it had. */
  reclaimed(client: ClientId): void {
    const grace = this.#grace;
    if (grace?.awaited.delete(client) === true && grace.awaited.size === 0) this.#endGrace();
    this.#forgetLater(client);
  }

  /** Before the connections are closed: what clients have now they may claim at the next start. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#grace?.timer);
    for (const client of this.#clients.values()) {
      clearTimeout(client.ending);
      clearTimeout(client.idle);
    }
  }

  /** Lets another server have the record; `stop` was called before. */
  close(): void {
    this.#record.close();
  }

  #reclaim(request: LockRequest): lock_stat {
    if (this.table.has(request)) return LOCK_STAT.GRANTED;
    if (this.#grace?.listed.has(request.client) !== true) return LOCK_STAT.LOST;
    const answer = this.table.lock(request);
    return answer === 'granted' ? LOCK_STAT.GRANTED : LOCK_STAT.LOST;
  }

  #endGrace(): void {
    const grace = this.#grace;
    if (grace === undefined) return;
    clearTimeout(grace.timer);
    this.#grace = undefined;
    this.#log.info({ missing: grace.awaited.size, locks: this.table.locks }, 'locks can be had again');
    for (const client of grace.listed) {
      // Who did not come has nothing any more, and who came has what it claimed.
      if (this.#clients.has(client)) this.#forgetLater(client);
      else this.#free(client);
    }
  }

  #free(clientId: ClientId): void {
    const client = this.#clients.get(clientId);
    clearTimeout(client?.ending);
    clearTimeout(client?.idle);
    this.#clients.delete(clientId);
    const locks = this.table.locksOf(clientId);
    if (locks > 0) this.#log.info({ locks }, 'a guest is gone: its locks are free');
    this.table.free(clientId);
    // In the time of grace it may come yet.
    if (this.#grace?.awaited.has(clientId) !== true) this.#record.delete(clientId);
  }

  /** A client without locks is taken off the record, though not at once: most come again. */
  #forgetLater(clientId: ClientId): void {
    const client = this.#clients.get(clientId);
    if (client === undefined || client.idle !== undefined || this.table.locksOf(clientId) > 0) return;
    if (!this.#record.clients.has(clientId) || this.#isStopped) return;
    client.idle = setTimeout(() => {
      client.idle = undefined;
      if (this.table.knows(clientId) || this.#grace?.awaited.has(clientId) === true) return;
      this.#record.delete(clientId);
    }, this.#limits.recordIdleMs);
    client.idle.unref();
  }

  /** Tells a client that a request has its lock; over another connection should this one end meanwhile. */
  #tell(clientId: ClientId, cookie: bigint): void {
    const sessions = [...(this.#clients.get(clientId)?.sessions.keys() ?? [])];
    const session = sessions.findLast((each) => each.hearsOfLocks && each.guest !== undefined);
    // A client that comes back asks again.
    if (session?.guest === undefined) return;
    session.guest
      .call(FGDP_CALLBACK_PROGRAM, 'LOCK_GRANTED', { cookie }, { timeoutMs: LOCK_GRANTED_TIMEOUT_MS })
      .catch(() => {
        const others = this.#clients.get(clientId)?.sessions;
        if (others !== undefined && !others.has(session)) this.#tell(clientId, cookie);
      });
  }
}
