/** What a mount holds, before a server that answers as a test says. */
import t, { type Test } from 'tap';
import { Callbacks } from '../../src/client/callbacks.ts';
import type { ServerLink, Waiter } from '../../src/client/link.ts';
import { LOCK_END_MAX, LOCK_KIND, LOCK_STAT, LOCK_TYPE, type LOCKargs } from '../../src/client/lock-calls.ts';
import type { Session } from '../../src/client/session.ts';
import type { Inode } from '../../src/gateway/inodes.ts';
import type { LockWanted } from '../../src/gateway/lock-holders.ts';
import { Locks } from '../../src/gateway/locks.ts';
import { StatusError } from '../../src/gateway/status-error.ts';
import { FGDP_CALLBACK_PROGRAM } from '../../src/fgdp/callback.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { NO_AUTH } from '../../src/rpc/auth.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { RpcError } from '../../src/rpc/error.ts';
import { memoryPair } from '../../src/transport/memory.ts';

const EINTR = 4;
const EIO = 5;
const ENOLCK = 37;
const { READ, WRITE } = LOCK_TYPE;
const FILE = { handle: Buffer.from('file'), handleKey: 'file' } as unknown as Inode;
const PROCESS = { kind: LOCK_KIND.POSIX, id: 1n };
const OPEN_FILE = { kind: LOCK_KIND.FLOCK, id: 2n };
const FIRST_OPEN = 100n;
const SECOND_OPEN = 101n;

type Answer = unknown;

interface LockCall {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>> | undefined;
  readonly answer: (answer: Answer) => void;
  readonly fail: (error: Error) => void;
}

const granted = { status: NFS3_OK, outcome: LOCK_STAT.GRANTED };
const blocked = { status: NFS3_OK, outcome: LOCK_STAT.BLOCKED };
const lost = { status: NFS3_OK, outcome: LOCK_STAT.LOST };
const unlocked = { status: NFS3_OK };

/** Everything that can go on without an answer has gone on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function scene(t: Test, canLock = true) {
  const steps: string[] = [];
  const calls: LockCall[] = [];
  const call = (name: string, args: LockCall['args']): Promise<unknown> =>
    new Promise((answer, fail) => {
      calls.push({ name, args, answer, fail });
      steps.push(textOf(name, args));
    });
  const session = {
    canLock,
    call: (_program: unknown, name: string, args: LockCall['args']) => call(`session ${name}`, args),
  } as unknown as Session;
  const link = { session, lock: call } as unknown as ServerLink;
  const callbacks = new Callbacks();
  const warnings: string[] = [];
  const locks = new Locks({
    link,
    callbacks,
    sync: () => {
      steps.push('sync');
      return Promise.resolve();
    },
    onAcquired: () => steps.push('acquired'),
    onWarning: (message) => warnings.push(message),
  });
  const [guestEnd, serverEnd] = memoryPair();
  new RpcConnection(guestEnd, callbacks.serving());
  const server = new RpcConnection(serverEnd);
  t.teardown(() => {
    server.close();
  });
  return {
    steps,
    calls,
    warnings,
    locks,
    session,
    /** The last call, once it is made. */
    next: async (): Promise<LockCall> => {
      await settled();
      const last = calls.shift();
      if (last === undefined) throw new Error('nothing was asked');
      return last;
    },
    tell: (cookie: unknown) =>
      server.call(FGDP_CALLBACK_PROGRAM, 'LOCK_GRANTED', { cookie: cookie as bigint }),
  };
}

function textOf(name: string, args: LockCall['args'] = {}): string {
  const { type, start, end, wait, reclaim } = args as Partial<LOCKargs>;
  const range = start === undefined ? '' : ` ${start}-${end === LOCK_END_MAX ? '' : end}`;
  const kind = type === undefined ? '' : type === WRITE ? ' write' : ' read';
  return `${name}${kind}${range}${wait === true ? ' wait' : ''}${reclaim === true ? ' reclaim' : ''}`;
}

function waiter(): Waiter & { readonly abort: () => void } {
  const controller = new AbortController();
  return {
    credential: NO_AUTH,
    signal: controller.signal,
    abort: () => {
      controller.abort();
    },
  };
}

function range(type: LockWanted['type'], start: bigint, end: bigint): LockWanted {
  return { type, start, end, pid: 7 };
}

