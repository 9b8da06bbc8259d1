/** `nearmount unmount` of mounts that work: idle, busy, stacked, and not ours. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  cannotMountHere,
  isMounted,
  notForOtherUsers,
  MAIN,
  plainNode,
  runTool,
  startWorker,
} from '../support/mounts.ts';
import { isRunning, makeStage } from './unmount-stage.ts';

t.test('plain: the gateway is gone when the command returns', { skip: cannotMountHere }, async (t) => {
  const { top, cli, mount } = await makeStage(t);
  const [a, b] = [await mount('a'), await mount('b c')];
  t.ok(isRunning(a.pid));
  symlinkSync(a.point, join(top, 'link'));
  const result = await cli('unmount', join(top, 'link'), b.point);
  t.equal(result.status, 0, result.stderr);
  t.equal(result.stdout.toString() + result.stderr, '');
  for (const { point, pid } of [a, b]) {
    t.notOk((await runTool('mountpoint', ['-q', point])).status === 0);
    t.notOk(isRunning(pid), 'scripts can go on');
  }
});

t.test('busy: lazily, and who holds it is said', { skip: cannotMountHere }, async (t) => {
  const { cli, mount } = await makeStage(t);
  const { point, pid } = await mount('mnt');
  const worker = await startWorker(t, join(point, 'sub'));
  const result = await cli('unmount', point);
  t.equal(result.status, 0);
  t.match(
    result.stderr,
    new RegExp(`mnt was busy \\(\\S+ \\(pid ${worker.pid}\\): its current directory\\).*lazily.*--force`),
  );
  t.notOk(isMounted(point));
  t.ok(isRunning(pid), 'the gateway serves those who are inside');
  await worker.kill('SIGKILL');
  t.equal(
    (await runTool('tail', ['--pid', String(pid), '-f', '/dev/null'])).status,
    0,
    'and ends after them',
  );
});

t.test('mounts below: deeper ones first, and none is taken along', { skip: cannotMountHere }, async (t) => {
  const { cli, mount } = await makeStage(t);
  const upper = await mount('mnt');
  const lower = await mount('mnt/sub');
  const refused = await cli('unmount', upper.point);
  t.equal(refused.status, 1);
  t.match(refused.stderr, /^nearmount: \S+mnt is busy: \S+mnt\/sub is mounted below, unmount that first\n$/);
  t.ok(isMounted(lower.point));
  const both = await cli('unmount', upper.point, lower.point);
  t.equal(both.status, 0, both.stderr);
  t.notOk(isMounted(upper.point));
});

t.test('what is not ours', { skip: cannotMountHere }, async (t) => {
  const { cli, mount, top } = await makeStage(t);
  const { point } = await mount('mnt');
  const other = join(top, 'tmpfs');
  mkdirSync(other);
  t.equal((await runTool('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', other])).status, 0);
  t.teardown(() => runTool('umount', ['-l', other]));
  const result = await cli('unmount', other, join(top, 'missing'), top, point);
  t.equal(result.status, 1);
  const lines = result.stderr.trim().split('\n');
  t.equal(lines.length, 3, result.stderr);
  t.match(result.stderr, /tmpfs is no mount of nearmount \(type tmpfs\): .*umount/);
  t.match(result.stderr, /nothing is mounted at \S+missing\n/);
  t.ok(isMounted(other));
  t.notOk(isMounted(point), 'the rest is done');
  t.equal((await cli('unmount')).status, 2);
});

t.test("another user's mount", { skip: cannotMountHere || notForOtherUsers }, async (t) => {
  const { mount } = await makeStage(t);
  const { point } = await mount('mnt');
  const [program, args] = plainNode(MAIN, 'unmount', point);
  const result = await runTool('setpriv', ['--reuid', '65534', '--clear-groups', program, ...args]);
  t.equal(result.status, 1);
  t.match(result.stderr, /mnt was mounted by the user with id 0: that user or root can unmount it\n$/);
  t.ok(isMounted(point));
});
