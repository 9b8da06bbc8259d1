/** Who has which locks and who waits for them: fcntl(2) and flock(2) among owners of many clients. No file is touched. */
import { LockRanges, type LockRange } from '../fgdp/lock-ranges.ts';
import { LOCK_END_MAX, LOCK_KIND, LOCK_TYPE, type lock_kind, type lock_type } from '../fgdp/locks.ts';
import { LOCKS_PER_CLIENT_MAX, LOCK_WAITS_PER_CLIENT_MAX, LOCK_WAITS_PER_FILE_MAX } from './limits.ts';

/** Tells files apart, whichever handle they were found by. */
export type FileKey = string;
/** The id that a client has said in CLIENT. */
export type ClientId = string;

/** Whose locks, and where. */
export interface LockPlace {
  readonly client: ClientId;
  readonly file: FileKey;
  readonly kind: lock_kind;
  readonly owner: bigint;
}

export interface LockRequest extends LockPlace {
  readonly pid: number;
  readonly type: lock_type;
  /** First and last byte; of LOCK_KIND.FLOCK always 0 to LOCK_END_MAX. */
  readonly start: bigint;
  readonly end: bigint;
}

/** A lock that is in somebody's way. */
export interface HeldLock extends LockRange {
  readonly client: ClientId;
}

export type LockAnswer = 'granted' | 'denied' | 'blocked' | 'deadlock' | 'limit';

export interface LockTableLimits {
  readonly locksPerClient: number;
  readonly waitsPerClient: number;
  readonly waitsPerFile: number;
}

const LIMITS: LockTableLimits = {
  locksPerClient: LOCKS_PER_CLIENT_MAX,
  waitsPerClient: LOCK_WAITS_PER_CLIENT_MAX,
  waitsPerFile: LOCK_WAITS_PER_FILE_MAX,
};

/** A request that waits. */
interface Wait {
  readonly request: LockRequest;
  readonly cookie: bigint;
  readonly client: Client;
  readonly owner: Owner;
  readonly file: LockedFile;
}

/** A process or open file of a client, as far as it has locks or waits. */
interface Owner {
  readonly client: ClientId;
  readonly key: string;
  readonly held: Map<LockedFile, LockRanges>;
  readonly waits: Set<Wait>;
}

interface Client {
  readonly owners: Map<string, Owner>;
  readonly waits: Map<bigint, Wait>;
  locks: number;
}

/** The locks of one kind on one file. */
interface LockedFile {
  readonly key: string;
  readonly held: Map<Owner, LockRanges>;
  /** In the order in which they came. */
  readonly waits: Set<Wait>;
}

export class LockTable {
  readonly #limits: LockTableLimits;
  readonly #onGranted: (client: ClientId, cookie: bigint, request: LockRequest) => void;
  readonly #clients = new Map<ClientId, Client>();
  readonly #files = new Map<string, LockedFile>();

