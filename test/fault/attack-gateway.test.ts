/** A hostile server against the gateway of a real mount: programs get errors, nothing hangs, memory stays bounded. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import t from 'tap';
import type { Test } from 'tap';
import { cannotMountHere, startMount, startWorker, type RunningMount } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';
import {
  CONTENT,
  FILE,
  ROOT,
  attributes,
  hostileServer,
  type HostileServer,
  type Nfs,
  type Send,
} from './hostile-server.ts';

const MIB = 1024 * 1024;
const skip = cannotMountHere;
/** Far above what a gateway takes at rest, far below what hostile replies would add up to if they were kept. */
const GROWTH_BYTES_MAX = 200 * MIB;
/** How often a program asks again after a lie. */
const AFTERWARDS_TRIES = 10;
const ERRNO = /^E[A-Z0-9]+$/;

const residentBytes = ({ pid }: RunningMount): number =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;

/** A soft mount that believes nothing, so that every program asks the server. */
async function mounted(t: Test, options = 'soft,timeo=10,retrans=1,noac') {
  const server = await hostileServer(t);
  const mount = await startMount(t, {
    source: `nfs://127.0.0.1:${server.port}/x`,
    point: join(makeDirectory(t), 'mnt'),
    options,
  });
  const worker = await startWorker(t, mount.point);
  /** Whether an honest server is served rightly by the same mount. */
  const check = async (why: string): Promise<void> => {
    server.behave();
    // The gateway may still be on its way back from a connection that it had to end.
    let answer: unknown;
    for (let tries = 0; tries < AFTERWARDS_TRIES; tries += 1) {
      await mount.until('connected', (status) => status.connected);
      answer = await worker.ask({ op: 'readFile', name: 'file' });
      if ((answer as { error?: string }).error === undefined) break;
    }
    t.same(answer, { value: CONTENT.toString() }, `${why}: afterwards`);
  };
  return { server, mount, worker, check };
}

type Request = Readonly<Record<string, unknown>>;
const READ = { op: 'readFile', name: 'file' };
const STAT = { op: 'stat', name: 'file' };
const LIST = { op: 'list', name: '.' };
const LINK = { op: 'readFile', name: 'link' };

const page = (
  entries: readonly { name: Uint8Array; cookie: bigint; handle?: Uint8Array }[],
  eof: boolean,
): ReturnType<Nfs['READDIRPLUS']> => ({
  status: 0,
  dir_attributes: null,
  cookieverf: Buffer.alloc(8),
  entries: entries.map(({ name, cookie, handle }) => ({
    fileid: cookie + 10n,
    name,
    cookie,
    name_attributes: handle === undefined ? null : attributes(cookie + 10n),
    name_handle: handle === undefined ? null : { data: handle },
  })),
  eof,
});
const read = (data: Buffer, count = data.length): ReturnType<Nfs['READ']> => ({
  status: 0,
  file_attributes: null,
  count,
  eof: true,
  data: [data],
});
const found = (
  handle: Uint8Array,
  more: Parameters<typeof attributes>[1] = {},
): ReturnType<Nfs['LOOKUP']> => ({
  status: 0,
  object: { data: handle },
  obj_attributes: attributes(2n, more),
  dir_attributes: null,
});

