/** Files open for writing: how many, for how long, and what is left of them when a server stops. */
import fs from 'node:fs';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { makeNode } from '../../src/store/name-operations.ts';
import { CLOSING_WRITERS_MAX, OPEN_WRITERS_MAX } from '../../src/store/limits.ts';
import { lookup } from '../../src/store/operations.ts';
import { changeKey } from '../../src/store/page-file.ts';
import type { Store, StoreNode } from '../../src/store/store.ts';
import { write } from '../../src/store/write-operations.ts';
import { ErrnoError } from '../../src/system/errno.ts';
import { closeFd } from '../../src/system/files.ts';
import { becomeServer } from '../../src/system/identity.ts';
import { bytes, makePlace, notPrivileged, openStore, server, user } from './fixtures.ts';

function find(store: Store, name: string): StoreNode {
  return lookup(server, store.resolve(store.rootHandle('tree')), bytes(name));
}

t.test('files that are written and never committed do not use up the descriptors', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const FILES = OPEN_WRITERS_MAX + 3 * CLOSING_WRITERS_MAX;
  const data = [Buffer.from('x')];
  let most = 0;
  for (let index = 0; index < FILES; index += 1) {
    fs.writeFileSync(path.join(place.directory, `${index}`), '');
    await write(server, find(store, `${index}`), 0n, data, 'page-cache');
    most = Math.max(most, store.writing.count);
  }
  t.ok(most <= OPEN_WRITERS_MAX + CLOSING_WRITERS_MAX, `${most} files were open`);
  t.ok(most > OPEN_WRITERS_MAX);
  for (let index = 0; index < FILES; index += 1) {
    if (fs.readFileSync(path.join(place.directory, `${index}`), 'latin1') !== 'x') t.fail(`file ${index}`);
  }
});

t.test('a file that was made stays open for who made it, and is no more than a written one', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const directory = store.resolve(store.rootHandle('tree'));
  // Nobody could open it by its mode.
  const made = makeNode(server, { directory, name: bytes('file') }, { type: 'file', mode: 0 });
  t.equal(store.writing.count, 1);
  const { handle } = made;
  await write(server, made, 0n, [Buffer.from('text')], 'all-on-disk');
  t.equal(store.writing.count, 1, 'by the descriptor that made it');
  t.equal(fs.readFileSync(path.join(place.directory, 'file'), 'latin1'), 'text');
  const key = changeKey(handle);
  const other = fs.openSync(path.join(place.directory, 'file'), 'r+');
  store.writing.adopt(key, other);
  t.equal(store.writing.count, 1, 'a second one takes the place of the first');
  store.writing.forget(key);
  t.equal(store.writing.count, 0);
  for (let index = 0; index < OPEN_WRITERS_MAX + 10; index += 1) {
    const name = bytes(`many-${index}`);
    makeNode(server, { directory, name }, { type: 'file', mode: 0o600 });
  }
  t.equal(store.writing.count, OPEN_WRITERS_MAX);
});

t.test('a file that is made takes no place from one that is still to be synced', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const directory = store.resolve(store.rootHandle('tree'));
  for (let index = 0; index < OPEN_WRITERS_MAX; index += 1) {
    fs.writeFileSync(path.join(place.directory, `${index}`), '');
    await write(server, find(store, `${index}`), 0n, [Buffer.from('x')], 'page-cache');
  }
  const make = (name: string): StoreNode =>
    makeNode(server, { directory, name: bytes(name) }, { type: 'file', mode: 0o600 });
  const made = make('more');
  t.equal(store.writing.count, OPEN_WRITERS_MAX);
  await write(server, made, 0n, [Buffer.from('text')], 'all-on-disk');
  t.equal(fs.readFileSync(path.join(place.directory, 'more'), 'latin1'), 'text');
});

