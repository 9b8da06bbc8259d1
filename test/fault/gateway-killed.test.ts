/** The gateway dies or is told to end: what is open near reads on, and the mount can always be taken away. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, isMounted, runTool, startWorker } from '../support/mounts.ts';
import { MIB, makeScene, sha256, writeRandom } from './scene.ts';

const skip = cannotMountHere;
const BIG_BYTES = 8 * MIB;

t.test('SIGKILL: near files read on, everything else answers ENOTCONN', { skip }, async (t) => {
  const scene = makeScene(t);
  const content = writeRandom(join(scene.tree, 'big'), BIG_BYTES);
  writeFileSync(join(scene.tree, 'other'), 'other\n');
  await scene.serve();
  const mount = await scene.mount();
  const worker = await startWorker(t, scene.point);
  await worker.ask({ op: 'open', name: 'big' });
  t.same(await worker.ask({ op: 'read', as: 'big', bytes: MIB }), { value: MIB });

  t.same(await mount.kill('SIGKILL'), { status: null, signal: 'SIGKILL' });
  t.same(
    await worker.ask({ op: 'rest', as: 'big' }),
    { value: { bytes: BIG_BYTES, sha256: sha256(content) } },
    'the kernel holds the file itself',
  );
  t.same(await worker.ask({ op: 'readFile', name: 'other' }), { error: 'ENOTCONN' });
  t.same(await worker.ask({ op: 'open', name: 'big', as: 'again' }), { error: 'ENOTCONN' });
  t.ok(isMounted(scene.point));
  const unmounted = await runTool('umount', ['-l', scene.point]);
  t.equal(unmounted.status, 0, unmounted.stderr);
  t.notOk(isMounted(scene.point));
  t.same(
    await worker.ask({ op: 'pread', as: 'big', offset: 1, bytes: 10 }),
    { value: { bytes: 10, sha256: sha256(content.subarray(1, 11)) } },
    'still, after the mount is gone',
  );

  const again = await scene.mount();
  const second = await startWorker(t, scene.point);
  t.same(
    await second.ask({ op: 'digest', name: 'big' }),
    { value: sha256(content) },
    'it can be mounted again',
  );
  t.equal((await again.status()).route, 'near');
});

t.test('SIGKILL: a reader on the wire gets an error', { skip }, async (t) => {
  const scene = makeScene(t);
  writeRandom(join(scene.tree, 'big'), 8 * BIG_BYTES);
  await scene.serve();
  const mount = await scene.mount({ options: 'datapath=wire' });
  const worker = await startWorker(t, scene.point);
  await worker.ask({ op: 'open', name: 'big' });
  await worker.ask({ op: 'read', as: 'big', bytes: MIB });
  await mount.kill('SIGKILL');
  const rest = await worker.ask({ op: 'rest', as: 'big' });
  t.match(rest, { error: /^(ENOTCONN|ECONNABORTED|EIO)$/ });
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} unmounts`, { skip }, async (t) => {
    const scene = makeScene(t);
    writeFileSync(join(scene.tree, 'a'), 'a\n');
    await scene.serve();
    const mount = await scene.mount();
    t.same(await mount.kill(signal), { status: 0, signal: null });
    t.notOk(isMounted(scene.point));
    t.match(mount.log(), /unmounted/);
  });
}

t.test('umount(8) ends the gateway, a dead server or not', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'a'), 'a\n');
  const server = await scene.serve();
  const mount = await scene.mount();
  t.equal((await runTool('umount', [scene.point])).status, 0);
  t.same(await mount.ended, { status: 0, signal: null });

  const second = await scene.mount();
  await server.kill();
  await second.until('without its server', (status) => !status.connected);
  t.equal((await runTool('umount', [scene.point])).status, 0);
  t.same(await second.ended, { status: 0, signal: null });

  const busy = await scene.serve().then(() => scene.mount());
  const worker = await startWorker(t, scene.point);
  const refused = await runTool('umount', [scene.point]);
  t.match(refused.stderr, /busy/, 'a mount in use stays');
  t.same(await worker.ask({ op: 'readFile', name: 'a' }), { value: 'a\n' });
  await worker.kill('SIGKILL');
  t.same(await busy.stop(), { status: 0, signal: null });
});
