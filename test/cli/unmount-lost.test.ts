/** `nearmount unmount` where the server or the gateway is gone: nothing of it waits for them. */
import { join } from 'node:path';
import t from 'tap';
import { mountMemory } from '../support/memory-mount.ts';
import { cannotMountHere, isMounted, runCli, runTool, startWorker } from '../support/mounts.ts';
import { isRunning, makeStage } from './unmount-stage.ts';

t.test('--force: whoever waits gets an error', { skip: cannotMountHere }, async (t) => {
  const { cli, mount, server } = await makeStage(t);
  const { point, pid } = await mount('mnt', 'route=network,noac');
  const worker = await startWorker(t, point);
  await server.kill();
  // Hard: without --force this answer would never come.
  const waiting = worker.ask({ op: 'readFile', name: 'file' }, 60_000);
  const result = await cli('unmount', '--force', point);
  t.equal(result.status, 0, result.stderr);
  t.match(result.stderr, /mnt was busy \(.*\) and is taken away lazily: its connection was aborted/);
  t.match((await waiting).error, /^(ENOTCONN|ECONNABORTED)/);
  t.notOk(isMounted(point));
  t.notOk(isRunning(pid));
});

t.test('--force: whoever waits in a write, or for what it wrote', { skip: cannotMountHere }, async (t) => {
  for (const what of ['hang-write', 'hang-flush']) {
    const { point, run, until } = await mountMemory(t, 'kernel', what);
    const waiting = run('dd if=/dev/zero of=f count=1 status=none');
    await until(what === 'hang-write' ? 'write' : 'flush');
    const result = await runCli(['unmount', '--force', point]);
    t.equal(result.status, 0, result.stderr);
    t.match(
      result.stderr,
      /mnt was busy \(.*dd \(pid.*\) and is taken away lazily: its connection was aborted/,
    );
    const { status, stderr } = await waiting;
    t.equal(status, 1);
    t.match(stderr, /^dd: .*(connection abort|not connected)/);
    t.notOk(isMounted(point));
  }
});

t.test(
  'a server that is away, a gateway that is gone, one that hangs',
  { skip: cannotMountHere },
  async (t) => {
    const { cli, mount, server } = await makeStage(t);
    const [away, dead, stopped] = [await mount('away', 'noac'), await mount('dead'), await mount('stopped')];
    await server.kill();
    process.kill(dead.pid, 'SIGKILL');
    while (isRunning(dead.pid)) await runTool('sleep', ['0.05']);
    process.kill(stopped.pid, 'SIGSTOP');
    const result = await cli('unmount', away.point, dead.point, stopped.point);
    t.equal(result.status, 0, result.stderr);
    for (const { point } of [away, dead, stopped]) t.notOk(isMounted(point), point);
    process.kill(stopped.pid, 'SIGCONT');
  },
);

t.test('what mount says of a dead mount can be done', { skip: cannotMountHere }, async (t) => {
  const { cli, mount, server, top } = await makeStage(t);
  const { point, pid } = await mount('mnt');
  process.kill(pid, 'SIGKILL');
  while (isRunning(pid)) await runTool('sleep', ['0.05']);
  const again = await cli('mount', 'tree', point, '--colocation', server.table, '--log-file', join(top, 'l'));
  t.equal(again.status, 1);
  const remedy = /dead mount: take it away with nearmount (unmount \S+)\n$/.exec(again.stderr)?.[1];
  t.ok(remedy, again.stderr);
  t.equal((await cli(...remedy!.split(' '))).status, 0);
  t.notOk(isMounted(point));
});
