import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { checkCopies, checkUnchanged, chooseCopied } from '../../src/cli/demo/copy-check.ts';
import type { Place } from '../../src/cli/demo/programs.ts';
import { summarize } from '../../src/cli/demo/timed-reads.ts';
import { checkTree, describeVerdict, readTruth } from '../../src/cli/demo/tree-check.ts';
import { hasCapability } from '../../src/system/capabilities.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const SMALL = ['--size', '16M', '--files', '60', '--rounds', '3'];
const SPEED_CHECK = 'near: speed';

const skip = ((): string | false => {
  if (process.geteuid?.() !== 0 || !hasCapability('CAP_SYS_ADMIN')) return 'needs root';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch {
    return 'needs /dev/fuse';
  }
  return !existsSync(main) && 'needs dist: npm run build';
})();

interface Report {
  ok: boolean;
  checks: { name: string; ok: boolean; detail: string }[];
  near: GuestReport;
  far: GuestReport;
  tree: { files: number; entries: number; bytes: number };
  unchanged: Verdict;
  rounds: unknown[];
}
interface GuestReport {
  route: string;
  dataPath: string;
  bytesRead: number;
  socketBytes: number;
  processBytes: number;
  tree: Verdict[];
  copy: Verdict;
}
interface Verdict {
  what: string;
  checked: number;
  mismatches: string[];
}