  /** @param onGranted is told of each request that waited and has its lock now */
  constructor(
    onGranted: (client: ClientId, cookie: bigint, request: LockRequest) => void,
    limits: Partial<LockTableLimits> = {},
  ) {
    this.#onGranted = onGranted;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** Locks of all clients: each range of an owner counts. */
  get locks(): number {
    let locks = 0;
    for (const client of this.#clients.values()) locks += client.locks;
    return locks;
  }

  /** Requests that wait. */
  get waits(): number {
    let waits = 0;
    for (const client of this.#clients.values()) waits += client.waits.size;
    return waits;
  }

  /** Files on which somebody has a lock or waits, counted once for each kind. */
  get files(): number {
    return this.#files.size;
  }

  /** Whether a client has locks or waits for any. */
  knows(client: ClientId): boolean {
    return this.#clients.has(client);
  }

  locksOf(client: ClientId): number {
    return this.#clients.get(client)?.locks ?? 0;
  }

  /**
   * Asks for a lock; what its owner has there is changed to it. A request that comes again is answered again, and keeps its
   * place among those that wait.
   *
   * @param cookie where it may wait: names the request within the client
   * @returns denied only without a cookie; blocked and deadlock only with one
   */
  lock(request: LockRequest, cookie?: bigint): LockAnswer {
    const client = this.#client(request.client);
    const file = this.#file(request);
    const owner = ownerOf(client, request);
    try {
      const known = cookie === undefined ? undefined : client.waits.get(cookie);
      if (known !== undefined) return 'blocked';
      const { type, start, end, pid, kind } = request;
      // An owner that splits what it has gets two more at most.
      if (client.locks + 2 > this.#limits.locksPerClient) {
        const has = owner.held.get(file)?.covers(type, start, end) === true;
        if (!has) return 'limit';
      }
      if (kind === LOCK_KIND.FLOCK && owner.held.get(file)?.covers(type, start, end) === false) {
        // flock(2): what it has is taken away first, so that two who convert at the same time do not wait for each other.
        this.#change(client, owner, file, undefined, start, end, pid);
        this.#grantWaiting(file);
      }
      if (conflictOf(file, owner, request) === undefined) {
        this.#change(client, owner, file, type, start, end, pid);
        // An exclusive lock that became a shared one lets others in.
        if (type === LOCK_TYPE.READ) this.#grantWaiting(file);
        return 'granted';
      }
      if (cookie === undefined) return 'denied';
      if (kind === LOCK_KIND.POSIX && wouldWaitForever(file, owner, request)) return 'deadlock';
      const { waitsPerClient, waitsPerFile } = this.#limits;
      if (client.waits.size >= waitsPerClient || file.waits.size >= waitsPerFile) return 'limit';
      const wait: Wait = { request, cookie, client, owner, file };
      client.waits.set(cookie, wait);
      owner.waits.add(wait);
      file.waits.add(wait);
      return 'blocked';
    } finally {
      this.#dropUnused(client, request.client, owner, file);
    }
  }

  /** The first lock of somebody else that excludes this one. */
  test(request: LockRequest): HeldLock | undefined {
    const file = this.#files.get(keyOfFile(request));
    if (file === undefined) return undefined;
    return conflictOf(file, this.#clients.get(request.client)?.owners.get(keyOfOwner(request)), request);
  }

  /** Whether the owner has all of this. */
  has(request: LockRequest): boolean {
    const file = this.#files.get(keyOfFile(request));
    const owner = this.#clients.get(request.client)?.owners.get(keyOfOwner(request));
    if (file === undefined || owner === undefined) return false;
    return owner.held.get(file)?.covers(request.type, request.start, request.end) === true;
  }

  /** Whether anything from `start` to `end` is exclusively the owner's. */
  hasExclusive(place: LockPlace, start: bigint, end: bigint): boolean {
    const file = this.#files.get(keyOfFile(place));
    const owner = this.#clients.get(place.client)?.owners.get(keyOfOwner(place));
    if (file === undefined || owner === undefined) return false;
    for (const range of owner.held.get(file)?.overlapping(start, end) ?? []) {
      if (range.type === LOCK_TYPE.WRITE) return true;
    }
    return false;
  }

  /** Gives up what the owner has from `start` to `end`; what waited for it is granted. */
  unlock(place: LockPlace, start = 0n, end = LOCK_END_MAX): void {
    const file = this.#files.get(keyOfFile(place));
    const client = this.#clients.get(place.client);
    const owner = client?.owners.get(keyOfOwner(place));
    if (file === undefined || client === undefined || owner === undefined) return;
    this.#change(client, owner, file, undefined, start, end, 0);
    this.#grantWaiting(file);
    this.#dropUnused(client, place.client, owner, file);
  }

  /**
   * Withdraws a request that waits.
   *
   * @returns false where none does: it may have been granted
   */
  cancel(clientId: ClientId, cookie: bigint): boolean {
    const client = this.#clients.get(clientId);
    const wait = client?.waits.get(cookie);
    if (client === undefined || wait === undefined) return false;
    endWait(wait);
    this.#dropUnused(client, clientId, wait.owner, wait.file);
    return true;
  }

  /** Everything of a client is gone: it withdraws what waits, and gives up what it has. */
  free(clientId: ClientId): void {
    const client = this.#clients.get(clientId);
    if (client === undefined) return;
    this.#clients.delete(clientId);
    for (const wait of [...client.waits.values()]) {
      endWait(wait);
      this.#dropFile(wait.file);
    }
    const files = new Set<LockedFile>();
    for (const owner of client.owners.values()) {
      for (const file of owner.held.keys()) {
        file.held.delete(owner);
        files.add(file);
      }
      owner.held.clear();
    }
    for (const file of files) {
      this.#grantWaiting(file);
      this.#dropFile(file);
    }
  }

  /** The files, by the keys of their places, on which a client has locks. */
  *filesOf(clientId: ClientId): Generator<FileKey> {
    for (const owner of this.#clients.get(clientId)?.owners.values() ?? []) {
      for (const file of owner.held.keys()) yield file.key.slice(1);
    }
  }

  #client(id: ClientId): Client {
    let client = this.#clients.get(id);
    if (client === undefined) {
      client = { owners: new Map(), waits: new Map(), locks: 0 };
      this.#clients.set(id, client);
    }
    return client;
  }

  #file(place: LockPlace): LockedFile {
    const key = keyOfFile(place);
    let file = this.#files.get(key);
    if (file === undefined) {
      file = { key, held: new Map(), waits: new Set() };
      this.#files.set(key, file);
    }
    return file;
  }

  #change(
    client: Client,
    owner: Owner,
    file: LockedFile,
    type: lock_type | undefined,
    start: bigint,
    end: bigint,
    pid: number,
  ): void {
    let ranges = owner.held.get(file);
    if (ranges === undefined) {
      if (type === undefined) return;
      ranges = new LockRanges();
      owner.held.set(file, ranges);
      file.held.set(owner, ranges);
    }
    const before = ranges.size;
    ranges.set(type, start, end, pid);
    client.locks += ranges.size - before;
    if (ranges.size > 0) return;
    owner.held.delete(file);
    file.held.delete(owner);
  }

  /** Grants what waits for a file and can be had now, in the order in which it came. */
  #grantWaiting(file: LockedFile): void {
    for (let again = true; again;) {
      again = false;
      for (const wait of [...file.waits]) {
        const { request, client, owner, cookie } = wait;
        if (conflictOf(file, owner, request) !== undefined) continue;
        endWait(wait);
        this.#change(client, owner, file, request.type, request.start, request.end, request.pid);
        // What this one had exclusively it may share now: those before it get another look.
        if (request.type === LOCK_TYPE.READ) again = true;
        this.#onGranted(request.client, cookie, request);
      }
    }
  }

