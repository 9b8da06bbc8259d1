import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { mountAt, mountTable } from '../../src/system/mount-table.ts';
import { cannotMount, runChild } from './child.ts';

t.test('what is mounted here', async (t) => {
  const proc = mountAt('/proc');
  t.equal(proc?.type, 'proc');
  t.match(proc?.device, /^\d+:\d+$/);
  t.ok(mountTable().every(({ id, type, options }) => id > 0 && type !== '' && options.length > 0));
  t.equal(mountAt('/no/such/place'), undefined);
});

t.test(
  'names with spaces, tabs and backslashes, and one mount on another',
  { skip: cannotMount },
  async (t) => {
    const place = join(t.testdir({}), 'a b\tc\\d#e');
    mkdirSync(place);
    t.match(runChild(['unshare', '-m', '--propagation', 'private'], './mount-table.child.ts', place), {
      source: 'on top of it',
      type: 'tmpfs',
      mountPoint: place,
    });
    t.equal(spawnSync('mountpoint', ['-q', place]).status === 0, false, 'the namespace was its own');
  },
);