t.test('the server is asked, and what was written is synced before others may look', async (t) => {
  const { steps, next, locks } = scene(t);
  const lock = (wanted: LockWanted) => locks.lock(FILE, FIRST_OPEN, PROCESS, wanted, false, waiter());
  const taken = lock(range(WRITE, 0n, 9n));
  (await next()).answer(granted);
  t.equal(await taken, 0);
  t.equal(locks.held, 1);
  const shared = lock(range(READ, 5n, 9n));
  (await next()).answer(granted);
  t.equal(await shared, 0);
  t.equal(locks.held, 2);
  const given = locks.unlock(FILE, PROCESS, 0n, LOCK_END_MAX, waiter());
  (await next()).answer(unlocked);
  t.equal(await given, 0);
  t.same(steps, ['LOCK write 0-9', 'acquired', 'sync', 'LOCK read 5-9', 'acquired', 'sync', 'UNLOCK 0-']);
  t.equal(locks.held, 0);
  t.notOk(locks.has(FILE, PROCESS));
  t.equal(await locks.unlock(FILE, PROCESS, 0n, 1n, waiter()), 0, 'who has none gives up none');
  t.equal(steps.length, 7);
});

t.test('who waits is told, also before its question was answered', async (t) => {
  const { next, locks, tell } = scene(t);
  for (const isEarly of [false, true]) {
    const taken = locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 9n), true, waiter());
    const call = await next();
    if (isEarly) await tell(call.args?.cookie);
    call.answer(blocked);
    await settled();
    if (!isEarly) await tell(call.args?.cookie);
    t.equal(await taken, 0);
    t.equal(locks.held, 1);
  }
  await tell(99n);
  t.equal(locks.held, 1, 'what nobody waits for is nobody’s');
});

t.test('who gives up waiting has what it had before, whether it was granted meanwhile or not', async (t) => {
  const { next, locks, tell, steps } = scene(t);
  const has = locks.lock(FILE, FIRST_OPEN, PROCESS, range(READ, 5n, 6n), false, waiter());
  (await next()).answer(granted);
  await has;
  for (const wasWaiting of [true, false]) {
    steps.length = 0;
    const impatient = waiter();
    const taken = locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 9n), true, impatient);
    const call = await next();
    call.answer(blocked);
    await settled();
    impatient.abort();
    const cancel = await next();
    if (!wasWaiting) await tell(call.args?.cookie);
    cancel.answer({ status: NFS3_OK, was_waiting: wasWaiting });
    if (!wasWaiting) {
      (await next()).answer(unlocked);
      (await next()).answer(granted);
      (await next()).answer(unlocked);
    }
    await t.rejects(taken, new StatusError(EINTR));
    const undone = wasWaiting ? [] : ['UNLOCK 0-4', 'LOCK read 5-6', 'UNLOCK 7-'];
    t.same(steps, ['LOCK write 0-9 wait', 'CANCEL', ...undone]);
    t.equal(locks.held, 1);
  }
});

t.test('a lock that comes when nobody waits any more is given back', async (t) => {
  const { next, locks, steps } = scene(t);
  const impatient = waiter();
  const taken = locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 9n), false, impatient);
  const call = await next();
  impatient.abort();
  call.answer(granted);
  (await next()).answer(unlocked);
  t.equal(await taken, EINTR);
  t.same(steps, ['LOCK write 0-9', 'UNLOCK 0-']);
  t.equal(locks.held, 0);

  steps.length = 0;
  const failed = locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 9n), false, waiter());
  (await next()).fail(new RpcError('TIMED_OUT', 'away'));
  await t.rejects(failed, { code: 'TIMED_OUT' });
  (await next()).answer(unlocked);
  await settled();
  t.same(steps, ['LOCK write 0-9', 'UNLOCK 0-'], 'nor does one stay whose answer never came');
  t.notOk(locks.has(FILE, PROCESS));
});

t.test('the end of an open file is that of what was locked by it alone', async (t) => {
  const { next, locks, steps } = scene(t);
  for (const [owner, file] of [
    [OPEN_FILE, FIRST_OPEN],
    [PROCESS, FIRST_OPEN],
    [PROCESS, SECOND_OPEN],
  ] as const) {
    const taken = locks.lock(FILE, file, owner, range(WRITE, 0n, LOCK_END_MAX), false, waiter());
    (await next()).answer(granted);
    await taken;
  }
  steps.length = 0;
  locks.released(FILE, FIRST_OPEN);
  const call = await next();
  t.equal(call.args?.kind, LOCK_KIND.FLOCK);
  call.answer(unlocked);
  await settled();
  t.same(steps, ['sync', 'UNLOCK 0-']);
  locks.released(FILE, SECOND_OPEN);
  (await next()).answer(unlocked);
  await locks.finish();
  t.equal(locks.held, 0);
});

