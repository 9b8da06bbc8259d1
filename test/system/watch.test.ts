import { once } from 'node:events';
import { closeSync, openSync, readSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { watchReadable } from '../../src/system/watch.ts';

/** A FIFO: the one descriptor that a plain file-system call can make readable and drained. */
function fifo(dir: string): string {
  const path = join(dir, 'fifo');
  execFileSync('mkfifo', [path]);
  return path;
}

await t.test('the callback comes while there is something to read, and not before', async (t) => {
  const path = fifo(t.testdir());
  const fd = openSync(path, 'r+');
  const chunk = Buffer.alloc(16);
  const seen: string[] = [];
  let notify = (): void => undefined;
  const watch = watchReadable(fd, () => {
    seen.push(chunk.toString('latin1', 0, readSync(fd, chunk, 0, 4, null)));
    notify();
  });
  t.teardown(() => {
    watch.stop();
    closeSync(fd);
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.strictSame(seen, [], 'nothing was written yet');

  const writer = spawn('sh', ['-c', `printf abcdefgh > '${path}'`], { stdio: 'ignore' });
  await new Promise<void>((resolve) => {
    notify = () => {
      if (seen.length === 2) resolve();
    };
  });
  if (writer.exitCode === null) await once(writer, 'exit');
  t.strictSame(seen, ['abcd', 'efgh'], 'it comes again until the descriptor is drained');
});

await t.test('promise jobs started by the callback run', async (t) => {
  const path = fifo(t.testdir());
  const fd = openSync(path, 'r+');
  const finished = new Promise<string>((resolve) => {
    const watch = watchReadable(fd, () => {
      const chunk = Buffer.alloc(1);
      readSync(fd, chunk);
      watch.stop();
      void Promise.resolve(chunk.toString()).then(resolve);
    });
  });
  spawn('sh', ['-c', `printf x > '${path}'`], { stdio: 'ignore' });
  t.equal(await finished, 'x');
  closeSync(fd);
});

await t.test('after stop nothing comes any more', async (t) => {
  const path = fifo(t.testdir());
  const fd = openSync(path, 'r+');
  let calls = 0;
  const watch = watchReadable(fd, () => {
    calls += 1;
  });
  watch.stop();
  watch.stop();
  execFileSync('sh', ['-c', `printf x > '${path}'`]);
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  t.equal(calls, 0);
  closeSync(fd);
});
