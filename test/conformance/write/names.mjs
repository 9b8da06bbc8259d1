/** MKDIR, MKNOD, CREATE, SYMLINK, LINK, UNLINK and RMDIR: what they make and remove, and every error they name. */
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import { attempt, kindOf, list, modeOf, text, withFile } from './facts.mjs';
import { AT_SYMLINK_FOLLOW, linkat, mknod, O_TMPFILE } from './system-calls.mjs';

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
const { S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR } = fs.constants;
const LONGEST = 'n'.repeat(255);

/** The files most cases of errors need. */
function makeUsual() {
  fs.writeFileSync('file', 'text');
  fs.mkdirSync('directory');
  fs.mkdirSync('full');
  fs.writeFileSync('full/inside', '');
  fs.symlinkSync('file', 'link');
  fs.symlinkSync('directory', 'directory-link');
  fs.symlinkSync('nowhere', 'dangling');
  fs.symlinkSync('loop', 'loop');
}

/** A call that names one file, on every kind of name: `what` is the call. */
function errorsOf(what, call) {
  const paths = {
    'a missing name': 'missing',
    'a file': 'file',
    'an empty directory': 'directory',
    'a full directory': 'full',
    'a link': 'link',
    'a link to a directory': 'directory-link',
    'a dangling link': 'dangling',
    'a loop': 'loop',
    'a file with a slash': 'file/',
    'a directory with a slash': 'directory/',
    'a missing name with a slash': 'missing/',
    'a link with a slash': 'directory-link/',
    'a dangling link with a slash': 'dangling/',
    'a name below a file': 'file/name',
    'a name below nothing': 'missing/name',
    'a name below a loop': 'loop/name',
    'a name below a dangling link': 'dangling/name',
    'the longest name': LONGEST,
    'a name that is too long': `${LONGEST}n`,
    'a name that is too long, below': `directory/${LONGEST}n`,
    'a path that is too long': `${'directory/../'.repeat(400)}name`,
    'no name': '',
    dot: '.',
    'dot below': 'directory/.',
    'dot dot': 'directory/..',
  };
  return Object.fromEntries(
    Object.entries(paths).map(([kind, path]) => [
      `${what}: ${kind}`,
      { prepare: makeUsual, run: () => [attempt(() => call(path)), list()] },
    ]),
  );
}

function withUmask(mask, action) {
  const before = process.umask(mask);
  try {
    return action();
  } finally {
    process.umask(before);
  }
}

const MODES = [0, 0o1, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o7777];
const MASKS = [0, 0o022, 0o077, 0o777];

/** @param make makes a file of a name and a mode */
const modesOf = (make) => () =>
  MASKS.map((mask) =>
    withUmask(mask, () =>
      MODES.map((mode) => {
        const name = `m${mask}-${mode}`;
        return [attempt(() => make(name, mode)), attempt(() => modeOf(name))];
      }),
    ),
  );

/** Names as bytes: UTF-8, other encodings, control characters, and every byte that a name may hold. */
const RAW_NAMES = [
  ...['ff', 'c328', 'e4f6fc', '0a', '20', '5c', '2d2d', 'f09f9880', '2e2e2e', '7f01', 'ffff'.repeat(60)],
  Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1).filter((byte) => byte !== 0x2f)).toString(
    'hex',
  ),
  'c3a9'.repeat(127) + '61',
  '80'.repeat(255),
].map((hex) => Buffer.from(hex, 'hex'));

const hexNames = () =>
  fs
    .readdirSync('.', { encoding: 'buffer' })
    .map((name) => name.toString('hex'))
    .sort();

