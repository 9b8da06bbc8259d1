import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  getXattr,
  listXattrs,
  readXattr,
  removeXattr,
  removeXattrIfAny,
  setXattr,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../../src/system/xattr.ts';

const O_PATH = 0o10000000;

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

t.test('an attribute is set, replaced and removed', async (t) => {
  const path = join(t.testdir({ file: '' }), 'file');
  const fd = fs.openSync(path, fs.constants.O_RDONLY | O_PATH);
  t.teardown(() => fs.closeSync(fd));
  try {
    setXattr(fd, 'user.test', Buffer.from('value'));
  } catch (error) {
    t.match(error, { code: 'EOPNOTSUPP' }, 'a file system without attributes');
    return;
  }
  t.equal(getXattr(fd, 'user.test')?.toString(), 'value');
  setXattr(fd, 'user.test', Buffer.from('\0other'));
  t.equal(getXattr(fd, 'user.test')?.toString(), '\0other');
  removeXattr(fd, 'user.test');
  t.equal(getXattr(fd, 'user.test'), undefined);
  t.doesNotThrow(() => removeXattrIfAny(fd, 'user.test'), 'what is gone may be removed');
  t.throws(() => removeXattr(fd, 'user.test'), { code: 'ENODATA' });
  t.throws(() => readXattr(fd, 'user.test'), { code: 'ENODATA' });
  t.throws(() => setXattr(fd, 'unknown.test', Buffer.from('x')), { code: 'EOPNOTSUPP' });
  const bytes = Buffer.from([...Buffer.from('user.'), 0xff, 0xfe]);
  t.throws(() => setXattr(fd, bytes, Buffer.alloc(0), XATTR_REPLACE), { code: 'ENODATA' });
  setXattr(fd, bytes, Buffer.alloc(0), XATTR_CREATE);
  t.throws(() => setXattr(fd, bytes, Buffer.alloc(0), XATTR_CREATE), { code: 'EEXIST' });
  setXattr(fd, 'user.a', Buffer.from('1'));
  const names = listXattrs(fd).map((name) => name.toString('latin1'));
  t.same(names.filter((name) => name.startsWith('user.')).sort(), ['user.a', 'user.\xff\xfe']);
  t.throws(() => setXattr(fd, 'user.a\0b', Buffer.from('1')), { code: 'EINVAL' });
  t.throws(() => removeXattr(-1, 'user.test'), { code: 'ENOENT' });
});
