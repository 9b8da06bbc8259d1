/** The lock procedures as plain functions: whose locks, for how long, and over a server that is started anew. */
import { mock } from 'node:test';
import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  LOCK_END_MAX,
  LOCK_KIND,
  LOCK_STAT,
  LOCK_TYPE,
  TEST_STAT,
  type LOCKargs,
  type lock_stat,
} from '../../src/fgdp/locks.ts';
import { NFS3_OK, statusName } from '../../src/nfs3/status.ts';
import { createLogger } from '../../src/observe/log.ts';
import { RpcError } from '../../src/rpc/error.ts';
import { ClientSession, type Peer, type ServerContext } from '../../src/server/client-session.ts';
import { lockProcedures } from '../../src/server/lock-procedures.ts';
import { LockService, type LockServiceOptions } from '../../src/server/lock-service.ts';
import { ChangeStamps } from '../../src/store/change-stamps.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { lookup } from '../../src/store/operations.ts';
import { Store } from '../../src/store/store.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { FAR, clientId } from './once-scene.ts';
import { contextOf } from './procedure-call.ts';

const NEAR: Peer = { kind: 'unix', identity: { uid: 0, gid: 0, groups: [] }, claims: 'any' };
const NEAR_MS = 1_000;
const FAR_MS = 10_000;
const GRACE_MS = 5_000;
const IDLE_MS = 100;

mock.timers.enable({ apis: ['setTimeout'] });
t.teardown(() => {
  mock.timers.reset();
});

interface Guest {
  readonly session: ClientSession;
  readonly context: ServerContext;
  /** Cookies of locks that it was told of. */
  readonly told: bigint[];
}

type Wanted = Partial<Omit<LOCKargs, 'file'>>;

class Scene {
  readonly #directory: string;
  readonly #limits: LockServiceOptions['limits'];
  store: Store;
  service: LockService;
  stamps: Pick<ChangeStamps, 'tellApart'> = new ChangeStamps();

  constructor(t: Test, limits: LockServiceOptions['limits'] = {}) {
    this.#directory = makeDirectory(t);
    this.#limits = limits;
    makeTree(this.tree, {
      file: 'content',
      other: 'content',
      sub: { directory: true },
      'sub/inner': 'content',
    });
    [this.store, this.service] = this.#open();
    t.teardown(() => {
      this.die();
    });
  }

