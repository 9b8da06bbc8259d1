/** The tree of the read conformance suite, on a file system of its own that is read-only for everybody. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';

const GIB = 2 ** 30;

/** A group no user of the machine is in by chance. */
export const GROUP = 54_321;
export const USER = 65_534;

/** `bytes` that look random and are the same on every run. */
function content(bytes: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, index) =>
    createHash('sha256').update(`${seed}${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
}

/**
 * Mounts a tmpfs at `at`, fills it and makes it read-only, so that a plain directory refuses writes exactly as a
 * read-only mount of it must. The caller unmounts it.
 */
export function mountReadOnlyTree(at: string, hasGit: boolean): void {
  fs.mkdirSync(at, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128m,mode=755', 'conformance', at]);
  const path = (name: string): string => join(at, name);
  const write = (name: string, data: string | Buffer, mode = 0o644, uid = 0, gid = 0): void => {
    fs.writeFileSync(path(name), data);
    fs.chownSync(path(name), uid, gid);
    fs.chmodSync(path(name), mode);
  };
  const directory = (name: string, mode = 0o755, uid = 0, gid = 0): void => {
    fs.mkdirSync(path(name));
    fs.chownSync(path(name), uid, gid);
    fs.chmodSync(path(name), mode);
  };
  write('empty', '');
  write('one', 'x');
  write('text', 'some text\n');
  write('page', content(4096, 'page'));
  write('big', content(5_242_887, 'big'));
  const sparse = fs.openSync(path('sparse'), 'w');
  fs.writeSync(sparse, 'at the start');
  fs.writeSync(sparse, 'behind four GiB', 4 * GIB - 7);
  fs.ftruncateSync(sparse, 5 * GIB);
  fs.writeSync(sparse, 'the end', 5 * GIB - 7);
  fs.closeSync(sparse);
  write('n'.repeat(255), 'long name\n');
  write('secret', 'secret\n', 0o600);
  write('group-file', 'for the group\n', 0o640, 0, GROUP);
  write('owned', 'owned\n', 0o600, USER, USER);
  write('setuid', 'setuid\n', 0o4755);
  write('old', 'old\n');
  fs.utimesSync(path('old'), 1, 1_000_000_000.5);
  write('hard-1', 'two names\n');
  fs.linkSync(path('hard-1'), path('hard-2'));
  fs.copyFileSync('/bin/echo', path('prog'));
  fs.copyFileSync('/bin/echo', path('exec-only'));
  fs.chmodSync(path('exec-only'), 0o711);

  directory('dir');
  directory('dir/sub');
  write('dir/file', 'in a directory\n');
  directory('private', 0o700);
  write('private/inside', 'private\n');
  directory('search-only', 0o711);
  write('search-only/inside', 'who knows the name\n');
  directory('group-dir', 0o750, 0, GROUP);
  write('group-dir/inside', 'for the group\n');
  directory('many');
  for (let index = 0; index < 4_990; index += 1) fs.writeFileSync(path(`many/name-${index}`), '');
  for (let index = 0; index < 10; index += 1) {
    fs.writeFileSync(
      Buffer.concat([Buffer.from(path('many/')), Buffer.from([0x80 + index, 0xff, 0x0a])]),
      '',
    );
  }
  directory('raw');
  for (const name of ['ff', 'c328', 'e4f6fc', '0a', '20', '5c', '2d2d', 'f09f9880', '2e2e2e', '7f01']) {
    fs.writeFileSync(Buffer.concat([Buffer.from(path('raw/')), Buffer.from(name, 'hex')]), name);
  }
  fs.symlinkSync('text', path('link'));
  fs.symlinkSync('dir', path('dir-link'));
  fs.symlinkSync('nowhere/at/all', path('dangling'));
  fs.symlinkSync('./'.repeat(1_900) + 'text', path('long-link'));
  fs.symlinkSync('loop-b', path('loop-a'));
  fs.symlinkSync('loop-a', path('loop-b'));
  execFileSync('mkfifo', [path('fifo')]);
  execFileSync('mknod', [path('chr'), 'c', '1', '3']);
  execFileSync('mknod', [path('blk'), 'b', '259', '70000']);
  execFileSync('mknod', ['-m', '600', path('chr2'), 'c', '1', '5']);
  makeSocket(path('socket'));

  const database = new Database(path('data.db'));
  database.exec('CREATE TABLE pairs (key INTEGER PRIMARY KEY, value TEXT)');
  const insert = database.prepare('INSERT INTO pairs VALUES (?, ?)');
  database.transaction(() => {
    for (let key = 0; key < 5_000; key += 1) insert.run(key, content(64, `row${key}`).toString('hex'));
  })();
  database.close();

  if (hasGit) makeRepository(path('repository'));
  execFileSync('mount', ['-o', 'remount,ro,nosuid,nodev', at]);
}

/** A socket file with nobody behind it. */
function makeSocket(path: string): void {
  execFileSync(process.execPath, [
    '-e',
    // Ending without close() leaves the file.
    'require("node:net").createServer().listen(process.argv[1], () => process.reallyExit(0))',
    path,
  ]);
}

function makeRepository(at: string): void {
  const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
  const git = (...args: string[]): void => {
    const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
    execFileSync('git', ['-C', at, ...who, ...args], { env, stdio: 'pipe' });
  };
  fs.mkdirSync(at);
  git('init', '-q', '-b', 'main');
  for (let index = 0; index < 20; index += 1) {
    fs.writeFileSync(join(at, `file-${index}`), content(10_000, `git${index}`));
    git('add', '.');
    git('commit', '-q', '-m', `commit ${index}`);
  }
  git('gc', '-q');
  fs.writeFileSync(join(at, 'untracked'), 'untracked\n');
  fs.appendFileSync(join(at, 'file-3'), 'changed\n');
}
