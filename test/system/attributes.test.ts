import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { chmodFd, chownFd, ftruncate, utimensFd } from '../../src/system/attributes.ts';
import { hasCapability } from '../../src/system/capabilities.ts';
import { AT_FDCWD, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY } from '../../src/system/constants.ts';
import { closeFd, openat, statFd } from '../../src/system/files.ts';

interface TapLike {
  teardown: (action: () => void) => unknown;
}

function opened(t: TapLike, file: string, flags = O_PATH | O_NOFOLLOW): number {
  const fd = openat(AT_FDCWD, file, flags);
  t.teardown(() => closeFd(fd));
  return fd;
}

t.test('chmodFd changes files and directories, never links', async (t) => {
  const directory = t.testdir({ file: 'x', dir: {}, link: t.fixture('symlink', 'file') });
  for (const name of ['file', 'dir']) {
    const fd = opened(t, path.join(directory, name));
    chmodFd(fd, 0o7531);
    t.equal(statFd(fd).mode & 0o7777, 0o7531, name);
  }
  t.throws(() => chmodFd(opened(t, path.join(directory, 'link')), 0o600), { code: 'EOPNOTSUPP' });
  t.equal(fs.statSync(path.join(directory, 'file')).mode & 0o7777, 0o7531, 'what the link leads to stays');
});

t.test(
  'chownFd changes links themselves, and only what is given',
  { skip: !hasCapability('CAP_CHOWN') && 'needs CAP_CHOWN' },
  async (t) => {
    const directory = t.testdir({ file: 'x', link: t.fixture('symlink', 'file') });
    const ids = (name: string) => {
      const { uid, gid } = fs.lstatSync(path.join(directory, name));
      return [uid, gid];
    };
    const [, gidBefore] = ids('file');
    chownFd(opened(t, path.join(directory, 'link')), 1234, 0xffff_fffe);
    t.same(ids('link'), [1234, 0xffff_fffe]);
    const file = opened(t, path.join(directory, 'file'));
    chownFd(file, 77, undefined);
    t.same(ids('file'), [77, gidBefore]);
    chownFd(file, undefined, 88);
    t.same(ids('file'), [77, 88]);
    t.throws(() => chownFd(file, 0xffff_ffff, undefined), { code: 'EINVAL' });
    t.throws(() => chownFd(file, undefined, 0xffff_ffff), { code: 'EINVAL' });
    t.same(ids('file'), [77, 88]);
  },
);

t.test('utimensFd sets nanoseconds, on links too, before 1970 and after 2106', async (t) => {
  const directory = t.testdir({ file: 'x', link: t.fixture('symlink', 'file') });
  for (const name of ['file', 'link']) {
    const fd = opened(t, path.join(directory, name));
    for (const [atime, mtime] of [
      [1_700_000_000_123_456_789n, 1n],
      [-1n, -1_000_000_001n],
      [0n, 4_294_967_296_999_999_999n],
    ] as const) {
      utimensFd(fd, atime, mtime);
      const { atimeNs, mtimeNs } = statFd(fd);
      t.same([atimeNs, mtimeNs], [atime, mtime], name);
    }
    utimensFd(fd, undefined, 5n);
    utimensFd(fd, 'now', undefined);
    const { atimeNs, mtimeNs, ctimeNs } = statFd(fd);
    t.equal(mtimeNs, 5n);
    t.equal(atimeNs, ctimeNs, 'the time of the call');
  }
  // The nanoseconds that would mean "now" and "no change".
  const fd = opened(t, path.join(directory, 'file'));
  utimensFd(fd, 0x3fff_ffffn, 0x3fff_fffen);
  t.same(
    [statFd(fd).atimeNs, statFd(fd).mtimeNs],
    [0x3fff_ffffn, 0x3fff_fffen].map((ns) => ns),
  );
});

t.test('ftruncate takes 64 bits', async (t) => {
  const directory = t.testdir({ file: 'abc' });
  const file = path.join(directory, 'file');
  const fd = opened(t, file, O_WRONLY);
  ftruncate(fd, 2n ** 32n + 5n);
  t.equal(statFd(fd).size, 2n ** 32n + 5n);
  ftruncate(fd, 1n);
  t.equal(fs.readFileSync(file, 'utf8'), 'a');
  t.throws(() => ftruncate(fd, -1n), { code: 'EINVAL', syscall: 'ftruncate' });
  t.throws(() => ftruncate(fd, 2n ** 63n), { code: 'EFBIG' });
  t.throws(() => ftruncate(fd, 2n ** 64n - 1n), { code: 'EFBIG' });
  t.throws(() => ftruncate(opened(t, file, O_RDONLY), 0n), { code: 'EINVAL' });
  t.equal(statFd(fd).size, 1n);
});
