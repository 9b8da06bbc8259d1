/** What every transport has to do, whatever carries its records. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Test } from 'tap';
import { RpcConnection, type RecordTransport, type Serving } from '../../src/rpc/connection.ts';
import { Dispatcher, type CallInfo } from '../../src/rpc/dispatcher.ts';
import type { RpcError } from '../../src/rpc/error.ts';
import { procedure, type Program } from '../../src/rpc/program.ts';
import { nothing, opaquePieces, struct, u32 } from '../../src/xdr/codec.ts';
import { connect } from '../../src/transport/connect.ts';
import type { Endpoint } from '../../src/transport/endpoint.ts';
import { SEND_BUFFER_BYTES_MAX } from '../../src/transport/limits.ts';
import { listen, type ListenOptions } from '../../src/transport/listen.ts';
import type { StreamTransport } from '../../src/transport/stream.ts';

const MIB = 1024 * 1024;
const bulk = struct('bulk', { tag: u32, data: opaquePieces('data', MIB) });
const ECHO_PROCEDURES = { NULL: procedure(0, nothing, nothing), ECHO: procedure(1, bulk, bulk) } as const;
export const ECHO_PROGRAM: Program<typeof ECHO_PROCEDURES> = {
  name: 'ECHO',
  number: 0x20004321,
  version: 1,
  procedures: ECHO_PROCEDURES,
};

/** A path for a Unix socket: the directories tap makes are longer than the 107 bytes such a path may have. */
export function socketPath(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'nm-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 's');
}

/** A server side that echoes; `whileNull` is what NULL waits for. */
export function echoing(whileNull: () => Promise<void> = () => Promise.resolve()): Serving<CallInfo> {
  const dispatcher = new Dispatcher<CallInfo>({ onFailure: () => undefined });
  dispatcher.register(ECHO_PROGRAM, { NULL: whileNull, ECHO: (args) => args });
  return { dispatcher, makeContext: (info) => info };
}

/** Two connected ends over a listener; everything is closed with the test. */
export async function connectedEnds(
  t: Test,
  endpoint: Endpoint,
  options: Partial<ListenOptions> = {},
): Promise<[StreamTransport, StreamTransport]> {
  let accept: (transport: StreamTransport) => void = () => undefined;
  const accepted = new Promise<StreamTransport>((resolve) => {
    accept = resolve;
  });
  const listener = await listen(endpoint, { ...options, onConnection: (transport) => accept(transport) });
  t.teardown(() => listener.close());
  const client = await connect(listener.endpoint);
  const server = await accepted;
  t.teardown(async () => {
    for (const { socket } of [client, server]) {
      socket.destroy();
      if (!socket.closed) await once(socket, 'close');
    }
  });
  return [client, server];
}

