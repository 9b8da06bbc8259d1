/** The mount ends, one way or another, under a file that is open and written to: what the end owes to its writers. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import {
  cannotMountHere,
  isMounted,
  runCli,
  runTool,
  startWorker,
  type FileWorker,
} from '../support/mounts.ts';
import { makeScene, type Scene } from './scene.ts';

type Milliseconds = number;

const skip = cannotMountHere;
/** Two WRITEs and a half, so that some are sent and some still gathered. */
const TEXT = 'written '.repeat(327_680);
/** How often the server's directory is looked at. */
const LOOK_EVERY: Milliseconds = 50;
const LOOK_LIMIT: Milliseconds = 30_000;

/** The tests are root, who may write here. */
const serve = (scene: Scene, port = 0) =>
  scene.serve({ port, exports: [`tree=${scene.tree},squash=none,clients=127.0.0.0/8`] });

/** Has a worker do what must succeed. */
async function have(worker: FileWorker, request: Readonly<Record<string, unknown>>): Promise<void> {
  const { error } = await worker.ask(request);
  if (error !== undefined) throw new Error(`${JSON.stringify(request)}: ${error}`);
}

/** Writes all of TEXT in pieces; nothing asks for it to be at the server. */
async function writeText(worker: FileWorker, as: string): Promise<void> {
  const PIECE = 64 * 1024;
  for (let offset = 0; offset < TEXT.length; offset += PIECE) {
    const text = TEXT.slice(offset, offset + PIECE);
    await have(worker, { op: 'write', as, text, offset });
  }
}

async function namesBecome(directory: string, wanted: readonly string[]): Promise<readonly string[]> {
  const end = performance.now() + LOOK_LIMIT;
  for (;;) {
    const names = readdirSync(directory).sort();
    if (names.join('/') === wanted.join('/') || performance.now() > end) return names;
    await delay(LOOK_EVERY);
  }
}

t.test('SIGKILL with a deleted file open: the next mount removes its name', { skip }, async (t) => {
  const scene = makeScene(t);
  await serve(scene);
  const options = 'route=network';
  const mount = await scene.mount({ options });
  const worker = await startWorker(t, scene.point);
  for (const name of ['deleted', 'kept']) {
    await have(worker, { op: 'open', name, flags: 'w+' });
    await have(worker, { op: 'write', as: name, text: name, offset: 0 });
    await have(worker, { op: 'fsync', as: name });
  }
  t.same(await worker.ask({ op: 'unlink', name: 'deleted' }), { value: true });
  t.same(
    await worker.ask({ op: 'text', as: 'deleted' }),
    { value: 'deleted' },
    'it is still there for who has it',
  );
  const before = readdirSync(scene.tree).sort();
  t.match(before, [/^\.nfs[0-9a-f]{24}$/, 'kept']);

  // A second mount leaves the files of one that lives alone.
  const beside = await scene.mount({ options, point: `${scene.point}-beside` });
  t.same(await beside.stop(), { status: 0, signal: null });
  t.same(readdirSync(scene.tree).sort(), before);

  await mount.kill('SIGKILL');
  t.equal((await runTool('umount', ['-l', scene.point])).status, 0);
  t.same(readdirSync(scene.tree).sort(), before);
  const again = await scene.mount({ options });
  t.same(await namesBecome(scene.tree, ['kept']), ['kept']);
  t.same(await again.stop(), { status: 0, signal: null });
  t.equal(readFileSync(join(scene.tree, 'kept'), 'latin1'), 'kept');
});

