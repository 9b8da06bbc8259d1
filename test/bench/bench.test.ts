/** `npm run bench -- --quick`: that it works from end to end and leaves nothing behind; never how fast anything is. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { cannotMountHere, MAIN, plainNode, runTool } from '../support/mounts.ts';

const BENCH = fileURLToPath(new URL('../../.bench/bench/main.js', import.meta.url));
/** Far above what it takes, with every peer installed on a busy machine. */
const LIMIT_MS = 400_000;
const READING = ['sequential', 'pread', 'mmap', 'small-files', 'stat', 'list'];
const WRITING = ['write', 'write-fsync', 'random-write', 'untar'];
const WRITERS = ['plain', 'passthrough', 'records', 'network', 'bindfs', 'sshfs', 'rclone'];
/** Who needs nothing that is not here. Passthrough and what builds on it depend on the file system. */
const ALWAYS = ['plain', 'records', 'network'];
const NAMES = [
  ...['plain', 'passthrough', 'mapped', 'segments', 'records', 'network', 'ganesha', 'bindfs', 'fuse-native'],
  ...['sshfs', 'rclone', 'glusterfs'],
];

interface Document {
  checkedBytes: number;
  contenders: {
    name: string;
    standing: { state: string; reason?: string; install?: string[] };
  }[];
  workloads: {
    workload: string;
    rows: { contender: string; rate: { median: number }; cpu: { median: number } }[];
  }[];
  goals: { verdict: string }[];
}

/** rclone without a cache of files writes from beginning to end only. */
function takesPart(name: string, workload: string): boolean {
  return WRITERS.includes(name) && !(name === 'rclone' && workload === 'random-write');
}

const skip =
  cannotMountHere ||
  (!existsSync(MAIN) && 'needs dist: npm run build') ||
  (!existsSync(BENCH) && 'needs the built benchmark: npm run build:bench');

t.setTimeout(LIMIT_MS);

t.test('everybody is measured, or it is said why not', { skip }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), 'b-'));
  t.teardown(() => rmSync(work, { recursive: true, force: true }));
  const [program, args] = plainNode(
    BENCH,
    '--quick',
    '--json',
    `${work}/result.json`,
    '--docs',
    `${work}/result.md`,
  );
  const { status, stdout, stderr } = await runTool(program, [...args, '--dir', work], { limitMs: LIMIT_MS });
  t.equal(status, 0, `${stderr}\n${stdout.toString()}`);
  t.strictSame(readdirSync(work).sort(), ['result.json', 'result.md'], 'its own directory is gone');

  const found = JSON.parse(readFileSync(`${work}/result.json`, 'utf8')) as Document;
  const markdown = readFileSync(`${work}/result.md`, 'utf8');
  t.ok(found.checkedBytes > 16 * 1024 ** 2, 'checksums were compared');
  t.strictSame(
    found.contenders.map(({ name }) => name),
    NAMES,
  );
  for (const { name, standing } of found.contenders) {
    const { state, reason, install } = standing;
    if (state === 'missing') {
      t.ok(
        (install ?? []).length > 0 && (install ?? []).every((line) => line.includes('install')),
        `${name}: how to install`,
      );
      t.ok(markdown.includes(install?.[0] ?? '?'), `${name}: named in the report`);
      t.comment(`${name}: ${reason}; ${install?.join('; ')}`);
    } else if (state === 'unavailable') {
      t.ok((reason ?? '') !== '', `${name}: ${reason}`);
    } else {
      t.equal(state, 'measured', `${name}: ${reason ?? 'measured'}`);
    }
    if (ALWAYS.includes(name)) t.equal(state, 'measured', name);
  }
  const measured = found.contenders.flatMap(({ name, standing }) =>
    standing.state === 'measured' ? [name] : [],
  );
  t.strictSame(
    found.workloads.map(({ workload }) => workload),
    [...READING, ...WRITING],
  );
  for (const { workload, rows } of found.workloads) {
    t.strictSame(
      rows.map(({ contender }) => contender),
      measured.filter((name) => READING.includes(workload) || takesPart(name, workload)),
      `${workload}: everybody has a row`,
    );
    t.ok(
      rows.every(({ rate, cpu }) => rate.median > 0 && cpu.median >= 0),
      `${workload}: figures`,
    );
  }
  t.ok(
    found.goals.every(({ verdict }) => verdict === 'not judged' || verdict === 'not measured'),
    'nothing is judged by small files',
  );
  t.notMatch(markdown, work, 'no path of this machine');
});

t.test('wrong calls', { skip }, async (t) => {
  const [program, args] = plainNode(BENCH, '--only', 'nobody');
  const { status, stderr } = await runTool(program, args);
  t.equal(status, 2);
  t.match(stderr, /--only nobody: the names are plain, /);
});