t.test('lies in what is answered', { skip }, async (t) => {
  const { server, mount, worker, check } = await mounted(t);
  const before = residentBytes(mount);
  const named = (...names: (string | Buffer)[]) => ({
    READDIRPLUS: () =>
      page(
        names.map((name, index) => ({ name: Buffer.from(name), cookie: BigInt(index + 1) })),
        true,
      ),
  });
  let turn = 0n;
  const lies: [why: string, lies: Partial<Nfs>, request: Request, answer: unknown][] = [
    [
      'more bytes than were asked for',
      { READ: ({ count }) => read(Buffer.alloc(count + 1, 1)) },
      READ,
      { error: 'EIO' },
    ],
    ['1 MiB for every READ', { READ: () => read(Buffer.alloc(MIB, 1)) }, READ, { error: 'EIO' }],
    ['a count that is not the data’s', { READ: () => read(CONTENT, 5) }, READ, { error: 'EIO' }],
    ['fewer bytes, and the end', { READ: () => read(CONTENT.subarray(0, 3)) }, READ, { value: /^the/ }],
    [
      'the same page for ever',
      { READDIRPLUS: () => page([{ name: FILE, cookie: 1n }], false) },
      LIST,
      { error: 'ELOOP' },
    ],
    [
      'two pages in turns',
      { READDIRPLUS: ({ cookie }) => page([{ name: FILE, cookie: cookie === 1n ? 2n : 1n }], false) },
      LIST,
      { error: 'ELOOP' },
    ],
    ['an empty page that is not the end', { READDIRPLUS: () => page([], false) }, LIST, { error: 'EIO' }],
    [
      'impossible names for ever',
      { READDIRPLUS: () => page([{ name: Buffer.from('a/b'), cookie: (turn += 1n) }], false) },
      LIST,
      { error: 'EIO' },
    ],
    [
      'names with a slash, NUL, none, too long',
      named('a/b', '..//', 'a\0b', '', 'x'.repeat(300), 'good'),
      LIST,
      { value: ['good'] },
    ],
    ['a name of 10,000 bytes', { READDIRPLUS: () => page([], true) }, LIST, { value: [] }],
    ['every name is the root', { LOOKUP: () => found(ROOT, { type: 2 }) }, STAT, { error: ERRNO }],
    [
      'a handle of no bytes',
      { LOOKUP: () => found(Buffer.alloc(0)) },
      STAT,
      { value: { size: CONTENT.length } },
    ],
    [
      'a handle of 64 bytes',
      { LOOKUP: () => found(Buffer.alloc(64, 7)) },
      STAT,
      { value: { size: CONTENT.length } },
    ],
    [
      'a size past every offset',
      { LOOKUP: () => found(FILE, { size: 2n ** 64n - 1n }) },
      STAT,
      { error: ERRNO },
    ],
    [
      'times that are none',
      { LOOKUP: () => found(FILE, { mtime: { seconds: 2 ** 32 - 1, nseconds: 2 ** 32 - 1 } }) },
      STAT,
      { value: {} },
    ],
    [
      'a link to nothing',
      { READLINK: () => ({ status: 0, symlink_attributes: null, data: Buffer.alloc(0) }) },
      LINK,
      { error: 'EIO' },
    ],
    [
      'a link with NUL',
      { READLINK: () => ({ status: 0, symlink_attributes: null, data: Buffer.from('a\0b') }) },
      LINK,
      { error: 'EIO' },
    ],
    [
      'a link of 4,096 bytes',
      { READLINK: () => ({ status: 0, symlink_attributes: null, data: Buffer.alloc(4096, 0x61) }) },
      LINK,
      { error: 'EIO' },
    ],
  ];
  for (const [why, lie, request, answer] of lies) {
    // Another version of the file, of which nothing is cached.
    server.behave();
    server.lies = lie;
    t.match(await worker.ask(request), answer, why);
    await check(why);
  }
  t.ok(residentBytes(mount) - before < GROWTH_BYTES_MAX, 'memory is bounded');
});

/** Where a directory leads to itself, the kernel ends the walk. */
t.test('directories in a circle', { skip }, async (t) => {
  const { server, worker, check } = await mounted(t);
  server.lies = {
    LOOKUP: () => found(Buffer.from('dir'), { type: 2 }),
    GETATTR: ({ object }) => ({
      status: 0,
      obj_attributes: attributes(ROOT.equals(object.data) ? 1n : 2n, { type: 2 }),
    }),
  };
  t.match(await worker.ask({ op: 'stat', name: 'a/b/c/d' }), { error: ERRNO });
  server.lies = { LOOKUP: () => found(FILE, { type: 2 }) };
  t.match(await worker.ask({ op: 'list', name: 'file' }), {}, 'a file that is a directory now: an answer');
  server.behave();
  await check('circles');
});

