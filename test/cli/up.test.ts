/** `nearmount up` and `nearmount down`: mount files over real mounts. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, isMounted, runCli, runTool, type ToolResult } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

interface Line {
  readonly mountPoint: string;
  readonly source: string;
  readonly state: string;
  readonly remark: string;
}

interface Stage {
  readonly top: string;
  readonly file: string;
  readonly cli: (...args: string[]) => Promise<ToolResult>;
  /** Runs a command with --json; what it printed. */
  readonly lines: (status: number, ...args: string[]) => Promise<readonly Line[]>;
}

async function makeStage(t: Test, text: (top: string) => string): Promise<Stage> {
  const top = makeDirectory(t);
  for (const name of ['tree/sub', 'other']) mkdirSync(join(top, name), { recursive: true });
  writeFileSync(join(top, 'tree/file'), 'of tree');
  writeFileSync(join(top, 'other/file'), 'of other');
  const exports = [`tree=${join(top, 'tree')}`, `other=${join(top, 'other')}`];
  await startServer(t, { directory: top, exports });
  const file = join(top, 'mounts.yaml');
  writeFileSync(file, text(top));
  const env = { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: join(top, 'run'), TOP: top };
  const cli = (...args: string[]): Promise<ToolResult> => runCli(args, { env });
  const lines = async (status: number, ...args: string[]): Promise<readonly Line[]> => {
    const result = await cli(...args, '--json');
    t.equal(result.status, status, `${args.join(' ')}: ${result.stderr}`);
    return (JSON.parse(result.stdout.toString()) as { mounts: Line[] }).mounts;
  };
  t.teardown(async () => {
    await cli('down', file, '--force');
  });
  return { top, file, cli, lines };
}

const states = (lines: readonly Line[]): readonly string[] => lines.map(({ state }) => state);

const TWO = (top: string): string => `colocation: colocation.db
log-file: mount.log
options: [soft]
mounts:
  - source: other
    mountpoint: ${top}/mnt/sub
  - source: tree
    mountpoint: \${TOP}/mnt
    create: true
    options: { soft: false, timeo: 50 }
`;

t.test('up, up again, down, down again', { skip: cannotMountHere }, async (t) => {
  const { top, file, cli, lines } = await makeStage(t, TWO);
  const check = await cli('up', file, '--check');
  t.equal(check.status, 0, check.stderr);
  t.match(check.stdout.toString(), /is valid: 2 mounts\n$/);
  t.notOk(isMounted(join(top, 'mnt')), '--check mounts nothing');

  const first = await cli('up', file);
  t.equal(first.status, 0, first.stderr);
  t.match(
    first.stdout.toString(),
    /^MOUNTPOINT +SOURCE +STATE +REMARK\n\S+mnt +tree +mounted\n\S+mnt\/sub +other +mounted\n$/,
  );
  const read = async (name: string): Promise<string> =>
    (await runTool('cat', [join(top, name)])).stdout.toString();
  t.equal(await read('mnt/file'), 'of tree');
  t.equal(await read('mnt/sub/file'), 'of other', 'the lower one lies on the upper');

  const again = await lines(0, 'up', file);
  t.same(states(again), ['already mounted', 'already mounted']);
  t.same(
    again.map(({ remark }) => remark),
    ['', ''],
  );
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(top));
  t.equal(mounts.length, 2, 'nothing is mounted twice');

  t.same(states(await lines(0, 'down', file)), ['unmounted', 'unmounted']);
  t.notOk(isMounted(join(top, 'mnt')));
  t.same(states(await lines(0, 'down', file)), ['not mounted', 'not mounted']);
});

