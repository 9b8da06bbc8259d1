import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { dropCachedPages, pread } from '../../src/system/page-cache.ts';

t.test('pread reads at a place and leaves the position', async (t) => {
  const path = join(t.testdir({ file: 'zero one two' }), 'file');
  const fd = fs.openSync(path, 'r');
  t.teardown(() => fs.closeSync(fd));
  const buffer = Buffer.alloc(3);
  t.equal(pread(fd, buffer, 5), 3);
  t.equal(buffer.toString(), 'one');
  t.equal(pread(fd, buffer, 10), 2, 'short at the end');
  t.equal(pread(fd, buffer, 2 ** 40), 0, 'nothing behind it, also beyond 32 bits');
  t.equal(fs.readSync(fd, buffer), 3);
  t.equal(buffer.toString(), 'zer');
  t.throws(() => pread(-1, buffer, 0), { code: 'EBADF' });
});

t.test('dropping pages loses nothing', async (t) => {
  const path = join(t.testdir({ file: 'contents' }), 'file');
  const fd = fs.openSync(path, 'r');
  t.teardown(() => fs.closeSync(fd));
  dropCachedPages(fd);
  t.equal(fs.readFileSync(path, 'utf8'), 'contents');
  t.throws(() => dropCachedPages(-1), { code: 'EBADF' });
});
