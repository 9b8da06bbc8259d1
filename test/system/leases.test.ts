import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isOpenForWriting } from '../../src/system/leases.ts';
import { makeDirectory } from '../support/trees.ts';

t.test('a file that somebody may write to is told from one that nobody does', async (t) => {
  const path = join(makeDirectory(t), 'file');
  writeFileSync(path, 'x');
  const fd = openSync(path, 'r');
  const reader = openSync(path, 'r');
  t.equal(isOpenForWriting(fd), false, 'readers do not count');
  const writer = openSync(path, 'r+');
  t.equal(isOpenForWriting(fd), true);
  t.equal(isOpenForWriting(reader), true);
  closeSync(writer);
  t.equal(isOpenForWriting(fd), false);
  // No lease is left that would hold up whoever opens it now.
  closeSync(openSync(path, 'r+'));
  closeSync(fd);
  closeSync(reader);
  t.throws(() => isOpenForWriting(9_999), { code: 'EBADF' });
  const device = openSync('/dev/null', 'r');
  t.equal(isOpenForWriting(device), undefined, 'no regular file: it cannot be told');
  closeSync(device);
});
