import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { RpcConnection, type RecordTransport } from '../../src/rpc/connection.ts';
import { Dispatcher, type CallInfo } from '../../src/rpc/dispatcher.ts';
import { RpcError } from '../../src/rpc/error.ts';
import type { Handlers } from '../../src/rpc/program.ts';
import { memoryPair } from '../../src/transport/memory.ts';
import { SAMPLE_PROGRAM, type SampleProcedures } from './sample-program.ts';

type SampleHandlers = Handlers<SampleProcedures, CallInfo>;

function serving(handlers: Partial<SampleHandlers> = {}, callsInFlightMax?: number) {
  const dispatcher = new Dispatcher<CallInfo>({ onFailure: () => undefined });
  dispatcher.register(SAMPLE_PROGRAM, {
    NULL: () => undefined,
    ADD: ({ a, b }) => ({ sum: a + b }),
    ECHO: (data) => data,
    ...handlers,
  });
  return {
    dispatcher,
    makeContext: (info: CallInfo) => info,
    ...(callsInFlightMax === undefined ? {} : { callsInFlightMax }),
  };
}

/** Handlers that wait until the test lets them go, in the order they were called. */
function gate(): { pass: () => void; waiting: () => number; enter: () => Promise<void> } {
  const entered: (() => void)[] = [];
  return {
    pass: () => entered.shift()?.(),
    waiting: () => entered.length,
    enter: () => new Promise<void>((resolve) => entered.push(resolve)),
  };
}

/** Counts how a transport is paused and resumed. */
function watched(transport: RecordTransport): { paused: () => boolean; pauses: () => number } {
  let paused = false;
  let pauses = 0;
  const pause = transport.pause.bind(transport);
  const resume = transport.resume.bind(transport);
  transport.pause = () => {
    paused = true;
    pauses += 1;
    pause();
  };
  transport.resume = () => {
    paused = false;
    resume();
  };
  return { paused: () => paused, pauses: () => pauses };
}

t.test('calls in both directions at once', async (t) => {
  const [left, right] = memoryPair();
  const a = new RpcConnection(left, serving({ ADD: ({ a, b }) => ({ sum: a + b }) }));
  const b = new RpcConnection(right, serving({ ADD: ({ a, b }) => ({ sum: a * b }) }));
  const calls = Array.from({ length: 200 }, (_, index) => [
    a.call(SAMPLE_PROGRAM, 'ADD', { a: index, b: 3 }),
    b.call(SAMPLE_PROGRAM, 'ADD', { a: index, b: 3 }),
  ]).flat();
  t.ok(a.inFlight > 0 && b.inFlight > 0);
  const results = await Promise.all(calls);
  results.forEach(({ sum }, at) => {
    const index = at >> 1;
    if (sum !== (at % 2 === 0 ? index * 3 : index + 3)) t.fail(`call ${at} got ${sum}`);
  });
  t.strictSame([a.inFlight, b.inFlight, a.serviced, b.serviced], [0, 0, 0, 0]);
  t.ok(a.lastActivityMs <= performance.now());
});

t.test('a handler may call back over the connection it was called on', async (t) => {
  const [left, right] = memoryPair();
  const client = new RpcConnection(left, serving({ ADD: ({ a, b }) => ({ sum: a + b }) }));
  const server = new RpcConnection<CallInfo>(
    right,
    serving({
      ADD: ({ a, b }): Promise<{ sum: number }> => server.call(SAMPLE_PROGRAM, 'ADD', { a: a + 1, b }),
    }),
  );
  t.strictSame(await client.call(SAMPLE_PROGRAM, 'ADD', { a: 1, b: 1 }), { sum: 3 });
});

t.test('the limit of calls in flight pauses the transport', async (t) => {
  const LIMIT = 3;
  const [left, right] = memoryPair();
  const { pass, waiting, enter } = gate();
  const { paused } = watched(right);
  const client = new RpcConnection(left);
  const server = new RpcConnection(right, serving({ NULL: enter }, LIMIT));
  const calls = Array.from({ length: 10 }, () => client.call(SAMPLE_PROGRAM, 'NULL', undefined));
  for (let left = 10; left > 0; left -= 1) {
    await nextTurn();
    t.equal(waiting(), Math.min(left, LIMIT));
    t.equal(server.serviced, Math.min(left, LIMIT));
    t.equal(paused(), left >= LIMIT);
    pass();
  }
  await Promise.all(calls);
  t.equal(server.serviced, 0);
  t.notOk(paused());
});

t.test('a lost connection fails every call, and closes once', async (t) => {
  const [left, right] = memoryPair();
  const client = new RpcConnection(left);
  const server = new RpcConnection(right, serving({ NULL: () => new Promise(() => {}) }));
  const closes: RpcError[] = [];
  client.onClose((error) => closes.push(error));
  const calls = Promise.allSettled([1, 2, 3].map(() => client.call(SAMPLE_PROGRAM, 'NULL', undefined)));
  await nextTurn();
  server.close();
  server.close();
  for (const outcome of await calls) {
    t.match(outcome, { status: 'rejected', reason: { name: 'RpcError', code: 'CONNECTION_LOST' } });
  }
  t.equal(closes.length, 1);
  t.equal(client.closed, closes[0]);
  client.onClose((error) => closes.push(error));
  t.equal(closes.length, 2, 'a listener that comes late is called at once');
  await t.rejects(client.call(SAMPLE_PROGRAM, 'NULL', undefined), { code: 'CONNECTION_LOST' });
});

