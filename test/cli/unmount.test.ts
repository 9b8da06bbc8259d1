/** `nearmount unmount`: every way a mount can end, and that nothing of it waits for a mount or a server. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  cannotMountHere,
  isMounted,
  notForOtherUsers,
  MAIN,
  plainNode,
  runCli,
  runTool,
  startWorker,
  type ToolResult,
} from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

interface Stage {
  readonly top: string;
  readonly server: ServerProcess;
  readonly cli: (...args: string[]) => Promise<ToolResult>;
  /** Mounts `tree` behind at a new directory; returns place and gateway. */
  readonly mount: (name: string, options?: string) => Promise<{ point: string; pid: number }>;
}

async function makeStage(t: Test): Promise<Stage> {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(join(tree, 'sub'), { recursive: true });
  writeFileSync(join(tree, 'file'), 'content');
  const server = await startServer(t, { directory: top, exports: [`tree=${tree}`] });
  const env = { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: join(top, 'run') };
  const cli = (...args: string[]): Promise<ToolResult> => runCli(args, { env });
  const mount = async (name: string, options = 'ro'): Promise<{ point: string; pid: number }> => {
    const point = join(top, name);
    mkdirSync(point, { recursive: true });
    const log = join(top, `${name.replaceAll('/', '-')}.log`);
    const args = ['--colocation', server.table, '--log-file', log, '-o', options];
    const result = await cli('mount', 'tree', point, ...args);
    if (result.status !== 0) throw new Error(`no mount at ${point}: ${result.stderr}`);
    const pid = Number(/"pid":(\d+)/.exec(readFileSync(log, 'utf8').trim().split('\n').at(-1)!)?.[1]);
    t.teardown(async () => {
      if (isMounted(point)) await runTool('umount', ['-i', '-c', '-l', '--', point]);
      if (isRunning(pid)) process.kill(pid, 'SIGKILL');
    });
    return { point, pid };
  };
  return { top, server, cli, mount };
}

/** A zombie of a container without an init has ended, too. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
}

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