/** Short, because Unix sockets lie in it. */
function workDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'demo-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function startDemo(directory: string, words: readonly string[]): ReturnType<typeof spawn> {
  return spawn(process.execPath, [main, 'demo', '--dir', directory, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function runDemo(
  directory: string,
  words: readonly string[],
): Promise<{ status: number | null; report: Report; errors: string }> {
  const child = startDemo(directory, words);
  let output = '';
  let errors = '';
  child.stdout?.on('data', (piece: Buffer) => (output += piece.toString()));
  child.stderr?.on('data', (piece: Buffer) => (errors += piece.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  if (output === '') throw new Error(`no report: ${errors}`);
  return { status, report: JSON.parse(output) as Report, errors };
}

/** Processes that name the directory in their arguments: server, gateways, programs in guests. */
function processesIn(directory: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${directory}/nearmount-demo-`);
    } catch {
      return false;
    }
  });
}

function nothingIsLeft(t: Test, directory: string): void {
  t.same(readdirSync(directory), [], 'no file is left');
  t.same(processesIn(directory), [], 'no process is left');
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), directory, 'no mount is left');
}

t.test('every byte is checked; near passes through, far goes by wire', { skip }, async (t) => {
  const directory = workDirectory(t);
  const { status, report, errors } = await runDemo(directory, [...SMALL, '--json']);
  t.equal(errors, '', 'with --json there are no remarks');
  const failed = report.checks.filter(({ ok, name }) => !ok && !name.startsWith(SPEED_CHECK));
  t.same(failed, []);
  t.equal(
    report.ok,
    report.checks.every(({ ok }) => ok),
  );
  t.equal(status, report.ok ? 0 : 1, 'the exit status is the verdict');
  t.ok(
    report.checks.some(({ name }) => name.startsWith(SPEED_CHECK)),
    'speed is judged',
  );
  t.equal(report.rounds.length, 3);
  t.ok(report.tree.files > 60, 'small files, large file, checkout');
  for (const guest of [report.near, report.far]) {
    t.same(
      guest.tree.map(({ checked }) => checked),
      [report.tree.entries, report.tree.files, report.tree.entries],
    );
    t.same(
      guest.tree.flatMap(({ mismatches }) => mismatches),
      [],
    );
    t.ok(guest.copy.checked > 60, 'files were copied');
    t.same(guest.copy.mismatches, []);
  }
  t.match(report.unchanged, { checked: report.tree.entries, mismatches: [] });
  t.equal(report.near.bytesRead, 3 * 3 * 16 * 1024 ** 2, 'three near reads a round');
  t.equal(report.far.bytesRead, 3 * 16 * 1024 ** 2);
  t.match(report.near, { route: 'near', dataPath: 'passthrough' });
  t.match(report.far, { route: 'network', dataPath: 'wire' });
  t.ok(report.near.processBytes < report.near.bytesRead / 100, 'near: under 1 % went through a process');
  t.ok(report.far.socketBytes > report.far.bytesRead * 0.9, 'far: the bytes crossed the socket');
  nothingIsLeft(t, directory);
});

t.test('with datapath=wire the check fails, so it is one', { skip }, async (t) => {
  const directory = workDirectory(t);
  const { status, report } = await runDemo(directory, [...SMALL, '--json', '-o', 'datapath=wire']);
  t.equal(status, 1);
  const failed = report.checks.filter(({ ok }) => !ok).map(({ name }) => name);
  t.ok(failed.includes('near: data path is passthrough'));
  t.ok(failed.includes('near: under 1 % of the bytes went through our processes'));
  t.same(
    report.near.tree.flatMap(({ mismatches }) => mismatches),
    [],
    'the bytes are right all the same',
  );
  nothingIsLeft(t, directory);
});

t.test('Ctrl-C in the middle leaves nothing', { skip }, async (t) => {
  const directory = workDirectory(t);
  const child = startDemo(directory, ['--size', '16M', '--files', '10', '--rounds', '1000']);
  const ended = once(child, 'close');
  let errors = '';
  await new Promise<void>((resolve) => {
    child.stderr?.on('data', (piece: Buffer) => {
      errors += piece.toString();
      if (errors.includes('checking every file')) resolve();
    });
    child.once('close', () => resolve());
  });
  t.equal(processesIn(directory).length >= 3, true, 'a server and two gateways run');
  child.kill('SIGINT');
  t.same(await ended, [130, null], errors);
  nothingIsLeft(t, directory);
});

t.test('what cannot work is said in a line', { skip }, async (t) => {
  const directory = workDirectory(t);
  for (const [words, status, line] of [
    [['--size', '1M'], 2, /^nearmount: --size 1M: .*\n$/],
    [['-o', 'datapath=foo'], 2, /^nearmount: mount option .*\n$/],
    [['--size', '1000G'], 1, /^nearmount: .* MiB free, the demo needs .*--dir.*\n$/],
    [[`${directory}/none`], 1, /^nearmount: .*none cannot be read \(ENOENT\)\n$/],
    [[directory], 1, /^nearmount: the demo's own files would lie inside .*\n$/],
  ] as const) {
    const child = startDemo(directory, words);
    let errors = '';
    child.stderr?.on('data', (piece: Buffer) => (errors += piece.toString()));
    t.same(await once(child, 'close'), [status, null], words.join(' '));
    t.match(errors, line);
  }
  nothingIsLeft(t, directory);
});

t.test('a file that differs is named', async (t) => {
  const directory = workDirectory(t);
  const place = (name: string): Place => ({
    name: 'direct',
    title: name,
    root: join(directory, name),
    enter: [],
  });
  const [source, copy] = [place('source'), place('copy')];
  const time = new Date(1_000_000_000_000);
  mkdirSync(join(source.root, 'sub dir'), { recursive: true });
  for (const name of ['same', 'sub dir/flipped\nbit', 'empty', '-dash']) {
    writeFileSync(join(source.root, name), name === 'empty' ? '' : `content of ${name}`);
    utimesSync(join(source.root, name), time, time);
  }
  symlinkSync('same', join(source.root, 'link'));
  const signal = new AbortController().signal;
  const phase = { advance: () => {} };
  const truth = await readTruth(source, signal, () => phase);
  t.equal(truth.files.length, 4);
  t.equal(truth.entries.size, 7, 'with the root, a directory and a link');

  for (const verdict of await checkTree(source, source, truth, signal, phase)) {
    t.same(verdict.mismatches, [], verdict.what);
    t.match(describeVerdict(verdict), /^\d checked, all equal$/);
  }

  cpSync(source.root, copy.root, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  writeFileSync(join(copy.root, 'sub dir/flipped\nbit'), 'Content of sub dir/flipped\nbit');
  utimesSync(join(copy.root, 'sub dir/flipped\nbit'), time, time);
  const [, contents, archive] = await checkTree(copy, source, truth, signal, phase);
  t.same(contents?.mismatches, ['sub dir/flipped\nbit: contents differ'], 'cat: with size and times equal');
  t.match(archive?.mismatches, [/flipped\\nbit: Contents differ/], 'tar');

  rmSync(join(copy.root, 'same'));
  writeFileSync(join(copy.root, 'more'), '');
  const [listing, shifted] = await checkTree(copy, source, truth, signal, phase);
  t.ok(listing?.mismatches.includes('same: missing'));
  t.ok(listing?.mismatches.includes('more: not in the source'));
  t.match(shifted?.mismatches.join('\n'), /same: No such file/, 'cat says so itself');
});

t.test('a copy that differs is named, and a tree that changed', async (t) => {
  const directory = workDirectory(t);
  const place = (name: string): Place => ({
    name: 'direct',
    title: name,
    root: join(directory, name),
    enter: [],
  });
  const source = place('source');
  mkdirSync(join(source.root, 'sub'), { recursive: true });
  for (const name of ['one', 'sub/two', 'sub/-dash\n'])
    writeFileSync(join(source.root, name), `content of ${name}`);
  writeFileSync(join(source.root, 'large'), '');
  truncateSync(join(source.root, 'large'), 64 * 1024 ** 2);
  const signal = new AbortController().signal;
  const phase = { advance: () => {} };
  const truth = await readTruth(source, signal, () => phase);
  const chosen = chooseCopied(truth);
  t.same(
    chosen.files.map(({ name }) => name),
    ['one', 'sub/-dash\n', 'sub/two'],
    'large files are left out',
  );
  const check = (name: string, arrived: string): ReturnType<typeof checkCopies> =>
    checkCopies(source, join(directory, name), place(arrived), chosen, signal, phase);

  t.match(await check('good', 'good'), { checked: 3, mismatches: [] });
  cpSync(join(directory, 'good'), join(directory, 'bad'), { recursive: true, preserveTimestamps: true });
  const { mtime } = statSync(join(directory, 'good/one'));
  writeFileSync(join(directory, 'bad/one'), 'Content of one');
  utimesSync(join(directory, 'bad/one'), mtime, mtime);
  rmSync(join(directory, 'bad/sub/two'));
  const { mismatches } = await check('again', 'bad');
  t.ok(mismatches.includes('one: contents differ'), mismatches.join('; '));
  t.ok(mismatches.includes('sub/two: missing'));
  await t.rejects(check('again', 'again'), /mkdir.*File exists/, 'only into a fresh directory');

  t.same((await checkUnchanged(source, truth, signal)).mismatches, []);
  writeFileSync(join(source.root, 'one'), 'more than before');
  t.match((await checkUnchanged(source, truth, signal)).mismatches, [/^one: size/]);
});

t.test('medians', async (t) => {
  t.same(summarize([3, 1, 2]), { median: 2, minimum: 1, maximum: 3 });
  t.same(summarize([4, 1, 2, 3]), { median: 2.5, minimum: 1, maximum: 4 });
});
