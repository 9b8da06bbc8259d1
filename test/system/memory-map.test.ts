import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { mapFile } from '../../src/system/memory-map.ts';

t.test("a map shows the file's bytes, also when the descriptor is closed", async (t) => {
  const path = join(t.testdir({}), 'file');
  const contents = Buffer.alloc(3 * 4096 + 17, 'mapped ');
  fs.writeFileSync(path, contents);
  const fd = fs.openSync(path, 'r');
  const map = mapFile(fd, contents.length);
  fs.closeSync(fd);
  t.ok(contents.equals(map.bytes));
  fs.writeFileSync(path, 'M', { flag: 'r+' });
  t.equal(map.bytes[0], 'M'.charCodeAt(0), 'it is shared, not a copy');
  map.unmap();
});

t.test('errors', async (t) => {
  t.throws(() => mapFile(-1, 4096), { code: 'EBADF' });
  const fd = fs.openSync('/dev/zero', 'r');
  t.teardown(() => fs.closeSync(fd));
  t.throws(() => mapFile(fd, 0), { code: 'EINVAL' }, 'nothing to map');
});
