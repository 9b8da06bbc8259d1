import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { mountHolders } from '../../src/system/mount-holders.ts';
import { makeDirectory } from '../support/trees.ts';

t.test('current directories and open files', async (t) => {
  const top = makeDirectory(t);
  const place = join(top, 'mnt');
  mkdirSync(join(place, 'sub'), { recursive: true });
  writeFileSync(join(top, 'mnt-other'), '');
  writeFileSync(join(place, 'file'), '');
  const beside = openSync(join(top, 'mnt-other'), 'r');
  t.teardown(() => closeSync(beside));
  t.same(mountHolders(place), [], 'a name that only begins alike is not inside');

  const child = spawn('sleep', ['1000'], { cwd: join(place, 'sub'), stdio: 'ignore' });
  await once(child, 'spawn');
  const fd = openSync(join(place, 'file'), 'r');
  const found = mountHolders(place);
  closeSync(fd);
  t.same(
    found.find(({ pid }) => pid === child.pid),
    { pid: child.pid, name: 'sleep', how: 'its current directory' },
  );
  t.equal(found.find(({ pid }) => pid === process.pid)?.how, `an open file: ${place}${sep}file`);
  t.equal(found.length, 2);
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.same(mountHolders(place), []);
});
