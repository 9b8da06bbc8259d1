/** What a read-only, a full and a limited file system refuse. The suite prepares the directory; see write-suite.ts. */
import fs from 'node:fs';
import { attempt, list, text, withFile } from './facts.mjs';
import * as calls from './system-calls.mjs';

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = fs.constants;
const { S_IFIFO, S_IFCHR } = fs.constants;

const READ_ONLY = {
  'open for writing': () => withFile('file', O_WRONLY, () => 0),
  'open for both': () => withFile('file', O_RDWR, () => 0),
  'open for appending': () => withFile('file', O_WRONLY | O_APPEND, () => 0),
  'open with O_TRUNC': () => withFile('file', O_RDONLY | O_TRUNC, () => 0),
  'open what exists with O_CREAT': () => withFile('file', O_RDONLY | O_CREAT, () => 0),
  'open what exists with O_EXCL': () => withFile('file', O_RDONLY | O_CREAT | O_EXCL, () => 0),
  'open a directory for writing': () => withFile('directory', O_WRONLY, () => 0),
  'open what is missing': () => withFile('missing', O_WRONLY, () => 0),
  create: () => withFile('new', O_WRONLY | O_CREAT, () => 0),
  'create exclusively': () => withFile('new', O_WRONLY | O_CREAT | O_EXCL, () => 0),
  'create below nothing': () => withFile('missing/new', O_WRONLY | O_CREAT, () => 0),
  'create a name that is too long': () => withFile('n'.repeat(256), O_WRONLY | O_CREAT, () => 0),
  mkdir: () => fs.mkdirSync('new'),
  'mkdir of what exists': () => fs.mkdirSync('file'),
  mknod: () => calls.mknod('new', S_IFIFO | 0o644),
  'mknod of a device': () => calls.mknod('new', S_IFCHR | 0o644, 1, 3),
  symlink: () => fs.symlinkSync('a', 'new'),
  'symlink of what exists': () => fs.symlinkSync('a', 'link'),
  link: () => fs.linkSync('file', 'new'),
  'link of what is missing': () => fs.linkSync('missing', 'new'),
  'link to what exists': () => fs.linkSync('file', 'link'),
  unlink: () => fs.unlinkSync('file'),
  'unlink of what is missing': () => fs.unlinkSync('missing'),
  rmdir: () => fs.rmdirSync('directory'),
  'rmdir of what is missing': () => fs.rmdirSync('missing'),
  rename: () => fs.renameSync('file', 'new'),
  'rename onto what exists': () => fs.renameSync('file', 'other'),
  'rename across directories': () => fs.renameSync('file', 'directory/new'),
  'rename with RENAME_NOREPLACE': () => calls.renameat2('file', 'new', calls.RENAME_NOREPLACE),
  truncate: () => calls.truncate('file', 1),
  chmod: () => fs.chmodSync('file', 0o600),
  'chmod of a directory': () => fs.chmodSync('directory', 0o700),
  fchmod: () => withFile('file', 'r', (fd) => calls.fchmod(fd, 0o600)),
  chown: () => fs.chownSync('file', 1, 1),
  'lchown of a link': () => fs.lchownSync('link', 1, 1),
  utimensat: () =>
    calls.utimensat('file', [
      [1n, 0n],
      [1n, 0n],
    ]),
  'utimensat of now': () => calls.utimensNow('file'),
  'utimensat of a link': () =>
    calls.utimensat(
      'link',
      [
        [1n, 0n],
        [1n, 0n],
      ],
      calls.AT_SYMLINK_NOFOLLOW,
    ),
  futimens: () =>
    withFile('file', 'r', (fd) =>
      calls.futimens(fd, [
        [1n, 0n],
        [1n, 0n],
      ]),
    ),
  fsync: () => withFile('file', 'r', (fd) => fs.fsyncSync(fd)),
  'fsync of a directory': () => withFile('directory', 'r', (fd) => fs.fsyncSync(fd)),
  'write to a device': () => withFile('null', O_WRONLY, (fd) => fs.writeSync(fd, 'x')),
  'access for writing': () => fs.accessSync('file', fs.constants.W_OK),
  'access for writing, a directory': () => fs.accessSync('directory', fs.constants.W_OK),
  read: () => text('file'),
};

export const readOnly = Object.fromEntries(
  Object.entries(READ_ONLY).map(([name, operation]) => [
    `read-only: ${name}`,
    // Nothing can be made here: the cases share the directory that the suite filled.
    { inPlace: true, run: () => [attempt(operation), list(), text('file')] },
  ]),
);

/** Writes until there is no room, at most `limit` bytes, and says how that showed first. */
function fill(name, limit) {
  const chunk = new Uint8Array(64 * 1024).fill(0x61);
  let room = true;
  const result = attempt(() =>
    withFile(name, 'w', (fd) => {
      for (let written = 0; written < limit; written += chunk.length) fs.writeSync(fd, chunk);
      fs.fsyncSync(fd);
      room = false;
    }),
  );
  return room ? result : 'all of it fitted';
}

const LIMIT = 32 * 2 ** 20;

