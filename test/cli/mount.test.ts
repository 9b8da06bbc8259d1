/** `nearmount mount` that cannot work: one line that says what, why and what to do, and nothing left mounted. */
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, inLanes, isMounted, runCli, runTool, type ToolResult } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

interface Expected {
  readonly status: 1 | 2;
  readonly message: RegExp;
}

function failed(t: Test, what: string, result: ToolResult, expected: Expected, point?: string): void {
  t.equal(result.status, expected.status, `${what}: exit status`);
  t.match(result.stderr, /^nearmount: [^\n]+\n$/, `${what}: one line`);
  t.match(result.stderr, expected.message, what);
  t.equal(result.stdout.length, 0);
  if (point !== undefined) t.notOk(isMounted(point), `${what}: nothing is mounted`);
}

/** A TCP server that does `answer` to each connection; returns its port. */
async function tcpServer(t: Test, answer: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    answer(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

t.test('wrong calls', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const point = join(top, 'mnt');
  mkdirSync(point);
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['no arguments', [], /source/],
    ['no mount point', ['tree'], /mountpoint/],
    ['a wrong source', ['nfs://', point], /nfs:\/\//],
    ['a wrong port', ['nfs://host:99999/a', point], /99999/],
    ['an unknown scheme', ['smb://host/a', point], /smb/],
    ['an unknown mount option', ['tree', point, '-o', 'colour=red'], /"colour=red".*--help/],
    ['a wrong value', ['tree', point, '-o', 'route=fast'], /"route=fast".*near, backplane, network/],
    ['a value out of range', ['tree', point, '-o', 'timeo=0'], /"timeo=0".*1 to 6000/],
    ['no number', ['tree', point, '-o', 'rsize=big'], /"rsize=big".*4096/],
    ['a value where none goes', ['tree', point, '-o', 'hard=yes'], /"hard=yes".*no value/],
    ['an option of later versions', ['tree', point, '-o', 'nconnect=2'], /nconnect/],
    ['another driver', ['tree', point, '-o', 'driver=fast'], /"driver=fast".*kernel, fuse-native/],
    ['times the wrong way round', ['tree', point, '-o', 'acregmin=10,acregmax=5'], /acregmin/],
    ['a port with an export name', ['tree', point, '-o', 'port=2049'], /port.*nfs:\/\//],
    ['an unknown option', ['tree', point, '--colour'], /--colour/],
  ];
  await inLanes(cases, async ([what, args, message]) => {
    failed(t, what, await runCli(['mount', ...args]), { status: 2, message }, point);
  });
});

t.test('places where nothing can be mounted', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const point = join(top, 'mnt');
  mkdirSync(point);
  writeFileSync(join(top, 'file'), '');
  const server = await startServer(t, { directory: top, exports: [`tree=${top}`] });
  const log = join(top, 'log');
  const mount = (at: string) =>
    runCli(['mount', 'tree', at, '--colocation', server.table, '--log-file', log]);
  const missing = await mount(join(top, 'missing'));
  failed(t, 'missing', missing, { status: 1, message: /missing does not exist: make/ });
  failed(t, 'a file', await mount(join(top, 'file')), { status: 1, message: /file is not a directory/ });

  const first = await mount(point);
  t.teardown(() => runTool('umount', ['-l', point]));
  t.equal(first.status, 0, first.stderr);
  t.equal(first.stdout.toString() + first.stderr, '', 'mount says nothing when it works, like mount(8)');
  t.ok(isMounted(point));
  const listed = await runTool('ls', [point]);
  t.match(listed.stdout.toString(), /file/, 'it answers at once');
  failed(t, 'mounted already', await mount(point), { status: 1, message: /mnt is busy: .*unmount/ });
  t.equal((await runTool('umount', [point])).status, 0);

  const badLog = ['--log-file', join(top, 'file/log')];
  const result = await runCli(['mount', 'tree', point, '--colocation', server.table, ...badLog]);
  failed(t, 'a log that cannot be written', result, { status: 1, message: /file\/log.*--log-file/ }, point);

  // A gateway that was killed leaves a mount that answers nothing.
  t.equal((await mount(point)).status, 0);
  const pid = /"pid":(\d+)[^\n]*"msg":"mounted"[^]*$/.exec(
    readFileSync(log, 'utf8').trim().split('\n').at(-1)!,
  )?.[1];
  t.ok(pid);
  process.kill(Number(pid), 'SIGKILL');
  while ((await runTool('ls', [point])).status === 0);
  failed(t, 'a dead mount', await mount(point), { status: 1, message: /(dead mount|is busy): .*u(n)?mount/ });
  t.equal((await runTool('umount', ['-l', point])).status, 0);
});

t.test('servers that cannot be reached', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const point = join(top, 'mnt');
  mkdirSync(point);
  const table = join(top, 'colocation.db');
  const mount = (source: string, ...more: string[]) =>
    runCli(['mount', source, point, '--colocation', table, '--log-file', join(top, 'log'), ...more]);

  failed(t, 'no table', await mount('tree'), { status: 1, message: /colocation\.db/ }, point);
  writeFileSync(table, 'this is text and no database');
  failed(t, 'a table that is none', await mount('tree'), { status: 1, message: /colocation\.db/ }, point);
  const good = ['--colocation', join(top, 'good.db')];
  const server = await startServer(t, { directory: top, exports: [`tree=${top}`], args: good });
  failed(t, 'an unknown export', await mount('three', ...good), {
    status: 1,
    message: /"three".*known exports: tree/,
  });
  const noExport = await mount(`nfs://127.0.0.1:${server.port}/three`);
  failed(t, 'an export the server lacks', noExport, { status: 1, message: /has no export \/three/ }, point);
  const only = await mount('tree', ...good, '-o', 'route=backplane');
  failed(t, 'a route that is not there', only, { status: 1, message: /route=backplane|backplane/ }, point);

  await server.kill();
  const dead = await mount('tree', ...good);
  failed(
    t,
    'a dead server',
    dead,
    { status: 1, message: /near .*nobody listens.*network .*nobody listens/ },
    point,
  );
  const nobody = await mount(`nfs://127.0.0.1:${server.port}/tree`);
  failed(t, 'nobody there', nobody, { status: 1, message: /nobody listens at 127\.0\.0\.1/ }, point);
  const unknown = await mount('nfs://no-such-host.invalid/tree');
  failed(t, 'an unknown host', unknown, { status: 1, message: /no-such-host\.invalid/ }, point);
});

t.test('servers of another kind', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const point = join(top, 'mnt');
  mkdirSync(point);
  const servers: readonly (readonly [string, (socket: Socket) => void])[] = [
    ['says HTTP', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')],
    ['echoes', (socket) => void socket.pipe(socket)],
    ['closes', (socket) => socket.destroy()],
    ['says nothing', () => undefined],
    ['never ends a record', (socket) => void socket.write(Buffer.from('7fffffff00000000', 'hex'))],
  ];
  // At once, because some are found out by waiting only.
  const runs = servers.map(async ([what, answer]) => {
    const port = await tcpServer(t, answer);
    const result = await runCli([
      'mount',
      `nfs://127.0.0.1:${port}/tree`,
      point,
      '--log-file',
      join(top, 'log'),
    ]);
    failed(t, what, result, { status: 1, message: new RegExp(`127\\.0\\.0\\.1:${port}`) }, point);
  });
  await Promise.all(runs);
});
