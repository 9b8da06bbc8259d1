/** Who may have the main thread begin what a disk has to do, and until when. */
import t from 'tap';
import { DiskWork } from '../../src/store/disk-work.ts';
import { AHEAD_LONG_MS, AHEAD_PAUSE_MS } from '../../src/store/limits.ts';

t.test('the main thread begins where no disk keeps anybody waiting', async (t) => {
  let nowMs = 0;
  let lasts = 0;
  const work = new DiskWork(2, () => nowMs);
  let begun = 0;
  const begin = (): void => {
    begun += 1;
    nowMs += lasts;
  };
  let end = (): void => undefined;
  const other = work.run(async () => {
    work.ahead(begin);
    t.equal(begun, 1, 'for the only work there is');
    await new Promise<void>((resolve) => (end = resolve));
  });
  await work.run(async () => {
    work.ahead(begin);
  });
  t.equal(begun, 1, 'not beside other work');
  end();
  await other;
  lasts = AHEAD_LONG_MS + 1;
  work.ahead(begin);
  t.equal(begun, 2);
  nowMs += AHEAD_PAUSE_MS - 1;
  work.ahead(begin);
  t.equal(begun, 2, 'not soon after it took long');
  nowMs += 1;
  work.ahead(begin);
  t.equal(begun, 3);
  nowMs += AHEAD_PAUSE_MS;
  const fail = (): void => {
    nowMs += lasts;
    throw new Error('EIO');
  };
  t.throws(() => work.ahead(fail), { message: 'EIO' });
  work.ahead(begin);
  t.equal(begun, 3, 'nor after it failed so');
});
