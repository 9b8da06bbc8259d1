import { mock } from 'node:test';
import t from 'tap';
import { ServerLink, type SessionOpener, type RetryOptions } from '../../src/client/link.ts';
import { ONCE_CALLS_IN_FLIGHT_MAX } from '../../src/client/limits.ts';
import type { Session } from '../../src/client/session.ts';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import {
  ATTRIBUTES,
  KNOWS_CALLS,
  caller,
  scriptedSession,
  type Script,
  type Scripted,
} from './scripted-server.ts';

const OK: Script = { GETATTR: () => ({ status: 0, obj_attributes: ATTRIBUTES }) };
/** Never answers. */
const SILENT: Script = { GETATTR: () => new Promise(() => undefined) };
const object = { data: Buffer.from('file') };
const HARD: RetryOptions = { hard: true, timeoutMs: 60_000, retransmissions: 2 };

function linkTo(first: Scripted, open: SessionOpener, options: RetryOptions = HARD) {
  const events: string[] = [];
  const link = new ServerLink(first.session, open, options, {
    onLost: () => events.push('lost'),
    onRestored: () => events.push('restored'),
    onTryFailed: () => events.push('failed'),
  });
  return { link, events };
}

// A link's own timers keep no process alive.
const alive = setInterval(() => undefined, 1000);
t.teardown(() => clearInterval(alive));

const never: SessionOpener = () => Promise.reject(new Error('nobody there'));

t.test('a call is answered', async (t) => {
  const first = scriptedSession(OK);
  const { link } = linkTo(first, never);
  t.teardown(() => link.close());
  t.match(await link.nfs('GETATTR', { object }, caller()), { status: 0, obj_attributes: { fileid: 42n } });
  t.same([...link.callCounts], [['GETATTR', 1]]);
});

t.test('hard: a call waits, and is sent again with its xid', async (t) => {
  const first = scriptedSession(SILENT);
  const second = scriptedSession(OK);
  let tries = 0;
  const { link, events } = linkTo(first, () => {
    tries += 1;
    return tries < 3 ? Promise.reject(new Error('not yet')) : Promise.resolve(second.session);
  });
  t.teardown(() => link.close());
  const call = link.nfs('GETATTR', { object }, caller());
  while (first.calls.length === 0) await new Promise(setImmediate);
  first.die();
  t.match(await call, { status: 0 });
  t.equal(second.calls[0]?.xid, first.calls[0]?.xid, 'the server can tell that it is the same call');
  t.same(events, ['lost', 'failed', 'failed', 'restored']);
  t.equal(link.session, second.session);
  t.equal(link.callCounts.get('GETATTR'), 1);
});

t.test('a server that does not answer in time counts as lost', async (t) => {
  const first = scriptedSession(SILENT);
  const second = scriptedSession(OK);
  const { link } = linkTo(first, () => Promise.resolve(second.session), { ...HARD, timeoutMs: 20 });
  t.teardown(() => link.close());
  t.match(await link.nfs('GETATTR', { object }, caller()), { status: 0 });
  t.ok(first.session.closed);
  t.equal(second.calls[0]?.xid, first.calls[0]?.xid);
});

t.test('soft: fails after its retransmissions, or when the server stays away', async (t) => {
  const sessions: Scripted[] = [];
  const open = (): Promise<Session> => {
    const next = scriptedSession(SILENT);
    sessions.push(next);
    return Promise.resolve(next.session);
  };
  const soft = { hard: false, timeoutMs: 50, retransmissions: 2 };
  const first = scriptedSession(SILENT);
  const { link } = linkTo(first, open, soft);
  t.teardown(() => link.close());
  await t.rejects(link.nfs('GETATTR', { object }, caller()), { code: 'TIMED_OUT' });
  const sent = [first, ...sessions].flatMap(({ calls }) => calls.map(({ xid }) => xid));
  t.ok(sent.length >= 1 && sent.length <= 3, `${sent.length} transmissions`);
  t.equal(new Set(sent).size, 1, 'one call');

  const gone = scriptedSession(SILENT);
  const away = linkTo(gone, never, soft);
  t.teardown(() => away.link.close());
  gone.die();
  while (away.link.isConnected) await new Promise(setImmediate);
  await t.rejects(away.link.nfs('GETATTR', { object }, caller()), { code: 'TIMED_OUT', message: /away/ });
});

