import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { closeAfterTurn, DescriptorCache } from '../../src/store/descriptor-cache.ts';

function retirable(log: string[], name: string) {
  return { name, retire: () => void log.push(name) };
}

t.test('the least recently used goes first', async (t) => {
  const log: string[] = [];
  const cache = new DescriptorCache<ReturnType<typeof retirable>>({ max: 2, idleMs: 60_000 });
  cache.set('a', retirable(log, 'a'));
  cache.set('b', retirable(log, 'b'));
  t.equal(cache.get('a')?.name, 'a');
  cache.set('c', retirable(log, 'c'));
  t.same(log, ['b']);
  t.equal(cache.get('b'), undefined);
  cache.set('a', retirable(log, 'a2'));
  t.same(log, ['b', 'a']);
  cache.delete('none');
  cache.clear();
  t.same(log, ['b', 'a', 'c', 'a2']);
  t.equal(cache.size, 0);
});

t.test('what is unused for long goes', async (t) => {
  const log: string[] = [];
  const cache = new DescriptorCache<ReturnType<typeof retirable>>({ max: 9, idleMs: 20 });
  cache.set('a', retirable(log, 'a'));
  cache.set('b', retirable(log, 'b'));
  // The timer of the cache does not keep the process alive; this one does.
  while (cache.size > 0) await delay(5);
  t.same(log, ['a', 'b']);
});

t.test('descriptors are closed after the turn', async (t) => {
  const fds = [fs.openSync('/dev/null', 'r'), fs.openSync('/dev/null', 'r')];
  fds.forEach(closeAfterTurn);
  for (const fd of fds) t.ok(fs.fstatSync(fd).isCharacterDevice());
  await Promise.resolve();
  for (const fd of fds) t.throws(() => fs.fstatSync(fd), { code: 'EBADF' });
});
