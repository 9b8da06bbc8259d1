import fc from 'fast-check';
import t from 'tap';
import { BuddyAllocator } from '../../src/fgdp/buddy-allocator.ts';

t.test('runs never overlap, lie at multiples of their length, and merge again', async (t) => {
  const PAGES = 64;
  const step = fc.oneof(fc.record({ order: fc.integer({ min: 0, max: 4 }) }), fc.record({ free: fc.nat() }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const allocator = new BuddyAllocator(PAGES, 4);
      const runs: { page: number; order: number }[] = [];
      const taken = new Set<number>();
      for (const each of steps) {
        if ('order' in each) {
          const page = allocator.allocate(each.order);
          if (page === undefined) continue;
          if (page % 2 ** each.order !== 0) throw new Error('not at a multiple of its length');
          for (let at = page; at < page + 2 ** each.order; at += 1) {
            if (taken.has(at) || at >= PAGES) throw new Error('given out twice, or not there');
            taken.add(at);
          }
          runs.push({ page, order: each.order });
        } else if (runs.length > 0) {
          const [run] = runs.splice(each.free % runs.length, 1);
          if (run === undefined) continue;
          allocator.free(run.page);
          for (let at = run.page; at < run.page + 2 ** run.order; at += 1) taken.delete(at);
        }
        if (allocator.pagesUsed !== taken.size) throw new Error('miscounted');
      }
      for (const { page } of runs) allocator.free(page);
      for (let block = 0; block < PAGES / 16; block += 1) {
        if (allocator.allocate(4) === undefined) throw new Error('what was free did not merge');
      }
      t.equal(allocator.pagesUsed, PAGES, 'all of it, and no more');
    }),
    { numRuns: 200 },
  );
});

t.test('misuse is told', async (t) => {
  t.throws(() => new BuddyAllocator(10, 4), RangeError);
  const allocator = new BuddyAllocator(16, 4);
  t.throws(() => allocator.free(0), RangeError);
  t.throws(() => allocator.allocate(-1), RangeError);
  t.equal(allocator.allocate(5), undefined);
  const page = allocator.allocate(2) ?? -1;
  allocator.free(page);
  t.throws(() => allocator.free(page), RangeError, 'twice');
});
