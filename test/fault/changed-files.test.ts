/**
 * Files that change on the server while they are open: on the near path what POSIX says of one machine, on the wire
 * what close-to-open promises, which is that an open after the change sees it. Never bytes of another file.
 */
import { appendFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, startWorker, type FileWorker } from '../support/mounts.ts';
import { makeScene, sha256, writeRandom } from './scene.ts';

const skip = cannotMountHere;
const PATHS = [
  { name: 'near', options: 'route=near', near: true },
  { name: 'wire', options: 'route=network', near: false },
] as const;

for (const path of PATHS) {
  const scene = async (t: Test, content: string, more = 'acregmin=3') => {
    const made = makeScene(t);
    writeFileSync(join(made.tree, 'f'), content);
    await made.serve();
    const mount = await made.mount({ options: `${path.options},${more}` });
    const worker = await startWorker(t, made.point);
    await worker.ask({ op: 'open', name: 'f', as: 'old' });
    return { ...made, mount, worker, file: join(made.tree, 'f') };
  };
  const open = async (worker: FileWorker) => worker.ask({ op: 'readFile', name: 'f' });

  t.test(`${path.name}: replaced by rename`, { skip }, async (t) => {
    const { worker, file, tree } = await scene(t, 'old content\n');
    t.same(await open(worker), { value: 'old content\n' });
    writeFileSync(join(tree, 'new'), 'new\n');
    renameSync(join(tree, 'new'), file);
    const old = await worker.ask({ op: 'text', as: 'old' });
    if (path.near) t.same(old, { value: 'old content\n' }, 'the open file is the old one');
    else
      t.ok(
        old.error === 'ESTALE' || old.value === 'old content\n',
        `the old one or none: ${JSON.stringify(old)}`,
      );
    t.same(await open(worker), { value: 'new\n' }, 'an open afterwards is the new one');
    t.same(await open(worker), { value: 'new\n' });
  });

  t.test(`${path.name}: closed, listed, replaced by rename`, { skip }, async (t) => {
    const { worker, file, tree } = await scene(t, 'old content\n', 'actimeo=60');
    t.same(await worker.ask({ op: 'list', name: '.' }), { value: ['f'] });
    t.same(await open(worker), { value: 'old content\n' });
    await worker.ask({ op: 'close', as: 'old' });
    writeFileSync(join(tree, 'new'), 'new\n');
    renameSync(join(tree, 'new'), file);
    t.same(await open(worker), { value: 'new\n' }, 'no ESTALE for the program');
  });

  t.test(`${path.name}: deleted`, { skip }, async (t) => {
    const { worker, file } = await scene(t, 'old content\n');
    rmSync(file);
    const old = await worker.ask({ op: 'text', as: 'old' });
    if (path.near) t.same(old, { value: 'old content\n' });
    else t.ok(old.error === 'ESTALE' || old.value === 'old content\n', JSON.stringify(old));
    t.same(await open(worker), { error: 'ENOENT' });
  });

  t.test(`${path.name}: deleted and made again, with noac`, { skip }, async (t) => {
    const { worker, file } = await scene(t, 'old content\n', 'noac');
    rmSync(file);
    t.same(await open(worker), { error: 'ENOENT' });
    writeFileSync(file, 'another\n');
    t.same(await open(worker), { value: 'another\n' }, 'that a name is missing is not remembered');
  });

  t.test(`${path.name}: grown`, { skip }, async (t) => {
    const { worker, file } = await scene(t, 'one\n');
    t.same(await worker.ask({ op: 'text', as: 'old' }), { value: 'one\n' });
    appendFileSync(file, 'two\n');
    if (path.near)
      t.same(await worker.ask({ op: 'text', as: 'old' }), { value: 'one\ntwo\n' }, 'seen at once');
    t.same(await open(worker), { value: 'one\ntwo\n' }, 'an open afterwards sees it');
    t.same(
      await worker.ask({ op: 'text', as: 'old' }),
      { value: 'one\ntwo\n' },
      'and then the open file too',
    );
    t.same(await worker.ask({ op: 'fstat', as: 'old' }), { value: { size: 8 } });
  });

  t.test(`${path.name}: truncated`, { skip }, async (t) => {
    const { worker, file } = await scene(t, 'a long line of text\n');
    t.same(await worker.ask({ op: 'text', as: 'old', bytes: 6 }), { value: 'a long' });
    truncateSync(file, 6);
    const rest = await worker.ask({ op: 'text', as: 'old', offset: 7 });
    if (path.near) t.same(rest, { value: '' }, 'nothing is behind the end');
    else
      t.ok(
        rest.value === '' || rest.value === 'line of text\n',
        `the end or the old bytes: ${JSON.stringify(rest)}`,
      );
    t.same(await open(worker), { value: 'a long' });
    t.same(await worker.ask({ op: 'text', as: 'old' }), { value: 'a long' });
  });

  t.test(`${path.name}: rewritten in place, same size`, { skip }, async (t) => {
    const { worker, tree } = await scene(t, 'x');
    const big = join(tree, 'big');
    writeRandom(big, 3_000_000);
    await worker.ask({ op: 'digest', name: 'big' });
    for (let round = 0; round < 3; round += 1) {
      const content = writeRandom(big, 3_000_000);
      t.same(await worker.ask({ op: 'digest', name: 'big' }), { value: sha256(content) }, 'close-to-open');
    }
  });
}
