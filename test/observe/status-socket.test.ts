/** Where mounts answer `status`, and whose word counts there. */
import { chownSync, mkdirSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import {
  collectStatus,
  collectStatusAs,
  runtimeDirectory,
  serveStatus,
} from '../../src/observe/status-socket.ts';
import { makeDirectory } from '../support/trees.ts';

const notRoot = process.geteuid?.() !== 0 && 'needs root, to act as another user';

t.test('mounts answer in their directory', async (t) => {
  const directory = join(makeDirectory(t), 'run');
  t.same(await collectStatus(directory), { statuses: [], silent: [] }, 'nobody was there yet');
  const status = await serveStatus(directory, () => ({ pid: 7, bytes: 9n }));
  t.same(await collectStatus(directory), { statuses: [{ pid: 7, bytes: '9' }], silent: [] });
  status.close();
});

t.test('an answer that makes no sense is none', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'mount-00.sock');
  const server = createServer((socket) => socket.end('{"pid":')).listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  t.same(await collectStatus(directory), { statuses: [], silent: [path] });
  const status = await serveStatus(directory, () => 7);
  t.teardown(() => {
    status.close();
  });
  t.same((await collectStatusAs(directory, (document) => document)).statuses, [7]);
  const { statuses, silent } = await collectStatusAs(directory, () => undefined);
  t.same([statuses, silent.length], [[], 2]);
});

t.test('the directory', { skip: notRoot }, async (t) => {
  t.equal(runtimeDirectory({ NEARMOUNT_RUNTIME_DIR: '/chosen', XDG_RUNTIME_DIR: '/own' }), '/chosen');
  t.equal(runtimeDirectory({ XDG_RUNTIME_DIR: '/own' }), '/run/nearmount');
  asUser(65_534, () => {
    t.equal(runtimeDirectory({ XDG_RUNTIME_DIR: '/own' }), '/own/nearmount');
    t.equal(runtimeDirectory({ XDG_RUNTIME_DIR: '' }), '/tmp/nearmount-65534');
  });
});

t.test('what another user made is not believed', { skip: notRoot }, async (t) => {
  const directory = join(makeDirectory(t), 'run');
  mkdirSync(directory, { mode: 0o777 });
  chownSync(directory, 65_533, 65_533);
  const status = await serveStatus(directory, () => 'false');
  t.teardown(() => {
    status.close();
  });
  const answers = asUser(65_534, () => ({
    collected: collectStatus(directory),
    served: serveStatus(directory, () => 'mine'),
  }));
  t.same(await answers.collected, { statuses: [], silent: [] });
  await t.rejects(answers.served, /belongs to another user: set NEARMOUNT_RUNTIME_DIR/);
});

/** What of `action` runs at once does so as another user. */
function asUser<T>(uid: number, action: () => T): T {
  process.seteuid?.(uid);
  try {
    return action();
  } finally {
    process.seteuid?.(0);
  }
}
