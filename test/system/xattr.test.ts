import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { getXattr } from '../../src/system/xattr.ts';

t.test('an attribute that is there, and one that is not', async (t) => {
  const path = join(t.testdir({ file: '' }), 'file');
  const fd = fs.openSync(path, 'r');
  t.teardown(() => fs.closeSync(fd));
  t.equal(getXattr(fd, 'user.nearmount.route'), undefined);
  const { status, error } = spawnSync('setfattr', ['-n', 'user.test', '-v', 'value', path]);
  if (error !== undefined || status !== 0) {
    t.comment('no attribute could be set: apt-get install attr, on a file system that has attributes');
  } else t.equal(getXattr(fd, 'user.test')?.toString(), 'value');
});

t.test('a file system without attributes has none; a closed descriptor is an error', async (t) => {
  const fd = fs.openSync('/proc/self/stat', 'r');
  t.teardown(() => fs.closeSync(fd));
  t.equal(getXattr(fd, 'user.test'), undefined);
  t.throws(() => getXattr(-1, 'user.test'), { code: 'ENOENT' });
});
