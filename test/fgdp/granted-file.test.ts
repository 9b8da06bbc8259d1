import { fstatSync, mkdtempSync, openSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { GrantedFile } from '../../src/fgdp/granted-file.ts';
import { MAPPED_READ_BYTES_MAX } from '../../src/fgdp/limits.ts';

function granted(t: Test, contents: Buffer): { file: GrantedFile; path: string; released: () => number } {
  const directory = mkdtempSync(join(tmpdir(), 'nearmount-granted-'));
  const path = join(directory, 'file');
  writeFileSync(path, contents);
  let releases = 0;
  const file = new GrantedFile(7n, openSync(path, 'r'), () => (releases += 1));
  t.teardown(() => {
    file.release();
    rmSync(directory, { recursive: true });
  });
  return { file, path, released: () => releases };
}

const contents = Buffer.alloc(MAPPED_READ_BYTES_MAX + 1_000, 'a granted file ');

t.test('cached pages are there at once, in memory used again', async (t) => {
  const { file } = granted(t, contents);
  const first = file.read(5n, 100);
  if (first instanceof Promise) throw new Error('a file just written is in the page cache');
  t.ok(contents.subarray(5, 105).equals(first));
  const second = file.read(0n, MAPPED_READ_BYTES_MAX * 2);
  if (second instanceof Promise) throw new Error('a file just written is in the page cache');
  t.equal(second.length, MAPPED_READ_BYTES_MAX, 'at most so much at once');
  t.ok(contents.subarray(0, MAPPED_READ_BYTES_MAX).equals(second));
  t.equal(first.buffer, second.buffer);
  t.same((await file.read(BigInt(contents.length), 10)).length, 0, 'nothing after the end');
});

t.test('where data begins, and behind the end nothing', async (t) => {
  const SEEK_DATA = 3;
  const SEEK_HOLE = 4;
  const { file } = granted(t, contents);
  t.equal(file.seek(5n, SEEK_DATA), 5n);
  t.equal(file.seek(5n, SEEK_HOLE), BigInt(contents.length), 'the end counts as a hole');
  t.throws(() => file.seek(BigInt(contents.length), SEEK_DATA), { code: 'ENXIO' });
  t.equal((await file.read(0n, 10)).length, 10, 'reads do not mind');
});

t.test('a deleted file can still be read and looked at', async (t) => {
  const { file, path } = granted(t, contents);
  unlinkSync(path);
  t.equal(file.status().nlink, 0n);
  t.equal(file.status().size, BigInt(contents.length));
  t.equal((await file.read(0n, 10)).length, 10);
});

t.test('what has to be waited for has memory of its own, and holds the descriptor', async (t) => {
  let releases = 0;
  const file = new GrantedFile(7n, openSync('/proc/self/status', 'r'), () => (releases += 1));
  const reading = [file.read(0n, 4_096), file.read(0n, 4_096)];
  for (const each of reading) t.type(each, Promise, 'files of /proc are not in the page cache');
  file.release();
  file.release();
  t.equal(releases, 0);
  const [first, second] = [await reading[0], await reading[1]];
  t.match(Buffer.from(first!).toString(), /^Name:/);
  t.not(first!.buffer, second!.buffer);
  await new Promise(setImmediate);
  t.equal(releases, 1);
  t.throws(() => fstatSync(file.descriptor), { code: 'EBADF' });
});
