/** RENAME: every kind of file onto every other, and what happens to what is open. */
import fs from 'node:fs';
import { attempt, kindOf, list, pread, text, withFile } from './facts.mjs';
import { mknod, renameat2, RENAME_EXCHANGE, RENAME_NOREPLACE } from './system-calls.mjs';

const TOO_LONG = 'n'.repeat(256);

/** Makes one file of each kind, `prefix` before its name. */
const KINDS = {
  nothing: () => undefined,
  file: (name) => fs.writeFileSync(name, name),
  directory: (name) => fs.mkdirSync(name),
  full: (name) => {
    fs.mkdirSync(name);
    fs.writeFileSync(`${name}/inside`, name);
  },
  link: (name) => fs.symlinkSync('somewhere', name),
  fifo: (name) => mknod(name, fs.constants.S_IFIFO | 0o644),
};

const matrix = Object.fromEntries(
  Object.keys(KINDS).flatMap((from) =>
    Object.keys(KINDS).map((to) => [
      `rename: ${from} onto ${to}`,
      {
        prepare: () => {
          KINDS[from]('from');
          KINDS[to]('to');
        },
        run: () => {
          const inode = attempt(() => fs.lstatSync('from').ino);
          const result = attempt(() => fs.renameSync('from', 'to'));
          return [
            result,
            list(),
            attempt(() => kindOf('to')),
            attempt(() => fs.lstatSync('to').ino === inode),
          ];
        },
      },
    ]),
  ),
);

function makeUsual() {
  fs.writeFileSync('file', 'text');
  fs.mkdirSync('directory');
  fs.mkdirSync('full');
  fs.mkdirSync('full/sub');
  fs.symlinkSync('loop', 'loop');
}

const PATHS = [
  ['file', 'file'],
  ['directory', 'directory'],
  ['full', 'full/sub'],
  ['full', 'full/sub/deeper'],
  ['full', 'full/new'],
  ['full/sub', 'full'],
  ['full/sub', '.'],
  ['.', 'new'],
  ['full/.', 'new'],
  ['full/..', 'new'],
  ['file', '.'],
  ['file', '..'],
  ['directory', 'full/..'],
  ['file', 'new/'],
  ['file/', 'new'],
  ['directory', 'new/'],
  ['directory/', 'new'],
  ['file', ''],
  ['', 'new'],
  ['file', TOO_LONG],
  [TOO_LONG, 'new'],
  ['missing', 'missing'],
  ['missing/name', 'new'],
  ['file', 'missing/new'],
  ['file', 'file/new'],
  ['file/name', 'new'],
  ['file', 'loop/new'],
  ['loop/name', 'new'],
  ['loop', 'new'],
  ['file', 'loop'],
  ['file', `${'directory/../'.repeat(400)}new`],
  ['file', '/proc/nearmount'],
  ['/proc/self/maps', 'new'],
];

