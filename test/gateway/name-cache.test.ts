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

t.test('the oldest goes first; setting again makes new', async (t) => {
  const cache = new NameCache(3);
  for (const each of ['a', 'b', 'c', 'a', 'd']) cache.set(1n, name(each), entry(each));
  t.same(
    ['a', 'b', 'c', 'd'].filter((each) => cache.get(1n, name(each)) !== undefined),
    ['a', 'c', 'd'],
  );
});
