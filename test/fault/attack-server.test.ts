/** A server under attack: its memory stays bounded, and honest clients go on. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { Test } from 'tap';
import { frameRecord } from '../../src/rpc/record.ts';
import { LONG_RECORDS_MAX, REPLY_BYTES_MAX } from '../../src/server/limits.ts';
import { createLogger } from '../../src/observe/log.ts';
import { DataAccessServer, type ConnectionLimits } from '../../src/server/data-access-server.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { skipWithoutBuild, startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { TestClient } from '../server/serving.ts';

const MIB = 1024 * 1024;
const CONTENTS = patternBytes(MIB);
/** What a server may grow by beside what its limits allow: sockets, garbage that is not collected yet. */
const ALLOWANCE_BYTES = 256 * MIB;
const IDLE_CONNECTIONS = 5_000;
const ATTACKERS = 5;
const POLL_MS = 20;
const POLL_LIMIT_MS = 20_000;

/** Room for the sockets of an attack in this process, which Node has raised to the hard limit. */
function roomForSockets(): string | false {
  const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]);
  return limit < IDLE_CONNECTIONS + 200 && `needs ${IDLE_CONNECTIONS + 200} open files: ulimit -n`;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + POLL_LIMIT_MS;
  while (!condition() && performance.now() < end) await delay(POLL_MS);
  if (!condition()) throw new Error(`did not come true: ${what}`);
}

const residentBytes = ({ pid }: ServerProcess): number =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, index * 4));
  return bytes;
}

const NULL_CALL = Buffer.concat(frameRecord([words(7, 0, 2, 100_003, 3, 0, 0, 0, 0, 0)]));

function readCall(file: Uint8Array, count: number): Buffer {
  const handle = Buffer.concat([words(file.length), file, Buffer.alloc((4 - (file.length % 4)) % 4)]);
  const body = Buffer.concat([words(7, 0, 2, 100_003, 3, 6, 0, 0, 0, 0), handle, words(0, 0, count)]);
  return Buffer.concat(frameRecord([body]));
}

function sockets(t: Test) {
  const open: Socket[] = [];
  t.teardown(() => {
    for (const socket of open) socket.destroy();
  });
  return async (port: number, localAddress = '127.0.0.1'): Promise<Socket> => {
    const socket = connectSocket({ host: '127.0.0.1', port, localAddress, noDelay: true });
    socket.on('error', () => undefined);
    open.push(socket);
    await once(socket, 'connect');
    return socket;
  };
}

async function attacked(t: Test) {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), { file: CONTENTS });
  const server = await startServer(t, { directory, exports: [`tree=${join(directory, 'tree')}`] });
  const endpoint = { kind: 'tcp' as const, host: '127.0.0.1', port: server.port };
  const honest = await TestClient.connect(t, endpoint);
  const file = await honest.find(await honest.root('/tree'), 'file');
  if (!(await honest.readAll(file)).equals(CONTENTS)) throw new Error('wrong bytes');
  return { server, endpoint, honest, file, raw: sockets(t), directory };
}

t.test('5,000 idle connections', { skip: skipWithoutBuild() || roomForSockets() }, async (t) => {
  const { server, endpoint, honest, file, raw } = await attacked(t);
  const before = residentBytes(server);
  let closed = 0;
  for (let done = 0; done < IDLE_CONNECTIONS; done += 100) {
    const batch = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        raw(server.port, `127.0.0.${10 + (((done + index) / (IDLE_CONNECTIONS / ATTACKERS)) | 0)}`),
      ),
    );
    for (const [index, socket] of batch.entries()) {
      socket.resume();
      socket.once('close', () => (closed += 1));
      // Some say something, which is no use of an export; some begin a record.
      if (index % 3 === 0) socket.write(NULL_CALL);
      if (index % 3 === 1) socket.write(words(0x80000100));
    }
  }
  await until('connections over the limit are put out', () => closed >= IDLE_CONNECTIONS - 4_096);
  t.ok(server.descriptors() < 4_500, `${server.descriptors()} descriptors`);
  t.ok((await honest.readAll(file)).equals(CONTENTS), 'who was there before goes on');
  const late = await TestClient.connect(t, endpoint);
  t.ok(
    (await late.readAll(await late.find(await late.root('/tree'), 'file'))).equals(CONTENTS),
    'who comes late is let in',
  );
  t.ok(residentBytes(server) - before < ALLOWANCE_BYTES, 'and memory is bounded');
});