t.test('changed options are said, a dead mount is replaced', { skip: cannotMountHere }, async (t) => {
  const { top, file, lines } = await makeStage(t, TWO);
  t.same(states(await lines(0, 'up', file)), ['mounted', 'mounted']);
  writeFileSync(file, TWO(top).replace('timeo: 50', 'timeo: 70'));
  const [changed] = await lines(0, 'up', file);
  t.match(changed, {
    state: 'already mounted',
    remark: /options are timeo=50, the file has timeo=70: unmount/,
  });

  const pids = [...readFileSync(join(top, 'mount.log'), 'utf8').matchAll(/"pid":(\d+).*"msg":"mounted"/g)];
  t.equal(pids.length, 2);
  for (const [, pid] of pids) process.kill(Number(pid), 'SIGKILL');
  const points = [join(top, 'mnt'), join(top, 'mnt/sub')];
  while ((await runTool('ls', points)).status === 0);
  // The lower one cannot be reached through the dead upper one, so it goes first.
  const lower = await lines(1, 'up', file);
  t.match(lower[0]?.remark, /mnt is busy: \S+mnt\/sub is mounted below/);
  t.same(states(lower), ['failed', 'not tried']);
  t.same(states(await lines(0, 'down', file)), ['unmounted', 'unmounted']);

  t.same(states(await lines(0, 'up', file)), ['mounted', 'mounted']);
  const [, , , last] = [
    ...readFileSync(join(top, 'mount.log'), 'utf8').matchAll(/"pid":(\d+).*"msg":"mounted"/g),
  ];
  process.kill(Number(last?.[1]), 'SIGKILL');
  while ((await runTool('ls', [points[1]!])).status === 0);
  const replaced = await lines(0, 'up', file);
  t.match(replaced, [{ state: 'already mounted' }, { state: 'mounted', remark: 'in place of a dead mount' }]);
});

t.test('one that fails, and the rest', { skip: cannotMountHere }, async (t) => {
  const { top, file, cli, lines } = await makeStage(
    t,
    (top) => `colocation: colocation.db
log-file: mount.log
mounts:
  - { source: tree, mountpoint: ${top}/missing }
  - { source: nowhere, mountpoint: ${top}/a, create: true }
  - { source: other, mountpoint: ${top}/a/below, create: true }
  - { source: tree, mountpoint: ${top}/taken, create: true }
  - { source: other, mountpoint: ${top}/good, create: true }
`,
  );
  mkdirSync(join(top, 'taken'));
  await runTool('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', join(top, 'taken')]);
  t.teardown(() => runTool('umount', ['-l', join(top, 'taken')]));
  t.match(await lines(1, 'up', file), [
    { mountPoint: join(top, 'missing'), state: 'failed', remark: /does not exist: make/ },
    { mountPoint: join(top, 'a'), state: 'failed', remark: /"nowhere"/ },
    { mountPoint: join(top, 'taken'), state: 'failed', remark: /busy: none \(type tmpfs\)/ },
    { mountPoint: join(top, 'good'), state: 'mounted' },
    { mountPoint: join(top, 'a/below'), state: 'not tried', remark: /\/a above it failed/ },
  ]);
  t.match((await cli('up', file)).stderr, /^nearmount: 4 of 5 mounts failed\n$/);
  const down = await lines(1, 'down', file);
  t.same(states(down), ['not mounted', 'unmounted', 'failed', 'not mounted', 'not mounted']);
  t.ok(isMounted(join(top, 'taken')));
});

t.test('a wrong file: a line for each thing that is wrong, and nothing is mounted', async (t) => {
  const top = makeDirectory(t);
  const file = join(top, 'm.yaml');
  writeFileSync(file, 'mounts:\n  - source: data\n    mountpoint: mnt\n    colour: 1\n  - {}\n');
  for (const args of [
    ['up', file, '--check'],
    ['up', file],
    ['down', file],
  ]) {
    const result = await runCli(args);
    t.equal(result.status, 1);
    t.equal(result.stdout.length, 0);
    const lines = result.stderr.trimEnd().split('\n');
    t.equal(lines.length, 3, result.stderr);
    for (const line of lines) t.match(line, /^nearmount: \S+m\.yaml:\d+:\d+: mounts\[\d\]\./);
  }
  t.equal((await runCli(['up'])).status, 2);
});