export const renames = {
  ...matrix,
  ...Object.fromEntries(
    PATHS.map(([from, to]) => [
      `rename: ${from.slice(0, 20)} to ${to.slice(0, 20)}`,
      {
        prepare: makeUsual,
        run: () => [attempt(() => fs.renameSync(from, to)), list(), list('full')],
      },
    ]),
  ),
  'rename: names of one file': () => {
    fs.writeFileSync('a', 'text');
    fs.linkSync('a', 'b');
    fs.renameSync('a', 'b');
    return [list(), kindOf('a')];
  },
  'rename: one of two names': () => {
    fs.writeFileSync('a', 'text');
    fs.writeFileSync('x', 'other');
    fs.linkSync('a', 'b');
    fs.renameSync('x', 'a');
    return [kindOf('b'), text('a'), text('b')];
  },
  'rename: across directories': () => {
    fs.mkdirSync('x');
    fs.mkdirSync('y');
    fs.mkdirSync('x/moved');
    fs.writeFileSync('x/moved/inside', 'text');
    fs.renameSync('x/moved', 'y/moved');
    return [
      list('x'),
      list('y'),
      kindOf('x').nlink,
      kindOf('y').nlink,
      fs.statSync('y/moved/..').ino === fs.statSync('y').ino,
      text('y/moved/inside'),
      attempt(() => text('x/moved/inside')),
    ];
  },
  'rename: a directory whose children are open': () => {
    fs.mkdirSync('a');
    fs.mkdirSync('a/sub');
    fs.writeFileSync('a/sub/inside', 'text');
    return withFile('a/sub/inside', 'r+', (fd) => {
      fs.renameSync('a', 'b');
      fs.writeSync(fd, ' and more', 4);
      const seen = [pread(fd, 20, 0), text('b/sub/inside')];
      fs.writeFileSync('b/sub/new', 'new');
      fs.renameSync('b/sub', 'c');
      fs.writeSync(fd, 'TEXT', 0);
      seen.push(text('c/inside'), text('c/new'), list(), list('b'));
      return seen;
    });
  },
  'rename: the current directory': () => {
    fs.mkdirSync('a');
    process.chdir('a');
    fs.renameSync('../a', '../b');
    fs.writeFileSync('inside', 'text');
    process.chdir('..');
    return [list(), list('b')];
  },
  'rename: over an open file': () => {
    fs.writeFileSync('old', 'old text');
    fs.writeFileSync('new', 'new text');
    return withFile('old', 'r+', (fd) => {
      fs.renameSync('new', 'old');
      const seen = [pread(fd, 20, 0), fs.fstatSync(fd).nlink, text('old')];
      fs.writeSync(fd, 'OLD', 0);
      fs.ftruncateSync(fd, 5);
      seen.push(pread(fd, 20, 0), fs.fstatSync(fd).size, text('old'), list());
      return seen;
    });
  },
  'rename: an open file': () => {
    fs.writeFileSync('a', 'text');
    return withFile('a', 'r+', (fd) => {
      fs.renameSync('a', 'b');
      fs.writeSync(fd, 'TE', 0);
      return [text('b'), fs.fstatSync(fd).nlink, list()];
    });
  },
  'rename: a file with bytes not written back yet': () => {
    const fd = fs.openSync('a', 'w');
    fs.writeSync(fd, 'text');
    fs.renameSync('a', 'b');
    fs.writeSync(fd, ' more');
    fs.closeSync(fd);
    return [text('b'), list()];
  },
  'rename: a new file in place of the old, over and over': () => {
    const seen = [];
    for (let round = 0; round < 10; round += 1) {
      fs.writeFileSync('next', `round ${round}`);
      fs.renameSync('next', 'file');
      seen.push(text('file'), list().length);
    }
    return seen;
  },
  'rename: there and back': () => {
    fs.writeFileSync('a', 'text');
    fs.mkdirSync('d');
    const seen = [];
    for (let round = 0; round < 3; round += 1) {
      fs.renameSync('a', 'd/a');
      seen.push(
        attempt(() => text('a')),
        text('d/a'),
      );
      fs.renameSync('d/a', 'a');
      seen.push(
        attempt(() => text('d/a')),
        text('a'),
      );
    }
    return seen;
  },
  'rename: to a name that was missed': () => {
    fs.writeFileSync('a', 'text');
    return [attempt(() => text('b')), fs.renameSync('a', 'b') ?? 'done', text('b'), attempt(() => text('a'))];
  },
  'RENAME_NOREPLACE onto nothing': () => {
    fs.writeFileSync('a', 'text');
    return [attempt(() => renameat2('a', 'b', RENAME_NOREPLACE)), list()];
  },
  ...Object.fromEntries(
    ['file', 'directory', 'full', 'link'].map((to) => [
      `RENAME_NOREPLACE onto ${to}`,
      () => {
        fs.writeFileSync('a', 'text');
        KINDS[to]('b');
        return [attempt(() => renameat2('a', 'b', RENAME_NOREPLACE)), list(), text('a')];
      },
    ]),
  ),
  'RENAME_NOREPLACE of a directory': () => {
    fs.mkdirSync('a');
    return [attempt(() => renameat2('a', 'b', RENAME_NOREPLACE)), list()];
  },
  RENAME_EXCHANGE: () => {
    fs.writeFileSync('a', 'a');
    fs.mkdirSync('b');
    return [attempt(() => renameat2('a', 'b', RENAME_EXCHANGE)), list()];
  },
  'rename with flags that exclude each other': () => {
    fs.writeFileSync('a', 'a');
    fs.writeFileSync('b', 'b');
    return [attempt(() => renameat2('a', 'b', RENAME_EXCHANGE | RENAME_NOREPLACE)), text('b')];
  },
  'rename with an unknown flag': () => {
    fs.writeFileSync('a', 'a');
    return [attempt(() => renameat2('a', 'b', 0x8000)), list()];
  },
};