t.test('closing with a reason gives that reason to the calls', async (t) => {
  const [left] = memoryPair();
  const client = new RpcConnection(left);
  const call = client.call(SAMPLE_PROGRAM, 'NULL', undefined);
  const reason = new RpcError('TIMED_OUT', 'the server is dead');
  client.close(reason);
  await t.rejects(call, reason);
});

t.test('afterReply runs when the connection is lost before the reply', async (t) => {
  const [left, right] = memoryPair();
  const { pass, enter } = gate();
  let released = 0;
  const client = new RpcConnection(left);
  const server = new RpcConnection(
    right,
    serving({
      NULL: (_args, info) => {
        info.afterReply(() => (released += 1));
        return enter();
      },
    }),
  );
  const answered = client.call(SAMPLE_PROGRAM, 'NULL', undefined);
  await nextTurn();
  t.equal(released, 0);
  pass();
  await answered;
  t.equal(released, 1);
  const lost = client.call(SAMPLE_PROGRAM, 'NULL', undefined);
  await nextTurn();
  client.close();
  await t.rejects(lost, { code: 'CONNECTION_LOST' });
  pass();
  await nextTurn();
  t.equal(released, 2);
  t.equal(server.serviced, 0);
});

t.test('drain answers what was taken and then closes', async (t) => {
  const [left, right] = memoryPair();
  const { pass, waiting, enter } = gate();
  const client = new RpcConnection(left);
  const server = new RpcConnection(right, serving({ NULL: enter }));
  const taken = [1, 2].map(() => client.call(SAMPLE_PROGRAM, 'NULL', undefined));
  await nextTurn();
  t.equal(waiting(), 2);
  let drained = false;
  const draining = server.drain().then(() => (drained = true));
  const late = client.call(SAMPLE_PROGRAM, 'NULL', undefined);
  const refused = t.rejects(late, { code: 'CONNECTION_LOST' });
  await nextTurn();
  t.equal(waiting(), 2, 'nothing new is taken');
  pass();
  await taken[0];
  await nextTurn();
  t.notOk(drained);
  pass();
  await Promise.all([...taken, draining, refused]);
  t.ok(client.closed);
});

t.test('drain of an idle connection closes it, and of a broken one ends too', async (t) => {
  const [left, right] = memoryPair();
  const client = new RpcConnection(left);
  const server = new RpcConnection(right, serving({ NULL: () => new Promise(() => {}) }));
  await server.drain();
  await nextTurn();
  t.ok(client.closed);

  const pair = memoryPair();
  const caller = new RpcConnection(pair[0]);
  const stuck = new RpcConnection(pair[1], serving({ NULL: () => new Promise(() => {}) }));
  const call = t.rejects(caller.call(SAMPLE_PROGRAM, 'NULL', undefined), { code: 'CONNECTION_LOST' });
  await nextTurn();
  const draining = stuck.drain();
  caller.close();
  await Promise.all([draining, call]);
});

for (const [title, record, code] of [
  ['too short for a header', Buffer.from('00000001', 'hex'), 'BAD_RECORD'],
  ['neither call nor reply', Buffer.from('0000000100000002', 'hex'), 'BAD_RECORD'],
  ['a call cut inside its header', Buffer.from('000000010000000000000002', 'hex'), 'BAD_RECORD'],
  ['an empty record', Buffer.alloc(0), 'BAD_RECORD'],
] as const) {
  t.test(`a record that is ${title} ends the connection`, async (t) => {
    const [left, right] = memoryPair();
    const server = new RpcConnection(right, serving());
    left.start(
      () => undefined,
      () => undefined,
    );
    left.send([record]);
    await nextTurn();
    t.match(server.closed, { name: 'RpcError', code });
  });
}

t.test('a call where only replies are expected ends the connection', async (t) => {
  const [left, right] = memoryPair();
  const onlyCalls = new RpcConnection(left);
  const caller = new RpcConnection(right);
  await t.rejects(caller.call(SAMPLE_PROGRAM, 'NULL', undefined), { code: 'CONNECTION_LOST' });
  t.match(onlyCalls.closed, { code: 'BAD_RECORD' });
});

t.test('stray replies do no harm', async (t) => {
  const [left, right] = memoryPair();
  const server = new RpcConnection(right, serving());
  const client = new RpcConnection(left);
  left.send([Buffer.from('00000001000000010000000000000000000000000000000', 'hex')]);
  t.strictSame(await client.call(SAMPLE_PROGRAM, 'ADD', { a: 1, b: 2 }), { sum: 3 });
  t.equal(server.closed, undefined);
});