t.test('a file that gets no handle is not left behind', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const directory = store.resolve(store.rootHandle('tree'));
  const make = (): StoreNode =>
    makeNode(server, { directory, name: bytes('file') }, { type: 'file', mode: 0o600 });
  const descriptors = fs.readdirSync('/proc/self/fd').length;
  const adopt = store.adopt.bind(store);
  store.adopt = (_tree, fd) => {
    closeFd(fd);
    throw new ErrnoError('EMFILE', 'openat');
  };
  t.throws(make, { code: 'EMFILE' });
  t.equal(fs.readdirSync('/proc/self/fd').length, descriptors);
  t.notOk(fs.existsSync(path.join(place.directory, 'file')));
  store.adopt = (_tree, fd) => {
    closeFd(fd);
    fs.unlinkSync(path.join(place.directory, 'file'));
    fs.writeFileSync(path.join(place.directory, 'file'), 'of another');
    throw new ErrnoError('EMFILE', 'openat');
  };
  t.throws(make, { code: 'EMFILE' });
  t.equal(fs.readFileSync(path.join(place.directory, 'file'), 'latin1'), 'of another');
  fs.unlinkSync(path.join(place.directory, 'file'));
  store.adopt = adopt;
  t.doesNotThrow(make);
});

t.test('a store that closes keeps no file that is made', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  fs.writeFileSync(path.join(place.directory, 'file'), '');
  const fd = fs.openSync(path.join(place.directory, 'file'), 'r+');
  const key = changeKey(find(store, 'file').handle);
  store.close();
  store.writing.adopt(key, fd);
  t.throws(() => fs.fstatSync(fd), { code: 'EBADF' });
});

t.test('who waits for room goes on, however many are', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const FILES = OPEN_WRITERS_MAX + 2 * CLOSING_WRITERS_MAX;
  for (let index = 0; index < FILES; index += 1) fs.writeFileSync(path.join(place.directory, `${index}`), '');
  const data = [Buffer.from('x')];
  const writes = Array.from({ length: FILES }, (_, index) =>
    write(server, find(store, `${index}`), 0n, data, 'page-cache'),
  );
  const outcomes = await Promise.all(writes);
  t.ok(outcomes.every((outcome) => outcome.bytes === 1));
});

t.test('a server that stops writes nothing once it says so', { skip: notPrivileged }, async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const file = path.join(place.directory, 'file');
  fs.writeFileSync(file, '');
  fs.chownSync(file, user.uid, user.gid);
  const node = find(store, 'file');
  const COUNT = 64;
  const SIZE = 1024 * 1024;
  const writes = Promise.allSettled(
    Array.from({ length: COUNT }, (_, index) =>
      write(user, node, BigInt(index * SIZE), [Buffer.alloc(SIZE, index + 1)], 'page-cache'),
    ),
  );
  // The first of them are given to the kernel.
  await nextTurn();
  becomeServer();
  await store.writing.stop();
  const atStop = fs.readFileSync(file);
  const outcomes = await writes;
  t.ok(fs.readFileSync(file).equals(atStop), 'nothing was written later');
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') {
      t.match(outcome.reason, { code: 'EIO' });
      continue;
    }
    const written = atStop.subarray(index * SIZE, (index + 1) * SIZE);
    if (!written.equals(Buffer.alloc(SIZE, index + 1))) t.fail(`write ${index} was acknowledged`);
  }
  t.ok(
    outcomes.some(({ status }) => status === 'rejected'),
    'some had not begun',
  );
});

t.test('a file that is removed while it is written closes with its last write', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const file = path.join(place.directory, 'file');
  fs.writeFileSync(file, '');
  const node = find(store, 'file');
  const { handle } = node;
  const writing = write(server, node, 0n, [Buffer.alloc(1024 * 1024, 1)], 'page-cache');
  fs.unlinkSync(file);
  store.writing.forget(handle.toString('latin1'));
  t.match(await writing, { bytes: 1024 * 1024, status: { nlink: 0 } });
  await nextTurn();
  t.equal(store.writing.count, 0);
});
