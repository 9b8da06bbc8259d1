import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { connect } from '../../src/transport/connect.ts';
import { listen } from '../../src/transport/listen.ts';

t.test('nobody answers', async (t) => {
  const path = join(t.testdir(), 'none');
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
  // A name lookup or a handshake takes at least one turn of the loop; no time at all is always too short.
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const blocked = connect({ kind: 'tcp', host: '192.0.2.1', port: address.port }, 20);
  await t.rejects(blocked, (error: { code: string }) =>
    ['TIMED_OUT', 'CONNECTION_LOST'].includes(error.code),
  );
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
