import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import {
  fitsFileHandle,
  loadHandleKey,
  sealFileHandle,
  TABLE_HANDLE_TYPE,
  unsealFileHandle,
} from '../../src/store/file-handle.ts';

const key = Buffer.alloc(32, 7);
const parts = { type: 1, exportId: Buffer.from('exportid'), body: Buffer.from('kernel') };

t.test('what is sealed comes back, up to 64 bytes', async (t) => {
  t.same(unsealFileHandle(key, sealFileHandle(key, parts)), parts);
  const largest = { ...parts, type: TABLE_HANDLE_TYPE, body: randomBytes(38) };
  const handle = sealFileHandle(key, largest);
  t.equal(handle.length, 64);
  t.same(unsealFileHandle(key, new Uint8Array(handle)), largest);
});

t.test('which handles of the kernel fit', async (t) => {
  const fits = (type: number, length: number) => fitsFileHandle({ type, bytes: Buffer.alloc(length) });
  t.equal(fits(1, 1), true);
  t.equal(fits(254, 38), true);
  t.equal(fits(1, 39), false);
  t.equal(fits(1, 0), false);
  for (const type of [0, -1, 255, 256]) t.equal(fits(type, 8), false);
});

t.test('every other sequence of bytes is a bad handle', async (t) => {
  const handle = sealFileHandle(key, parts);
  for (let length = 0; length <= 64; length += 1) {
    t.throws(() => unsealFileHandle(key, randomBytes(length)), { code: 'BADHANDLE' });
    if (length < handle.length) {
      t.throws(() => unsealFileHandle(key, handle.subarray(0, length)), { code: 'BADHANDLE' });
    } else if (length > handle.length) {
      const longer = Buffer.concat([handle, Buffer.alloc(length - handle.length)]);
      t.throws(() => unsealFileHandle(key, longer), { code: 'BADHANDLE' });
    }
  }
  for (let bit = 0; bit < handle.length * 8; bit += 1) {
    const flipped = Buffer.from(handle);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    t.throws(() => unsealFileHandle(key, flipped), { code: 'BADHANDLE' });
  }
  t.throws(() => unsealFileHandle(Buffer.alloc(32, 8), handle), { code: 'BADHANDLE' });
});

t.test('the key is made once, for its owner only', async (t) => {
  const directory = t.testdir({});
  const made = loadHandleKey(directory);
  t.equal(made.length, 32);
  t.same(loadHandleKey(directory), made);
  t.same(fs.readdirSync(directory), ['handle-key']);
  t.equal(fs.statSync(path.join(directory, 'handle-key')).mode & 0o777, 0o600);
  t.not(loadHandleKey(t.testdir({})).equals(made), true);
});

t.test('a damaged key is not taken', async (t) => {
  const directory = t.testdir({ 'handle-key': 'short' });
  t.throws(() => loadHandleKey(directory), { message: /handle-key has 5 bytes, not 32/ });
});
