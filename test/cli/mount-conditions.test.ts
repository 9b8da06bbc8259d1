/** Mount options that say under which conditions a mount works: resvport, cto. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount, startWorker } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';

const skip = cannotMountHere;

async function prepare(
  t: Parameters<typeof startServer>[0] & Parameters<typeof makeDirectory>[0],
  setting: string,
) {
  const top = makeDirectory(t);
  makeTree(join(top, 'tree'), { file: 'contents' });
  const server = await startServer(t, { directory: top, exports: [`tree=${join(top, 'tree')}${setting}`] });
  return { top, source: `nfs://127.0.0.1:${server.port}/tree` };
}

t.test('resvport: an export that wants reserved ports', { skip }, async (t) => {
  const { top, source } = await prepare(t, ',secure');
  await t.rejects(startMount(t, { source, point: join(top, 'no') }), {
    message: /does not let this client mount/,
  });
  const mount = await startMount(t, { source, point: join(top, 'yes'), options: 'resvport' });
  const worker = await startWorker(t, mount.point);
  t.same(await worker.ask({ op: 'readFile', name: 'file' }), { value: 'contents' });
});

t.test('cto asks at every open, nocto while attributes are believed does not', { skip }, async (t) => {
  const { top, source } = await prepare(t, '');
  for (const [option, asked, content] of [
    ['cto', 3, 'changed!'],
    ['nocto', 0, 'contents'],
  ] as const) {
    writeFileSync(join(top, 'tree/file'), 'contents');
    const mount = await startMount(t, {
      source,
      point: join(top, option),
      options: `${option},actimeo=600,nopush`,
    });
    const worker = await startWorker(t, mount.point);
    t.same(await worker.ask({ op: 'readFile', name: 'file' }), { value: 'contents' });
    const before = (await mount.status()).calls.ACCESS ?? 0;
    writeFileSync(join(top, 'tree/file'), 'changed!');
    for (let opens = 0; opens < 3; opens += 1) await worker.ask({ op: 'digest', name: 'file' });
    t.equal(
      ((await mount.status()).calls.ACCESS ?? 0) - before,
      asked,
      `${option}: ACCESS calls of three opens`,
    );
    t.same(await worker.ask({ op: 'readFile', name: 'file' }), { value: content }, option);
    t.same(await mount.stop(), { status: 0, signal: null });
  }
});
