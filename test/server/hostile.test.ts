/** Bytes that no client sends, to a server in a process of its own, while an honest client goes on. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { Test } from 'tap';
import { FGDP_PROGRAM } from '../../src/fgdp/program.ts';
import { MOUNT_PROGRAM } from '../../src/nfs3/mount.ts';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { RECORD_BYTES_MAX, RECORD_EMPTY_FRAGMENTS_MAX } from '../../src/rpc/limits.ts';
import type { Program } from '../../src/rpc/program.ts';
import { frameRecord } from '../../src/rpc/record.ts';
import { skipWithoutBuild, startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { TestClient } from './serving.ts';

/** How often a condition is looked at, and for how long in all, in milliseconds. */
const POLL_MS = 20;
const POLL_LIMIT_MS = 10_000;
/** How long a server that keeps a connection open is waited for before it counts as kept, in milliseconds. */
const CLOSE_LIMIT_MS = 5_000;

/** Far below what a client asks for that reads nothing, and above what may wait to be sent to it. */
const GREEDY_BYTES_MAX = 150 * 1024 * 1024;

const CONTENTS = patternBytes(200_000);

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + POLL_LIMIT_MS;
  while (!condition() && performance.now() < end) await delay(POLL_MS);
  if (!condition()) throw new Error(`did not come true: ${what}`);
}

interface Place {
  readonly server: ServerProcess;
  readonly honest: TestClient;
  readonly file: Uint8Array;
  /** A new raw connection, closed with the test. */
  readonly raw: () => Promise<Socket>;
  /** The honest client reads the file, and the server has given back what the hostile ones made it open. */
  readonly check: (why: string) => Promise<void>;
}

async function prepare(t: Test): Promise<Place> {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: CONTENTS });
  const server = await startServer(t, { directory, exports: [`tree=${tree}`] });
  const honest = await TestClient.connect(t, { kind: 'tcp', host: '127.0.0.1', port: server.port });
  const file = await honest.find(await honest.root('/tree'), 'file');
  if (!(await honest.readAll(file)).equals(CONTENTS)) throw new Error('wrong bytes');
  const before = server.descriptors();
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  return {
    server,
    honest,
    file,
    raw: async () => {
      const socket = connectSocket({ host: '127.0.0.1', port: server.port, noDelay: true });
      // A server that cuts a hostile peer off resets the connection.
      socket.on('error', () => undefined);
      sockets.push(socket);
      await once(socket, 'connect');
      return socket;
    },
    check: async (why) => {
      t.ok((await honest.readAll(file)).equals(CONTENTS), `${why}: an honest client is served`);
      for (const socket of sockets.splice(0)) socket.destroy();
      await until('descriptors of the server', () => server.descriptors() <= before);
      t.ok(server.descriptors() <= before, `${why}: descriptors are back`);
    },
  };
}

/** Whether the server ends the connection after these bytes. */
async function isCutOff(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  socket.resume();
  const closed = once(socket, 'close').then(() => true);
  socket.write(bytes);
  return Promise.race([closed, delay(CLOSE_LIMIT_MS, false, { ref: false })]);
}

/** The most memory the server ever had: VmHWM of proc(5). */
function residentBytes({ pid }: ServerProcess): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, index * 4));
  return bytes;
}

const record = (body: Uint8Array): Buffer => Buffer.concat(frameRecord([body]));
/** A call without credentials. */
const call = (program: number, version: number, procedure: number, args: Uint8Array): Buffer =>
  Buffer.concat([words(7, 0, 2, program, version, procedure, 0, 0, 0, 0), args]);

const options = { skip: skipWithoutBuild() };

t.test('what is no record is cut off at once', options, async (t) => {
  const { raw, check, server } = await prepare(t);
  const hostile: [why: string, bytes: Uint8Array][] = [
    ['a record of 2 GiB', words(0xffffffff)],
    ['a fragment of 2 GiB', words(0x7fffffff)],
    ['a byte more than allowed', words(0x80000000 + RECORD_BYTES_MAX + 1)],
    ['fragments that add up', Buffer.concat([words(4), words(0), words(RECORD_BYTES_MAX)])],
    ['empty fragments without end', Buffer.alloc((RECORD_EMPTY_FRAGMENTS_MAX + 1) * 4)],
    ['an empty record', words(0x80000000)],
    ['half a header', record(words(7))],
    ['neither call nor reply', record(words(7, 2))],
    ['half a call', record(words(7, 0, 2, 100003, 3))],
    ['a credential longer than the record', record(words(7, 0, 2, 100003, 3, 1, 0, 400))],
    ['a credential of 4 GiB', record(words(7, 0, 2, 100003, 3, 1, 1, 0xffffffff))],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex')],
  ];
  for (const [why, bytes] of hostile) t.ok(await isCutOff(await raw(), bytes), why);
  await check('not records');
  t.match(server.log(), /bytes, at most/, 'and the log says why');
});

