import { mock } from 'node:test';
import t from 'tap';
import { KeptCalls, type KeptCall, type KeptCallsLimits } from '../../src/server/kept-calls.ts';

const bytesOf = ({ before, reply }: KeptCall): number => (before?.length ?? 0) + (reply?.length ?? 0);
const call = (bytes = 1): KeptCall => ({ before: new Uint8Array(bytes), reply: undefined });

function kept(limits: Partial<KeptCallsLimits>): KeptCalls {
  return new KeptCalls(bytesOf, {
    callsPerClient: 100,
    clients: 100,
    bytes: 10_000,
    silentMs: 1e9,
    ...limits,
  });
}

const names = (calls: KeptCalls): string[] => [...calls].map(([client, key]) => `${client}/${key}`);

t.test('the newest calls of each client', (t) => {
  const calls = kept({ callsPerClient: 3 });
  for (const key of ['1', '2', '3', '4']) calls.keep('a', 'here', key, call());
  calls.keep('b', 'here', '1', call());
  t.same(names(calls), ['a/2', 'a/3', 'a/4', 'b/1']);
  t.equal(calls.find('a', '1'), undefined);
  t.equal(calls.find('c', '1'), undefined);
  calls.keep('a', 'here', '2', { before: undefined, reply: Uint8Array.of(9) });
  t.same(calls.find('a', '2')?.reply, Uint8Array.of(9));
  t.same(names(calls), ['b/1', 'a/3', 'a/4', 'a/2'], 'an answer makes it the newest');
  calls.forget('a', '3');
  calls.forget('a', 'unknown');
  calls.forget('unknown', '3');
  t.same(names(calls), ['b/1', 'a/4', 'a/2']);
  t.equal(calls.bytes, 3);
  t.end();
});

t.test('too many clients: the one that was silent longest goes', (t) => {
  const calls = kept({ clients: 2 });
  for (const client of ['a', 'b', 'a', 'c']) calls.keep(client, 'here', 'x', call());
  t.same(names(calls), ['a/x', 'c/x']);
  t.end();
});

t.test('who makes up clients pushes out his own', (t) => {
  const calls = kept({ clients: 10, bytes: 100 });
  calls.keep('honest', 'there', 'x', call(10));
  calls.keep('other', 'elsewhere', 'x', call(10));
  for (let id = 0; id < 1_000; id += 1) calls.keep(`made up ${id}`, 'here', 'x', call(1));
  t.ok(calls.find('honest', 'x') && calls.find('other', 'x'));
  t.equal(calls.clients, 10);
  for (let id = 0; id < 1_000; id += 1) calls.keep(`large ${id}`, 'here', 'x', call(30));
  t.ok(calls.find('honest', 'x') && calls.find('other', 'x'));
  t.ok(calls.bytes <= 100);
  t.end();
});

t.test('a client that takes too much alone keeps what it has: it is bounded by its count', (t) => {
  const calls = kept({ bytes: 5, callsPerClient: 3 });
  for (const key of ['1', '2', '3', '4']) calls.keep('a', 'here', key, call(4));
  t.same(names(calls), ['a/2', 'a/3', 'a/4']);
  calls.keep('b', 'here', '1', call(4));
  t.same(names(calls), ['b/1']);
  calls.shrinkTo(3);
  t.same([names(calls), calls.bytes], [[], 0]);
  t.end();
});

t.test('a client that comes by another way is the same one', (t) => {
  const calls = kept({ clients: 2 });
  calls.keep('a', 'near', '1', call());
  calls.keep('a', 'far', '2', call());
  t.ok(calls.find('a', '1'));
  calls.keep('b', 'far', '1', call(5));
  calls.keep('c', 'near', '1', call());
  t.same(names(calls), ['b/1', 'c/1'], 'it counts where it was last');
  t.end();
});

t.test('the silent are forgotten when a new one comes', (t) => {
  mock.method(performance, 'now', () => nowMs);
  t.teardown(() => mock.restoreAll());
  let nowMs = 0;
  const calls = kept({ silentMs: 1_000 });
  calls.keep('a', 'here', '1', call());
  calls.keep('b', 'here', '1', call());
  nowMs = 900;
  calls.keep('a', 'here', '2', call());
  nowMs = 1_500;
  calls.keep('a', 'here', '3', call());
  t.equal(calls.clients, 2, 'there was no need');
  calls.keep('c', 'here', '1', call());
  t.same(names(calls), ['a/1', 'a/2', 'a/3', 'c/1']);
  t.end();
});
