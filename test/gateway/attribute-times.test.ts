import t from 'tap';
import {
  DEFAULT_ATTRIBUTE_TIMES,
  NO_ATTRIBUTE_TIMES,
  nextAttributeTime,
} from '../../src/gateway/attribute-times.ts';

t.test('nfs(5): from the minimum to the maximum, doubling while nothing changes', async (t) => {
  const run = (isDirectory: boolean, changes: boolean[]): number[] => {
    let last: number | undefined;
    return changes.map(
      (changed) => (last = nextAttributeTime(DEFAULT_ATTRIBUTE_TIMES, isDirectory, changed, last)),
    );
  };
  const no = (count: number): boolean[] => Array.from({ length: count }, () => false);
  t.same(run(false, no(7)), [3_000, 6_000, 12_000, 24_000, 48_000, 60_000, 60_000]);
  t.same(run(true, no(3)), [30_000, 60_000, 60_000]);
  t.same(run(false, [false, false, true, false]), [3_000, 6_000, 3_000, 6_000]);
});

t.test('noac', async (t) => {
  t.equal(nextAttributeTime(NO_ATTRIBUTE_TIMES, false, false, undefined), 0);
  t.equal(nextAttributeTime(NO_ATTRIBUTE_TIMES, true, false, 0), 0);
});
