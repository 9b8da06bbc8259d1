import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { hasCapability } from '../../src/system/capabilities.ts';
import { AT_FDCWD, O_NOFOLLOW, O_PATH, O_RDONLY } from '../../src/system/constants.ts';
import { closeFd, openat, statFd } from '../../src/system/files.ts';
import { nameToHandleAt, openByHandleAt } from '../../src/system/handles.ts';

const skip = !hasCapability('CAP_DAC_READ_SEARCH') && 'needs CAP_DAC_READ_SEARCH';

t.test('a handle follows the file, and goes stale with it', { skip }, async (t) => {
  const directory = t.testdir({ a: 'contents', sub: {}, link: t.fixture('symlink', 'a') });
  const mountFd = openat(AT_FDCWD, directory, O_RDONLY);
  t.teardown(() => closeFd(mountFd));
  const handleOf = (name: string) => {
    const fd = openat(mountFd, name, O_PATH | O_NOFOLLOW);
    const handle = nameToHandleAt(fd);
    const { ino } = statFd(fd);
    closeFd(fd);
    return { handle, ino };
  };
  const { handle, ino } = handleOf('a');
  t.ok(handle.bytes.length > 0 && handle.bytes.length <= 128);
  fs.renameSync(path.join(directory, 'a'), path.join(directory, 'sub/b'));
  const fd = openByHandleAt(mountFd, handle, O_RDONLY);
  t.equal(fs.readFileSync(fd, 'latin1'), 'contents');
  t.equal(statFd(fd).ino, ino);
  closeFd(fd);
  const link = handleOf('link');
  const linkFd = openByHandleAt(mountFd, link.handle, O_PATH);
  t.equal(statFd(linkFd).ino, link.ino);
  closeFd(linkFd);
  fs.unlinkSync(path.join(directory, 'sub/b'));
  t.throws(() => openByHandleAt(mountFd, handle, O_PATH), { code: 'ESTALE' });
});

t.test('what is no handle is refused', { skip }, async (t) => {
  const fd = openat(AT_FDCWD, t.testdir({}), O_RDONLY);
  t.teardown(() => closeFd(fd));
  t.throws(() => openByHandleAt(fd, { type: 1, bytes: Buffer.alloc(129) }, O_PATH), { code: 'EINVAL' });
  t.throws(() => openByHandleAt(fd, { type: 1, bytes: Buffer.alloc(0) }, O_PATH), { code: 'EINVAL' });
  t.throws(() => openByHandleAt(fd, { type: 1, bytes: Buffer.alloc(8, 0xee) }, O_PATH), { code: 'ESTALE' });
  t.throws(() => nameToHandleAt(-1), { code: 'EBADF' });
});
