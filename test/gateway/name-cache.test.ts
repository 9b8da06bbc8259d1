import t from 'tap';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { NameCache } from '../../src/gateway/name-cache.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';

const entry = (handle: string, validMs = 60_000) => ({
  handle: Buffer.from(handle),
  attributes: attributesOfFattr3(ATTRIBUTES),
  directoryVersion: 0,
  expiresMs: performance.now() + validMs,
});
const name = (text: string): Buffer => Buffer.from(text, 'latin1');

t.test('names are bytes, apart in each directory', async (t) => {
  const cache = new NameCache(10);
  cache.set(1n, name('\xff'), entry('a'));
  cache.set(1n, name('\xfe'), entry('b'));
  cache.set(11n, name('x'), entry('c'));
  t.match(cache.get(1n, name('\xff')), { handle: Buffer.from('a') });
  t.match(cache.get(1n, name('\xfe')), { handle: Buffer.from('b') });
  t.equal(cache.get(1n, name('1/x')), undefined);
  t.equal(cache.get(2n, name('\xff')), undefined);
  cache.delete(1n, name('\xff'));
  t.equal(cache.get(1n, name('\xff')), undefined);
  cache.clear();
  t.equal(cache.get(11n, name('x')), undefined);
});

t.test('what has expired is gone', async (t) => {
  const cache = new NameCache(10);
  cache.set(1n, name('a'), entry('a', -1));
  t.equal(cache.get(1n, name('a')), undefined);
});

t.test('it stays within its bound, and at least the last half is there', async (t) => {
  const MAX = 10;
  const cache = new NameCache(MAX);
  const there = (upTo: number): number[] =>
    Array.from({ length: upTo + 1 }, (_, index) => index).filter(
      (index) => cache.get(1n, name(`${index}`)) !== undefined,
    );
  for (let index = 0; index < 100; index += 1) {
    cache.set(1n, name(`${index}`), entry('handle'));
    const found = there(index);
    t.ok(found.length <= MAX, `${found.length} entries`);
    const last = Math.max(0, index - MAX / 2 + 1);
    t.same(
      found.slice(-5),
      Array.from({ length: index - last + 1 }, (_, at) => last + at),
    );
  }
});

t.test('setting again replaces, also what is in the old half', async (t) => {
  const cache = new NameCache(4);
  for (const each of ['a', 'b', 'c']) cache.set(1n, name(each), entry(each));
  cache.set(1n, name('a'), entry('other'));
  t.match(cache.get(1n, name('a')), { handle: Buffer.from('other') });
  cache.delete(1n, name('a'));
  t.equal(cache.get(1n, name('a')), undefined, 'nothing older comes back');
});

t.test('everything told of a name comes back', async (t) => {
  const cache = new NameCache(4);
  const told = { ...entry('h\xff'), directoryVersion: 7 };
  cache.set(1n, name('x'), told);
  t.same(cache.get(1n, name('x')), told);
});
