import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, writeFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { connect } from '../../src/transport/connect.ts';
import type { Endpoint } from '../../src/transport/endpoint.ts';
import { listen } from '../../src/transport/listen.ts';
import type { StreamTransport } from '../../src/transport/stream.ts';
import { socketPath } from './record-transport-suite.ts';

const ignore = { onConnection: ({ socket }: StreamTransport) => void socket.destroy() };

t.test('port 0 becomes the port that was found', async (t) => {
  const listener = await listen({ kind: 'tcp', host: '127.0.0.1', port: 0 }, ignore);
  t.teardown(() => listener.close());
  if (listener.endpoint.kind !== 'tcp') throw new Error('not tcp');
  t.ok(listener.endpoint.port > 0);
  await t.rejects(listen(listener.endpoint, ignore), { code: 'EADDRINUSE' });
});

t.test('a socket file that a killed process left behind is removed', async (t) => {
  const path = socketPath(t);
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  t.equal(spawnSync(process.execPath, ['-e', script], { env: {} }).signal, 'SIGKILL');
  t.ok(lstatSync(path).isSocket());
  const listener = await listen({ kind: 'unix', path }, ignore);
  t.same(listener.endpoint, { kind: 'unix', path });
  (await connect(listener.endpoint)).socket.destroy();
  await listener.close();
});

t.test('a socket file that answers is in use', async (t) => {
  const endpoint: Endpoint = { kind: 'unix', path: socketPath(t) };
  const listener = await listen(endpoint, ignore);
  t.teardown(() => listener.close());
  await t.rejects(listen(endpoint, ignore), { code: 'EADDRINUSE' });
  (await connect(endpoint)).socket.destroy();
});

t.test('another kind of file is left alone', async (t) => {
  const path = socketPath(t);
  writeFileSync(path, 'precious');
  await t.rejects(listen({ kind: 'unix', path }, ignore), { code: 'EADDRINUSE' });
  t.ok(lstatSync(path).isFile());
});

t.test('the mode of a Unix socket', async (t) => {
  for (const mode of [undefined, 0o600]) {
    const path = socketPath(t);
    const listener = await listen(
      { kind: 'unix', path },
      { ...ignore, ...(mode === undefined ? {} : { socketMode: mode }) },
    );
    t.equal(lstatSync(path).mode & 0o777, mode ?? 0o666);
    await listener.close();
  }
});

t.test('connections over the limit are closed at once', async (t) => {
  const accepted: StreamTransport[] = [];
  const refused: string[] = [];
  const listener = await listen(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    {
      onConnection: (transport) => accepted.push(transport),
      onRefused: (peer) => refused.push(peer),
      connectionsMax: 2,
    },
  );
  const clients = [await connect(listener.endpoint), await connect(listener.endpoint)];
  while (accepted.length < 2) await nextTurn();
  const third = await connect(listener.endpoint);
  const { code } = await new Promise<{ code: string }>((resolve) => third.start(() => undefined, resolve));
  t.equal(code, 'CONNECTION_LOST');
  t.strictSame([accepted.length, refused], [2, ['127.0.0.1']]);

  accepted[0]!.socket.destroy();
  if (!accepted[0]!.socket.closed) await once(accepted[0]!.socket, 'close');
  const fourth = await connect(listener.endpoint);
  while (accepted.length < 3) await nextTurn();
  t.equal(refused.length, 1, 'room again');
  for (const { socket } of [...clients, ...accepted, third, fourth]) socket.destroy();
  await listener.close();
});

t.test('a closed listener takes nobody new and keeps whom it has', async (t) => {
  const accepted: StreamTransport[] = [];
  const listener = await listen(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    { onConnection: (transport) => accepted.push(transport) },
  );
  const client = await connect(listener.endpoint);
  while (accepted.length < 1) await nextTurn();
  await listener.close();
  await t.rejects(connect(listener.endpoint), { code: 'CONNECTION_LOST' });
  const received = new Promise<string>((resolve) => {
    client.start(
      (record) => resolve(Buffer.concat(record).toString()),
      () => undefined,
    );
  });
  accepted[0]!.send([Buffer.from('still here')]);
  t.equal(await received, 'still here');
  client.socket.destroy();
  accepted[0]!.socket.destroy();
});
