import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import {
  startWriteback,
  writeHere,
  writeNowait,
  writeOnPool,
  syncOnPool,
} from '../../src/system/write-file.ts';
import { makeDirectory } from '../support/trees.ts';

/** More pieces than one call takes (UIO_MAXIOV), empty ones among them. */
const PIECES = Array.from({ length: 3000 }, (_, index) => Buffer.alloc(index % 5, index));
const WHOLE = Buffer.concat(PIECES);

t.test('pieces lie one after the other, however they are written', async (t) => {
  const path = join(makeDirectory(t), 'file');
  for (const way of ['here', 'pool'] as const) {
    const fd = openSync(path, 'w');
    const written = way === 'here' ? writeHere(fd, PIECES, 3n) : await writeOnPool(fd, PIECES, 3);
    t.same(written, { bytes: WHOLE.length });
    t.same(way === 'here' ? writeHere(fd, [], 0n) : await writeOnPool(fd, [], 0), { bytes: 0 });
    closeSync(fd);
    t.ok(readFileSync(path).equals(Buffer.concat([Buffer.alloc(3), WHOLE])), way);
  }
});

t.test('a write that would wait writes what it can, or nothing', (t) => {
  const path = join(makeDirectory(t), 'file');
  const fd = openSync(path, 'w');
  const written = writeNowait(fd, [Buffer.from('abc')], 0n);
  const bytes = written === 'unsupported' ? 0 : written.bytes;
  t.equal(statSync(path).size, bytes);
  closeSync(fd);
  t.end();
});

t.test('a disk can begin before it is waited for', async (t) => {
  const path = join(makeDirectory(t), 'file');
  const fd = openSync(path, 'w');
  const offset = 5n * 1024n ** 3n;
  writeHere(fd, [Buffer.from('far away')], offset);
  startWriteback(fd, offset, 8);
  await syncOnPool(fd);
  closeSync(fd);
  t.equal(statSync(path).size, Number(offset) + 8);
  t.throws(() => startWriteback(fd, 0n, 8), { code: 'EBADF', syscall: 'sync_file_range' });
  const device = openSync('/dev/null', 'w');
  t.doesNotThrow(() => startWriteback(device, 0n, 8), 'nothing to begin with');
  closeSync(device);
});

t.test('errors', async (t) => {
  const path = join(makeDirectory(t), 'file');
  const fd = openSync(path, 'w');
  closeSync(fd);
  t.match(writeHere(fd, [Buffer.from('x')], 0n), { bytes: 0, error: { code: 'EBADF' } });
  t.match(writeNowait(fd, [Buffer.from('x')], 0n), { bytes: 0, error: { code: 'EBADF' } });
  t.match(await writeOnPool(fd, [Buffer.from('x')], 0), { bytes: 0, error: { code: 'EBADF' } });
  await t.rejects(writeOnPool(fd, [Buffer.from('x')], 2 ** 53), RangeError, 'Node would write elsewhere');
  await t.rejects(syncOnPool(fd), { code: 'EBADF' });
  await t.rejects(syncOnPool(fd, true), { code: 'EBADF' });
});

t.test('a limit on the size of files is an error, and no signal ends the process', (t) => {
  const path = join(makeDirectory(t), 'file');
  const child = fileURLToPath(new URL('write-file.child.ts', import.meta.url));
  // The test runner's own loader takes up SIGXFSZ, which Node ignores.
  const loaders = process.execArgv.filter((argument) => !argument.includes('processinfo'));
  const command = ['-u', 'NODE_OPTIONS', process.execPath, ...loaders, child, path];
  const { stdout, signal } = spawnSync('env', command, { encoding: 'utf8' });
  t.equal(signal, null);
  t.same(JSON.parse(stdout), {
    here: { bytes: 10, code: 'EFBIG' },
    pool: { bytes: 10, code: 'EFBIG' },
    beyond: { bytes: 0, code: 'EFBIG' },
  });
  t.end();
});
