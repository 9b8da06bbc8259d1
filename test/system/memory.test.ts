import fs from 'node:fs';
import t from 'tap';
import { closeFd } from '../../src/system/files.ts';
import { createSealedMemory, getSeals } from '../../src/system/memory.ts';

t.test('sealed memory keeps its contents whatever is tried', async (t) => {
  const contents = Buffer.alloc(300_000, 'abc');
  const fd = createSealedMemory('test', contents);
  t.teardown(() => closeFd(fd));
  t.equal(getSeals(fd), 0xf);
  t.throws(() => fs.ftruncateSync(fd, 10), { code: 'EPERM' });
  t.throws(() => fs.ftruncateSync(fd, 400_000), { code: 'EPERM' });
  t.throws(() => fs.writeSync(fd, 'x', 0), { code: 'EPERM' });
  const again = fs.openSync(`/proc/self/fd/${fd}`, 'r+');
  t.throws(() => fs.writeSync(again, 'x', 0), { code: 'EPERM' });
  closeFd(again);
  const read = Buffer.alloc(contents.length);
  t.equal(fs.readSync(fd, read, 0, read.length, 0), contents.length);
  t.ok(read.equals(contents));
});

t.test('errors', async (t) => {
  t.throws(() => createSealedMemory('x'.repeat(250), Buffer.from('x')), { code: 'EINVAL' });
  const fd = fs.openSync('/dev/null', 'r');
  t.throws(() => getSeals(fd), { code: 'EINVAL' });
  closeFd(fd);
});
