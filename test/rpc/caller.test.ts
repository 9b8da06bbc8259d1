import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { authSys } from '../../src/rpc/auth.ts';
import { Caller, freshXid, type CallOptions } from '../../src/rpc/caller.ts';
import { RpcError } from '../../src/rpc/error.ts';
import { call_body, message_header } from '../../src/rpc/message.ts';
import { XdrReader } from '../../src/xdr/reader.ts';
import { SAMPLE_PROGRAM } from './sample-program.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const word = (value: number): string => value.toString(16).padStart(8, '0');
const NO_AUTH = '00000000 00000000';

interface Sent {
  readonly xid: number;
  readonly body: call_body;
  readonly args: string;
}

function setup(): {
  caller: Caller;
  sent: Sent[];
  add: (a: number, options?: CallOptions) => Promise<{ sum: number }>;
} {
  const sent: Sent[] = [];
  const caller = new Caller((chunks) => {
    const reader = new XdrReader(chunks);
    const { xid } = message_header.decode(reader);
    const body = call_body.decode(reader);
    sent.push({ xid, body, args: Buffer.from(reader.take(reader.remaining)).toString('hex') });
  });
  return {
    caller,
    sent,
    add: (a, options) => caller.call(SAMPLE_PROGRAM, 'ADD', { a, b: 1 }, options),
  };
}

const reply = (xid: number, rest: string): Buffer[] => [hex(`${word(xid)} 00000001 ${rest}`)];
const success = (xid: number, result: string): Buffer[] =>
  reply(xid, `00000000 ${NO_AUTH} 00000000 ${result}`);

t.test('a call as it goes over the wire', async (t) => {
  const { caller, sent, add } = setup();
  const credential = authSys('guest', 1, 2, [3]);
  const done = add(7, { credential });
  t.match(sent[0]!.body, { rpcvers: 2, prog: SAMPLE_PROGRAM.number, vers: 2, proc: 1, cred: { flavor: 1 } });
  t.equal(Buffer.from(sent[0]!.body.cred.body).toString('hex'), Buffer.from(credential.body).toString('hex'));
  t.equal(sent[0]!.args, '0000000700000001');
  t.equal(caller.inFlight, 1);
  caller.receive(success(sent[0]!.xid, '00000008'));
  t.strictSame(await done, { sum: 8 });
  t.equal(caller.inFlight, 0);
});

t.test('replies out of order find their calls', async (t) => {
  const { caller, sent, add } = setup();
  const calls = Array.from({ length: 20 }, (_, index) => add(index));
  t.equal(new Set(sent.map(({ xid }) => xid)).size, 20);
  for (const { xid, args } of [...sent].reverse()) caller.receive(success(xid, args.slice(0, 8)));
  t.strictSame(
    (await Promise.all(calls)).map(({ sum }) => sum),
    Array.from({ length: 20 }, (_, index) => index),
  );
});

t.test('a reply in one-byte chunks', async (t) => {
  const { caller, sent, add } = setup();
  const done = add(1);
  caller.receive(Array.from(success(sent[0]!.xid, '00000002')[0]!, (byte) => Uint8Array.of(byte)));
  t.strictSame(await done, { sum: 2 });
});

t.test('a reply nobody waits for is dropped, also the second of two', async (t) => {
  const { caller, sent, add } = setup();
  const done = add(1);
  const { xid } = sent[0]!;
  caller.receive(success((xid + 1) >>> 0, '00000009'));
  t.equal(caller.inFlight, 1);
  caller.receive(success(xid, '00000002'));
  caller.receive(success(xid, '00000003'));
  t.strictSame(await done, { sum: 2 });
});

t.test('what a server can refuse', async (t) => {
  const cases = [
    [`00000000 ${NO_AUTH} 00000001`, 'PROG_UNAVAIL'],
    [`00000000 ${NO_AUTH} 00000002 00000003 00000004`, 'PROG_MISMATCH'],
    [`00000000 ${NO_AUTH} 00000003`, 'PROC_UNAVAIL'],
    [`00000000 ${NO_AUTH} 00000004`, 'GARBAGE_ARGS'],
    [`00000000 ${NO_AUTH} 00000005`, 'SYSTEM_ERR'],
    ['00000001 00000000 00000003 00000004', 'RPC_MISMATCH'],
    ['00000001 00000001 00000005', 'AUTH_ERROR'],
    ['00000001 00000001 00000002', 'AUTH_REJECTEDCRED'],
  ] as const;
  for (const [rest, code] of cases) {
    const { caller, sent, add } = setup();
    const done = add(1);
    caller.receive(reply(sent[0]!.xid, rest));
    await t.rejects(done, { name: 'RpcError', code });
    t.equal(caller.inFlight, 0);
  }
});

