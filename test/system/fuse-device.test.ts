import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { closeFd } from '../../src/system/files.ts';
import {
  adoptFuseDevice,
  findFuseDevices,
  isConnectionOver,
  openBacking,
  openFuseDevice,
  readDevice,
  writeDevice,
} from '../../src/system/fuse-device.ts';

const skip = (() => {
  try {
    closeFd(openFuseDevice());
    return false;
  } catch (error) {
    return `no /dev/fuse for this process: ${(error as Error).message}`;
  }
})();

t.test('a device that is not mounted', { skip }, async (t) => {
  const fd = openFuseDevice();
  t.teardown(() => closeFd(fd));
  // fs/fuse/dev.c: without a connection every operation is EPERM.
  t.throws(() => readDevice(fd, Buffer.alloc(8192)), { code: 'EPERM', syscall: 'read' });
  t.throws(() => writeDevice(fd, [Buffer.alloc(16)]), { code: 'EPERM', syscall: 'write' });
  t.throws(() => openBacking(fd, fd), { code: /EPERM|EINVAL|ENOTTY/ });
});

t.test('a message of many chunks is written in order', async (t) => {
  const file = path.join(t.testdir({}), 'out');
  const fd = fs.openSync(file, 'w');
  t.teardown(() => closeFd(fd));
  const small = Array.from({ length: 40 }, (_, index) => Buffer.alloc(index, index));
  const large = Array.from({ length: 40 }, (_, index) => Buffer.alloc(index * 100, index));
  for (const chunks of [small, large]) t.equal(writeDevice(fd, chunks), true);
  t.equal(writeDevice(fd, [Buffer.from('end')]), true);
  t.ok(fs.readFileSync(file).equals(Buffer.concat([...small, ...large, Buffer.from('end')])));
  t.throws(
    () =>
      writeDevice(
        fd,
        Array.from({ length: 1025 }, () => Buffer.alloc(8)),
      ),
    { code: 'EINVAL' },
  );
});

t.test('without a request to read', async (t) => {
  const file = path.join(t.testdir({ in: 'abc' }), 'in');
  const fd = fs.openSync(file, 'r');
  t.teardown(() => closeFd(fd));
  const buffer = Buffer.alloc(10);
  t.equal(readDevice(fd, buffer), 3);
  t.equal(buffer.toString('latin1', 0, 3), 'abc');
  t.throws(() => readDevice(-1, buffer), { code: 'EBADF' });
});

t.test('devices that others opened', { skip }, async (t) => {
  const before = findFuseDevices();
  const fd = fs.openSync('/dev/fuse', 'r+');
  t.same(
    findFuseDevices().filter((each) => !before.includes(each)),
    [fd],
  );
  const O_NONBLOCK = 0o4000;
  const flags = (): number =>
    parseInt(/^flags:\s*(\d+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8);
  t.equal(flags() & O_NONBLOCK, 0);
  adoptFuseDevice(fd);
  t.equal(flags() & O_NONBLOCK, O_NONBLOCK);
  // fs/fuse/dev.c, fuse_dev_poll: no connection is an error, as one that has ended.
  t.equal(isConnectionOver(fd), true);
  fs.closeSync(fd);
  t.same(findFuseDevices(), before);
});