t.test(
  'one peer with more connections than it may have',
  { skip: skipWithoutBuild() || roomForSockets() },
  async (t) => {
    const { server, endpoint, honest, file, raw } = await attacked(t);
    let closed = 0;
    for (let done = 0; done < 1_500; done += 100) {
      for (const socket of await Promise.all(Array.from({ length: 100 }, () => raw(server.port)))) {
        socket.resume();
        socket.once('close', () => (closed += 1));
      }
    }
    await until('those over the limit are put out', () => closed >= 1_500 - 1_024);
    const late = await TestClient.connect(t, endpoint);
    t.ok(
      (await late.readAll(await late.find(await late.root('/tree'), 'file'))).equals(CONTENTS),
      'the same address is let in',
    );
    t.ok((await honest.readAll(file)).equals(CONTENTS));
  },
);

t.test('replies that nobody takes', { skip: skipWithoutBuild() }, async (t) => {
  const { server, honest, file, raw } = await attacked(t);
  const before = residentBytes(server);
  const GREEDY = 60;
  const call = readCall(file, MIB);
  for (let index = 0; index < GREEDY; index += 1) {
    const socket = await raw(server.port);
    socket.pause();
    for (let calls = 0; calls < 200; calls += 1) socket.write(call);
  }
  // 60 x 200 MiB are asked for, and 60 x 16 MiB would be allowed if it were not for the whole.
  for (let round = 0; round < 3; round += 1)
    t.ok((await honest.readAll(file)).equals(CONTENTS), 'an honest client reads');
  t.ok((await honest.readAll(file, MIB)).equals(CONTENTS), 'also in large pieces, which come smaller');
  const grown = residentBytes(server) - before;
  t.ok(grown < REPLY_BYTES_MAX + ALLOWANCE_BYTES, `the server grew by ${Math.round(grown / MIB)} MiB`);
});

t.test('long records that never end', { skip: skipWithoutBuild() }, async (t) => {
  const { server, honest, file, raw } = await attacked(t);
  const before = residentBytes(server);
  const MORE = 60;
  let closed = 0;
  for (let index = 0; index < LONG_RECORDS_MAX + MORE; index += 1) {
    const socket = await raw(server.port);
    socket.resume();
    socket.once('close', () => (closed += 1));
    socket.write(Buffer.concat([words(0x80000000 + MIB), Buffer.alloc(MIB - 1)]));
  }
  await until('the oldest are cut off', () => closed >= MORE);
  t.ok((await honest.readAll(file)).equals(CONTENTS), 'an honest client reads');
  const grown = residentBytes(server) - before;
  t.ok(grown < LONG_RECORDS_MAX * MIB + ALLOWANCE_BYTES, `the server grew by ${Math.round(grown / MIB)} MiB`);
});

t.test('requests without end', { skip: skipWithoutBuild() }, async (t) => {
  const { server, honest, file, raw } = await attacked(t);
  const before = residentBytes(server);
  const flood = Buffer.concat(Array.from({ length: 1_000 }, () => NULL_CALL));
  let isOver = false;
  let answered = 0;
  const flooding = Array.from({ length: 4 }, async (_, index) => {
    const socket = await raw(server.port);
    // Every second one does not even read the answers.
    if (index % 2 === 0) socket.on('data', ({ length }) => (answered += length));
    else socket.pause();
    while (!isOver && !socket.destroyed) {
      // What the server does not take yet stays within reason here, too.
      if (socket.writableLength > MIB || !socket.write(flood)) await delay(POLL_MS);
    }
  });
  for (let round = 0; round < 5; round += 1) {
    t.ok((await honest.readAll(file, MIB)).equals(CONTENTS), 'an honest client reads');
  }
  await until('the flood is answered as well', () => answered > 0);
  isOver = true;
  await Promise.all(flooding);
  t.ok(residentBytes(server) - before < ALLOWANCE_BYTES, 'and memory is bounded');
});

