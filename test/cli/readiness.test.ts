/** Services of Type=notify: what `serve` and `mount --foreground` tell, and when. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, isMounted, MAIN, plainNode, runTool, within } from '../support/mounts.ts';
import { listenForNotices } from '../support/notify-socket.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

const LIMIT_MS = 60_000;

t.test('serve is ready when it serves', async (t) => {
  const top = makeDirectory(t);
  const socket = listenForNotices(t, join(top, 'notify'));
  const args = [
    'serve',
    '--export',
    `tree=${top}`,
    '--socket',
    join(top, 's.sock'),
    '--state',
    join(top, 'state'),
  ];
  const child = spawn(...plainNode(MAIN, ...args), {
    stdio: 'ignore',
    env: { ...process.env, NOTIFY_SOCKET: join(top, 'notify') },
  });
  t.teardown(() => child.kill('SIGKILL'));
  await within(socket.until('READY=1'), LIMIT_MS, () => 'not ready');
  t.same(socket.messages, ['READY=1\nSTATUS=serving /tree']);
  child.kill('SIGTERM');
  await within(socket.until('STOPPING=1'), LIMIT_MS, () => 'not stopping');
  await once(child, 'exit');
  t.equal(child.exitCode, 0);
});

t.test('mount --foreground is ready when the mount answers', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const point = join(top, 'mnt');
  mkdirSync(point);
  const server = await startServer(t, { directory: top, exports: [`tree=${top}`] });
  const name = `@nearmount-readiness-${process.pid}`;
  const socket = listenForNotices(t, name);
  const args = ['mount', 'tree', point, '--foreground', '--colocation', server.table];
  const child = spawn(...plainNode(MAIN, ...args), {
    stdio: 'ignore',
    env: { ...process.env, NOTIFY_SOCKET: name, NEARMOUNT_RUNTIME_DIR: join(top, 'run') },
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await runTool('umount', ['-i', '-c', '-l', '--', point]);
  });
  await within(socket.until('READY=1'), LIMIT_MS, () => 'not ready');
  t.same(socket.messages, [`READY=1\nSTATUS=mounted at ${point}`]);
  t.match((await runTool('ls', [point])).stdout.toString(), /colocation\.db/);
  child.kill('SIGTERM');
  await within(socket.until('STOPPING=1'), LIMIT_MS, () => 'not stopping');
  await once(child, 'exit');
  t.notOk(isMounted(point));
});

t.test('a service manager that is gone is no reason to fail', async (t) => {
  const top = makeDirectory(t);
  const args = [
    'serve',
    '--export',
    `tree=${top}`,
    '--socket',
    join(top, 's.sock'),
    '--state',
    join(top, 'state'),
  ];
  const child = spawn(...plainNode(MAIN, ...args), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NOTIFY_SOCKET: join(top, 'nobody') },
  });
  t.teardown(() => child.kill('SIGKILL'));
  let log = '';
  const said = new Promise<void>((done) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (log.includes('the service manager cannot be told')) done();
    });
  });
  await within(Promise.all([once(child.stdout, 'data'), said]), LIMIT_MS, () => log);
  t.equal(child.exitCode, null, 'it serves');
  child.kill('SIGTERM');
  await once(child, 'exit');
  t.equal(child.exitCode, 0);
});