  /** What nobody has, and nobody waits with, is not kept. */
  #dropUnused(client: Client, clientId: ClientId, owner: Owner, file: LockedFile): void {
    if (owner.held.size === 0 && owner.waits.size === 0) client.owners.delete(owner.key);
    if (client.owners.size === 0) this.#clients.delete(clientId);
    this.#dropFile(file);
  }

  #dropFile(file: LockedFile): void {
    if (file.held.size === 0 && file.waits.size === 0) this.#files.delete(file.key);
  }
}

function keyOfFile({ kind, file }: LockPlace): string {
  return `${kind}${file}`;
}

function keyOfOwner({ kind, owner }: LockPlace): string {
  return `${kind} ${owner}`;
}

function ownerOf(client: Client, place: LockPlace): Owner {
  const key = keyOfOwner(place);
  let owner = client.owners.get(key);
  if (owner === undefined) {
    owner = { client: place.client, key, held: new Map(), waits: new Set() };
    client.owners.set(key, owner);
  }
  return owner;
}

function endWait(wait: Wait): void {
  wait.client.waits.delete(wait.cookie);
  wait.owner.waits.delete(wait);
  wait.file.waits.delete(wait);
}

function excludes(held: LockRange, type: lock_type): boolean {
  return held.type === LOCK_TYPE.WRITE || type === LOCK_TYPE.WRITE;
}

/** A lock of another owner that excludes the requested one. */
function conflictOf(
  file: LockedFile,
  self: Owner | undefined,
  { type, start, end }: LockRequest,
): HeldLock | undefined {
  for (const [owner, ranges] of file.held) {
    if (owner === self) continue;
    for (const held of ranges.overlapping(start, end)) {
      if (excludes(held, type)) return { ...held, client: owner.client };
    }
  }
  return undefined;
}

/** Everybody whose locks are in the way of a request. */
function* blockersOf(file: LockedFile, self: Owner, { type, start, end }: LockRequest): Generator<Owner> {
  for (const [owner, ranges] of file.held) {
    if (owner === self) continue;
    for (const held of ranges.overlapping(start, end)) {
      if (!excludes(held, type)) continue;
      yield owner;
      break;
    }
  }
}

/** Whether those that an owner would wait for wait, over any number of others, for the owner itself. */
function wouldWaitForever(file: LockedFile, self: Owner, request: LockRequest): boolean {
  const seen = new Set<Owner>();
  const next = [...blockersOf(file, self, request)];
  for (let owner = next.pop(); owner !== undefined; owner = next.pop()) {
    if (owner === self) return true;
    if (seen.has(owner)) continue;
    seen.add(owner);
    for (const wait of owner.waits) next.push(...blockersOf(wait.file, owner, wait.request));
  }
  return false;
}