export function recordTransportSuite(
  t: Test,
  name: string,
  makePair: (t: Test) => Promise<[RecordTransport, RecordTransport]>,
): void {
  t.test(`${name}: records of 1 MiB in both directions`, async (t) => {
    const [left, right] = await makePair(t);
    const client = new RpcConnection(left, echoing());
    const server = new RpcConnection(right, echoing());
    const data = Buffer.alloc(MIB);
    for (let at = 0; at < MIB; at += 1) data[at] = (at * 31 + (at >> 8)) & 0xff;
    const results = await Promise.all(
      [client, server, client, server].map((end, tag) =>
        end.call(ECHO_PROGRAM, 'ECHO', { tag, data: [data] }),
      ),
    );
    results.forEach((result, tag) => {
      t.equal(result.tag, tag);
      t.ok(Buffer.concat(result.data).equals(data), `record ${tag} holds the same bytes`);
    });
  });

  t.test(`${name}: calls and replies that fill the buffers of both ends pass each other`, async (t) => {
    const [left, right] = await makePair(t);
    const client = new RpcConnection(left);
    new RpcConnection(right, echoing());
    // A socket that was told to go on in this turn goes on in the next, whatever it is told meanwhile.
    await nextTurn();
    const data = Buffer.alloc(MIB);
    // Each end has more to send at a time than it and the kernel take.
    const CALLS = (4 * SEND_BUFFER_BYTES_MAX) / MIB;
    const calls = Array.from({ length: CALLS }, (_, tag) =>
      client.call(ECHO_PROGRAM, 'ECHO', { tag, data: [data] }),
    );
    t.equal((await Promise.all(calls)).length, CALLS);
  });

  t.test(`${name}: many concurrent calls`, async (t) => {
    const [left, right] = await makePair(t);
    const client = new RpcConnection(left);
    const server = new RpcConnection(right, echoing());
    const calls = Array.from({ length: 1000 }, (_, tag) =>
      client.call(ECHO_PROGRAM, 'ECHO', { tag, data: [Buffer.alloc(tag, tag)] }),
    );
    const results = await Promise.all(calls);
    t.ok(
      results.every(({ tag, data }, index) => {
        const joined = Buffer.concat(data);
        return tag === index && joined.length === index && joined.every((byte) => byte === (index & 0xff));
      }),
      'every reply found its call',
    );
    t.strictSame([client.inFlight, server.serviced], [0, 0]);
  });

  t.test(`${name}: the limit of calls in flight holds, also for records read together`, async (t) => {
    const LIMIT = 4;
    const [left, right] = await makePair(t);
    let most = 0;
    const client = new RpcConnection(left);
    const server = new RpcConnection<CallInfo>(right, {
      ...echoing(async () => {
        most = Math.max(most, server.serviced);
        await nextTurn();
      }),
      callsInFlightMax: LIMIT,
    });
    await Promise.all(Array.from({ length: 300 }, () => client.call(ECHO_PROGRAM, 'NULL', undefined)));
    t.equal(most, LIMIT);
  });

  t.test(`${name}: the death of the peer fails what waits, and closes once`, async (t) => {
    const [left, right] = await makePair(t);
    const client = new RpcConnection(left);
    const closes: RpcError[] = [];
    client.onClose((error) => closes.push(error));
    const taken = new Promise<void>((resolve) => {
      new RpcConnection(
        right,
        echoing(() => {
          resolve();
          return new Promise(() => {});
        }),
      );
    });
    const calls = Promise.allSettled([1, 2, 3].map(() => client.call(ECHO_PROGRAM, 'NULL', undefined)));
    await taken;
    right.close();
    for (const outcome of await calls) {
      t.match(outcome, { status: 'rejected', reason: { name: 'RpcError', code: 'CONNECTION_LOST' } });
    }
    await nextTurn();
    t.equal(closes.length, 1);
    await t.rejects(client.call(ECHO_PROGRAM, 'NULL', undefined), { code: 'CONNECTION_LOST' });
  });

  t.test(`${name}: onSent runs once, also for what will never be sent`, async (t) => {
    const [left, right] = await makePair(t);
    const sent = [0, 0, 0];
    let received = 0;
    let lastReceived: () => void = () => undefined;
    const both = new Promise<void>((resolve) => {
      lastReceived = resolve;
    });
    right.start(
      () => {
        received += 1;
        if (received === 2) lastReceived();
      },
      () => undefined,
    );
    const closed = new Promise<void>((resolve) =>
      left.start(
        () => undefined,
        () => resolve(),
      ),
    );
    left.send([Buffer.alloc(3)], () => (sent[0]! += 1));
    left.send([Buffer.alloc(100_000), Buffer.alloc(100_000)], () => (sent[1]! += 1));
    await both;
    await nextTurn();
    t.strictSame(sent, [1, 1, 0]);
    left.close();
    await closed;
    left.send([Buffer.alloc(3)], () => (sent[2]! += 1));
    await nextTurn();
    t.strictSame(sent, [1, 1, 1]);
  });

  t.test(`${name}: what was sent before close arrives`, async (t) => {
    const [left, right] = await makePair(t);
    const sizes: number[] = [];
    const ended = new Promise<void>((resolve) =>
      right.start(
        (record) => sizes.push(Buffer.concat(record).length),
        () => resolve(),
      ),
    );
    left.start(
      () => undefined,
      () => undefined,
    );
    for (const size of [MIB, 8, MIB]) left.send([Buffer.alloc(size)]);
    left.close();
    left.send([Buffer.alloc(4)]);
    await ended;
    t.strictSame(sizes, [MIB, 8, MIB], 'and nothing sent after it');
  });

  t.test(`${name}: drain answers what was taken`, async (t) => {
    const [left, right] = await makePair(t);
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let taken = 0;
    const client = new RpcConnection(left);
    const server = new RpcConnection(
      right,
      echoing(() => {
        taken += 1;
        return opened;
      }),
    );
    const calls = Array.from({ length: 5 }, () => client.call(ECHO_PROGRAM, 'NULL', undefined));
    while (taken < 5) await nextTurn(); // one turn of the loop each: until all five were read
    const draining = server.drain();
    open();
    await Promise.all([...calls, draining]);
    t.equal(server.serviced, 0);
    await new Promise<void>((resolve) => client.onClose(() => resolve()));
  });
}
