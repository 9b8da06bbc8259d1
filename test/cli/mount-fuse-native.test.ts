/** Mounts by driver=fuse-native: what the conformance suite does not see, and what is said where it cannot be had. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { makeScene } from '../fault/scene.ts';
import { noFuseNative } from '../support/fuse-native.ts';
import { MAIN, cannotMountHere, isMounted, plainNode, runTool, startWorker } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';

const skip = cannotMountHere || noFuseNative;
const options = 'driver=fuse-native';

t.test('a name means what it means on the server now', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'file'), 'first\n');
  await scene.serve();
  const mount = await scene.mount({ options });
  const cat = async () => (await runTool('cat', [join(scene.point, 'file')])).stdout.toString();
  t.equal(await cat(), 'first\n');
  writeFileSync(join(scene.tree, 'new'), 'second, and longer\n');
  renameSync(join(scene.tree, 'new'), join(scene.tree, 'file'));
  t.equal(await cat(), 'second, and longer\n');
  writeFileSync(join(scene.tree, 'file'), 'third, longer than all the others\n');
  t.equal(await cat(), 'third, longer than all the others\n');
  t.match(await mount.status(), { driver: 'fuse-native', requestsPending: 0 });
});

t.test('names and links that are not UTF-8 are refused', { skip }, async (t) => {
  const scene = makeScene(t);
  const raw = Buffer.from([0xff, 0xfe]);
  writeFileSync(Buffer.concat([Buffer.from(`${scene.tree}/`), raw]), 'raw\n');
  symlinkSync(raw, join(scene.tree, 'link'));
  writeFileSync(join(scene.tree, '\ufffd\ufffd'), 'text\n');
  await scene.serve();
  await scene.mount({ options });
  const listed = await runTool('ls', ['-1', scene.point]);
  t.equal(listed.stdout.toString(), 'link\n', 'left out, and what they would be taken for as well');
  const run = async (command: string) =>
    (await runTool('sh', ['-c', `cd '${scene.point}' && LC_ALL=C ${command}`])).stderr;
  t.match(await run(`cat "$(printf '\\377\\376')"`), /Invalid or incomplete multibyte/);
  t.match(await run(`cat "$(printf '\\357\\277\\275\\357\\277\\275')"`), /Invalid or incomplete multibyte/);
  t.match(await run('ls -l link'), /Invalid or incomplete multibyte/);
});

t.test('umount ends the gateway', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'file'), 'content\n');
  await scene.serve();
  const mount = await scene.mount({ options });
  t.equal((await runTool('umount', [scene.point])).status, 0);
  t.same(await mount.ended, { status: 0, signal: null }, mount.log());

  const again = await scene.mount({ options });
  const worker = await startWorker(t, scene.point);
  t.same(await worker.ask({ op: 'open', name: 'file' }), { value: true });
  t.equal((await runTool('umount', ['-l', scene.point])).status, 0);
  t.same(await worker.ask({ op: 'text', as: 'file' }), { value: 'content\n' }, 'open files go on');
  t.match(await again.status(), { openFiles: { mapped: 1 } });
  await worker.kill('SIGKILL');
  t.same(await again.ended, { status: 0, signal: null }, 'until the last one is closed');
});

t.test('a signal ends the gateway although programs wait for a server', { skip }, async (t) => {
  const scene = makeScene(t);
  writeFileSync(join(scene.tree, 'file'), 'content\n');
  const server = await scene.serve();
  const mount = await scene.mount({ options: `${options},noac` });
  const worker = await startWorker(t, scene.top);
  t.same(await worker.ask({ op: 'readFile', name: 'mnt/file' }), { value: 'content\n' });
  await server.kill();
  const waiting = worker.ask({ op: 'readFile', name: 'mnt/file' });
  await mount.until('waiting', ({ requestsPending }) => requestsPending > 0);
  t.same(await mount.stop(), { status: 0, signal: null }, mount.log());
  t.match((await waiting).error, /ENOTCONN|ECONNABORTED|EIO/, 'and they get an error');
  t.notOk(isMounted(scene.point));
});

/** Runs the mount command where something lies over `hidden`, in a mount namespace of its own. */
async function without(t: Test, hidden: string, cover: string, message: RegExp): Promise<void> {
  const point = join(makeDirectory(t), 'mnt');
  mkdirSync(point);
  const [program, args] = plainNode(MAIN, 'mount', 'nfs://127.0.0.1:1/tree', point, '-o', options);
  const script = `mount --bind '${cover}' '${hidden}' && exec "$0" "$@"`;
  const result = await runTool('unshare', ['-m', 'sh', '-c', script, program, ...args, '--foreground']);
  t.equal(result.status, 1, result.stderr);
  t.match(result.stderr, /^nearmount: [^\n]+\n$/, 'one line');
  t.match(result.stderr, message);
  t.notOk(isMounted(point));
}

t.test('where fuse-native is not installed', { skip }, async (t) => {
  const cover = makeDirectory(t);
  const installed = join(dirname(dirname(dirname(MAIN))), 'node_modules/fuse-native');
  await without(t, installed, cover, /needs the package fuse-native.*npm install fuse-native.*driver=kernel/);
});

t.test('where libfuse 2 is not installed', { skip }, async (t) => {
  const library = /libfuse\.so\.2 .*=> (\S+)/.exec(
    execFileSync('ldconfig', ['-p'], { encoding: 'utf8' }),
  )?.[1];
  if (library === undefined) throw new Error('ldconfig does not know libfuse.so.2, which was loaded');
  const cover = join(makeDirectory(t), 'empty');
  writeFileSync(cover, '');
  await without(t, realpathSync(library), cover, /needs libfuse 2.*libfuse\.so\.2.*install.*libfuse2/);
});
