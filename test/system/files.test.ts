import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import * as constants from '../../src/system/constants.ts';
import {
  closeFd,
  duplicateFd,
  faccess,
  fstatfs,
  getdents64,
  openat,
  openat2,
  preadNowait,
  readlinkFd,
  seek,
  statFd,
  statx,
} from '../../src/system/files.ts';

const { O_PATH, O_NOFOLLOW, O_RDONLY, O_DIRECTORY, O_RDWR, AT_FDCWD, SEEK_SET } = constants;

function opened(t: TapLike, fd: number): number {
  t.teardown(() => closeFd(fd));
  return fd;
}
interface TapLike {
  teardown: (action: () => void) => unknown;
}

t.test('constants agree with Node', async (t) => {
  for (const [name, value] of Object.entries(fs.constants)) {
    const ours = (constants as Record<string, number>)[name];
    if (ours !== undefined) t.equal(ours, value, name);
  }
});

t.test('statx tells what lstat tells', async (t) => {
  const directory = t.testdir({ file: 'twelve bytes', link: t.fixture('symlink', 'file') });
  fs.utimesSync(path.join(directory, 'file'), new Date(-3500), 4_000_000_000.25);
  for (const name of ['file', 'link', '.', '/dev/null', '/proc/self/status']) {
    const full = path.resolve(directory, name);
    const ours = statx(AT_FDCWD, full, constants.AT_SYMLINK_NOFOLLOW);
    const node = fs.lstatSync(full, { bigint: true });
    t.equal(ours.ino, node.ino, `${name} ino`);
    t.equal(BigInt(ours.mode), node.mode);
    t.equal(BigInt(ours.nlink), node.nlink);
    t.equal(BigInt(ours.uid), node.uid);
    t.equal(BigInt(ours.gid), node.gid);
    t.equal(ours.size, node.size);
    t.equal(ours.blocks, node.blocks);
    t.equal(BigInt(ours.blockSizeBytes), node.blksize);
    t.equal(ours.mtimeNs, node.mtimeNs, `${name} mtime`);
    t.equal(ours.ctimeNs, node.ctimeNs);
    if (name !== '/proc/self/status') t.equal(ours.atimeNs, node.atimeNs);
    const makedev = (major: number, minor: number) =>
      BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor & ~0xff) << 12n);
    t.equal(makedev(ours.devMajor, ours.devMinor), node.dev);
    t.equal(makedev(ours.rdevMajor, ours.rdevMinor), node.rdev);
  }
  t.equal(statx(AT_FDCWD, path.join(directory, 'file'), 0).mtimeNs, 4_000_000_000_250_000_000n);
  t.equal(statx(AT_FDCWD, path.join(directory, 'file'), 0).atimeNs, -3_500_000_000n);
});

t.test('an O_PATH descriptor serves statFd, readlinkFd and faccess', async (t) => {
  const directory = t.testdir({ file: 'x', link: t.fixture('symlink', 'to/nowhere') });
  const dirFd = opened(t, openat(AT_FDCWD, directory, O_PATH | O_DIRECTORY));
  const link = opened(t, openat(dirFd, Buffer.from('link'), O_PATH | O_NOFOLLOW));
  t.equal(readlinkFd(link).toString(), 'to/nowhere');
  t.equal(statFd(link).mode & constants.S_IFMT, constants.S_IFLNK);
  const file = opened(t, openat(dirFd, 'file', O_PATH));
  t.throws(() => readlinkFd(file), { code: 'ENOENT' });
  t.equal(faccess(file, constants.R_OK | constants.W_OK), true);
  t.equal(faccess(file, constants.X_OK), false);
  t.throws(() => faccess(-1, constants.R_OK), { code: 'EBADF', syscall: 'faccessat2' });
});

t.test('names are bytes, and NUL is refused', async (t) => {
  const directory = t.testdir({});
  const dirFd = opened(t, openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY));
  const name = Buffer.from([0xff, 0xfe, 0x41]);
  closeFd(openat(dirFd, name, constants.O_CREAT | O_RDWR, 0o600));
  t.same(fs.readdirSync(directory, { encoding: 'buffer' }), [name]);
  t.throws(() => openat(dirFd, Buffer.from('a\0b'), O_PATH), { code: 'EINVAL' });
  t.throws(() => openat(dirFd, 'a\0', O_PATH), { code: 'EINVAL' });
  t.throws(() => openat(dirFd, Buffer.alloc(4096, 0x61), O_PATH), { code: 'ENAMETOOLONG' });
  t.throws(() => openat(dirFd, 'a'.repeat(256), O_PATH), { code: 'ENAMETOOLONG' });
  t.throws(() => openat(dirFd, 'missing', O_PATH), { code: 'ENOENT', syscall: 'openat', errno: 2 });
});