t.test('a reply that does not decode fails its call alone', async (t) => {
  const { caller, sent, add } = setup();
  const whole = success(0, '00000002')[0]!.subarray(8);
  const broken = Array.from({ length: whole.length / 4 }, (_, index) =>
    whole.subarray(0, index * 4).toString('hex'),
  );
  broken.push(
    `${whole.toString('hex')}00000000`,
    '00000002',
    `00000000 ${NO_AUTH} 00000009`,
    '00000001 00000001 00000099',
  );
  const other = add(5);
  for (const rest of broken) {
    const done = add(1);
    caller.receive(reply(sent.at(-1)!.xid, rest));
    await t.rejects(done, { name: 'RpcError', code: 'BAD_REPLY', cause: { name: 'XdrError' } }, rest);
  }
  t.equal(caller.inFlight, 1);
  caller.receive(success(sent[0]!.xid, '00000006'));
  t.strictSame(await other, { sum: 6 });
  t.throws(() => caller.receive([hex('0000')]), { name: 'XdrError' }, 'no header: the connection is broken');
});

t.test('time-outs', async (t) => {
  const { caller, sent, add } = setup();
  await t.rejects(add(1, { timeoutMs: 1 }), { code: 'TIMED_OUT', message: /ADD within 1 ms/ });
  t.equal(caller.inFlight, 0);
  caller.receive(success(sent[0]!.xid, '00000002'));
  const patient = add(1, { timeoutMs: 60_000 });
  caller.receive(success(sent[1]!.xid, '00000002'));
  t.strictSame(await patient, { sum: 2 });
});

t.test('abort', async (t) => {
  const { caller, sent, add } = setup();
  const controller = new AbortController();
  const done = add(1, { signal: controller.signal });
  const finished = add(2, { signal: controller.signal });
  caller.receive(success(sent[1]!.xid, '00000003'));
  t.strictSame(await finished, { sum: 3 });
  controller.abort();
  await t.rejects(done, { code: 'ABORTED' });
  t.equal(caller.inFlight, 0);
  caller.receive(success(sent[0]!.xid, '00000002'));
  await t.rejects(add(1, { signal: controller.signal }), { code: 'ABORTED' });
  t.equal(sent.length, 2, 'nothing is sent after the abort');
});

t.test('the end of the connection fails every call, waiting and later', async (t) => {
  const { caller, sent, add } = setup();
  const calls = [add(1), add(2, { timeoutMs: 60_000 }), add(3, { signal: new AbortController().signal })];
  const lost = new RpcError('CONNECTION_LOST', 'gone');
  const outcomes = Promise.allSettled(calls);
  caller.end(lost);
  caller.end(new RpcError('ABORTED', 'too late'));
  for (const outcome of await outcomes) t.match(outcome, { status: 'rejected', reason: lost });
  await t.rejects(add(4), lost);
  t.equal(sent.length, 3);
  t.equal(caller.inFlight, 0);
});

t.test('arguments that do not fit reject and leave nothing waiting', async (t) => {
  const { caller, sent, add } = setup();
  await t.rejects(add(-1), { name: 'XdrError', code: 'RANGE', field: 'a' });
  t.strictSame([caller.inFlight, sent.length], [0, 0]);
});

t.test('a send that throws rejects the call', async (t) => {
  const lost = new RpcError('CONNECTION_LOST', 'gone');
  const caller = new Caller(() => {
    throw lost;
  });
  await t.rejects(caller.call(SAMPLE_PROGRAM, 'NULL', undefined, { timeoutMs: 60_000 }), lost);
  t.equal(caller.inFlight, 0);
});

t.test('a call sent again under its xid takes the place of the first', async (t) => {
  const { caller, sent, add } = setup();
  const first = add(1, { timeoutMs: 60_000 });
  const { xid } = sent[0]!;
  const rejected = t.rejects(first, { code: 'ABORTED' });
  const second = add(1, { xid });
  await rejected;
  await nextTurn();
  t.equal(sent[1]!.xid, xid);
  t.equal(caller.inFlight, 1);
  caller.receive(success(xid, '00000002'));
  t.strictSame(await second, { sum: 2 });
});

t.test('an unknown procedure is a mistake of the program', async (t) => {
  const { caller } = setup();
  t.throws(() => caller.call(SAMPLE_PROGRAM, 'NONE' as 'NULL', undefined), { name: 'TypeError' });
});

t.test('fresh xids differ and are words', async (t) => {
  const xids = Array.from({ length: 100 }, freshXid);
  t.equal(new Set(xids).size, 100);
  t.ok(xids.every((xid) => Number.isInteger(xid) && xid >= 0 && xid <= 0xffffffff));
});
