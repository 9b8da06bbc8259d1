/**
 * Performs system calls in a tree and prints what they answered as JSON, one entry a case: the same program is run on a
 * plain directory and on mounts of it, and every difference is a failure. Arguments: the directory, the name of a
 * group of cases, and optionally uid:gid:group,group to act as (taken on after the directory was entered, so the way
 * to it need not be open to that user).
 */
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';

const [directory, group, who] = process.argv.slice(2);
const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_DIRECT } =
  fs.constants;
const GIB = 2 ** 30;

const libc = koffi.load('libc.so.6');
const getxattr = libc.func(
  'int64_t getxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)',
);
const setxattr = libc.func(
  'int setxattr(const char *path, const char *name, const char *value, size_t size, int flags)',
);
const listxattr = libc.func('int64_t listxattr(const char *path, _Out_ uint8_t *list, size_t size)');
const mmap = libc.func('void *mmap(void *at, size_t length, int prot, int flags, int fd, int64_t offset)');
const munmap = libc.func('int munmap(void *at, size_t length)');
const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');

const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** The value of a libc call, or its error by name. */
function checked(result) {
  if (Number(result) < 0) throw { errno: -koffi.errno() };
  return Number(result);
}

function withFile(name, flags, action) {
  const fd = fs.openSync(name, flags);
  try {
    return action(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function pread(fd, bytes, offset) {
  const buffer = Buffer.alloc(bytes);
  const count = fs.readSync(fd, buffer, 0, bytes, offset);
  return [count, sha256(buffer.subarray(0, count))];
}

/** All of stat(2) but the device and the preferred I/O size, which are the mount's own. */
function facts(stat) {
  return Object.fromEntries(
    ['ino', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'size', 'blocks', 'atimeNs', 'mtimeNs', 'ctimeNs'].map(
      (name) => [name, String(stat[name])],
    ),
  );
}

const names = (at) => fs.readdirSync(at, { encoding: 'buffer' }).map((name) => name.toString('hex'));

/** A small generator of numbers, the same on every run. */
function* numbers(seed) {
  for (let state = seed; ;) {
    state = (state * 1103515245 + 12345) % 2147483648;
    yield state;
  }
}

function map(name, offset, bytes) {
  return withFile(name, 'r', (fd) => {
    const MAP_PRIVATE = 2;
    const at = mmap(null, bytes, 1, MAP_PRIVATE, fd, BigInt(offset));
    if (koffi.address(at) === 0xffffffffffffffffn) checked(-1);
    try {
      return sha256(Buffer.from(koffi.view(at, bytes)));
    } finally {
      munmap(at, bytes);
    }
  });
}

const groups = {
  read: {
    'whole files': () => ['empty', 'one', 'text', 'page', 'big'].map((name) => sha256(fs.readFileSync(name))),
    ...Object.fromEntries(
      [
        [0, 0],
        [0, 1],
        [0, 4096],
        [1, 4096],
        [4095, 2],
        [1048575, 2],
        [1048576, 1048576],
        [3_000_000, 100_000],
        [5_242_000, 1_000_000],
        [5_242_880, 1],
        [5_242_887, 10],
        [6_000_000, 10],
        [2 ** 40, 4096],
        [100, 0],
      ].map(([offset, bytes]) => [
        `pread ${bytes} at ${offset}`,
        () => withFile('big', 'r', (fd) => pread(fd, bytes, offset)),
      ]),
    ),
    'read on and past the end': () =>
      withFile('big', 'r', (fd) => {
        const counts = [];
        const hash = createHash('sha256');
        const buffer = Buffer.alloc(1_000_003);
        for (let count = -1; count !== 0;) {
          count = fs.readSync(fd, buffer, 0, buffer.length, null);
          counts.push(count);
          hash.update(buffer.subarray(0, count));
        }
        counts.push(fs.readSync(fd, buffer, 0, 10, null));
        return [counts, hash.digest('hex')];
      }),
    'random pread': () =>
      withFile('big', 'r', (fd) => {
        const hash = createHash('sha256');
        const random = numbers(42);
        for (let round = 0; round < 400; round += 1) {
          const offset = random.next().value % 5_300_000;
          const bytes = 1 + (random.next().value % 50_000);
          hash.update(pread(fd, bytes, offset).join());
        }
        return hash.digest('hex');
      }),
    backwards: () =>
      withFile('big', 'r', (fd) => {
        const hash = createHash('sha256');
        for (let offset = 5_242_880 - 65_536; offset >= 0; offset -= 65_536)
          hash.update(pread(fd, 65_536, offset)[1]);
        return hash.digest('hex');
      }),
    'two open files of one inode': () =>
      withFile('big', 'r', (a) =>
        withFile('big', 'r', (b) => [
          pread(a, 1000, 500),
          pread(b, 1000, 4_000_000),
          pread(a, 1000, 4_000_000),
        ]),
      ),
    O_DIRECT: () => withFile('big', O_RDONLY | O_DIRECT, (fd) => fs.fstatSync(fd).size),
    mmap: () => [map('big', 0, 5_242_887), map('big', 4096 * 100, 10_000), map('text', 0, 5)],
    'mmap and read together': () => [
      map('page', 0, 4096),
      sha256(fs.readFileSync('page')),
      map('page', 0, 4096),
    ],
    'sparse past 4 GiB': () =>
      withFile('sparse', 'r', (fd) =>
        [0, 4 * GIB - 5, 4 * GIB, 4 * GIB + 4096, 5 * GIB - 3, 5 * GIB, 5 * GIB + 100].map((offset) =>
          pread(fd, 10, offset),
        ),
      ),
    'sparse mmap past 4 GiB': () => map('sparse', 4 * GIB, 8192),
    'lseek to the end': () => withFile('sparse', 'r', (fd) => checked(lseek(fd, -10n, 2))),
    'lseek before the start': () => withFile('big', 'r', (fd) => checked(lseek(fd, -1n, 0))),
    'read a directory': () => withFile('dir', 'r', (fd) => fs.readSync(fd, Buffer.alloc(10), 0, 10, 0)),
    'O_DIRECTORY on a file': () => withFile('text', O_RDONLY | O_DIRECTORY, () => 0),
    'O_DIRECTORY on a directory': () => withFile('dir', O_RDONLY | O_DIRECTORY, () => 0),
    'O_NOFOLLOW on a link': () => withFile('link', O_RDONLY | O_NOFOLLOW, () => 0),
    execute: () => execFileSync('./prog', ['a', 'b']).toString(),
    'execute without permission': () => execFileSync('./text').toString(),
  },
  names: {
    ...Object.fromEntries(
      [
        '.',
        'empty',
        'one',
        'text',
        'page',
        'big',
        'sparse',
        'dir',
        'dir/sub',
        'fifo',
        'socket',
        'chr',
        'blk',
        'link',
        'dangling',
        'long-link',
        'secret',
        'group-file',
        'setuid',
        'old',
        'prog',
        'hard-1',
        'hard-2',
      ].flatMap((name) => [
        [`lstat ${name}`, () => facts(fs.lstatSync(name, { bigint: true }))],
        [`stat ${name}`, () => facts(fs.statSync(name, { bigint: true }))],
      ]),
    ),
    fstat: () => withFile('big', 'r', (fd) => facts(fs.fstatSync(fd, { bigint: true }))),
    readdir: () => names('.').sort(),
    'readdir of 5,000 names': () => {
      const all = names('many');
      return [all.length, new Set(all).size, sha256(all.sort().join())];
    },
    'readdir with types': () =>
      fs
        .readdirSync('.', { withFileTypes: true, encoding: 'buffer' })
        .map((entry) => [
          entry.name.toString('hex'),
          [
            'isFile',
            'isDirectory',
            'isFIFO',
            'isSocket',
            'isSymbolicLink',
            'isCharacterDevice',
            'isBlockDevice',
          ].filter((is) => entry[is]()),
        ])
        .sort(),
    'readdir twice, in pieces': () => {
      const seen = [];
      for (let round = 0; round < 2; round += 1) {
        const open = fs.opendirSync('many', { bufferSize: 7 });
        for (let entry = open.readSync(); entry !== null; entry = open.readSync()) seen.push(entry.name);
        open.closeSync();
      }
      return [seen.length, sha256(seen.sort().join())];
    },
    'readdir of an empty directory': () => names('dir/sub'),
    'files by every name of raw bytes': () =>
      fs
        .readdirSync('raw', { encoding: 'buffer' })
        .map((name) => [
          name.toString('hex'),
          fs.readFileSync(Buffer.concat([Buffer.from('raw/'), name]), 'utf8'),
        ])
        .sort(),
    readlink: () =>
      ['link', 'dangling', 'long-link', 'dir-link', 'loop-a'].map((name) =>
        sha256(fs.readlinkSync(name, 'buffer')),
      ),
    'readlink of a file': () => fs.readlinkSync('text'),
    'through a link': () => [fs.readFileSync('link', 'utf8'), names('dir-link').sort()],
    dangling: () => fs.readFileSync('dangling'),
    ELOOP: () => fs.readFileSync('loop-a'),
    ENOENT: () => fs.readFileSync('missing'),
    'ENOENT in a missing directory': () => fs.statSync('missing/file'),
    ENOTDIR: () => fs.statSync('text/file'),
    'ENOTDIR readdir': () => fs.readdirSync('text'),
    'a trailing slash': () => fs.statSync('text/'),
    ENAMETOOLONG: () => fs.statSync('n'.repeat(256)),
    'a name of 255 bytes': () => fs.readFileSync('n'.repeat(255), 'utf8'),
    'a path that is too long': () => fs.statSync('dir/../'.repeat(600) + 'text'),
    dots: () => [fs.statSync('dir/..').ino === fs.statSync('.').ino, fs.statSync('dir/sub/../../text').size],
    ...Object.fromEntries(
      ['text', 'secret', 'dir', 'prog', 'missing', 'group-file'].flatMap((name) =>
        [0, 1, 2, 4, 5].map((mode) => [`access ${name} ${mode}`, () => fs.accessSync(name, mode) ?? 'may']),
      ),
    ),
    statfs: () => {
      const { bsize, blocks, bfree, bavail, files, ffree } = fs.statfsSync('.');
      // tmpfs counts its free pages for each processor apart, so the sum wavers.
      const roughly = (free) => Math.round((bsize * free) / 2 ** 24);
      return [bsize * blocks, roughly(bfree), roughly(bavail), files, ffree].map(String);
    },
  },
  errors: {
    'open for writing': () => withFile('text', O_WRONLY, () => 0),
    'open for both': () => withFile('text', O_RDWR, () => 0),
    'open for appending': () => withFile('text', O_WRONLY | O_APPEND, () => 0),
    'open and truncate': () => withFile('text', O_RDONLY | O_TRUNC, () => 0),
    create: () => withFile('new', O_WRONLY | O_CREAT, () => 0),
    'create what exists': () => withFile('text', O_RDONLY | O_CREAT, () => 0),
    'create exclusively what exists': () => fs.openSync('text', 'wx'),
    mkdir: () => fs.mkdirSync('new'),
    'mkdir of what exists': () => fs.mkdirSync('dir'),
    rmdir: () => fs.rmdirSync('dir/sub'),
    unlink: () => fs.unlinkSync('text'),
    'unlink of what is missing': () => fs.unlinkSync('missing'),
    rename: () => fs.renameSync('text', 'new'),
    link: () => fs.linkSync('text', 'new'),
    symlink: () => fs.symlinkSync('text', 'new'),
    chmod: () => fs.chmodSync('text', 0o600),
    chown: () => fs.chownSync('text', 1, 1),
    utimes: () => fs.utimesSync('text', 1, 1),
    truncate: () => fs.truncateSync('text', 1),
    'write to a file open for reading': () => withFile('text', 'r', (fd) => fs.writeSync(fd, 'x')),
    fchmod: () => withFile('text', 'r', (fd) => fs.fchmodSync(fd, 0o600)),
    futimes: () => withFile('text', 'r', (fd) => fs.futimesSync(fd, 1, 1)),
    ftruncate: () => withFile('text', 'r', (fd) => fs.ftruncateSync(fd, 1)),
    fsync: () => withFile('text', 'r', (fd) => fs.fsyncSync(fd)),
    setxattr: () => checked(setxattr('text', 'user.a', 'b', 1, 0)),
    'open a device': () => withFile('chr', 'r', () => 0),
    'connect to nobody': () => withFile('socket', 'r', () => 0),
    'open a fifo': () => withFile('fifo', O_RDONLY | fs.constants.O_NONBLOCK, () => 0),
  },
  permissions: {
    ...Object.fromEntries(
      [
        'text',
        'secret',
        'group-file',
        'exec-only',
        'owned',
        'private/inside',
        'private',
        'search-only/inside',
        'group-dir/inside',
        'setuid',
      ].flatMap((name) => [
        [`read ${name}`, () => sha256(fs.readFileSync(name))],
        [`stat ${name}`, () => facts(fs.statSync(name, { bigint: true }))],
        [`write ${name}`, () => withFile(name, O_WRONLY, () => 0)],
        ...[1, 2, 4].map((mode) => [`access ${name} ${mode}`, () => fs.accessSync(name, mode) ?? 'may']),
      ]),
    ),
    ...Object.fromEntries(
      ['.', 'private', 'search-only', 'group-dir'].map((name) => [`list ${name}`, () => names(name).sort()]),
    ),
    'run exec-only': () => execFileSync('./exec-only', ['it runs']).toString(),
    create: () => withFile('new', O_WRONLY | O_CREAT, () => 0),
    unlink: () => fs.unlinkSync('text'),
    chmod: () => fs.chmodSync('text', 0o777),
  },
  xattr: {
    ours: () =>
      Object.fromEntries(
        ['route', 'datapath', 'why', 'other'].map((name) => {
          const value = Buffer.alloc(1000);
          const length = getxattr('text', `user.nearmount.${name}`, value, 1000);
          return [
            name,
            length < 0 ? errnoNames.get(koffi.errno()) : value.toString('utf8', 0, Number(length)),
          ];
        }),
      ),
    'while open': () =>
      withFile('text', 'r', () => {
        const value = Buffer.alloc(1000);
        return value.toString('utf8', 0, checked(getxattr('text', 'user.nearmount.datapath', value, 1000)));
      }),
    'into too little room': () => checked(getxattr('text', 'user.nearmount.route', Buffer.alloc(2), 2)),
    length: () => checked(getxattr('text', 'user.nearmount.route', null, 0)),
    list: () => checked(listxattr('text', Buffer.alloc(1000), 1000)),
    'list length': () => checked(listxattr('text', null, 0)),
    missing: () => checked(getxattr('text', 'user.missing', Buffer.alloc(10), 10)),
    acl: () => checked(getxattr('text', 'system.posix_acl_access', Buffer.alloc(10), 10)),
  },
};

process.chdir(directory);
if (who !== undefined) {
  const [uid, gid, others] = who.split(':');
  process.setgroups(
    others
      .split(',')
      .filter((each) => each !== '')
      .map(Number),
  );
  process.setgid(Number(gid));
  process.setuid(Number(uid));
}
const results = {};
for (const [name, run] of Object.entries(groups[group])) {
  try {
    results[name] = { value: run() ?? null };
  } catch (error) {
    if (error.errno === undefined) throw error;
    results[name] = { error: errnoNames.get(-error.errno) ?? String(error.errno) };
  }
}
process.stdout.write(JSON.stringify(results));