export const noSpace = {
  'no space: a write': {
    inPlace: true,
    run: () => {
      const result = fill('filled', LIMIT);
      const { size } = fs.statSync('filled');
      const intact = fs.readFileSync('filled').every((byte) => byte === 0x61);
      fs.unlinkSync('filled');
      return [result, size > 0 && size < LIMIT, intact];
    },
  },
  'no space: and room again after a file is gone': {
    inPlace: true,
    run: () => {
      const first = fill('filled', LIMIT);
      fs.unlinkSync('filled');
      const second = fill('small', 128 * 1024);
      fs.unlinkSync('small');
      return [first, second, list()];
    },
  },
  'no space: what fsync acknowledged stays': {
    inPlace: true,
    run: () => {
      const fd = fs.openSync('kept', 'w+');
      fs.writeSync(fd, 'acknowledged');
      fs.fsyncSync(fd);
      const full = fill('filled', LIMIT);
      const failed = attempt(() => {
        for (let chunk = 0; chunk < 32; chunk += 1)
          fs.writeSync(fd, new Uint8Array(2 ** 20), 0, 2 ** 20, 4096 + chunk * 2 ** 20);
        fs.fsyncSync(fd);
      });
      attempt(() => fs.closeSync(fd));
      const kept = withFile('kept', 'r', (again) => {
        const bytes = new Uint8Array(12);
        fs.readSync(again, bytes, 0, 12, 0);
        return String.fromCharCode(...bytes);
      });
      for (const name of ['kept', 'filled']) fs.unlinkSync(name);
      return [full, failed, kept, list()];
    },
  },
  'no space: an error is told once': {
    inPlace: true,
    run: () => {
      const full = fill('filled', LIMIT);
      fs.unlinkSync('filled');
      const after = attempt(() => withFile('filled', 'w', (fd) => [fs.writeSync(fd, 'x'), fs.fsyncSync(fd)]));
      fs.unlinkSync('filled');
      return [full, after];
    },
  },
};

/** As above, where what was removed is counted until much later. */
export const overQuota = { 'over quota: a write': noSpace['no space: a write'] };

export const noInodes = {
  'no inodes': {
    inPlace: true,
    run: () => {
      let made = 0;
      const full = attempt(() => {
        for (; made < 1_000; made += 1) fs.writeFileSync(`file-${made}`, '');
      });
      const refused = {
        create: attempt(() => withFile('new', 'w', () => 0)),
        exclusively: attempt(() => withFile('new', 'wx', () => 0)),
        mkdir: attempt(() => fs.mkdirSync('new')),
        symlink: attempt(() => fs.symlinkSync('a', 'new')),
        mknod: attempt(() => calls.mknod('new', S_IFIFO | 0o644)),
        exists: attempt(() => withFile('file-0', 'a', (fd) => fs.writeSync(fd, 'x'))),
      };
      const names = list().length;
      for (let index = 0; index < made; index += 1) fs.unlinkSync(`file-${index}`);
      return [full, made > 0, refused, names === made, list()];
    },
  },
};

/** A file that the suite gave all the names it can have. */
export const manyLinks = {
  'a file with as many links as it can have': {
    inPlace: true,
    run: () => {
      const seen = [attempt(() => fs.linkSync('../links/0', 'new')), fs.statSync('../links/0').nlink, list()];
      fs.unlinkSync('../links/1');
      seen.push(
        attempt(() => fs.linkSync('../links/0', 'new')),
        attempt(() => fs.linkSync('../links/0', 'one more')),
      );
      fs.renameSync('new', '../links/1');
      return [...seen, fs.statSync('../links/0').nlink];
    },
  },
};

/** Files that the suite marked with chattr(1). */
export const marked = {
  'an immutable file': {
    inPlace: true,
    run: () => ({
      open: attempt(() => withFile('immutable', 'r+', () => 0)),
      truncate: attempt(() => calls.truncate('immutable', 0)),
      chmod: attempt(() => fs.chmodSync('immutable', 0o600)),
      chown: attempt(() => fs.chownSync('immutable', 1, 1)),
      utimens: attempt(() =>
        calls.utimensat('immutable', [
          [1n, 0n],
          [1n, 0n],
        ]),
      ),
      now: attempt(() => calls.utimensNow('immutable')),
      link: attempt(() => fs.linkSync('immutable', 'linked')),
      rename: attempt(() => fs.renameSync('immutable', 'renamed')),
      onto: attempt(() => fs.renameSync('plain', 'immutable')),
      unlink: attempt(() => fs.unlinkSync('immutable')),
      left: [text('immutable'), list()],
    }),
  },
  'a file that can only be appended to': {
    inPlace: true,
    run: () => ({
      open: attempt(() => withFile('append-only', 'r+', () => 0)),
      truncate: attempt(() => calls.truncate('append-only', 0)),
      unlink: attempt(() => fs.unlinkSync('append-only')),
      rename: attempt(() => fs.renameSync('append-only', 'renamed')),
      left: [text('append-only'), list()],
    }),
  },
  'an append to it': {
    inPlace: true,
    run: () => [
      attempt(() => withFile('append-only', 'a', (fd) => fs.writeSync(fd, 'x'))),
      text('append-only'),
    ],
  },
  'in an immutable directory': {
    inPlace: true,
    run: () => ({
      create: attempt(() => fs.writeFileSync('immutable-directory/new', '')),
      mkdir: attempt(() => fs.mkdirSync('immutable-directory/new')),
      unlink: attempt(() => fs.unlinkSync('immutable-directory/inside')),
      rename: attempt(() => fs.renameSync('immutable-directory/inside', 'immutable-directory/new')),
      out: attempt(() => fs.renameSync('immutable-directory/inside', 'new')),
      write: attempt(() => fs.writeFileSync('immutable-directory/inside', 'written')),
      left: [text('immutable-directory/inside'), list('immutable-directory')],
    }),
  },
};
