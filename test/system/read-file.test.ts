import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readFully } from '../../src/system/read-file.ts';
import { ErrnoError } from '../../src/system/errno.ts';

const directory = mkdtempSync(join(tmpdir(), 'nearmount-read-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'file');
const contents = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index % 251));
writeFileSync(path, contents);

t.test('reads what there is, and no further', async (t) => {
  const fd = openSync(path, 'r');
  t.teardown(() => closeSync(fd));
  for (const [offset, size] of [
    [0, 10_000],
    [0, 20_000],
    [9_999, 5],
    [10_000, 5],
    [50_000, 5],
    [17, 0],
  ] as const) {
    const buffer = Buffer.alloc(size, 0xff);
    const length = await readFully(fd, buffer, BigInt(offset));
    t.equal(length, Math.max(0, Math.min(size, contents.length - offset)), `${size} at ${offset}`);
    t.ok(buffer.subarray(0, length).equals(contents.subarray(offset, offset + length)));
  }
});

t.test('what the file system cannot answer at once comes by a promise', async (t) => {
  // A file of /proc has no page cache: preadv2(2) with RWF_NOWAIT is refused.
  const fd = openSync('/proc/self/status', 'r');
  t.teardown(() => closeSync(fd));
  const buffer = Buffer.alloc(64 * 1024);
  const reading = readFully(fd, buffer, 0n);
  t.type(reading, Promise);
  t.match(buffer.toString('latin1', 0, await reading), /^Name:\t/);
});

t.test('errors of either way come out', async (t) => {
  const fd = openSync(directory, 'r');
  t.teardown(() => closeSync(fd));
  t.throws(() => void readFully(fd, Buffer.alloc(10), -1n), ErrnoError);
  await t.rejects(async () => readFully(fd, Buffer.alloc(10), 0n), { code: 'EISDIR' });
});
