/** The server dies under open files: near ones read on, hard mounts wait and go on, soft ones answer with an error. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startWorker } from '../support/mounts.ts';
import { MIB, makeScene, sha256, writeRandom } from './scene.ts';

const skip = cannotMountHere;
const BIG_BYTES = 24 * MIB;

t.test('near: a read that has begun ends with the right bytes without a server', { skip }, async (t) => {
  const scene = makeScene(t);
  const content = writeRandom(join(scene.tree, 'big'), BIG_BYTES);
  writeFileSync(join(scene.tree, 'small'), 'small\n');
  const server = await scene.serve();
  const mount = await scene.mount();
  const worker = await startWorker(t, scene.point);
  await worker.ask({ op: 'open', name: 'big' });
  t.same(await worker.ask({ op: 'read', as: 'big', bytes: MIB }), { value: MIB });
  t.match(await mount.status(), { route: 'near', openFiles: { passthrough: 1, wire: 0 } });

  await server.kill();
  await mount.until('without its server', (status) => !status.connected);
  t.same(
    await worker.ask({ op: 'rest', as: 'big' }),
    { value: { bytes: BIG_BYTES, sha256: sha256(content) } },
    'every byte, from the server’s page cache',
  );
  t.same(
    await worker.ask({ op: 'fstat', as: 'big' }),
    { value: { size: BIG_BYTES } },
    'fstat needs no server',
  );

  const waits = worker.ask({ op: 'readFile', name: 'small' });
  await scene.serve({ port: server.port });
  t.same(await waits, { value: 'small\n' }, 'an open that waited is answered by the server that came back');
  t.same(
    await worker.ask({ op: 'pread', as: 'big', offset: 5 * MIB + 1, bytes: 1000 }),
    { value: { bytes: 1000, sha256: sha256(content.subarray(5 * MIB + 1, 5 * MIB + 1001)) } },
    'the open file is the same one',
  );
  t.same(await worker.ask({ op: 'digest', name: 'big' }), { value: sha256(content) }, 'paths work again');
  const status = await mount.until('connected', (now) => now.connected);
  t.equal(status.route, 'near');
  await worker.ask({ op: 'close', as: 'big' });
  await mount.until('without open files', ({ openFiles }) => openFiles.passthrough === 0);
  t.same(await mount.stop(), { status: 0, signal: null });
});

for (const route of ['near', 'network']) {
  t.test(`${route}, wire, hard: a reader waits and ends with the right bytes`, { skip }, async (t) => {
    const scene = makeScene(t);
    const content = writeRandom(join(scene.tree, 'big'), 4 * BIG_BYTES);
    const server = await scene.serve();
    const mount = await scene.mount({ options: `route=${route},datapath=wire,hard` });
    const worker = await startWorker(t, scene.point);
    await worker.ask({ op: 'open', name: 'big' });
    t.same(await worker.ask({ op: 'read', as: 'big', bytes: MIB }), { value: MIB });
    await server.kill();
    await mount.until('without its server', (status) => !status.connected);

    let ended = false;
    const rest = worker.ask({ op: 'rest', as: 'big' }).finally(() => (ended = true));
    await mount.until('waiting for READs', (status) => status.requestsPending > 0);
    t.notOk(ended, 'the reader waits');
    await scene.serve({ port: server.port });
    t.same(await rest, { value: { bytes: 4 * BIG_BYTES, sha256: sha256(content) } });
    const status = await mount.status();
    t.equal(status.route, route);
    t.ok(BigInt(status.wireBytes) >= BigInt(content.length), 'every byte came by the wire');
  });
}

for (const [soft, error] of [
  ['soft', 'EIO'],
  ['softerr', 'ETIMEDOUT'],
] as const) {
  t.test(`wire, ${soft}: an error comes and nothing hangs`, { skip }, async (t) => {
    const scene = makeScene(t);
    const content = writeRandom(join(scene.tree, 'big'), 4 * BIG_BYTES);
    const server = await scene.serve();
    const mount = await scene.mount({ options: `route=network,${soft},timeo=5,retrans=1,noac` });
    const worker = await startWorker(t, scene.point);
    await worker.ask({ op: 'open', name: 'big' });
    t.same(await worker.ask({ op: 'read', as: 'big', bytes: MIB }), { value: MIB });
    await server.kill();
    t.same(await worker.ask({ op: 'rest', as: 'big' }), { error });
    t.same(await worker.ask({ op: 'stat', name: 'big' }), { error });
    t.same(await worker.ask({ op: 'list', name: '.' }), { error });
    await scene.serve({ port: server.port });
    await mount.until('connected', (status) => status.connected);
    t.same(await worker.ask({ op: 'digest', name: 'big' }), { value: sha256(content) }, 'it recovers');
  });
}

for (const route of ['network', 'near'] as const) {
  t.test(`${route}, hard: who waits for a dead server can be ended`, { skip }, async (t) => {
    const scene = makeScene(t);
    writeRandom(join(scene.tree, 'big'), 4 * BIG_BYTES);
    const server = await scene.serve();
    const mount = await scene.mount({ options: `route=${route},datapath=wire,hard,noac` });
    const workers = [];
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      for (const request of [
        { op: 'rest', as: 'big' },
        { op: 'stat', name: 'big' },
        { op: 'readFile', name: 'big' },
        { op: 'list', name: '.' },
      ]) {
        const worker = await startWorker(t, scene.point);
        await worker.ask({ op: 'open', name: 'big' });
        workers.push({ worker, signal, request });
      }
    }
    await server.kill();
    await mount.until('without its server', (status) => !status.connected);
    for (const { worker, signal, request } of workers) {
      const before = (await mount.status()).requestsPending;
      const call = worker.ask(request);
      await mount.until('waiting for it', (status) => status.requestsPending > before);
      t.equal(await worker.kill(signal), signal, `${signal} ends a caller in ${JSON.stringify(request)}`);
      t.match(await call, { error: /^(EINTR|worker ended.*)$/ });
    }
    await scene.serve({ port: server.port });
    const status = await mount.until('idle', (now) => now.connected && now.requestsPending === 0);
    t.same(status.openFiles, { passthrough: 0, mapped: 0, wire: 0 }, 'the files of the killed are closed');
  });
}
