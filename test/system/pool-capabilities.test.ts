import t from 'tap';
import { hasCapability } from '../../src/system/capabilities.ts';
import { poolThreads } from '../../src/system/pool-capabilities.ts';
import { runChild } from './child.ts';

const skip = !hasCapability('CAP_FSETID') && 'needs root';

t.test('how many threads the pool has', (t) => {
  t.equal(poolThreads(undefined), 4);
  t.equal(poolThreads('8'), 8);
  t.equal(poolThreads('0'), 1);
  t.equal(poolThreads('many'), 1);
  t.equal(poolThreads('5000'), 1024);
  t.end();
});

t.test('every thread of the pool gives them up, and no other', { skip }, (t) => {
  for (const threads of [1, 4, 9, 64]) {
    const report = runChild(['env', `UV_THREADPOOL_SIZE=${threads}`], './pool-capabilities.child.ts');
    t.same(report, { threads, dropped: threads, before: 0, after: threads, poolHas: [false] });
  }
  t.end();
});

t.test('a pool too large to be kept waiting is left alone', { skip }, (t) => {
  const report = runChild(['env', 'UV_THREADPOOL_SIZE=65'], './pool-capabilities.child.ts');
  t.same(report, { threads: 65, dropped: 0, before: 0, after: 0, poolHas: [true] });
  t.end();
});
