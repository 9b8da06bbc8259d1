/** `nearmount status`: what it says of mounts that live, hang and died. */
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, runCli, startMount, startWorker } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

/** What the first gateways said. */
const OLDER = {
  mountPoint: '/mnt/old',
  source: 'tree',
  pid: 7,
  since: '2026-01-01T00:00:00.000Z',
  connected: true,
  route: 'near',
  level: 'grants',
  endpoint: '/s',
  why: 'first',
  routes: [],
  openFiles: {},
  opens: {},
  inodes: 1,
  requestsPending: 0,
  wireBytes: '0',
  calls: {},
};

const ask = (runtime: string, ...args: string[]) =>
  runCli(['status', ...args], { env: { ...process.env, NEARMOUNT_RUNTIME_DIR: runtime } });

t.test('no mounts', async (t) => {
  const top = makeDirectory(t);
  const none = await ask(join(top, 'missing'));
  t.same([none.status, none.stdout.toString(), none.stderr], [0, 'no mounts\n', '']);
  const json = await ask(join(top, 'missing'), '--json');
  t.same(JSON.parse(json.stdout.toString()), { mounts: [], silent: [] });
});

t.test('a mount', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  mkdirSync(join(top, 'tree'));
  writeFileSync(join(top, 'tree/a'), 'a\n');
  const server = await startServer(t, { directory: top, exports: [`tree=${join(top, 'tree')}`] });
  const point = join(top, 'mnt');
  const mount = await startMount(t, { source: 'tree', point, table: server.table });
  const worker = await startWorker(t, point);
  await worker.ask({ op: 'open', name: 'a' });
  const json = await ask(`${point}.run`, '--json');
  t.equal(json.status, 0);
  t.match(JSON.parse(json.stdout.toString()), {
    silent: [],
    mounts: [
      {
        mountPoint: point,
        source: 'tree',
        pid: mount.pid,
        connected: true,
        route: 'near',
        level: 'grants',
        endpoint: server.socket,
        server: 'tested',
        openFiles: { passthrough: 1, wire: 0 },
        routes: [
          { route: 'near', state: 'in use' },
          { route: 'network', state: 'not tried' },
        ],
      },
    ],
  });
  const text = (await ask(`${point}.run`)).stdout.toString();
  t.match(text, new RegExp(`^${point}  tree  pid ${mount.pid}`));
  t.match(text, /route {6}near, level grants/);
  t.match(text, /open files 1 passthrough, 0 mapped, 0 wire/);
  await server.kill();
  await mount.until('without its server', (status) => !status.connected);
  t.match((await ask(`${point}.run`)).stdout.toString(), /server away/);
  await mount.kill('SIGKILL');
  t.equal(readdirSync(`${point}.run`).length, 1, 'a killed gateway leaves its socket');
  t.equal((await ask(`${point}.run`)).stdout.toString(), 'no mounts\n');
  t.same(readdirSync(`${point}.run`), [], 'which is removed');
});

t.test('a mount that does not answer', async (t) => {
  const top = makeDirectory(t);
  const path = join(top, 'mount-0123456789ab.sock');
  const silent = createServer(() => undefined).listen(path);
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const result = await ask(top);
  t.equal(result.status, 1);
  t.match(result.stderr, new RegExp(`behind ${path} does not answer`));
  t.ok(existsSync(path), 'its socket stays');
});

async function answerWith(t: Test, top: string, name: string, answer: string): Promise<string> {
  const path = join(top, `mount-${name}.sock`);
  const server = createServer((socket) => socket.end(answer)).listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return path;
}

t.test('answers that make no sense, and one of an older version', async (t) => {
  const top = makeDirectory(t);
  const odd = [
    await answerWith(t, top, '01', '{"mountPoint":'),
    await answerWith(t, top, '02', '{"pid":"x"}'),
  ];
  await answerWith(t, top, '03', JSON.stringify(OLDER));
  const result = await ask(top, '--json');
  t.equal(result.status, 1);
  t.match(JSON.parse(result.stdout.toString()), {
    mounts: [
      {
        mountPoint: '/mnt/old',
        driver: 'kernel',
        mappedBytes: '0',
        mapFallbacks: 0,
        dirtyBytes: 0,
        groupsCut: 0,
      },
    ],
    silent: odd,
  });
  const text = await ask(top);
  t.match(text.stdout.toString(), /^\/mnt\/old {2}tree {2}pid 7, driver kernel/);
  for (const path of odd) t.match(text.stderr, `the mount behind ${path} does not answer\n`);
  t.notMatch(text.stderr, /\n\s+at /, 'no stack');
  const env = { ...process.env, NEARMOUNT_RUNTIME_DIR: top };
  const unmount = await runCli(['unmount', top], { env });
  t.match(unmount.stderr, /nothing is mounted at/, 'nor is unmount kept by them');
});