t.test('who gives up while the server is away is let go', async (t) => {
  const first = scriptedSession(OK);
  const { link } = linkTo(first, never);
  t.teardown(() => link.close());
  first.die();
  while (link.isConnected) await new Promise(setImmediate);
  const controller = new AbortController();
  const call = link.nfs('GETATTR', { object }, caller(controller.signal));
  controller.abort();
  await t.rejects(call, { code: 'ABORTED' });
  await t.rejects(link.nfs('GETATTR', { object }, caller(controller.signal)), { code: 'ABORTED' }, 'at once');
});

t.test('NFS3ERR_JUKEBOX is asked again, as a new call', async (t) => {
  let asked = 0;
  const first = scriptedSession({
    GETATTR: () => {
      asked += 1;
      return asked < 2 ? { status: NFSSTAT3.NFS3ERR_JUKEBOX } : { status: 0, obj_attributes: ATTRIBUTES };
    },
  });
  const { link } = linkTo(first, never, { ...HARD, pauses: { jukeboxMs: 1 } });
  t.teardown(() => link.close());
  t.match(await link.nfs('GETATTR', { object }, caller()), { status: 0 });
  t.equal(asked, 2);
  t.not(first.calls[0]?.xid, first.calls[1]?.xid, 'the old xid would get the old answer');

  const controller = new AbortController();
  asked = 0;
  const given = link.nfs('GETATTR', { object }, caller(controller.signal));
  while (asked === 0) await new Promise(setImmediate);
  controller.abort();
  await t.rejects(given, { code: 'ABORTED' });
});

t.test('other errors of RPC are the caller’s', async (t) => {
  const { link } = linkTo(scriptedSession({}), never);
  t.teardown(() => link.close());
  await t.rejects(link.nfs('GETATTR', { object }, caller()), { code: 'SYSTEM_ERR' });
});

t.test('a better route is taken when it works again', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const network = scriptedSession(OK);
  const near = scriptedSession(OK, 'near');
  const asked: (Session | undefined)[] = [];
  let works = false;
  const { link, events } = linkTo(network, (better) => {
    asked.push(better);
    return Promise.resolve(works ? near.session : undefined);
  });
  t.teardown(() => link.close());
  const turn = async (): Promise<void> => {
    mock.timers.tick(15_000);
    for (let turns = 0; turns < 5; turns += 1) await new Promise(setImmediate);
  };
  await turn();
  t.same(asked, [network.session], 'only routes better than the one in use are asked for');
  t.equal(link.session, network.session);
  works = true;
  await turn();
  t.equal(link.session, near.session);
  t.ok(network.session.closed);
  t.same(events, ['restored'], 'the old session’s end is no loss');
  t.match(await link.nfs('GETATTR', { object }, caller()), { status: 0 });
  await turn();
  t.equal(asked.length, 2, 'there is nothing better than near');
});

t.test('an ended link ends its waiters', async (t) => {
  const first = scriptedSession(SILENT);
  const { link } = linkTo(first, never);
  const call = link.nfs('GETATTR', { object }, caller());
  link.close();
  await t.rejects(call, { code: 'CONNECTION_LOST' });
});

t.test('a server without CREDENTIAL is sent 16 groups, which is counted and told once', async (t) => {
  const first = scriptedSession(OK);
  const told: number[] = [];
  const link = new ServerLink(first.session, never, HARD, {
    onLost: () => undefined,
    onRestored: () => undefined,
    onTryFailed: () => undefined,
    onGroupsCut: ({ uid }) => told.push(uid),
  });
  t.teardown(() => link.close());
  const wide = { uid: 7, gid: 7, groups: Array.from({ length: 17 }, (_, index) => index), key: 'wide' };
  for (const who of [caller(), { ...caller(), wide }, { ...caller(), wide }]) {
    t.match(await link.nfs('GETATTR', { object }, who), { status: 0 });
  }
  t.equal(link.groupsCut, 2);
  t.strictSame(told, [7]);
});

const REMOVE_ARGS = { object: { dir: object, name: Buffer.from('name') } };
const WCC = { before: null, after: null };
const REMOVED: Script = { REMOVE: () => ({ status: 0, wcc: WCC }) };
const GONE: Script = { REMOVE: () => ({ status: NFSSTAT3.NFS3ERR_NOENT, wcc: WCC }) };
const NO_ANSWER: Script = { REMOVE: () => new Promise(() => undefined) };

