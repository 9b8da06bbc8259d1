import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  RENAME_NOREPLACE,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFREG,
  S_IFSOCK,
} from '../../src/system/constants.ts';
import { hasCapability } from '../../src/system/capabilities.ts';
import { closeFd, openat, statx } from '../../src/system/files.ts';
import {
  createFile,
  linkFd,
  mkdirat,
  mknodat,
  renameat2,
  rmdirat,
  symlinkat,
  unlinkat,
} from '../../src/system/names.ts';

interface TapLike {
  teardown: (action: () => void) => unknown;
}

function opened(t: TapLike, directory: string, flags = O_PATH | O_DIRECTORY): number {
  const fd = openat(AT_FDCWD, directory, flags);
  t.teardown(() => closeFd(fd));
  return fd;
}

t.test('modes are taken as they are given, and the umask stays', async (t) => {
  const directory = t.testdir({});
  const dirFd = opened(t, directory);
  const before = process.umask(0o077);
  t.teardown(() => process.umask(before));
  mkdirat(dirFd, 'dir', 0o1777);
  mknodat(dirFd, 'file', S_IFREG | 0o4666);
  mknodat(dirFd, 'fifo', S_IFIFO | 0o622);
  mknodat(dirFd, 'socket', S_IFSOCK | 0o700);
  t.throws(() => mkdirat(dirFd, 'dir', 0o700), { code: 'EEXIST', syscall: 'mkdirat' });
  t.throws(() => mknodat(dirFd, 'file', S_IFREG), { code: 'EEXIST', syscall: 'mknodat' });
  t.equal(process.umask(0o077), 0o077);
  const modes = (name: string) => fs.lstatSync(path.join(directory, name)).mode.toString(8);
  t.same(['dir', 'file', 'fifo', 'socket'].map(modes), ['41777', '104666', '10622', '140700']);
});

t.test('a file that is made can be written, whatever its mode', async (t) => {
  const directory = t.testdir({ there: '' });
  const dirFd = opened(t, directory);
  const before = process.umask(0o077);
  t.teardown(() => process.umask(before));
  const fd = createFile(dirFd, 'file', 0o2064);
  t.equal(process.umask(0o077), 0o077);
  fs.writeSync(fd, 'text');
  t.throws(() => fs.readSync(fd, Buffer.alloc(1)), { code: 'EBADF' });
  closeFd(fd);
  const { mode } = fs.lstatSync(path.join(directory, 'file'));
  t.equal(mode.toString(8), '102064');
  t.equal(fs.readFileSync(path.join(directory, 'file'), 'latin1'), 'text');
  symlinkat('nowhere', dirFd, 'link');
  for (const name of ['there', 'link']) {
    t.throws(() => createFile(dirFd, name, 0o600), { code: 'EEXIST', syscall: 'openat' });
  }
  t.notOk(fs.existsSync(path.join(directory, 'nowhere')));
});

t.test(
  'devices keep their numbers, up to the largest',
  { skip: !hasCapability('CAP_MKNOD') && 'needs CAP_MKNOD' },
  async (t) => {
    const directory = t.testdir({});
    const dirFd = opened(t, directory);
    mknodat(dirFd, 'null', S_IFCHR | 0o666, { major: 1, minor: 3 });
    mknodat(dirFd, 'large', S_IFBLK | 0o600, { major: 0xfff, minor: 0xf_ffff });
    const numbers = (name: string) => {
      const { rdevMajor, rdevMinor } = statx(dirFd, name, 0);
      return [rdevMajor, rdevMinor];
    };
    t.same(numbers('null'), [1, 3]);
    t.same(numbers('large'), [0xfff, 0xf_ffff]);
    for (const device of [
      { major: 0x1000, minor: 0 },
      { major: 0, minor: 0x10_0000 },
      { major: 0xffff_ffff, minor: 0xffff_ffff },
    ]) {
      t.throws(() => mknodat(dirFd, 'no', S_IFCHR, device), { code: 'EINVAL' });
    }
    t.throws(() => statx(dirFd, 'no', 0), { code: 'ENOENT' });
  },
);