  get tree(): string {
    return join(this.#directory, 'tree');
  }

  #open(): [Store, LockService] {
    const stateDirectory = join(this.#directory, 'state');
    const exports = [`tree=${this.tree}`, `part=${this.tree}/sub,clients=10.0.0.0/8`].map(parseExportOption);
    const store = Store.open({ stateDirectory, exports });
    const limits = {
      reconnectNearMs: NEAR_MS,
      reconnectMs: FAR_MS,
      graceMs: GRACE_MS,
      recordIdleMs: IDLE_MS,
      ...this.#limits,
    };
    const log = createLogger({ level: 'silent', name: 'test' });
    return [store, new LockService({ stateDirectory, log, limits })];
  }

  /** As a process that ends leaves it. */
  die(): void {
    this.service.stop();
    this.service.close();
    this.store.close();
  }

  restart(): void {
    this.die();
    [this.store, this.service] = this.#open();
  }

  /** A connection of a client; undefined for one that has not said whose it is. */
  guest(letter: string | undefined, peer: Peer = NEAR): Guest {
    const session = new ClientSession(peer, 'tested');
    const told: bigint[] = [];
    session.hearsOfLocks = true;
    session.guest = {
      call: ((_program: unknown, _name: string, { cookie }: { cookie: bigint }) => {
        told.push(cookie);
        return Promise.resolve();
      }) as unknown as NonNullable<ClientSession['guest']>['call'],
    };
    if (letter !== undefined) this.join(session, letter);
    return { session, context: { ...contextOf({ uid: 0, gid: 0, groups: [] }), session }, told };
  }

  join(session: ClientSession, letter: string): void {
    session.clientId = clientId(letter);
    this.service.joined(session, session.clientId);
    session.onEnd(() => {
      this.service.left(session, clientId(letter));
    });
  }

  handle(path = 'file', name = 'tree'): { readonly data: Uint8Array } {
    let node = this.store.resolve(this.store.rootHandle(name));
    const identity = { uid: 0, gid: 0, groups: [] };
    for (const part of path.split('/')) node = lookup(identity, node, Buffer.from(part));
    return { data: Uint8Array.from(node.handle) };
  }

  get procedures(): ReturnType<typeof lockProcedures> {
    return lockProcedures(this.store, this.service, this.stamps);
  }

  /** What became of it, by its name. */
  lock({ context }: Guest, wanted: Wanted = {}, file = this.handle()): string {
    const reply = this.procedures.LOCK({ ...lockArgs(wanted), file }, context);
    if (reply instanceof Promise) throw new Error('it did not answer at once');
    return reply.status === NFS3_OK ? nameOf(reply.outcome) : statusName(reply.status);
  }

  unlock({ context }: Guest, wanted: Wanted = {}, file = this.handle()): string {
    const { kind, owner, start, end } = lockArgs(wanted);
    const reply = this.procedures.UNLOCK({ file, kind, owner, start, end }, context);
    if (reply instanceof Promise) throw new Error('it did not answer at once');
    return statusName(reply.status);
  }

  test({ context }: Guest, wanted: Wanted = {}, file = this.handle()): unknown {
    const { kind, owner, type, start, end } = lockArgs(wanted);
    const reply = this.procedures.TEST({ file, kind, owner, type, start, end }, context);
    if (reply instanceof Promise) throw new Error('it did not answer at once');
    return reply.status === NFS3_OK ? reply.body : statusName(reply.status);
  }

  cancel({ context }: Guest, cookie: bigint): unknown {
    return this.procedures.CANCEL({ cookie }, context);
  }

  reclaimDone({ context }: Guest): void {
    void this.procedures.RECLAIM_DONE(undefined, context);
  }
}

function lockArgs(wanted: Wanted): Omit<LOCKargs, 'file'> {
  return {
    kind: LOCK_KIND.POSIX,
    owner: 1n,
    pid: 7,
    type: LOCK_TYPE.WRITE,
    start: 0n,
    end: LOCK_END_MAX,
    wait: false,
    reclaim: false,
    cookie: 0n,
    ...wanted,
  };
}

function nameOf(outcome: lock_stat): string {
  return Object.entries(LOCK_STAT).find(([, value]) => value === outcome)?.[0] ?? '';
}

const WAIT = { wait: true, cookie: 5n };
const RECLAIM = { reclaim: true };
const FLOCK = { kind: LOCK_KIND.FLOCK };

t.test('one client excludes another, and is told when it has what it waited for', async (t) => {
  const scene = new Scene(t);
  const [a, b] = [scene.guest('a'), scene.guest('b', FAR)];
  t.equal(scene.lock(a), 'GRANTED');
  t.equal(scene.lock(a), 'GRANTED', 'a call that comes again');
  t.equal(scene.lock(b), 'DENIED');
  t.equal(scene.lock(b, FLOCK), 'GRANTED');
  t.equal(scene.lock(b, {}, scene.handle('other')), 'GRANTED');
  t.same(scene.test(b, { start: 3n }), {
    test: TEST_STAT.HELD,
    type: LOCK_TYPE.WRITE,
    start: 0n,
    end: LOCK_END_MAX,
    pid: 0,
  });
  t.match(scene.test(a, { owner: 2n }), { test: TEST_STAT.HELD, pid: 7 }, 'its own processes it knows');
  t.same(scene.test(a), { test: TEST_STAT.FREE });
  t.equal(scene.lock(b, WAIT), 'BLOCKED');
  t.equal(scene.lock(b, WAIT), 'BLOCKED', 'a call that comes again');
  t.equal(scene.lock(a, { ...WAIT }, scene.handle('other')), 'DEADLOCK');
  t.equal(scene.unlock(a), 'NFS3_OK');
  t.same(b.told, [5n]);
  t.same(a.told, []);
  t.same(scene.cancel(b, 5n), { status: NFS3_OK, was_waiting: false }, 'too late');
  t.equal(scene.lock(a, WAIT), 'BLOCKED');
  t.same(scene.cancel(a, 5n), { status: NFS3_OK, was_waiting: true });
  scene.unlock(b);
  t.same(a.told, []);
});

t.test('what makes no sense, and who may not, is refused', async (t) => {
  const scene = new Scene(t);
  const a = scene.guest('a', FAR);
  t.equal(scene.lock(a, { start: 2n, end: 1n }), 'NFS3ERR_INVAL');
  t.equal(scene.lock(a, { end: LOCK_END_MAX + 1n }), 'NFS3ERR_INVAL');
  t.equal(scene.lock(a, { ...FLOCK, start: 1n }), 'NFS3ERR_INVAL');
  t.equal(scene.unlock(a, { start: 2n, end: 1n }), 'NFS3ERR_INVAL');
  t.equal(scene.lock(a, {}, { data: Buffer.from('forged') }), 'NFS3ERR_BADHANDLE');
  t.equal(scene.unlock(a, {}, { data: Buffer.from('forged') }), 'NFS3ERR_STALE');
  t.equal(scene.lock(a, {}, scene.handle('inner', 'part')), 'NFS3ERR_ACCES', 'clients= of the export');
  t.equal(scene.lock(scene.guest(undefined)), 'NFS3ERR_NOTSUPP', 'nobody knows whose it would be');
  const none = lockProcedures(scene.store, undefined);
  t.same(none.LOCK({ ...lockArgs({}), file: scene.handle() }, a.context), { status: 10004 });
  t.equal(scene.service.table.locks, 0);
});

t.test('a file is the same in all exports, and until its locks are given up', async (t) => {
  const scene = new Scene(t);
  const [a, b] = [scene.guest('a'), scene.guest('b')];
  t.equal(scene.lock(a, {}, scene.handle('sub/inner')), 'GRANTED');
  t.equal(scene.lock(b, {}, scene.handle('inner', 'part')), 'DENIED');
  const handle = scene.handle('sub/inner');
  unlinkSync(join(scene.tree, 'sub/inner'));
  t.equal(scene.lock(b, {}, handle), 'NFS3ERR_STALE');
  t.equal(scene.unlock(a, {}, handle), 'NFS3_OK');
  t.equal(scene.service.table.files, 0);
});

for (const [peer, ms] of [
  [NEAR, NEAR_MS],
  [FAR, FAR_MS],
] as const) {
  t.test(`locks outlive a connection for a moment: ${peer.kind}`, async (t) => {
    const scene = new Scene(t);
    const [a, b] = [scene.guest('a', peer), scene.guest('b')];
    t.equal(scene.lock(a), 'GRANTED');
    t.equal(scene.lock(b, WAIT), 'BLOCKED');
    const second = scene.guest('a', peer);
    a.session.end();
    mock.timers.tick(ms);
    t.same(b.told, [], 'a client has them over all its connections');
    second.session.end();
    mock.timers.tick(ms - 1);
    const third = scene.guest('a', peer);
    mock.timers.tick(ms);
    t.equal(scene.lock(third, RECLAIM), 'GRANTED', 'who comes back in time has them');
    third.session.end();
    mock.timers.tick(ms);
    t.same(b.told, [5n]);
    const fourth = scene.guest('a', peer);
    t.equal(scene.lock(fourth, RECLAIM), 'LOST', 'and who does not, has not');
  });
}

t.test('what waits goes with its client, and what is told goes by a connection that is there', async (t) => {
  const scene = new Scene(t);
  const [a, b] = [scene.guest('a'), scene.guest('b')];
  scene.lock(a);
  t.equal(scene.lock(b, WAIT), 'BLOCKED');
  b.session.end();
  const again = scene.guest('b');
  scene.unlock(a);
  t.same([b.told, again.told], [[], [5n]]);
  scene.unlock(again);
  t.equal(scene.service.table.locks, 0);

  scene.lock(a);
  t.equal(scene.lock(again, WAIT), 'BLOCKED');
  again.session.end();
  mock.timers.tick(NEAR_MS);
  t.equal(scene.service.table.waits, 0);

  t.comment('the connection ends while it is told');
  const [dying, living] = [scene.guest('c'), scene.guest('c')];
  t.equal(scene.lock(living, WAIT), 'BLOCKED');
  const last = scene.guest('c');
  last.session.guest = {
    call: (() => {
      last.session.end();
      return Promise.reject(new RpcError('CONNECTION_LOST', 'gone'));
    }) as unknown as NonNullable<ClientSession['guest']>['call'],
  };
  scene.unlock(a);
  await Promise.resolve();
  await Promise.resolve();
  t.same([dying.told, living.told], [[], [5n]]);
});

t.test('what an older connection still brings does not count', async (t) => {
  const scene = new Scene(t);
  const old = scene.guest('a');
  t.equal(scene.lock(old), 'GRANTED');
  const fresh = scene.guest('a');
  t.equal(scene.lock(old, { owner: 2n, ...FLOCK }), 'GRANTED', 'as long as the newer one has said nothing');
  t.equal(scene.lock(fresh, RECLAIM), 'GRANTED');
  t.equal(scene.unlock(old), 'NFS3ERR_JUKEBOX');
  t.equal(scene.lock(old), 'NFS3ERR_JUKEBOX');
  t.match(scene.cancel(old, 1n), { status: 10008 });
  t.equal(scene.lock(fresh, RECLAIM), 'GRANTED', 'it still has it');
});

t.test('a guest that cannot be told does not wait', async (t) => {
  const scene = new Scene(t);
  const [a, b] = [scene.guest('a'), scene.guest('b')];
  b.session.hearsOfLocks = false;
  scene.lock(a);
  t.equal(scene.lock(b, WAIT), 'DENIED');
});

t.test('a server that is started anew gives locks to those first who had them', async (t) => {
  const scene = new Scene(t);
  const [a, b, c] = [scene.guest('a'), scene.guest('b'), scene.guest('c')];
  t.equal(scene.lock(a, { end: 9n }), 'GRANTED');
  t.equal(scene.lock(b, { start: 10n }), 'GRANTED');
  t.equal(scene.lock(c, {}, scene.handle('other')), 'GRANTED');
  t.equal(scene.unlock(c, {}, scene.handle('other')), 'NFS3_OK');
  mock.timers.tick(IDLE_MS);
  scene.restart();
  t.ok(scene.service.isInGrace);
  const [a2, b2, c2] = [scene.guest('a'), scene.guest('b'), scene.guest('c')];
  t.equal(scene.lock(c2, { owner: 3n }), 'GRACE');
  t.equal(scene.lock(a2, { owner: 3n, ...WAIT }), 'GRACE', 'nobody gets new ones, nor waits');
  t.same(scene.test(c2), { test: TEST_STAT.GRACE });
  t.equal(scene.lock(c2, RECLAIM), 'LOST', 'had none');
  t.equal(scene.lock(a2, { end: 9n, ...RECLAIM }), 'GRANTED');
  t.equal(scene.unlock(a2, { start: 5n, end: 9n }), 'NFS3_OK', 'less is always fine');
  t.equal(scene.lock(b2, { ...RECLAIM, start: 4n }), 'LOST', 'somebody else had it');
  t.equal(scene.lock(b2, { ...RECLAIM, start: 10n }), 'GRANTED');
  scene.reclaimDone(a2);
  t.ok(scene.service.isInGrace);
  scene.reclaimDone(c2);
  t.ok(scene.service.isInGrace, 'who had none has no say');
  scene.reclaimDone(b2);
  t.notOk(scene.service.isInGrace, 'all have come');
  t.equal(scene.lock(c2, { end: 4n }), 'DENIED');
  t.equal(scene.lock(c2, { start: 5n, end: 9n }), 'GRANTED');
  t.equal(scene.lock(c2, { start: 10n }), 'DENIED');
});

t.test('who does not come back has lost its locks', async (t) => {
  const scene = new Scene(t);
  const [a, b] = [scene.guest('a'), scene.guest('b')];
  t.equal(scene.lock(a), 'GRANTED');
  t.equal(scene.lock(b, {}, scene.handle('other')), 'GRANTED');
  scene.restart();
  t.comment('a second time, before anybody came');
  scene.restart();
  const b2 = scene.guest('b');
  t.equal(scene.lock(b2, RECLAIM, scene.handle('other')), 'GRANTED');
  scene.reclaimDone(b2);
  mock.timers.tick(GRACE_MS - 1);
  t.equal(scene.lock(b2), 'GRACE');
  mock.timers.tick(1);
  t.equal(scene.lock(b2), 'GRANTED');
  const a2 = scene.guest('a');
  t.equal(scene.lock(a2, RECLAIM), 'LOST');
  scene.restart();
  t.equal(scene.lock(scene.guest('a'), RECLAIM), 'LOST', 'also at the next server');
  t.equal(scene.lock(scene.guest('b'), RECLAIM), 'GRANTED');
});

t.test('a server that nobody had locks of serves at once', async (t) => {
  const scene = new Scene(t);
  const a = scene.guest('a');
  for (let round = 0; round < 3; round += 1) {
    scene.lock(a);
    scene.unlock(a);
  }
  t.equal(scene.lock(a, WAIT), 'GRANTED');
  a.session.end();
  mock.timers.tick(NEAR_MS);
  scene.restart();
  t.notOk(scene.service.isInGrace);
  t.equal(scene.lock(scene.guest('b')), 'GRANTED');
});

t.test('others see that a file was changed under a lock, whatever the clock says', async (t) => {
  const scene = new Scene(t);
  const [a, b] = [scene.guest('a'), scene.guest('b')];
  const times: string[] = [];
  scene.stamps = {
    tellApart: (node) => {
      times.push(Buffer.from(node.handle).equals(scene.handle().data) ? 'file' : 'another');
    },
  };
  scene.lock(a, { type: LOCK_TYPE.READ });
  scene.lock(b, { type: LOCK_TYPE.READ });
  scene.unlock(b);
  scene.unlock(a);
  t.same(times, [], 'who has read only has changed nothing');
  scene.lock(a);
  scene.lock(a, { type: LOCK_TYPE.READ, end: 9n });
  t.same(times, ['file']);
  scene.unlock(a, { end: 9n });
  t.same(times, ['file']);
  scene.unlock(a);
  t.same(times, ['file', 'file']);
});
