/**
 * Which times every operation changes, of the file, of its directory and of others. All files of all cases are made
 * first, with times in the past; the probe then waits until the clock has moved on, so that a change shows.
 */
import fs from 'node:fs';
import { attempt, withFile } from './facts.mjs';
import * as calls from './system-calls.mjs';

const PAST = [1_000_000_000n, 0n];

/** Makes files whose access and modification times lie in the past. */
function makePast() {
  fs.writeFileSync('file', 'some text');
  fs.writeFileSync('other', 'other text');
  fs.linkSync('file', 'hard');
  fs.symlinkSync('file', 'link');
  fs.mkdirSync('d');
  fs.mkdirSync('d/empty');
  fs.writeFileSync('d/file', 'below');
  fs.mkdirSync('e');
  for (const name of ['file', 'other', 'link', 'd/file', 'd/empty', 'd', 'e', '.'])
    calls.utimensat(name, [PAST, PAST], calls.AT_SYMLINK_NOFOLLOW);
  return snapshot();
}

const WATCHED = ['.', 'file', 'hard', 'other', 'link', 'd', 'd/file', 'd/empty', 'e'];

function snapshot() {
  return new Map(
    WATCHED.map((name) => [
      name,
      attempt(() => {
        const { ino, mtimeNs, ctimeNs } = fs.lstatSync(name, { bigint: true });
        return { ino, mtimeNs, ctimeNs };
      }),
    ]),
  );
}

/** What changed of each file, found by inode; access times are left out, as mounts differ in keeping them. */
function changed(before) {
  const after = snapshot();
  const found = {};
  for (const [name, was] of before) {
    const is = [after.get(name), ...after.values()].find((each) => each.ino === was.ino);
    if (is === undefined) {
      found[name] = 'gone';
      continue;
    }
    const differs = ['mtimeNs', 'ctimeNs'].filter((field) => is[field] !== was[field]);
    const back = differs.filter((field) => is[field] < was[field]);
    if (differs.length > 0) found[name] = [...differs, ...back.map((field) => `${field} went back`)];
  }
  return found;
}

const OPERATIONS = {
  nothing: () => undefined,
  read: () => fs.readFileSync('file'),
  readdir: () => fs.readdirSync('d'),
  'open and close for writing': () => withFile('file', 'r+', () => 0),
  write: () => withFile('file', 'r+', (fd) => fs.writeSync(fd, 'x')),
  'write, before it is closed': () => {
    // Not closed before the times are looked at, only with the process.
    fs.writeSync(fs.openSync('file', 'r+'), 'x');
  },
  'write of nothing': () => withFile('file', 'r+', (fd) => fs.writeSync(fd, '')),
  append: () => fs.appendFileSync('file', 'x'),
  'write through another name': () => withFile('hard', 'r+', (fd) => fs.writeSync(fd, 'x')),
  'write and fsync': () =>
    withFile('file', 'r+', (fd) => {
      fs.writeSync(fd, 'x');
      fs.fsyncSync(fd);
    }),
  'write through a map': () =>
    withFile('file', 'r+', (fd) =>
      calls.withSharedMap(fd, 9, 0, (bytes, sync) => {
        bytes.write('x');
        sync();
      }),
    ),
  'truncate to less': () => calls.truncate('file', 3),
  'truncate to more': () => calls.truncate('file', 100),
  'truncate to the same': () => calls.truncate('file', 9),
  'ftruncate to less': () => withFile('file', 'r+', (fd) => calls.ftruncate(fd, 3)),
  'ftruncate to the same': () => withFile('file', 'r+', (fd) => calls.ftruncate(fd, 9)),
  O_TRUNC: () => withFile('file', 'w', () => 0),
  'O_CREAT of what exists': () => withFile('file', 'a', () => 0),
  create: () => fs.writeFileSync('new', ''),
  'create below': () => fs.writeFileSync('d/new', ''),
  'create through a link': () => fs.writeFileSync('link', 'x'),
  chmod: () => fs.chmodSync('file', 0o600),
  'chmod to the same': () => fs.chmodSync('file', 0o644),
  'chmod of a directory': () => fs.chmodSync('d', 0o700),
  chown: () => fs.chownSync('file', process.geteuid(), process.getegid()),
  'chown of nothing': () => fs.chownSync('file', -1, -1),
  'chown of a link': () => fs.lchownSync('link', process.geteuid(), process.getegid()),
  utimensat: () =>
    calls.utimensat('file', [
      [5n, 0n],
      [6n, 0n],
    ]),
  'utimensat of the access time': () =>
    calls.utimensat('file', [
      [5n, 0n],
      [0n, calls.UTIME_OMIT],
    ]),
  'utimensat of nothing': () =>
    calls.utimensat('file', [
      [0n, calls.UTIME_OMIT],
      [0n, calls.UTIME_OMIT],
    ]),
  'utimensat without times': () => calls.utimensNow('file'),
  mkdir: () => fs.mkdirSync('new'),
  'mkdir below': () => fs.mkdirSync('d/new'),
  'mkdir that fails': () => attempt(() => fs.mkdirSync('d')),
  mknod: () => calls.mknod('d/fifo', fs.constants.S_IFIFO | 0o644),
  symlink: () => fs.symlinkSync('x', 'd/new'),
  link: () => fs.linkSync('other', 'd/new'),
  'link that fails': () => attempt(() => fs.linkSync('other', 'file')),
  unlink: () => fs.unlinkSync('other'),
  'unlink of one of two names': () => fs.unlinkSync('hard'),
  'unlink below': () => fs.unlinkSync('d/file'),
  'unlink of a link': () => fs.unlinkSync('link'),
  'unlink that fails': () => attempt(() => fs.unlinkSync('d')),
  rmdir: () => fs.rmdirSync('d/empty'),
  'rmdir that fails': () => attempt(() => fs.rmdirSync('d')),
  rename: () => fs.renameSync('other', 'new'),
  'rename onto another': () => fs.renameSync('other', 'file'),
  'rename across directories': () => fs.renameSync('d/file', 'e/file'),
  'rename of a directory': () => fs.renameSync('d/empty', 'd/new'),
  'rename of a directory across directories': () => fs.renameSync('d/empty', 'e/new'),
  'rename to itself': () => fs.renameSync('file', 'file'),
  'rename to its other name': () => fs.renameSync('file', 'hard'),
  'rename that fails': () => attempt(() => fs.renameSync('other', 'd')),
};

export const changes = Object.fromEntries(
  Object.entries(OPERATIONS).map(([name, operation]) => [
    `times after ${name}`,
    {
      prepare: makePast,
      run: (before) => {
        operation();
        return changed(before);
      },
    },
  ]),
);