t.test('calls that cannot be run are answered, and the connection goes on', options, async (t) => {
  const { raw, check } = await prepare(t);
  const socket = await raw();
  let received = Buffer.alloc(0);
  socket.on('data', (chunk) => (received = Buffer.concat([received, chunk])));
  const answer = async (body: Uint8Array): Promise<number[]> => {
    received = Buffer.alloc(0);
    socket.write(record(body));
    await until('a reply', () => received.length >= 4 && received.length >= 4 + received.readUInt16BE(2));
    return Array.from({ length: Math.floor(received.length / 4) - 1 }, (_, index) =>
      received.readUInt32BE(4 + index * 4),
    );
  };
  // xid, REPLY, MSG_ACCEPTED, AUTH_NONE verifier, accept_stat: RFC 5531 section 9.
  const accepted = (stat: number, ...more: number[]): number[] => [7, 1, 0, 0, 0, stat, ...more];
  t.same(await answer(call(100_099, 3, 0, Buffer.alloc(0))), accepted(1), 'PROG_UNAVAIL');
  t.same(await answer(call(100_003, 4, 0, Buffer.alloc(0))), accepted(2, 3, 3), 'PROG_MISMATCH');
  t.same(await answer(call(100_003, 3, 22, Buffer.alloc(0))), accepted(3), 'PROC_UNAVAIL');
  t.same(await answer(words(7, 0, 3)), [7, 1, 1, 0, 2, 2], 'RPC_MISMATCH');
  const garbage: [why: string, args: Uint8Array][] = [
    ['no arguments', Buffer.alloc(0)],
    ['a handle of 65 bytes', Buffer.concat([words(65), Buffer.alloc(68)])],
    ['a handle of 4 GiB', words(0xffffffff)],
    ['a handle that ends early', Buffer.concat([words(64), Buffer.alloc(60)])],
    ['more than the arguments', Buffer.concat([words(4), Buffer.alloc(8)])],
  ];
  for (const [why, args] of garbage) t.same(await answer(call(100_003, 3, 1, args)), accepted(4), why);
  t.same(await answer(call(100_003, 3, 0, Buffer.alloc(0))), accepted(0), 'NULL still works');
  await check('wrong calls');
});

t.test('one byte a fragment, one byte a packet', options, async (t) => {
  const { raw, check } = await prepare(t);
  const body = call(100_003, 3, 0, Buffer.alloc(0));
  const socket = await raw();
  for (const [index, byte] of body.entries()) {
    const last = index === body.length - 1 ? 0x80000000 : 0;
    for (const one of Buffer.concat([words(last + 1), Buffer.from([byte])])) socket.write(Buffer.from([one]));
  }
  const [reply] = (await once(socket, 'data')) as [Buffer];
  t.same(reply, record(words(7, 1, 0, 0, 0, 0)));
  await check('single bytes');
});

t.test('every procedure with its arguments cut or overwritten', options, async (t) => {
  const { raw, check, file } = await prepare(t);
  // Deterministic: a failure can be repeated.
  let state = 12_345;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const handle = Buffer.concat([words(file.length), file, Buffer.alloc((4 - (file.length % 4)) % 4)]);
  const programs: readonly Program[] = [NFS_PROGRAM, MOUNT_PROGRAM, FGDP_PROGRAM];
  let sent = 0;
  for (const { number, version, procedures } of programs) {
    for (const { number: procedure } of Object.values(procedures)) {
      const socket = await raw();
      socket.resume();
      for (let round = 0; round < 25; round += 1) {
        const tail = patternBytes(random(160), round + 1);
        const args = Buffer.concat([handle, round % 2 === 0 ? tail : Buffer.alloc(tail.length)]);
        for (let flips = random(4); flips > 0; flips -= 1) args[random(args.length)] = random(256);
        const length = args.length - (args.length % 4);
        const cut = round % 3 === 0 ? random(length + 1) : length;
        if (socket.destroyed) break;
        socket.write(record(call(number, version, procedure, args.subarray(0, cut))));
        sent += 1;
      }
    }
  }
  t.ok(sent > 500, `${sent} calls`);
  await check('cut arguments');
});

t.test('random bytes', options, async (t) => {
  const { raw, check } = await prepare(t);
  for (let seed = 1; seed <= 150; seed += 1) {
    const socket = await raw();
    socket.resume();
    const noise = patternBytes(1 + ((seed * 97) % 4_000), seed);
    // Half of them as a record, so that they reach the decoder.
    socket.end(seed % 2 === 0 ? noise : record(noise));
  }
  await check('random bytes');
});

t.test('clients that send or read nothing', options, async (t) => {
  const { raw, check, honest, file, server } = await prepare(t);
  const idle = await Promise.all(Array.from({ length: 200 }, () => raw()));
  await until('200 connections', () => server.descriptors() >= 200);
  for (const [index, socket] of idle.entries()) if (index % 4 === 0) socket.write(words(0x80000100));
  t.ok((await honest.readAll(file)).equals(CONTENTS), 'beside 200 idle connections');

  // Asks for 400 MB and reads none of it: the server must not take all calls that come.
  const before = residentBytes(server);
  const greedy = await raw();
  greedy.pause();
  const handle = Buffer.concat([words(file.length), file, Buffer.alloc((4 - (file.length % 4)) % 4)]);
  const read = record(
    Buffer.concat([words(7, 0, 2, 100_003, 3, 6, 0, 0, 0, 0), handle, words(0, 0, CONTENTS.length)]),
  );
  for (let index = 0; index < 2_000; index += 1) greedy.write(read);
  t.ok((await honest.readAll(file)).equals(CONTENTS), 'beside a client that reads nothing');
  const grownBytes = residentBytes(server) - before;
  t.ok(grownBytes < GREEDY_BYTES_MAX, `the server grew by ${Math.round(grownBytes / 1024 / 1024)} MiB`);
  await check('idle and greedy clients');
});
