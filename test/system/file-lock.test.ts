import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { tryLock } from '../../src/system/file-lock.ts';

t.test('a lock belongs to one open file, until it is closed', async (t) => {
  const path = join(t.testdir({ file: '' }), 'file');
  const first = openSync(path, 'r');
  const second = openSync(path, 'r');
  t.equal(tryLock(first), true);
  t.equal(tryLock(first), true);
  t.equal(tryLock(second), false);
  closeSync(first);
  t.equal(tryLock(second), true);
  closeSync(second);
  t.throws(() => tryLock(second), { code: 'EBADF' });
});
