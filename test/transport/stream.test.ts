import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { RpcConnection } from '../../src/rpc/connection.ts';
import type { RpcError } from '../../src/rpc/error.ts';
import { RecordDecoder, frameRecord } from '../../src/rpc/record.ts';
import type { Endpoint } from '../../src/transport/endpoint.ts';
import { SEND_BUFFER_BYTES_MAX } from '../../src/transport/limits.ts';
import { listen } from '../../src/transport/listen.ts';
import { StreamTransport } from '../../src/transport/stream.ts';
import { connectedEnds, echoing, socketPath, recordTransportSuite } from './record-transport-suite.ts';

const unixEndpoint = (t: Test): Endpoint => ({ kind: 'unix', path: socketPath(t) });
const TCP: Endpoint = { kind: 'tcp', host: '127.0.0.1', port: 0 };

recordTransportSuite(t, 'unix', (t) => connectedEnds(t, unixEndpoint(t)));
recordTransportSuite(t, 'tcp', (t) => connectedEnds(t, TCP));

/** A transport on our side and a bare socket on the other. */
async function bareEnds(t: Test): Promise<[StreamTransport, Socket]> {
  let accept: (transport: StreamTransport) => void = () => undefined;
  const accepted = new Promise<StreamTransport>((resolve) => {
    accept = resolve;
  });
  const endpoint = unixEndpoint(t);
  const listener = await listen(endpoint, { onConnection: (transport) => accept(transport) });
  t.teardown(() => listener.close());
  const socket = createConnection({ path: endpoint.kind === 'unix' ? endpoint.path : '' });
  t.teardown(() => socket.destroy());
  const transport = await accepted;
  t.teardown(() => transport.socket.destroy());
  return [transport, socket];
}

const closeOf = (transport: StreamTransport, onRecord: (record: Uint8Array[]) => void = () => undefined) =>
  new Promise<RpcError>((resolve) => {
    transport.start(onRecord, resolve);
  });

t.test('a record over the limit cuts the peer off', async (t) => {
  const [transport, socket] = await bareEnds(t);
  const closed = closeOf(transport);
  socket.on('error', () => undefined);
  socket.write(Buffer.from('ffffffff', 'hex'));
  t.match(await closed, { name: 'RpcError', code: 'BAD_RECORD' });
  if (!socket.closed) await once(socket, 'close');
});

t.test('nothing after a broken record is delivered', async (t) => {
  const [transport, socket] = await bareEnds(t);
  let records = 0;
  const closed = closeOf(transport, () => {
    records += 1;
    transport.close();
  });
  socket.resume();
  socket.write(Buffer.concat([1, 2, 3].flatMap((byte) => frameRecord([Buffer.of(byte)]))));
  t.match(await closed, { code: 'CONNECTION_LOST' });
  t.equal(records, 1);
});

t.test('records after pause wait for resume, in order, however they were read', async (t) => {
  const [transport, socket] = await bareEnds(t);
  const seen: number[] = [];
  const closed = closeOf(transport, (record) => {
    seen.push(record[0]![0]!);
    if (seen.length < 5) transport.pause();
  });
  socket.write(Buffer.concat([1, 2, 3, 4, 5, 6, 7].flatMap((byte) => frameRecord([Buffer.of(byte)]))));
  for (let count = 1; count < 5; count += 1) {
    while (seen.length < count) await nextTurn();
    await nextTurn();
    t.equal(seen.length, count);
    transport.resume();
  }
  t.strictSame(seen, [1, 2, 3, 4, 5, 6, 7]);
  socket.end();
  t.match(await closed, { code: 'CONNECTION_LOST', message: /closed the connection/ });
});

t.test('a peer that does not read stops being read', async (t) => {
  const [transport, socket] = await bareEnds(t);
  const seen: number[] = [];
  const closed = closeOf(transport, (record) => seen.push(record[0]![0]!));
  socket.pause();
  for (let sent = 0; sent <= SEND_BUFFER_BYTES_MAX; sent += 1 << 20) transport.send([Buffer.alloc(1 << 20)]);
  t.ok(transport.socket.isPaused());
  socket.write(Buffer.concat(frameRecord([Buffer.of(9)])));
  await nextTurn();
  t.strictSame(seen, []);
  socket.resume();
  while (seen.length === 0) await nextTurn();
  t.notOk(transport.socket.isPaused());
  socket.destroy();
  await closed;
});

t.test('small records arrive whole and in order at a peer that reads late', async (t) => {
  const [transport, socket] = await bareEnds(t);
  void closeOf(transport);
  const RECORDS = 4000;
  const recordOf = (index: number): Buffer => Buffer.alloc(1 + ((index * 37) % 3000), index % 251);
  const sent: number[] = [];
  for (let index = 0; index < RECORDS; index += 1) {
    transport.send([recordOf(index)], () => sent.push(index));
  }
  t.ok(sent.length > 0, 'the first ones left at once');
  t.ok(sent.length < RECORDS, 'and not all of them');
  const received: Buffer[] = [];
  const decoder = new RecordDecoder((record) => received.push(Buffer.concat(record)));
  socket.on('data', (chunk: Buffer) => decoder.push(chunk));
  while (received.length < RECORDS || sent.length < RECORDS) await nextTurn();
  t.ok(received.every((record, index) => record.equals(recordOf(index))));
  t.same(
    sent,
    Array.from({ length: RECORDS }, (_, index) => index),
    'onSent ran for each of them, in order',
  );
});

t.test('onSent runs once for records the peer never took', async (t) => {
  const [transport, socket] = await bareEnds(t);
  const closed = closeOf(transport);
  let calls = 0;
  for (let count = 0; count < 10; count += 1) transport.send([Buffer.alloc(1 << 20)], () => (calls += 1));
  const before = calls;
  t.ok(before < 10, 'the peer does not read');
  socket.destroy();
  t.match(await closed, { code: 'CONNECTION_LOST' });
  await nextTurn();
  t.equal(calls, 10);
});

t.test('closing for a broken peer does not wait for what is queued', async (t) => {
  const [transport, socket] = await bareEnds(t);
  const connection = new RpcConnection(transport, echoing());
  socket.pause();
  socket.on('error', () => undefined);
  transport.send([Buffer.alloc(4 << 20)]);
  socket.write(Buffer.concat(frameRecord([Buffer.of(1, 2)])));
  const reason = await new Promise<RpcError>((resolve) => connection.onClose(resolve));
  t.match(reason, { code: 'BAD_RECORD' });
});

t.test('a connection that broke before start still tells', async (t) => {
  const [transport, socket] = await bareEnds(t);
  transport.socket.destroy(Object.assign(new Error('reset by peer'), { code: 'ECONNRESET' }));
  if (!transport.socket.closed) await once(transport.socket, 'close').catch(() => undefined);
  while (!transport.socket.closed) await nextTurn();
  t.match(await closeOf(transport), { code: 'CONNECTION_LOST', message: /reset by peer/ });
  socket.destroy();
});