export const names = {
  ...errorsOf('mkdir', (path) => fs.mkdirSync(path)),
  ...errorsOf('rmdir', (path) => fs.rmdirSync(path)),
  ...errorsOf('unlink', (path) => fs.unlinkSync(path)),
  ...errorsOf('mknod', (path) => mknod(path, S_IFIFO | 0o644)),
  ...errorsOf('symlink', (path) => fs.symlinkSync('target', path)),
  ...errorsOf('create', (path) => withFile(path, O_WRONLY | O_CREAT, () => 0)),
  ...errorsOf('create exclusively', (path) => withFile(path, O_WRONLY | O_CREAT | O_EXCL, () => 0)),
  ...errorsOf('link to', (path) => linkat('file', path)),
  ...errorsOf('link from', (path) => linkat(path, 'new')),
  ...errorsOf('link from what it points to', (path) => linkat(path, 'new', AT_SYMLINK_FOLLOW)),

  'mkdir: modes': modesOf((name, mode) => fs.mkdirSync(name, mode)),
  'create: modes': modesOf((name, mode) => withFile(name, O_WRONLY | O_CREAT, () => 0, mode)),
  'mknod: modes': modesOf((name, mode) => mknod(name, S_IFIFO | mode)),
  'mkdir: links of the parent': () => {
    const seen = [kindOf('.').nlink];
    for (const name of ['a', 'b', 'c']) {
      fs.mkdirSync(name);
      seen.push([kindOf('.').nlink, kindOf(name).nlink]);
    }
    fs.mkdirSync('a/d');
    seen.push(kindOf('a').nlink);
    fs.rmdirSync('b');
    seen.push(kindOf('.').nlink);
    return seen;
  },
  'rmdir: a directory in use': () => {
    fs.mkdirSync('a');
    process.chdir('a');
    fs.rmdirSync('../a');
    const seen = [
      attempt(() => fs.writeFileSync('x', '')),
      attempt(() => fs.mkdirSync('x')),
      attempt(() => fs.symlinkSync('a', 'x')),
      // glibc takes ENOENT of getdents(2) for the end of the directory, but not that of open(2).
      [0, 'ENOENT'].includes(attempt(() => fs.readdirSync('.').length)),
    ];
    process.chdir('..');
    return seen;
  },
  'mknod: a file': () => [mknod('a', S_IFREG | 0o640), kindOf('a'), text('a')],
  'mknod: a socket': () => [mknod('a', S_IFSOCK | 0o640), kindOf('a'), attempt(() => text('a'))],
  'mknod: a FIFO': () => [mknod('a', S_IFIFO | 0o640), kindOf('a')],
  'mknod: a FIFO without a reader': () => {
    mknod('a', S_IFIFO | 0o640);
    return attempt(() => withFile('a', O_WRONLY | fs.constants.O_NONBLOCK, () => 0));
  },
  'mknod: a FIFO written and read': () => {
    mknod('a', S_IFIFO | 0o640);
    return withFile('a', O_RDWR, (fd) => {
      fs.writeSync(fd, 'through');
      const buffer = Buffer.alloc(7);
      fs.readSync(fd, buffer);
      return buffer.toString();
    });
  },
  'mknod: character devices': () =>
    [
      [1, 3],
      [1, 0],
      [259, 70_000],
      [4095, 1_048_575],
    ].map(([major, minor]) => {
      const name = `c${major}-${minor}`;
      return [attempt(() => mknod(name, S_IFCHR | 0o600, major, minor)), attempt(() => kindOf(name))];
    }),
  'mknod: a block device': () => [
    attempt(() => mknod('a', S_IFBLK | 0o600, 7, 200)),
    attempt(() => kindOf('a')),
  ],
  'mknod: a directory': () => [attempt(() => mknod('a', S_IFDIR | 0o755)), list()],
  'mknod: an unknown type': () => [attempt(() => mknod('a', 0o150000 | 0o755)), list()],

  'symlink: targets': () =>
    [
      'a',
      '/',
      '../../..',
      'with space\n',
      '//double//',
      'x'.repeat(255),
      'x'.repeat(1023),
      'x'.repeat(1024),
      'x/'.repeat(2047) + 'x',
    ].map((target, index) => {
      fs.symlinkSync(target, `l${index}`);
      return [kindOf(`l${index}`), fs.readlinkSync(`l${index}`) === target];
    }),
  'symlink: a target of raw bytes': () => {
    fs.symlinkSync(Buffer.from('fffe0a80', 'hex'), 'a');
    return fs.readlinkSync('a', 'buffer').toString('hex');
  },
  'symlink: no target': () => [attempt(() => fs.symlinkSync('', 'a')), list()],
  'symlink: a target that is too long': () => [attempt(() => fs.symlinkSync('x'.repeat(4096), 'a')), list()],
  'symlink: replaced': () => {
    fs.symlinkSync('one', 'a');
    const first = fs.readlinkSync('a');
    fs.unlinkSync('a');
    fs.symlinkSync('another', 'a');
    return [first, fs.readlinkSync('a'), fs.lstatSync('a').size];
  },

  'link: both are one file': () => {
    fs.writeFileSync('a', 'first');
    fs.linkSync('a', 'b');
    const seen = [kindOf('a'), kindOf('b'), fs.statSync('a').ino === fs.statSync('b').ino];
    fs.appendFileSync('b', ' second');
    fs.chmodSync('b', 0o600);
    seen.push(text('a'), kindOf('a'));
    fs.unlinkSync('a');
    seen.push(
      kindOf('b'),
      text('b'),
      attempt(() => text('a')),
    );
    return seen;
  },
  'link: across directories': () => {
    fs.mkdirSync('x');
    fs.mkdirSync('y');
    fs.writeFileSync('x/a', 'text');
    fs.linkSync('x/a', 'y/b');
    fs.renameSync('x/a', 'x/c');
    return [kindOf('y/b'), text('y/b'), list('x'), list('y')];
  },
  'link: an open file': () => {
    fs.writeFileSync('a', 'text');
    return withFile('a', 'r+', (fd) => {
      fs.linkSync('a', 'b');
      fs.writeSync(fd, 'TE');
      const seen = [fs.fstatSync(fd).nlink, text('b')];
      fs.unlinkSync('a');
      seen.push(fs.fstatSync(fd).nlink, text('b'));
      return seen;
    });
  },
  'link: to another file system': () => {
    fs.writeFileSync('a', '');
    return [
      attempt(() => linkat('a', '/proc/nearmount')),
      attempt(() => linkat('/proc/self/maps', 'b')),
      list(),
    ];
  },
  'link: 100 names': () => {
    fs.writeFileSync('a', '');
    for (let index = 0; index < 100; index += 1) fs.linkSync('a', `a${index}`);
    const many = kindOf('a').nlink;
    for (let index = 0; index < 100; index += 2) fs.unlinkSync(`a${index}`);
    return [many, kindOf('a1').nlink, list().length];
  },

  'create: exclusively through a dangling link': () => {
    fs.symlinkSync('target', 'a');
    return [attempt(() => fs.openSync('a', 'wx')), list()];
  },
  'create: through a dangling link': () => {
    fs.symlinkSync('target', 'a');
    fs.writeFileSync('a', 'text');
    return [text('target'), list()];
  },
  'create: O_NOFOLLOW on a link': () => {
    fs.symlinkSync('target', 'a');
    return [attempt(() => fs.openSync('a', O_CREAT | O_WRONLY | O_NOFOLLOW)), list()];
  },
  'create: O_DIRECTORY': () => [attempt(() => fs.openSync('a', O_CREAT | O_RDONLY | O_DIRECTORY)), list()],
  'create: unwritable, and written by the one who made it': () =>
    withFile(
      'a',
      O_RDWR | O_CREAT | O_EXCL,
      (fd) => {
        fs.writeSync(fd, 'text');
        fs.ftruncateSync(fd, 3);
        return [fs.fstatSync(fd).size, kindOf('a')];
      },
      0,
    ),
  'create: what exists keeps its mode and content': () => {
    fs.writeFileSync('a', 'text', { mode: 0o600 });
    return [withFile('a', O_WRONLY | O_CREAT, () => 0, 0o777), modeOf('a'), text('a')];
  },
  'create: O_TRUNC empties': () => {
    fs.writeFileSync('a', 'text');
    return [withFile('a', O_WRONLY | O_CREAT | O_TRUNC, (fd) => fs.fstatSync(fd).size), text('a')];
  },
  'create: O_TRUNC with O_RDONLY': () => {
    fs.writeFileSync('a', 'text');
    return [withFile('a', O_RDONLY | O_TRUNC, (fd) => fs.fstatSync(fd).size), text('a')];
  },
  'create: O_EXCL leaves the content': () => {
    fs.writeFileSync('a', 'text');
    return [attempt(() => fs.openSync('a', O_WRONLY | O_CREAT | O_EXCL | O_TRUNC)), text('a')];
  },
  'create: O_TMPFILE': () => withFile('.', O_TMPFILE | O_RDWR, (fd) => fs.writeSync(fd, 'x'), 0o600),
  'open a directory for writing': () => attempt(() => fs.openSync('.', O_WRONLY)),
  'open a directory for both': () => attempt(() => fs.openSync('.', O_RDWR)),
  'open a directory with O_TRUNC': () => attempt(() => fs.openSync('.', O_RDONLY | O_TRUNC)),
  'open a directory with O_CREAT': () => attempt(() => fs.openSync('.', O_RDONLY | O_CREAT)),
  'open a socket': () => [mknod('a', S_IFSOCK | 0o644), attempt(() => fs.openSync('a', O_WRONLY))],

  'names of raw bytes: files': () => {
    for (const name of RAW_NAMES) fs.writeFileSync(name, name);
    return [hexNames(), RAW_NAMES.every((name) => fs.readFileSync(name).equals(name))];
  },
  'names of raw bytes: directories': () => {
    for (const name of RAW_NAMES) {
      fs.mkdirSync(name);
      fs.writeFileSync(Buffer.concat([name, Buffer.from('/inside')]), 'x');
    }
    return [hexNames(), RAW_NAMES.map((name) => attempt(() => fs.rmdirSync(name)))];
  },
  'names of raw bytes: renamed, linked and removed': () => {
    for (const name of RAW_NAMES) {
      fs.writeFileSync('plain', 'x');
      fs.renameSync('plain', name);
      fs.linkSync(name, 'linked');
      fs.unlinkSync(name);
      fs.renameSync('linked', name);
    }
    const made = hexNames();
    for (const name of RAW_NAMES) fs.unlinkSync(name);
    return [made, hexNames()];
  },

  'readdir after every change': () => {
    const seen = [list()];
    const then = (change) => {
      change();
      seen.push(list());
    };
    then(() => fs.writeFileSync('a', ''));
    then(() => fs.mkdirSync('b'));
    then(() => fs.symlinkSync('a', 'c'));
    then(() => fs.linkSync('a', 'd'));
    then(() => mknod('e', S_IFIFO | 0o644));
    then(() => fs.renameSync('a', 'f'));
    then(() => fs.renameSync('f', 'b/f'));
    then(() => fs.unlinkSync('d'));
    then(() => fs.unlinkSync('b/f'));
    then(() => fs.rmdirSync('b'));
    then(() => fs.unlinkSync('e'));
    return seen;
  },
  'a name made after it was missed': () => {
    const seen = [attempt(() => text('a'))];
    fs.writeFileSync('a', 'now');
    seen.push(text('a'));
    fs.unlinkSync('a');
    seen.push(attempt(() => text('a')));
    fs.mkdirSync('a');
    seen.push(kindOf('a').type);
    fs.rmdirSync('a');
    fs.symlinkSync('b', 'a');
    seen.push(
      kindOf('a').type,
      attempt(() => text('a')),
    );
    return seen;
  },
  'a directory changes while it is listed': () => {
    for (let index = 0; index < 200; index += 1) fs.writeFileSync(`name-${index}`, '');
    const open = fs.opendirSync('.', { bufferSize: 16 });
    const first = open.readSync().name;
    for (let index = 0; index < 200; index += 1)
      if (`name-${index}` !== first) fs.unlinkSync(`name-${index}`);
    const rest = [];
    for (let entry = open.readSync(); entry !== null; entry = open.readSync()) rest.push(entry.name);
    open.closeSync();
    // What was removed may or may not be told, but nothing twice, and nothing that never was.
    const all = [first, ...rest];
    return [new Set(all).size === all.length, all.every((name) => /^name-\d+$/.test(name)), list().length];
  },
};