for (const route of ['network', 'near'] as const) {
  const options = `route=${route},datapath=wire`;
  t.test(`${route}: SIGTERM under a writer: its bytes are at the server`, { skip }, async (t) => {
    const scene = makeScene(t);
    await serve(scene);
    const mount = await scene.mount({ options });
    const worker = await startWorker(t, scene.point);
    await have(worker, { op: 'open', name: 'f', flags: 'w' });
    await writeText(worker, 'f');
    t.same(await mount.kill('SIGTERM'), { status: 0, signal: null });
    t.notOk(isMounted(scene.point));
    t.ok(readFileSync(join(scene.tree, 'f'), 'latin1') === TEXT, 'every byte');
    t.notMatch(mount.log(), /before all that was written/);
  });

  t.test(`${route}: --force under a writer: its bytes are at the server`, { skip }, async (t) => {
    const scene = makeScene(t);
    await serve(scene);
    const mount = await scene.mount({ options });
    const worker = await startWorker(t, scene.point);
    await have(worker, { op: 'open', name: 'f', flags: 'w' });
    await writeText(worker, 'f');
    const env = { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: `${scene.point}.run` };
    const forced = await runCli(['unmount', '--force', scene.point], { env });
    t.equal(forced.status, 0, forced.stderr);
    t.same(await mount.ended, { status: 0, signal: null });
    t.ok(readFileSync(join(scene.tree, 'f'), 'latin1') === TEXT, 'every byte');
    t.match(await worker.ask({ op: 'fsync', as: 'f' }), { error: /^(ENOTCONN|ECONNABORTED|EIO)$/ });
  });
}

t.test('--force under a writer without a server: it ends, and says what is lost', { skip }, async (t) => {
  const scene = makeScene(t);
  const server = await serve(scene);
  const mount = await scene.mount({ options: 'route=network,hard' });
  const worker = await startWorker(t, scene.point);
  await have(worker, { op: 'open', name: 'f', flags: 'w' });
  await server.kill();
  await mount.until('without its server', ({ connected }) => !connected);
  await writeText(worker, 'f');
  const env = { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: `${scene.point}.run` };
  const forced = await runCli(['unmount', '--force', scene.point], { env });
  t.equal(forced.status, 0, forced.stderr);
  t.notOk(isMounted(scene.point));
  t.match(forced.stderr, /still runs: it waits for its server with what programs have written/);
  t.ok((await mount.status()).dirtyBytes >= TEXT.length, 'and status shows it');
  t.same(await mount.ended, { status: 0, signal: null });
  t.match(mount.log(), /the mount has ended before all that was written was at the server/);
});

t.test('soft, without a server: write, fsync and close say EIO, and nothing hangs', { skip }, async (t) => {
  const scene = makeScene(t);
  const server = await serve(scene);
  const mount = await scene.mount({ options: 'route=network,soft,timeo=5,retrans=1' });
  const worker = await startWorker(t, scene.point);
  for (const [as, flags] of [
    ['fsync', 'w'],
    ['close', 'w'],
    ['write', 'w'],
    ['sync', 'as+'],
  ] as const) {
    await have(worker, { op: 'open', name: as, flags });
  }
  await server.kill();
  await mount.until('without its server', ({ connected }) => !connected);
  t.same(await worker.ask({ op: 'write', as: 'sync', text: 'x', offset: 0 }), { error: 'EIO' }, 'O_SYNC');
  for (const as of ['fsync', 'close', 'write']) {
    t.same(await worker.ask({ op: 'write', as, text: 'x', offset: 0 }), { value: 1 }, 'written behind');
  }
  t.same(await worker.ask({ op: 'fsync', as: 'fsync' }), { error: 'EIO' });
  t.same(await worker.ask({ op: 'close', as: 'close' }), { error: 'EIO' });
  await mount.until('clean: what cannot be written is dropped', ({ dirtyBytes }) => dirtyBytes === 0);
  t.same(await worker.ask({ op: 'write', as: 'write', text: 'y', offset: 1 }), { error: 'EIO' });
  t.same(await worker.ask({ op: 'fsync', as: 'fsync' }), { value: true }, 'an error is told once');

  await serve(scene, server.port);
  await mount.until('connected', ({ connected }) => connected);
  t.same(await worker.ask({ op: 'write', as: 'fsync', text: 'back', offset: 0 }), { value: 4 });
  t.same(await worker.ask({ op: 'fsync', as: 'fsync' }), { value: true });
  t.equal(readFileSync(join(scene.tree, 'fsync'), 'latin1'), 'back');
  t.same(await mount.stop(), { status: 0, signal: null });
});