t.test('symbolic links of bytes', async (t) => {
  const directory = t.testdir({});
  const dirFd = opened(t, directory);
  const target = Buffer.alloc(4095, 0xff);
  symlinkat(target, dirFd, Buffer.from([0xfe]));
  const [name] = fs.readdirSync(directory, { encoding: 'buffer' });
  t.same(name, Buffer.from([0xfe]));
  t.same(
    fs.readlinkSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xfe])]), 'buffer'),
    target,
  );
  t.throws(() => symlinkat(Buffer.alloc(4096, 0x61), dirFd, 'long'), { code: 'ENAMETOOLONG' });
  t.throws(() => symlinkat('', dirFd, 'empty'), { code: 'ENOENT', syscall: 'symlinkat' });
  t.throws(() => symlinkat('a\0b', dirFd, 'nul'), { code: 'EINVAL' });
  t.throws(() => symlinkat('a', dirFd, 'b\0'), { code: 'EINVAL' });
});

t.test('hard links of files and of symbolic links themselves', async (t) => {
  const directory = t.testdir({ file: 'x', dir: {}, link: t.fixture('symlink', 'nowhere') });
  const dirFd = opened(t, directory);
  const at = (name: string) => path.join(directory, name);
  linkFd(opened(t, at('file'), O_PATH), dirFd, 'file2');
  t.equal(fs.statSync(at('file2')).ino, fs.statSync(at('file')).ino);
  linkFd(opened(t, at('link'), O_PATH | O_NOFOLLOW), dirFd, 'link2');
  t.equal(fs.readlinkSync(at('link2')), 'nowhere');
  t.equal(fs.lstatSync(at('link2')).ino, fs.lstatSync(at('link')).ino);
  t.throws(() => linkFd(opened(t, at('dir'), O_PATH), dirFd, 'dir2'), { code: 'EPERM', syscall: 'linkat' });
  t.throws(() => linkFd(opened(t, at('file'), O_PATH), dirFd, 'dir'), { code: 'EEXIST' });
  const gone = opened(t, at('file2'), O_PATH);
  fs.unlinkSync(at('file'));
  fs.unlinkSync(at('file2'));
  t.throws(() => linkFd(gone, dirFd, 'again'), { code: 'ENOENT' });
});

t.test('removal', async (t) => {
  const directory = t.testdir({
    file: 'x',
    full: { file: '' },
    empty: {},
    link: t.fixture('symlink', 'file'),
  });
  const dirFd = opened(t, directory);
  t.throws(() => unlinkat(dirFd, 'empty'), { code: 'EISDIR', syscall: 'unlinkat' });
  t.throws(() => rmdirat(dirFd, 'file'), { code: 'ENOTDIR', syscall: 'rmdirat' });
  t.throws(() => rmdirat(dirFd, 'link'), { code: 'ENOTDIR' });
  t.throws(() => rmdirat(dirFd, 'full'), { code: 'ENOTEMPTY' });
  unlinkat(dirFd, 'link');
  rmdirat(dirFd, 'empty');
  t.throws(() => unlinkat(dirFd, 'link'), { code: 'ENOENT' });
  t.same(fs.readdirSync(directory).sort(), ['file', 'full']);
});

t.test('renames', async (t) => {
  const directory = t.testdir({ a: 'a', b: 'b', sub: { c: 'c' }, dir: {} });
  const dirFd = opened(t, directory);
  const sub = opened(t, path.join(directory, 'sub'));
  const read = (name: string) => fs.readFileSync(path.join(directory, name), 'utf8');
  t.throws(() => renameat2(dirFd, 'a', dirFd, 'b', RENAME_NOREPLACE), {
    code: 'EEXIST',
    syscall: 'renameat2',
  });
  t.same([read('a'), read('b')], ['a', 'b']);
  renameat2(dirFd, 'a', dirFd, 'b');
  t.equal(read('b'), 'a');
  renameat2(dirFd, 'b', sub, 'new', RENAME_NOREPLACE);
  t.equal(read('sub/new'), 'a');
  t.throws(() => renameat2(dirFd, 'sub', sub, 'itself'), { code: 'EINVAL' });
  t.throws(() => renameat2(sub, 'c', dirFd, 'dir'), { code: 'EISDIR' });
  t.throws(() => renameat2(dirFd, 'dir', sub, 'c'), { code: 'ENOTDIR' });
  t.throws(() => renameat2(dirFd, 'dir', dirFd, 'sub'), { code: 'ENOTEMPTY' });
  t.throws(() => renameat2(dirFd, 'none', dirFd, 'sub'), { code: 'ENOENT' });
});