t.test('lies in how it is sent', { skip }, async (t) => {
  const { server, mount, worker, check } = await mounted(t);
  const before = residentBytes(mount);
  const words = (...values: number[]): Buffer => {
    const bytes = Buffer.alloc(values.length * 4);
    values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, index * 4));
    return bytes;
  };
  const changed =
    (change: (reply: Buffer) => Buffer): Send =>
    (socket, reply) => {
      socket.write(change(reply));
    };
  const framed = (body: Buffer): Buffer => Buffer.concat([words(0x80000000 + body.length), body]);
  const flood = (socket: Socket): void => {
    // 64 MiB of replies to calls that nobody made.
    const stray = framed(Buffer.concat([words(1, 1, 0, 0, 0, 0), Buffer.alloc(64 * 1024)]));
    for (let count = 0; count < 1024 && !socket.destroyed; count += 1) socket.write(stray);
  };
  const lies: [why: string, send: Send][] = [
    ['another xid', changed((reply) => (reply.writeUInt32BE(0, 4), reply))],
    ['a record of 2 GiB', changed(() => words(0xffffffff))],
    ['a reply that ends early', changed((reply) => framed(reply.subarray(4, reply.length - 4)))],
    ['a reply with more behind it', changed((reply) => framed(Buffer.concat([reply.subarray(4), words(0)])))],
    [
      'a call instead of a reply',
      changed((reply) =>
        framed(Buffer.concat([reply.subarray(4, 8), words(0, 2, 100_003, 3, 0, 0, 0, 0, 0)])),
      ),
    ],
    ['half a record, for ever', changed((reply) => reply.subarray(0, reply.length - 1))],
    ['silence', () => undefined],
    ['a cut connection', (socket) => socket.destroy()],
    ['an HTTP answer', changed(() => Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))],
    ['an unknown status', changed((reply) => (reply.writeUInt32BE(77_777, 28), reply))],
    ['replies to nobody', flood],
    [
      'a link of 1 MB',
      changed((reply) =>
        framed(Buffer.concat([reply.subarray(4, 28), words(0, 0, 1_000_000), Buffer.alloc(1_000_000, 0x61)])),
      ),
    ],
    [
      'a name of 10,000 bytes',
      changed((reply) =>
        framed(
          Buffer.concat([
            reply.subarray(4, 28),
            words(0, 0, 0, 0, 1, 0, 5, 10_000),
            Buffer.alloc(10_000, 0x61),
            words(0, 1, 0, 0, 0, 1),
          ]),
        ),
      ),
    ],
  ];
  for (const [why, send] of lies) {
    server.send = (socket, reply, procedure) => {
      // What opens a session stays honest, so that the calls of programs are what is lied to.
      if (['HELLO', 'MNT', 'NULL', 'none'].includes(procedure)) socket.write(reply);
      else send(socket, reply, procedure);
    };
    for (const request of [STAT, LIST, LINK]) {
      t.match(await worker.ask(request), { error: ERRNO }, `${why}: ${request.op}`);
    }
    await check(why);
  }
  t.ok(residentBytes(mount) - before < GROWTH_BYTES_MAX, 'memory is bounded');
  t.same(await mount.stop(), { status: 0, signal: null }, 'and the gateway lives');
});

/** The connection ends after each byte of a reply in turn; a hard mount asks again until it has it all. */
t.test('a connection cut at every byte', { skip }, async (t) => {
  const { server, worker } = await mounted(t, 'hard,timeo=50,noac');
  let left = 0;
  let cuts = 0;
  server.send = (socket: Socket, reply, procedure) => {
    if (procedure !== 'GETATTR' || left >= reply.length) {
      socket.write(reply);
      return;
    }
    // Every so many bytes, so that records, header and attributes are all cut.
    socket.end(reply.subarray(0, left));
    left += 23;
    cuts += 1;
  };
  t.match(await worker.ask(STAT), { value: { size: CONTENT.length } });
  t.same(await worker.ask(READ), { value: CONTENT.toString() });
  t.ok(cuts >= 5, `${cuts} cuts`);
});

function withoutMount(server: HostileServer, send: Send): void {
  server.send = send;
}

t.test('a server that is hostile from the first call on', { skip }, async (t) => {
  const cases: [why: string, send: Send][] = [
    ['garbage for HELLO', (socket) => socket.write(Buffer.alloc(4096, 0xa5))],
    [
      'HELLO that does not decode',
      (socket, reply) => {
        reply.writeUInt32BE(0, 24);
        socket.write(reply);
      },
    ],
    ['silence', () => undefined],
  ];
  for (const [why, send] of cases) {
    const server = await hostileServer(t);
    withoutMount(server, send);
    await t.rejects(
      startMount(t, { source: `nfs://127.0.0.1:${server.port}/x`, point: join(makeDirectory(t), 'mnt') }),
      { message: /the gateway ended \(status 1\)/ },
      why,
    );
  }
});
