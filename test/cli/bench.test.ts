/** `nearmount bench` as a user runs it: on a directory, and on a near mount beside the files themselves. */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, MAIN, runCli, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';

interface Report {
  attributes: Record<string, string>;
  dropCaches: boolean[];
  leftOut: string[];
  measurements: {
    workload: string;
    unit: string;
    rate: { median: number; minimum: number; maximum: number };
    gatewayCpuSeconds?: object;
    rounds: unknown[];
    ratio?: { median: number };
  }[];
}

const WORKLOADS = ['sequential', 'pread', 'mmap', 'small-files', 'stat', 'list'];
/** Every measurement is a process of its own: far above what all of them take, even on a machine that is busy. */
const LIMIT_MS = 400_000;
t.setTimeout(LIMIT_MS);

const skip = !existsSync(MAIN) && 'needs dist: npm run build';

function makeFiles(t: Test): string {
  const root = t.testdir({ small: { a: 'a', b: 'b' } });
  writeFileSync(`${root}/large`, Buffer.alloc(300_000, 'large'));
  return root;
}

t.test('a plain directory', { skip }, async (t) => {
  const root = makeFiles(t);
  const table = await runCli(['bench', root, '--rounds', '1', '--seconds', '1'], { limitMs: LIMIT_MS });
  t.equal(table.status, 0, table.stderr);
  const text = table.stdout.toString();
  t.match(text, /no Nearmount mount; its files lie on this machine/);
  for (const word of ['sequential read', 'random pread', 'random mmap', 'small files', 'stat', 'list']) {
    t.match(text, new RegExp(`^.*${word}.*\\d`, 'm'), word);
  }

  const json = await runCli(['bench', root, '--against', `${root}/small`, '--rounds', '1', '--json'], {
    limitMs: LIMIT_MS,
  });
  t.not(json.status, 0, 'the other directory has not the same files');
  t.match(json.stderr, /ENOENT.*large/);

  const alone = await runCli(['bench', `${root}/small`, '--rounds', '2', '--json'], { limitMs: LIMIT_MS });
  t.equal(alone.status, 0, alone.stderr);
  const report = JSON.parse(alone.stdout.toString()) as Report;
  t.strictSame(report.leftOut, ['pread', 'mmap'], 'no file has a whole page');
  t.ok(report.measurements.every(({ rounds }) => rounds.length === 2));
});

t.test('wrong calls', { skip }, async (t) => {
  const empty = t.testdir({ file: 'x', empty: {} });
  const call = async (...words: string[]) => {
    const { status, stderr } = await runCli(['bench', ...words]);
    return `${status} ${stderr}`;
  };
  t.match(await call(`${empty}/none`), /^1 .*none cannot be read \(ENOENT\)/);
  t.match(await call(`${empty}/file`), /^1 .*is not a directory/);
  t.match(await call(`${empty}/empty`), /^1 [^]*has nothing in it to read/);
  t.match(await call(empty, '--rounds', '0'), /^2 .*--rounds 0/);
  t.match(await call(empty, '--size', '1K'), /^2 .*--size 1K/);
});

t.test('a near mount beside the files', { skip: skip || cannotMountHere }, async (t) => {
  const root = makeFiles(t);
  const place = mkdtempSync(join(tmpdir(), 'b-'));
  chmodSync(place, 0o755);
  t.teardown(() => rmSync(place, { recursive: true, force: true }));
  const server = await startServer(t, { exports: [`bench=${root},squash=none`], directory: place });
  const mount = await startMount(t, { source: 'bench', point: `${place}/mnt`, table: server.table });
  const env = { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: `${place}/mnt.run` };
  const words = ['bench', mount.point, '--against', root, '--rounds', '1', '--seconds', '1', '--json'];
  const { status, stdout, stderr } = await runCli(words, { env, limitMs: LIMIT_MS });
  t.equal(status, 0, stderr);
  const report = JSON.parse(stdout.toString()) as Report;
  t.strictSame(
    report.measurements.map(({ workload }) => workload),
    WORKLOADS,
  );
  t.match(report.attributes, { route: 'near', datapath: /./, why: /./ }, 'the mount says how');
  t.strictSame(report.dropCaches, [true, false], "only the mount's own copies are dropped");
  for (const { workload, rate, gatewayCpuSeconds, ratio } of report.measurements) {
    t.ok(rate.minimum > 0 && rate.minimum <= rate.median && rate.median <= rate.maximum, workload);
    t.ok(gatewayCpuSeconds !== undefined, `${workload}: the gateway is known`);
    t.ok((ratio?.median ?? 0) > 0, `${workload}: ratio`);
  }
});
