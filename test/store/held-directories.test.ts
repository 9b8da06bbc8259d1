import fs from 'node:fs';
import t from 'tap';
import { HeldDirectories, NO_VERIFIER } from '../../src/store/held-directories.ts';
import { HELD_DIRECTORIES_MAX } from '../../src/store/limits.ts';

const who = { uid: 1, gid: 2, groups: [3] };
const handle = Buffer.from('a handle');
const open = (): number => fs.openSync('/', 'r');
const isOpen = (fd: number): boolean => {
  try {
    fs.fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

t.test('an open directory is found by verifier, handle and identity together', async (t) => {
  const held = new HeldDirectories();
  const fd = open();
  const verifier = held.hold(handle, who, fd);
  t.equal(verifier.length, NO_VERIFIER.length);
  t.equal(held.find(verifier, handle, who), fd);
  t.equal(held.find(NO_VERIFIER, handle, who), undefined);
  t.equal(held.find(verifier, Buffer.from('another'), who), undefined);
  t.equal(held.find(verifier, handle, { ...who, uid: 9 }), undefined);
  t.equal(held.find(verifier, handle, { ...who, groups: [] }), undefined);
  t.not(Buffer.from(held.hold(handle, who, open())).toString('hex'), Buffer.from(verifier).toString('hex'));
  held.close();
  await Promise.resolve();
  t.notOk(isOpen(fd));
});

t.test('what is released is closed, and no more than the limit are held', async (t) => {
  const held = new HeldDirectories();
  const first = open();
  held.release(held.hold(handle, who, first), handle, who);
  await Promise.resolve();
  t.notOk(isOpen(first));
  const fds = Array.from({ length: HELD_DIRECTORIES_MAX + 5 }, open);
  for (const fd of fds) held.hold(handle, who, fd);
  await Promise.resolve();
  t.equal(held.size, HELD_DIRECTORIES_MAX);
  t.equal(fds.filter(isOpen).length, HELD_DIRECTORIES_MAX, 'the oldest were closed');
  held.close();
});
