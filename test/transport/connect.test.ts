import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { connect } from '../../src/transport/connect.ts';
import { listen } from '../../src/transport/listen.ts';
import { socketPath } from './record-transport-suite.ts';

t.test('nobody answers', async (t) => {
  const path = socketPath(t);
  await t.rejects(connect({ kind: 'unix', path }), {
    name: 'RpcError',
    code: 'CONNECTION_LOST',
    message: `cannot connect to ${path}: ENOENT`,
    cause: { code: 'ENOENT' },
  });
  const server = await listen({ kind: 'tcp', host: '127.0.0.1', port: 0 }, { onConnection: () => undefined });
  const { endpoint } = server;
  await server.close();
  await t.rejects(connect(endpoint), { code: 'CONNECTION_LOST', message: /ECONNREFUSED/ });
});

t.test('a connection that does not come about in time', async (t) => {
  // A server that never accepts: once its backlog is full, Linux drops further handshakes.
  const script = `
    require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
      require('fs').writeSync(1, String(this.address().port));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const server = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(async () => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  });
  const [port] = (await once(server.stdout, 'data')) as [Buffer];
  const endpoint = { kind: 'tcp', host: '127.0.0.1', port: Number(port.toString()) } as const;
  const outcomes = await Promise.allSettled(
    Array.from({ length: 6 }, () => connect(endpoint, { timeoutMs: 200 })),
  );
  const late = outcomes.filter((outcome) => outcome.status === 'rejected');
  t.ok(late.length > 0);
  for (const { reason } of late)
    t.match(reason, { name: 'RpcError', code: 'TIMED_OUT', message: /within 200 ms/ });
  for (const outcome of outcomes) if (outcome.status === 'fulfilled') outcome.value.socket.destroy();
});

t.test('names and options of a connection', async (t) => {
  const listener = await listen(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    { onConnection: ({ socket }) => socket.destroy() },
  );
  t.teardown(() => listener.close());
  const transport = await connect(listener.endpoint);
  t.teardown(() => transport.socket.destroy());
  if (listener.endpoint.kind !== 'tcp') throw new Error('not tcp');
  t.equal(transport.peerName, `127.0.0.1:${listener.endpoint.port}`);
});

t.test('reserved source ports', { skip: process.geteuid?.() !== 0 && 'needs root' }, async (t) => {
  const ports: number[] = [];
  const listener = await listen(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    { onConnection: ({ socket }) => ports.push(socket.remotePort ?? 0) },
  );
  t.teardown(() => listener.close());
  const transports = [];
  for (let count = 0; count < 3; count += 1)
    transports.push(await connect(listener.endpoint, { reservedPort: true }));
  for (const { socket } of transports) {
    t.teardown(() => socket.destroy());
    t.ok(socket.localPort! >= 512 && socket.localPort! <= 1023, `from port ${socket.localPort}`);
  }
  t.equal(new Set(transports.map(({ socket }) => socket.localPort)).size, 3, 'each from its own');
  await listener.close();
  await t.rejects(connect({ kind: 'tcp', host: '127.0.0.1', port: 1 }, { reservedPort: true }), {
    message: /ECONNREFUSED/,
  });
});
