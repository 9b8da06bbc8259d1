import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { tryLockFile } from '../../src/system/file-lock.ts';

t.test('a lock belongs to one open file, until it is closed', async (t) => {
  const path = join(t.testdir({ file: '' }), 'file');
  const first = openSync(path, 'r');
  const second = openSync(path, 'r');
  t.equal(tryLockFile(first), true);
  t.equal(tryLockFile(first), true);
  t.equal(tryLockFile(second), false);
  closeSync(first);
  t.equal(tryLockFile(second), true);
  closeSync(second);
  t.throws(() => tryLockFile(second), { code: 'EBADF' });
});
