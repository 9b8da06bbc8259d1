/** Wrong proposals: what the table says is not believed, and what it no longer says is remembered. */
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startWorker } from '../support/mounts.ts';
import { makeScene, sha256, writeRandom } from './scene.ts';

const skip = cannotMountHere;

t.test(
  'another server at the socket of the table: the network serves, and status says why',
  { skip },
  async (t) => {
    const scene = makeScene(t);
    const content = writeRandom(join(scene.tree, 'a'), 100_000);
    const first = await scene.serve();
    await first.kill();
    // The same server, reachable by TCP only; its row still names the socket.
    const elsewhere = [
      '--socket',
      join(scene.top, 'elsewhere.sock'),
      '--colocation',
      join(scene.top, 'unused.db'),
    ];
    const real = await scene.serve({ port: first.port, args: elsewhere });
    t.equal(real.id, first.id);
    const otherKey = [
      '--state',
      join(scene.top, 'state-of-another'),
      '--colocation',
      join(scene.top, 'unused2.db'),
    ];
    const impostor = await scene.serve({ args: otherKey });
    t.not(impostor.id, first.id);

    const mount = await scene.mount();
    const worker = await startWorker(t, scene.point);
    t.same(await worker.ask({ op: 'digest', name: 'a' }), { value: sha256(content) });
    const status = await mount.status();
    t.match(status, {
      route: 'network',
      why: /near is not used: the server at .* is another one than tested/,
    });
    t.match(status.routes, [
      { route: 'near', state: 'failed', why: /is another one/ },
      { route: 'network', state: 'in use' },
    ]);

    // The near route comes back with the right server.
    await mount.stop();
    await impostor.kill();
    await real.kill();
    await scene.serve({ port: first.port });
    t.match(await (await scene.mount()).status(), { route: 'near', level: 'grants' });
  },
);

t.test('a socket nobody listens on: the network serves', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'a'), 'a\n');
  const first = await scene.serve();
  await first.kill();
  t.ok(existsSync(first.socket), 'a killed server leaves its socket');
  await scene.serve({
    port: first.port,
    args: ['--socket', join(scene.top, 'elsewhere.sock'), '--colocation', join(scene.top, 'unused.db')],
  });
  const mount = await scene.mount();
  t.match(await mount.status(), { route: 'network', why: /near is not used: nobody listens at/ });
  await mount.stop();

  rmSync(first.socket);
  writeFileSync(first.socket, '');
  const second = await scene.mount();
  t.match(await second.status(), { route: 'network', why: /is not a socket/ });
});

t.test('a stream without a descriptor channel: the network serves', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'a'), 'a\n');
  const server = await scene.serve();
  // What a proxy would do: the right bytes, and no descriptors.
  rmSync(`${server.socket}.channel`);
  const mount = await scene.mount();
  t.match(await mount.status(), { route: 'network', why: /near is not used: .*channel/ });
});

t.test('a server that accepts and says nothing: the network serves', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'a'), 'a\n');
  const first = await scene.serve();
  await first.kill();
  await scene.serve({
    port: first.port,
    args: ['--socket', join(scene.top, 'elsewhere.sock'), '--colocation', join(scene.top, 'unused.db')],
  });
  rmSync(first.socket);
  const silent = createServer(() => undefined).listen(first.socket);
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const mount = await scene.mount();
  t.match(await mount.status(), { route: 'network' });
});

for (const [what, spoil] of [
  ['removed', (table: string) => rmSync(table)],
  ['overwritten', (table: string) => writeFileSync(table, 'no database')],
] as const) {
  t.test(`a table ${what} after the mount: the mount goes on`, { skip }, async (t) => {
    const scene = makeScene(t);
    const content = writeRandom(join(scene.tree, 'a'), 100_000);
    const server = await scene.serve();
    const mount = await scene.mount();
    spoil(server.table);
    const worker = await startWorker(t, scene.point);
    t.same(await worker.ask({ op: 'digest', name: 'a' }), { value: sha256(content) });
    await server.kill();
    await mount.until('without its server', (status) => !status.connected);
    await scene.serve({ port: server.port, args: ['--colocation', join(scene.top, 'new.db')] });
    await mount.until('connected', (status) => status.connected);
    t.same(await worker.ask({ op: 'digest', name: 'a' }), { value: sha256(content) });
    t.equal((await mount.status()).route, 'near', 'it remembers where its server was');
  });
}

t.test('the socket goes away under a mount: it moves to the network', { skip }, async (t) => {
  const scene = makeScene(t);
  const content = writeRandom(join(scene.tree, 'a'), 3_000_000);
  const server = await scene.serve();
  const mount = await scene.mount();
  const worker = await startWorker(t, scene.point);
  await worker.ask({ op: 'open', name: 'a' });
  await worker.ask({ op: 'read', as: 'a', bytes: 1_000_000 });
  t.equal((await mount.status()).route, 'near');
  await server.kill();
  await scene.serve({
    port: server.port,
    args: ['--socket', join(scene.top, 'elsewhere.sock'), '--colocation', join(scene.top, 'unused.db')],
  });
  await mount.until('on the network', (status) => status.connected && status.route === 'network');
  t.same(await worker.ask({ op: 'rest', as: 'a' }), {
    value: { bytes: content.length, sha256: sha256(content) },
  });
  t.same(await worker.ask({ op: 'digest', name: 'a' }), { value: sha256(content) }, 'while it is open near');
  await worker.ask({ op: 'close', as: 'a' });
  await mount.until('without open files', ({ openFiles }) => openFiles.passthrough === 0);
  t.same(await worker.ask({ op: 'digest', name: 'a' }), { value: sha256(content) }, 'and on the wire');
  t.match(await mount.status(), { opens: { wire: 1 } });
});
