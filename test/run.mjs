/**
 * Runs the tests with tap and ends with one line, `N passed, N failed, N skipped`: tap's own totals of
 * assertions (a subtest or file that is skipped, or marked todo, counts as one skipped).
 *
 * Fails, beside failing tests, when no test ran, when tap took longer than RUN_LIMIT_MS, and when tests left
 * mounts or processes behind: each one left is named, counted as one failure, and removed. Only mounts
 * below this run's own directories and processes started by this run are touched.
 *
 * Arguments go to tap: `node test/run.mjs test/xdr` runs one folder.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** How long all tests together may take, in milliseconds. A single file is bounded by `timeout` in .taprc. */
const RUN_LIMIT_MS = 17 * 60_000;
/** How long tap has to report and end after it was told to, in milliseconds. */
const STOP_GRACE_MS = 10_000;
/** How long mounts and processes that are on their way out may take, in milliseconds, and how often to look. */
const LEFTOVER_GRACE_MS = 3_000;
const LEFTOVER_POLL_MS = 100;
/** Marks the environment of every process of one run; its value is the run's temporary directory. */
const RUN_MARK = 'NEARMOUNT_TEST_RUN';

const root = fileURLToPath(new URL('..', import.meta.url));
const stateDir = join(root, '.tap');
const runDir = realpathSync(mkdtempSync(join(tmpdir(), 'nearmount-test-')));
// Some tests act as other users, who must be able to pass.
chmodSync(runDir, 0o755);
const tapFile = join(runDir, 'output.tap');
/** What failed that tap does not know of. */
const complaints = [];

/** Mount points below this run's own directories, in mount order. Reads only /proc, so no dead mount can block it. */
function ownMounts() {
  const ownDirs = [runDir, join(realpathSync(root), '.tap/fixtures')];
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((point) => point.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8))))
    .filter((point) => ownDirs.some((dir) => point.startsWith(`${dir}/`)));
}

/** Living processes this run started, as [pid, command line]. */
function ownProcesses() {
  const mark = `${RUN_MARK}=${runDir}`;
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark)) continue;
      found.push([Number(pid), readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()]);
    } catch {
      // gone meanwhile, or another user's
    }
  }
  return found;
}

/** Asks `list` until it is empty or the grace is over; returns what is still there. */
async function afterGrace(list) {
  const end = Date.now() + LEFTOVER_GRACE_MS;
  let left = list();
  while (left.length > 0 && Date.now() < end) {
    await delay(LEFTOVER_POLL_MS);
    left = list();
  }
  return left;
}

/** Aborts and detaches one mount without ever looking into it, since its server may be dead. */
function detach(point) {
  if (process.getuid?.() === 0) {
    spawnSync('umount', ['-i', '-c', '-f', '--', point], { stdio: 'ignore' });
    spawnSync('umount', ['-i', '-c', '-l', '--', point], { stdio: 'ignore' });
  } else {
    spawnSync('fusermount3', ['-u', '-z', '-q', '--', point], { stdio: 'ignore' });
  }
}

function clearMount(point) {
  complaints.push(`a test left a mount behind: ${point}`);
  detach(point);
}

/** Runs tap to its end; returns its exit status, or null when it had to be stopped. */
function runTap() {
  const env = { ...process.env, TMPDIR: runDir, [RUN_MARK]: runDir };
  // Off a terminal tap's reporter redraws its screen all the same, unless CI is set: then it prints a line a file.
  if (!process.stdout.isTTY) env.CI = 'true';
  const args = ['run', '--reporter=base', `--output-file=${tapFile}`, ...process.argv.slice(2)];
  return new Promise((resolve, reject) => {
    const tap = spawn(join(root, 'node_modules/.bin/tap'), args, { cwd: root, env, stdio: 'inherit' });
    let stopped = false;
    let killTimer;
    const limit = setTimeout(() => {
      stopped = true;
      console.error(`tests still run after ${RUN_LIMIT_MS / 60_000} minutes: stopping them`);
      ownMounts().reverse().forEach(clearMount); // a test in an uninterruptible call on a dead mount ends only so
      tap.kill('SIGTERM');
      killTimer = setTimeout(() => tap.kill('SIGKILL'), STOP_GRACE_MS);
    }, RUN_LIMIT_MS);
    tap.on('error', reject);
    tap.on('exit', (status) => {
      clearTimeout(limit);
      clearTimeout(killTimer);
      resolve(stopped ? null : status);
    });
  });
}

/** The totals tap closes its output with, such as `# { total: 12, pass: 8, fail: 1, skip: 3 }`. */
function totals(tapText) {
  const last = [...tapText.matchAll(/^# \{ (total: \d+.*) \}$/gm)].at(-1)?.[1];
  if (last === undefined) return null;
  const of = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(last)?.[1] ?? 0);
  return { passed: of('pass'), failed: of('fail'), skipped: of('skip') + of('todo') };
}

/** The failing points of a TAP text with their diagnostics; tap's reporter drops them when it has no terminal. */
function failures(tapText) {
  const shown = [];
  let inside = '';
  for (const line of tapText.split('\n')) {
    const point = /^( *)not ok /.exec(line);
    if (point) inside = `${point[1]}  `;
    else if (!line.startsWith(inside)) inside = '';
    if (inside !== '') shown.push(line);
    if (inside !== '' && line === `${inside}...`) inside = '';
  }
  return shown;
}

// Ctrl-C reaches tap as well; this process stays to clear up after it.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

const status = await runTap();
const tapText = existsSync(tapFile) ? readFileSync(tapFile, 'utf8') : '';
const counted = totals(tapText);
const count = counted ?? { passed: 0, failed: 0, skipped: 0 };

if (!process.stdout.isTTY) for (const line of failures(tapText)) console.log(line);
if (status === null) complaints.push('tap was stopped');
else if (counted === null) complaints.push(`tap gave no totals (exit status ${status})`);
else if (count.passed + count.failed === 0) complaints.push('no test ran');
else if (status !== 0 && count.failed === 0) complaints.push(`tap ended with exit status ${status}`);

(await afterGrace(ownMounts)).reverse().forEach(clearMount);
for (const [pid, command] of await afterGrace(ownProcesses)) {
  complaints.push(`a test left a process behind: ${pid} ${command}`);
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended by itself meanwhile
  }
}
// Never delete through a mount: what is behind it is not ours.
if (ownMounts().length === 0) rmSync(runDir, { recursive: true, force: true });

for (const complaint of complaints) console.log(`not ok - ${complaint}`);
count.failed += complaints.length;
const line = `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`;
mkdirSync(stateDir, { recursive: true });
writeFileSync(join(stateDir, 'summary.txt'), `${line}\n`);
// tap's reporter leaves the cursor behind an escape code: the count has a line of its own.
console.log(`\n${line}`);
process.exitCode = count.failed === 0 ? 0 : 1;
