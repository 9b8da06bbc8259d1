/** What is written in the turn in which it arrives, and what waits for a thread. */
import fs from 'node:fs';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { DiskWork } from '../../src/store/disk-work.ts';
import { WRITE_NOW_BYTES_MAX } from '../../src/store/limits.ts';
import { WritableFile, type WritingSupport } from '../../src/store/writable-file.ts';
import { fstatfs } from '../../src/system/files.ts';
import { makePlace, server } from './fixtures.ts';

/** EXT4_SUPER_MAGIC of include/uapi/linux/magic.h. */
const EXT4 = 0xef53n;
const PAGE_BYTES = 4096;

t.test('on ext4, what lies beyond the end is written at once, but not past a write under way', async (t) => {
  const fd = fs.openSync(path.join(makePlace(t).directory, 'file'), 'wx');
  t.teardown(() => {
    fs.closeSync(fd);
  });
  if (fstatfs(fd).type !== EXT4) {
    t.comment('the directory of temporary files is on no ext4');
    return;
  }
  const work = new DiskWork(1);
  const file = new WritableFile(fd, { work, onLost: () => undefined } as unknown as WritingSupport);
  const page = [Buffer.alloc(PAGE_BYTES)];
  const size = (): number => fs.fstatSync(fd).size;
  await file.write(server, 0n, page);
  t.equal(size(), PAGE_BYTES);
  // No thread is free: what is given to one does not begin.
  let free = (): void => undefined;
  const busy = work.run(() => new Promise<void>((resolve) => (free = resolve)));
  void file.write(server, BigInt(PAGE_BYTES), page);
  t.equal(size(), 2 * PAGE_BYTES, 'in this turn');
  const LARGE = WRITE_NOW_BYTES_MAX + PAGE_BYTES;
  const large = file.write(server, BigInt(2 * PAGE_BYTES), [Buffer.alloc(LARGE)]);
  const small = file.write(server, BigInt(2 * PAGE_BYTES + LARGE), page);
  await nextTurn();
  t.equal(size(), 2 * PAGE_BYTES, 'it would wait on the main thread for the lock that the large one takes');
  free();
  t.strictSame(
    (await Promise.all([large, small])).map(({ bytes }) => bytes),
    [LARGE, PAGE_BYTES],
  );
  await busy;
});

t.test('nothing is written at once after the server has stopped', async (t) => {
  const fd = fs.openSync(path.join(makePlace(t).directory, 'file'), 'wx');
  t.teardown(() => {
    fs.closeSync(fd);
  });
  const file = new WritableFile(fd, { work: new DiskWork(1) } as unknown as WritingSupport);
  await file.stop();
  const { bytes, error } = await file.write(server, 0n, [Buffer.alloc(PAGE_BYTES)]);
  t.equal(bytes, 0);
  t.match(error, { code: 'EIO' });
  t.equal(fs.fstatSync(fd).size, 0);
});
