/** Files of an export with grants=pages through a whole mount: what moves, what is kept, and what happens to it. */
import { constants, readFileSync, readdirSync, readlinkSync, openSync, closeSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, runTool, startWorker, type RunningMount } from '../support/mounts.ts';
import type { ServerProcess } from '../support/server.ts';
import { MIB, makeScene, sha256, writeRandom } from './scene.ts';

const skip = cannotMountHere;

async function scene(t: Test, files: Readonly<Record<string, number>>) {
  const made = makeScene(t);
  const contents = new Map<string, Buffer>();
  for (const [name, bytes] of Object.entries(files))
    contents.set(name, writeRandom(join(made.tree, name), bytes));
  const serve = (port?: number): Promise<ServerProcess> =>
    made.serve({
      args: ['--export', `pages=${made.tree},grants=pages`],
      ...(port === undefined ? {} : { port }),
    });
  const server = await serve();
  const mount = await made.mount({ source: 'pages' });
  return { ...made, contents, server, serveAgain: () => serve(server.port), mount };
}

const ioOf = (pid: number, what: 'rchar' | 'wchar'): number =>
  Number(new RegExp(`^${what}: (\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);

/** Makes the kernel drop what it has cached of a file. */
async function dropCache(path: string): Promise<void> {
  const { status, stderr } = await runTool('dd', [`if=${path}`, 'iflag=nocache', 'count=0']);
  if (status !== 0) throw new Error(stderr);
}

const moved = async ({ status }: RunningMount): Promise<{ calls: number; mapped: number; wire: number }> => {
  const { calls, mappedBytes, wireBytes } = await status();
  return {
    calls: (calls.MAP ?? 0) + (calls.READ ?? 0),
    mapped: Number(mappedBytes),
    wire: Number(wireBytes),
  };
};

/** How often everything is read anew until nothing of it was read twice. */
const READINGS_AGAIN = 4;

t.test('the same bytes, and hardly any of them over sockets', { skip }, async (t) => {
  const sizes = { big: 40 * MIB + 12_345, middle: 3 * MIB, page: 4096, tiny: 7, empty: 0 };
  const { contents, server, mount, point, tree } = await scene(t, sizes);
  const worker = await startWorker(t, point);
  const before = { server: ioOf(server.pid, 'wchar'), gateway: ioOf(mount.pid, 'rchar') };
  let payload = 0;
  for (const [name, bytes] of contents) {
    t.same(await worker.ask({ op: 'digest', name }), { value: sha256(bytes) }, name);
    payload += bytes.length;
  }
  const sent = ioOf(server.pid, 'wchar') - before.server;
  const received = ioOf(mount.pid, 'rchar') - before.gateway;
  t.ok(sent < payload / 100, `the server wrote ${sent} bytes of ${payload}`);
  t.ok(received < payload / 100, `the gateway read ${received} bytes of ${payload}`);

  await worker.ask({ op: 'open', name: 'big' });
  const status = await mount.status();
  t.match(status, { level: 'segments', openFiles: { mapped: 1, wire: 0, passthrough: 0 }, wireBytes: '0' });
  t.equal(status.calls.READ, undefined);
  let mapped = Number(status.mappedBytes);
  // A kernel that takes pages back of its own accord (DAMON) may do so before they were used, and then reads them twice.
  for (let again = 0; mapped !== payload && again < READINGS_AGAIN; again += 1) {
    t.comment(`${mapped} bytes were read, of ${payload}`);
    t.ok(mapped > payload, 'no byte came in another way');
    const before = Number((await mount.status()).mappedBytes);
    for (const [name, bytes] of contents) {
      await dropCache(join(point, name));
      t.same(await worker.ask({ op: 'digest', name }), { value: sha256(bytes) }, name);
    }
    mapped = Number((await mount.status()).mappedBytes) - before;
  }
  t.equal(mapped, payload);
  const open = readdirSync(`/proc/${mount.pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${mount.pid}/fd/${fd}`);
    } catch {
      return '';
    }
  });
  t.notOk(
    open.some((path) => path.startsWith(tree) || path.includes('memfd')),
    'the gateway has no descriptor of a file, nor of a segment',
  );
  const why = await runTool('getfattr', ['--only-values', '-n', 'user.nearmount.why', join(point, 'big')]);
  if (why.status === 0) t.match(why.stdout.toString(), /shares its pages in memory.*grants=pages/);
});

t.test('a hot file is read again without a call', { skip }, async (t) => {
  const { contents, mount, point } = await scene(t, { hot: 64 * MIB });
  const worker = await startWorker(t, point);
  const digest = { value: sha256(contents.get('hot') ?? Buffer.alloc(0)) };
  t.same(await worker.ask({ op: 'digest', name: 'hot' }), digest);
  const once = await moved(mount);
  for (let round = 0; round < 2; round += 1) {
    await dropCache(join(point, 'hot'));
    t.same(await worker.ask({ op: 'digest', name: 'hot' }), digest);
  }
  const now = await moved(mount);
  t.equal(now.calls, once.calls, 'no MAP and no READ');
  t.ok(now.mapped >= once.mapped + 64 * MIB, 'although it was read anew');
  t.equal(now.wire, 0);
});

t.test('a file larger than what is kept, and one read in places', { skip }, async (t) => {
  const { contents, mount, point } = await scene(t, { large: 150 * MIB });
  const worker = await startWorker(t, point);
  const large = contents.get('large') ?? Buffer.alloc(0);
  t.same(await worker.ask({ op: 'digest', name: 'large' }), { value: sha256(large) });
  await dropCache(join(point, 'large'));
  await worker.ask({ op: 'open', name: 'large' });
  for (let round = 0; round < 50; round += 1) {
    const offset = (round * 7_654_321) % large.length;
    const bytes = 1 + ((round * 12_347) % 200_000);
    const part = large.subarray(offset, offset + bytes);
    t.same(await worker.ask({ op: 'pread', as: 'large', offset, bytes }), {
      value: { bytes: part.length, sha256: sha256(part) },
    });
  }
  t.equal((await moved(mount)).wire, 0);
});

t.test('a change on the server is seen', { skip }, async (t) => {
  const { contents, point, tree } = await scene(t, { file: 2 * MIB });
  const worker = await startWorker(t, point);
  const bytes = contents.get('file') ?? Buffer.alloc(0);
  t.same(await worker.ask({ op: 'digest', name: 'file' }), { value: sha256(bytes) });
  const direct = constants.O_RDONLY | constants.O_DIRECT;
  t.same(await worker.ask({ op: 'open', name: 'file', as: 'direct', flags: direct }), { value: true });
  for (let round = 0; round < 5; round += 1) {
    const writer = openSync(join(tree, 'file'), 'r+');
    const at = round * 300_000;
    bytes.write(`changed ${round}`, at, 'latin1');
    writeSync(writer, `changed ${round}`, at);
    closeSync(writer);
    const page = bytes.subarray(at - (at % 4096), at - (at % 4096) + 8192);
    t.same(
      await worker.ask({ op: 'pread', as: 'direct', offset: at - (at % 4096), bytes: 8192 }),
      { value: { bytes: 8192, sha256: sha256(page) } },
      'at once where it is open with O_DIRECT',
    );
    t.same(
      await worker.ask({ op: 'digest', name: 'file' }),
      { value: sha256(bytes) },
      'and by the next open',
    );
  }
});

t.test(
  'a file that is being written on the server comes by wire, and that is counted',
  { skip },
  async (t) => {
    const { contents, mount, point, tree } = await scene(t, { file: MIB });
    const writer = openSync(join(tree, 'file'), 'r+');
    t.teardown(() => closeSync(writer));
    const worker = await startWorker(t, point);
    const bytes = contents.get('file') ?? Buffer.alloc(0);
    t.same(await worker.ask({ op: 'digest', name: 'file' }), { value: sha256(bytes) });
    const status = await mount.status();
    t.ok(Number(status.wireBytes) >= MIB);
    t.ok(status.mapFallbacks > 0);
    t.match(status.lastWireReason, /open for writing/);
  },
);

t.test('a server that was killed is followed by another, with pages of its own', { skip }, async (t) => {
  const { contents, server, serveAgain, mount, point } = await scene(t, { big: 16 * MIB });
  const worker = await startWorker(t, point);
  await worker.ask({ op: 'open', name: 'big' });
  t.same(await worker.ask({ op: 'read', as: 'big', bytes: MIB }), { value: MIB });
  await server.kill();
  const rest = worker.ask({ op: 'rest', as: 'big' }, 60_000);
  const second = await serveAgain();
  const bytes = contents.get('big') ?? Buffer.alloc(0);
  t.same(await rest, { value: { bytes: bytes.length, sha256: sha256(bytes) } });
  await dropCache(join(point, 'big'));
  t.same(await worker.ask({ op: 'digest', name: 'big' }), { value: sha256(bytes) });
  await mount.stop();
  await second.stop();
  t.match(second.log(), /pages handed to guests/);
});
