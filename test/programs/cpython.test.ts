/**
 * CPython's own tests of files, on a mount and on a plain directory: what fails or is skipped is the same. They are many
 * and slow, so with the other tests only some run, where Debian's package of them is installed.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { runTool } from '../support/mounts.ts';
import { FULL_SIZE, sized } from '../trees/size.ts';
import { onMounts, skipWithoutPrograms } from './writable-mount.ts';

/** Debian's own, which is the one its package of tests belongs to. */
const PYTHON = '/usr/bin/python3';
const SHORT = ['test_shutil', 'test_tempfile', 'test_fileio', 'test_file', 'test_dbm_dumb', 'test_glob'];
const LONG = [
  ...['test_os', 'test_posix', 'test_io', 'test_mmap', 'test_largefile', 'test_pathlib', 'test_zipfile'],
  ...['test_tarfile', 'test_sqlite3', 'test_fcntl', 'test_stat', 'test_genericpath', 'test_posixpath'],
  ...['test_filecmp', 'test_fileinput', 'test_mailbox', 'test_gzip', 'test_bz2', 'test_lzma', 'test_shelve'],
];
const MODULES = FULL_SIZE ? [...SHORT, ...LONG] : SHORT;
/**
 * It follows up to 40 links in a path. More than 20 fail with ELOOP now and then, on a plain directory as well, when
 * something is mounted or unmounted on the machine at that moment, as other tests do: docs/semantics.md, "Links".
 */
const IGNORED = '*.SymlinkLoopGlobTests.test_selflink';
const LIMIT_MS = sized(120_000, 1_200_000);

const hasTests = spawnSync(PYTHON, ['-c', 'import test.test_os']).status === 0;
const skip =
  skipWithoutPrograms({ [PYTHON]: 'python3' }) ||
  (!hasTests && 'needs the tests of CPython: apt-get install libpython3.11-testsuite');

/** Outcomes by the tests' names, as regrtest writes them for JUnit. */
async function outcomes(directory: string, report: string): Promise<Map<string, string>> {
  mkdirSync(directory, { recursive: true });
  const options = ['--tempdir', directory, '--junit-xml', report, '--ignore', IGNORED];
  const resources = FULL_SIZE ? ['-u', 'largefile'] : [];
  const { stdout, stderr } = await runTool(PYTHON, ['-m', 'test', ...options, ...MODULES, ...resources], {
    limitMs: LIMIT_MS,
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: directory, TMPDIR: directory, LC_ALL: 'C.UTF-8' },
  });
  const found = new Map<string, string>();
  const text = readFileSync(report, 'utf8');
  for (const [, name = '', ended, body = ''] of text.matchAll(
    /<testcase name="([^"]*)"[^>]*?(?:(\/>)|>([^]*?)<\/testcase>)/g,
  )) {
    const kind = ended === undefined ? (/<(error|failure|skipped)\b/.exec(body)?.[1] ?? 'passed') : 'passed';
    // A test that runs with several parameters has several outcomes.
    found.set(name, [found.get(name), kind].filter((each) => each !== undefined).join(' '));
  }
  if (found.size === 0) throw new Error(`no outcomes: ${stdout.toString().slice(-2_000)} ${stderr}`);
  return found;
}

/** Tests that skip themselves on a mount, because they need what NFSv3 cannot say. */
const SKIPPED: readonly { readonly tests: RegExp; readonly reason: string }[] = [
  {
    tests: /_(copy2_xattr|copyxattr|copyxattr_symlinks)$|\.ExtendedAttributeTests\./,
    reason: 'RFC 1813 section 3: no procedure sets extended attributes',
  },
  { tests: /\.test_fs_holes$/, reason: 'RFC 1813 section 3: no procedure tells where holes are' },
  { tests: /_after_2107$/, reason: 'RFC 1813 section 2.6, nfstime3: seconds of 32 bits, from 1970 to 2106' },
];

onMounts(t, 'CPython', skip, async (t, { point, plain }) => {
  const expected = await outcomes(join(plain, 'python'), join(plain, 'plain.xml'));
  const found = await outcomes(join(point, 'python'), join(plain, 'mount.xml'));
  t.ok(expected.size > 100, `${expected.size} tests`);
  const differences = [...expected].flatMap(([name, outcome]) => {
    const isSkipped = SKIPPED.some(({ tests }) => tests.test(name));
    return found.get(name) === (isSkipped ? 'skipped' : outcome)
      ? []
      : [`${name}: ${found.get(name)}, on a plain directory ${outcome}`];
  });
  t.same(differences, [], 'as on a plain directory');
  t.same(
    [...found.keys()].filter((name) => !expected.has(name)),
    [],
  );
});