t.test('openat2 keeps to its limits', async (t) => {
  const directory = t.testdir({ in: { file: 'x' }, out: 'y', link: t.fixture('symlink', 'in/file') });
  const dirFd = opened(t, openat(AT_FDCWD, path.join(directory, 'in'), O_PATH));
  const above = opened(t, openat(AT_FDCWD, directory, O_PATH));
  closeFd(openat2(dirFd, 'file', { flags: O_RDONLY, resolve: constants.RESOLVE_BENEATH }));
  t.throws(() => openat2(dirFd, '../out', { flags: O_RDONLY, resolve: constants.RESOLVE_BENEATH }), {
    code: 'EXDEV',
  });
  t.throws(() => openat2(above, 'link', { flags: O_RDONLY, resolve: constants.RESOLVE_NO_SYMLINKS }), {
    code: 'ELOOP',
  });
  const created = opened(t, openat2(dirFd, 'new', { flags: constants.O_CREAT | O_RDWR, mode: 0o600 }));
  t.equal(statFd(created).mode & 0o777, 0o600);
});

t.test('getdents64 lists everything once, and goes on after a cookie', async (t) => {
  const directory = t.testdir({});
  for (let index = 0; index < 3000; index += 1) fs.writeFileSync(path.join(directory, `name-${index}`), '');
  fs.writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0x80, 0xff])]), '');
  const expected = fs
    .readdirSync(directory, { encoding: 'buffer' })
    .map((name) => name.toString('latin1'))
    .concat('.', '..')
    .sort();
  const fd = opened(t, openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY));
  const buffer = Buffer.alloc(4096);
  const seen: string[] = [];
  for (let cookie = 0n; ;) {
    // Only the first two of each batch count: every other batch begins with a seek.
    seek(fd, cookie, SEEK_SET);
    const entries = getdents64(fd, buffer).slice(0, 2);
    if (entries.length === 0) break;
    for (const entry of entries) {
      seen.push(entry.name.toString('latin1'));
      cookie = entry.cookie;
      if (seen.length < 20) {
        const node = fs.lstatSync(Buffer.concat([Buffer.from(`${directory}/`), entry.name]), {
          bigint: true,
        });
        t.equal(entry.ino, node.ino);
        t.equal(BigInt(entry.type) << 12n, node.mode & 0o170000n);
      }
    }
  }
  t.same(seen.sort(), expected);
  seek(fd, 0n, SEEK_SET);
  t.throws(() => getdents64(fd, Buffer.alloc(8)), { code: 'EINVAL' });
});

t.test('seek is exact above 2^53', async (t) => {
  const directory = t.testdir({ file: '' });
  const fd = opened(t, openat(AT_FDCWD, path.join(directory, 'file'), O_RDWR));
  t.equal(seek(fd, 4_398_046_511_103n, SEEK_SET), 4_398_046_511_103n);
  t.throws(() => seek(fd, -5n, SEEK_SET), { code: 'EINVAL', syscall: 'lseek' });
  const zero = opened(t, openat(AT_FDCWD, '/dev/zero', O_RDONLY));
  t.equal(seek(zero, 0n, SEEK_SET), 0n);
  if (fs.existsSync('/dev/shm')) {
    const large = opened(t, openat(AT_FDCWD, '/dev/shm', constants.O_TMPFILE | O_RDWR, 0o600));
    t.equal(seek(large, 2n ** 53n + 1n, SEEK_SET), 2n ** 53n + 1n);
  }
});

t.test('fstatfs tells what Node tells', async (t) => {
  const fd = opened(t, openat(AT_FDCWD, '/proc', O_PATH));
  t.equal(fstatfs(fd).type, 0x9fa0n);
  const here = opened(t, openat(AT_FDCWD, t.testdir({}), O_PATH));
  const node = fs.statfsSync(t.testdirName, { bigint: true });
  const ours = fstatfs(here);
  t.equal(ours.type, node.type);
  t.equal(ours.blocks, node.blocks);
  t.equal(ours.files, node.files);
  t.equal(ours.nameLengthMax, 255);
});

t.test('preadNowait reads what is cached, at 64-bit offsets', async (t) => {
  const directory = t.testdir({ file: '' });
  const file = path.join(directory, 'file');
  const writer = opened(t, openat(AT_FDCWD, file, O_RDWR));
  const offset = 5n * 2n ** 30n + 7n;
  fs.writeSync(writer, Buffer.from('far away'), 0, 8, Number(offset));
  const fd = opened(t, openat(AT_FDCWD, file, O_RDONLY));
  const buffer = Buffer.alloc(64);
  t.equal(preadNowait(fd, buffer, offset), 8);
  t.equal(buffer.toString('latin1', 0, 8), 'far away');
  t.equal(preadNowait(fd, buffer, offset + 8n), 0);
  t.equal(preadNowait(fd, Buffer.alloc(0), 0n), 0);
  t.throws(() => preadNowait(fd, buffer, -1n), { code: 'EINVAL' });
  t.throws(() => preadNowait(-1, buffer, 0n), { code: 'EBADF' });
});

t.test('descriptors are closed on exec, duplicated and closed', async (t) => {
  const fd = openat(AT_FDCWD, '/dev/null', O_RDONLY);
  const duplicate = duplicateFd(fd);
  t.match(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'), /flags:\s*0?2\d{6}/);
  t.match(fs.readFileSync(`/proc/self/fdinfo/${duplicate}`, 'latin1'), /flags:\s*0?2\d{6}/);
  closeFd(fd);
  t.equal(statFd(duplicate).rdevMinor, 3);
  closeFd(duplicate);
  t.throws(() => closeFd(duplicate), { code: 'EBADF' });
  t.throws(() => duplicateFd(-1), { code: 'EBADF' });
});
