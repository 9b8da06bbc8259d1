import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { OPEN_FILES_MAX, READ_BYTES_MAX } from '../../src/store/limits.ts';
import { readSource, type ReadFile } from '../../src/store/open-file.ts';
import { lookup, openFile } from '../../src/store/operations.ts';
import { spareReadBuffers } from '../../src/store/read-buffers.ts';
import type { Store, StoreNode } from '../../src/store/store.ts';
import { bytes, makePlace, openStore, server, type Place } from './fixtures.ts';

const self = { ...server, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

function nodeOf(store: Store, name: string): StoreNode {
  return lookup(self, store.resolve(store.rootHandle('tree')), bytes(name));
}

function write(place: Place, name: string, contents: Uint8Array): string {
  const file = path.join(place.directory, name);
  fs.writeFileSync(file, contents);
  return file;
}

async function read(
  file: ReadFile,
  offset: bigint,
  length: number,
): Promise<{ bytes: Buffer; eof: boolean }> {
  const result = await readSource(file.source(offset, length));
  const copy = Buffer.from(result.bytes);
  result.release();
  return { bytes: copy, eof: result.eof };
}

t.test('bytes and the end of the file', async (t) => {
  const place = makePlace(t);
  const contents = randomBytes(3 * READ_BYTES_MAX + 17);
  write(place, 'file', contents);
  write(place, 'empty', Buffer.alloc(0));
  const store = openStore(t, place);
  const file = openFile(self, nodeOf(store, 'file')).hold();
  const size = contents.length;
  for (const [offset, length] of [
    [0, 1],
    [5, 16_384],
    [7, 16_385],
    [READ_BYTES_MAX - 1, READ_BYTES_MAX],
    [size - 10, 10],
    [size - 10, 9],
    [size - 10, 11],
    [size, 5],
    [size + 5, 5],
    [3, 0],
  ] as const) {
    const result = await read(file, BigInt(offset), length);
    t.ok(result.bytes.equals(contents.subarray(offset, offset + length)), `${length} bytes at ${offset}`);
    t.equal(result.eof, offset + length >= size);
  }
  t.equal((await read(file, 0n, 2 * READ_BYTES_MAX)).bytes.length, READ_BYTES_MAX, 'the limit');
  t.same(await read(file, 2n ** 64n - 1n, 10), { bytes: Buffer.alloc(0), eof: true });
  file.release();
  t.same(await read(openFile(self, nodeOf(store, 'empty')), 0n, 10), { bytes: Buffer.alloc(0), eof: true });
});

t.test('offsets beyond 4 GiB in a sparse file', async (t) => {
  const place = makePlace(t);
  const fd = fs.openSync(path.join(place.directory, 'sparse'), 'w');
  const offset = 5n * 2n ** 30n + 3n;
  fs.writeSync(fd, Buffer.from('far away'), 0, 8, Number(offset));
  fs.closeSync(fd);
  const store = openStore(t, place);
  const file = openFile(self, nodeOf(store, 'sparse')).hold();
  t.same(await read(file, offset, 100), { bytes: Buffer.from('far away'), eof: true });
  t.same(await read(file, offset - 2n, 6), { bytes: Buffer.from('\0\0far '), eof: false });
  t.ok((await read(file, 2n ** 32n - 5n, 10)).bytes.equals(Buffer.alloc(10)), 'a hole');
  file.release();
});

t.test('a file that is not in the page cache is read all the same', async (t) => {
  const place = makePlace(t);
  const contents = randomBytes(READ_BYTES_MAX);
  const name = write(place, 'cold', contents);
  const fd = fs.openSync(name, 'r');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  const store = openStore(t, place);
  const file = openFile(self, nodeOf(store, 'cold')).hold();
  try {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '1');
  } catch {
    t.comment('caches could not be dropped: this is a warm read');
  }
  t.ok((await read(file, 0n, READ_BYTES_MAX)).bytes.equals(contents));
  file.release();
});

t.test('sources keep their file open; without them it closes', async (t) => {
  const place = makePlace(t);
  const name = write(place, 'file', Buffer.from('contents'));
  const store = openStore(t, place);
  const source = openFile(self, nodeOf(store, 'file')).source(0n, 100);
  const other = openFile(self, nodeOf(store, 'file')).source(0n, 100);
  t.equal(source.file, other.file);
  fs.unlinkSync(name);
  store.close();
  await Promise.resolve();
  t.equal(store.files.count, 1);
  const result = await readSource(source);
  t.equal(Buffer.from(result.bytes).toString(), 'contents');
  result.release();
  t.equal(store.files.count, 1);
  other.release();
  other.release();
  t.equal(store.files.count, 0);
  await Promise.resolve();
  t.throws(() => fs.fstatSync(source.file.fd), { code: 'EBADF' });
  t.throws(() => source.file.source(0n, 1), { code: 'EBADF' });
  t.throws(() => source.file.release(), { code: 'EBADF' });
});

t.test('no more files than the limit stay open', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const held: ReadFile[] = [];
  for (let index = 0; index < OPEN_FILES_MAX + 20; index += 1) {
    write(place, `${index}`, Buffer.from(`${index}`));
    const file = openFile(self, nodeOf(store, `${index}`));
    if (index < 3) held.push(file.hold());
  }
  t.equal(store.files.count, OPEN_FILES_MAX + 3);
  t.equal((await read(held[1] as ReadFile, 0n, 9)).bytes.toString(), '1');
  held.forEach((file) => file.release());
  t.equal(store.files.count, OPEN_FILES_MAX);
  store.close();
  t.equal(store.files.count, 0);
});

t.test('buffers come back for the next read', async (t) => {
  const place = makePlace(t);
  write(place, 'file', Buffer.alloc(100_000, 1));
  const store = openStore(t, place);
  const file = openFile(self, nodeOf(store, 'file')).hold();
  const first = await readSource(file.source(0n, 100_000));
  const spare = spareReadBuffers();
  first.release();
  t.equal(spareReadBuffers(), spare + 1);
  const second = await readSource(file.source(0n, 50_000));
  t.equal(second.bytes.buffer, first.bytes.buffer);
  second.release();
  file.release();
});