/** A server in this process with short times. */
async function impatient(t: Test, limits: ConnectionLimits) {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), { file: CONTENTS });
  const server = await DataAccessServer.start({
    name: 'tested',
    bootId: 'none',
    exports: [parseExportOption(`tree=${join(directory, 'tree')}`)],
    stateDirectory: join(directory, 'state'),
    tcp: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
    socket: { kind: 'unix', path: join(directory, 's.sock') },
    log: createLogger({ level: 'silent', name: 'test' }),
    limits: { checkEveryMs: 20, ...limits },
  });
  t.teardown(() => server.stop());
  const [unix, tcp] = server.endpoints;
  if (unix?.kind !== 'unix' || tcp?.kind !== 'tcp') throw new Error('endpoints');
  const honest = await TestClient.connect(t, tcp);
  const file = await honest.find(await honest.root('/tree'), 'file');
  return { server, unix, tcp, honest, file };
}

for (const route of ['tcp', 'unix'] as const) {
  t.test(`${route}: a record that drips in is cut off`, async (t) => {
    const { tcp, unix, honest, file } = await impatient(t, { recordTimeoutMs: 200 });
    const socket = connectSocket(
      route === 'tcp' ? { host: '127.0.0.1', port: tcp.port } : { path: unix.path },
    );
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
    let isClosed = false;
    socket.resume().once('close', () => (isClosed = true));
    await once(socket, 'connect');
    for (const byte of NULL_CALL) socket.write(Buffer.from([byte]));
    const [reply] = (await once(socket, 'data')) as [Buffer];
    t.ok(reply.length > 4, 'a record in single bytes is answered when it comes in time');
    let sent = 0;
    await until('it is cut off', () => {
      // One byte at every look, of a record of 256 bytes.
      if (!isClosed) socket.write(sent < 4 ? words(0x80000100).subarray(sent, sent + 1) : Buffer.alloc(1));
      sent += 1;
      return isClosed;
    });
    t.ok(sent < 260, `after ${sent} bytes, within the record`);
    t.ok((await honest.readAll(file)).equals(CONTENTS));
  });
}

t.test('who takes no replies is put out, who says nothing too', async (t) => {
  const { tcp, honest, file, server } = await impatient(t, { sendStalledMs: 200, idleMs: 60_000 });
  const open = sockets(t);
  const greedy = await open(tcp.port);
  greedy.pause();
  const call = readCall(file, MIB);
  for (let calls = 0; calls < 200; calls += 1) greedy.write(call);
  await until('the greedy one is there', () => server.connections === 2);
  await until('the greedy one is gone', () => server.connections === 1);
  t.ok((await honest.readAll(file)).equals(CONTENTS));

  const silent = await impatient(t, { idleMs: 200 });
  await open(silent.tcp.port);
  await until('all silent ones are gone', () => silent.server.connections === 0);
  t.equal(silent.server.connections, 0, 'idle connections are closed, whoever they are');
});

t.test('places: in use keeps, silent makes room', async (t) => {
  const { tcp, honest, file, server } = await impatient(t, { connectionsMax: 4, perPeerMax: 3 });
  const open = sockets(t);
  const closed: string[] = [];
  const silent = async (name: string, address: string): Promise<void> => {
    (await open(tcp.port, address)).resume().once('close', () => closed.push(name));
  };
  await silent('a', '127.0.0.2');
  await silent('b', '127.0.0.2');
  await silent('c', '127.0.0.2');
  await until('four connections', () => server.connections === 4);
  await silent('d', '127.0.0.2');
  await until('one is put out', () => closed.length === 1);
  t.same(closed, ['a'], 'a peer over its number loses its own oldest');
  await silent('e', '127.0.0.3');
  await until('another is put out', () => closed.length === 2);
  t.same(closed, ['a', 'b'], 'all over the number: the longest silent');
  t.ok((await honest.readAll(file, 1_000_000)).equals(CONTENTS), 'never one in use');
  for (let clients = 0; clients < 2; clients += 1) await (await TestClient.connect(t, tcp)).root('/tree');
  const refused = await TestClient.connect(t, tcp);
  await t.rejects(refused.root('/tree'), { code: 'CONNECTION_LOST' }, 'all in use: the new one is refused');
  t.ok((await honest.readAll(file)).equals(CONTENTS));
});