t.test('a new session is told first what programs have; what it does not give is lost', async (t) => {
  const { next, locks, steps, session, warnings, calls } = scene(t);
  for (const [owner, wanted] of [
    [PROCESS, range(WRITE, 0n, 9n)],
    [PROCESS, range(READ, 20n, 29n)],
    [OPEN_FILE, range(READ, 0n, LOCK_END_MAX)],
  ] as const) {
    const taken = locks.lock(FILE, FIRST_OPEN, owner, wanted, false, waiter());
    (await next()).answer(granted);
    await taken;
  }
  const waits = locks.lock(FILE, FIRST_OPEN, { ...PROCESS, id: 3n }, range(WRITE, 50n, 50n), true, waiter());
  const asked = await next();
  asked.answer(blocked);
  await settled();
  steps.length = 0;
  locks.restored(session);
  t.same(steps, [
    'session LOCK write 0-9 reclaim',
    'session LOCK read 20-29 reclaim',
    'session LOCK read 0- reclaim',
    'session RECLAIM_DONE',
  ]);
  await settled();
  const [kept, gone, shared, done, again] = calls.splice(0);
  t.match(again, { name: 'LOCK', args: { cookie: asked.args?.cookie, wait: true } }, 'who waits asks again');
  kept?.answer(granted);
  shared?.answer(granted);
  done?.answer(undefined);
  again?.answer(granted);
  t.equal(await waits, 0);
  steps.length = 0;
  gone?.answer(lost);
  (await next()).answer(unlocked);
  t.same(steps, ['UNLOCK 0-'], 'of its other locks nothing is left either');
  t.match(warnings, [/process 7 is lost/]);
  const lock = () => locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 0n), false, waiter());
  t.equal(await lock(), EIO);
  t.equal(await lock(), EIO);
  t.equal(await locks.unlock(FILE, PROCESS, 0n, 0n, waiter()), 0);
  const fresh = lock();
  (await next()).answer(granted);
  t.equal(await fresh, 0, 'once it has unlocked');
});

t.test('what could not be given up the next session is told', async (t) => {
  const { next, locks, steps, session, warnings } = scene(t);
  const taken = locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 9n), false, waiter());
  (await next()).answer(granted);
  await taken;
  const given = locks.unlock(FILE, PROCESS, 0n, 4n, waiter());
  (await next()).fail(new RpcError('TIMED_OUT', 'away'));
  t.equal(await given, 0);
  t.match(warnings, [/could not be given up/]);
  steps.length = 0;
  locks.restored(session);
  t.same(steps, [
    'session UNLOCK 0-4',
    'session UNLOCK 10-',
    'session LOCK write 5-9 reclaim',
    'session RECLAIM_DONE',
  ]);
});

t.test('without a server that keeps locks, or a way to be told, they stay local', async (t) => {
  const { locks, next, session, warnings } = scene(t, false);
  t.notOk(locks.isShared);
  t.match(locks.describe(undefined), /^local to this guest: the server/);
  const deaf = new Locks({
    link: { session: { canLock: true } } as unknown as ServerLink,
    callbacks: undefined,
    sync: () => Promise.resolve(),
    onAcquired: () => undefined,
    onWarning: () => undefined,
  });
  t.notOk(deaf.isShared);
  locks.restored(session);
  t.same(warnings, []);

  t.comment('a mount that was made when there was one');
  const shared = scene(t);
  t.match(shared.locks.describe({ passesLocks: true } as never), /^shared/);
  t.match(shared.locks.describe({} as never), /^local to this guest: the driver/);
  const asked = shared.locks.lock(FILE, FIRST_OPEN, PROCESS, range(WRITE, 0n, 9n), false, waiter());
  (await shared.next()).answer(granted);
  await asked;
  shared.locks.restored(session);
  t.match(shared.warnings, [/knows no locks/]);
  const refused = shared.locks.lock(
    FILE,
    FIRST_OPEN,
    OPEN_FILE,
    range(WRITE, 0n, LOCK_END_MAX),
    false,
    waiter(),
  );
  await settled();
  for (const call of shared.calls.splice(0)) call.answer(undefined);
  t.equal(await refused, ENOLCK);
  await t.rejects(next(), /nothing was asked/);
});