t.test('a call that was lost at a foreign server may have run before', async (t) => {
  const first = scriptedSession(NO_ANSWER);
  const second = scriptedSession(GONE);
  const { link } = linkTo(first, () => Promise.resolve(second.session));
  t.teardown(() => link.close());
  t.notOk(link.takesEffectOnce);
  t.notOk(link.session.isNearmount);
  const call = link.nfsOnce('REMOVE', REMOVE_ARGS, caller());
  while (first.calls.length === 0) await new Promise(setImmediate);
  first.die();
  t.match(await call, { result: { status: NFSSTAT3.NFS3ERR_NOENT }, mayHaveRunBefore: true });
  t.equal(second.calls[0]?.xid, first.calls[0]?.xid);
  t.match(await link.nfsOnce('REMOVE', REMOVE_ARGS, caller()), { mayHaveRunBefore: false });
});

t.test('a call that was never sent has not run', async (t) => {
  const first = scriptedSession(REMOVED);
  const second = scriptedSession(GONE);
  const { link } = linkTo(first, () => Promise.resolve(second.session));
  t.teardown(() => link.close());
  first.die();
  while (link.isConnected) await new Promise(setImmediate);
  t.match(await link.nfsOnce('REMOVE', REMOVE_ARGS, caller()), { mayHaveRunBefore: false });
  t.equal(first.calls.length, 0);
});

t.test('a server that knows calls again takes them once', async (t) => {
  const first = scriptedSession(NO_ANSWER, 'near', KNOWS_CALLS);
  const second = scriptedSession(REMOVED, 'network', KNOWS_CALLS);
  const { link } = linkTo(first, () => Promise.resolve(second.session));
  t.teardown(() => link.close());
  t.ok(link.takesEffectOnce);
  t.ok(link.session.isNearmount);
  const call = link.nfsOnce('REMOVE', REMOVE_ARGS, caller());
  while (first.calls.length === 0) await new Promise(setImmediate);
  first.die();
  t.match(await call, { result: { status: 0 }, mayHaveRunBefore: false });
  t.equal(second.calls[0]?.xid, first.calls[0]?.xid, 'over another route');
});

t.test('NFS3ERR_JUKEBOX after a loss leaves open whether the call ran', async (t) => {
  let asked = 0;
  const first = scriptedSession(NO_ANSWER);
  const second = scriptedSession({
    REMOVE: () => {
      asked += 1;
      return { status: asked === 1 ? NFSSTAT3.NFS3ERR_JUKEBOX : NFSSTAT3.NFS3ERR_NOENT, wcc: WCC };
    },
  });
  const { link } = linkTo(first, () => Promise.resolve(second.session), {
    ...HARD,
    pauses: { jukeboxMs: 1 },
  });
  t.teardown(() => link.close());
  const call = link.nfsOnce('REMOVE', REMOVE_ARGS, caller());
  while (first.calls.length === 0) await new Promise(setImmediate);
  first.die();
  t.match(await call, { result: { status: NFSSTAT3.NFS3ERR_NOENT }, mayHaveRunBefore: true });
  const [sent, again] = second.calls;
  t.equal(sent?.xid, first.calls[0]?.xid);
  t.not(again?.xid, sent?.xid);
});

t.test('no more calls are under way than a server remembers', async (t) => {
  const ends: (() => void)[] = [];
  const first = scriptedSession({
    ...OK,
    REMOVE: () => new Promise((resolve) => ends.push(() => resolve({ status: 0, wcc: WCC }))),
  });
  const { link } = linkTo(first, never);
  t.teardown(() => link.close());
  const calls = Array.from({ length: 2 * ONCE_CALLS_IN_FLIGHT_MAX }, () =>
    link.nfs('REMOVE', REMOVE_ARGS, caller()),
  );
  // A call that may run twice is not held up.
  t.match(await link.nfs('GETATTR', { object }, caller()), { status: 0 });
  t.equal(ends.length, ONCE_CALLS_IN_FLIGHT_MAX);
  while (ends.length > 0) {
    ends.shift()?.();
    await new Promise(setImmediate);
  }
  t.equal((await Promise.all(calls)).length, 2 * ONCE_CALLS_IN_FLIGHT_MAX);
});
