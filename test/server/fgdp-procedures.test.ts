import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { Test } from 'tap';
import { freshClientId, openSession } from '../../src/client/open-session.ts';
import type { GrantWish, Session, SessionTarget } from '../../src/client/session.ts';
import { ChannelListener, GuestChannel, channelPath } from '../../src/fgdp/channel.ts';
import { FGDP_VERSION, GRANTS_UNREAD_MAX } from '../../src/fgdp/limits.ts';
import {
  FEATURE_DESCRIPTORS,
  FGDP_PROGRAM,
  GRANT_STAT,
  GRANT_WANTS,
  HELLO_STAT,
} from '../../src/fgdp/program.ts';
import { SegmentPool } from '../../src/fgdp/segment-pool.ts';
import { verifyProof } from '../../src/fgdp/proof.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import type { CallInfo } from '../../src/rpc/dispatcher.ts';
import { ClientSession } from '../../src/server/client-session.ts';
import { fgdpProcedures } from '../../src/server/fgdp-procedures.ts';
import { PageCounters } from '../../src/server/page-counters.ts';
import { PromiseKeeper } from '../../src/server/promises.ts';
import { loadServerKey } from '../../src/server/server-key.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { lookup } from '../../src/store/operations.ts';
import { Store } from '../../src/store/store.ts';
import { bootId } from '../../src/system/process.ts';
import { acceptChannel, connectChannel, listenChannel } from '../../src/system/channel.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import {
  TestClient,
  as,
  name,
  notPrivileged,
  openDescriptors,
  serve,
  statusOf,
  type Serving,
} from './serving.ts';

const POLL_MS = 10;
const POLL_TRIES = 500;
const CONTENTS = patternBytes(300_000);

async function prepare(t: Test, options = '') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    file: CONTENTS,
    secret: { file: 'secret', mode: 0o600 },
    link: { link: 'file' },
    sub: { directory: true },
  });
  const serving = await serve(t, directory, [`tree=${tree}${options}`]);
  return { directory, tree, ...serving };
}

function target(
  serving: Pick<Serving, 'server' | 'socket'>,
  changed: Partial<SessionTarget> = {},
): SessionTarget {
  const { key } = serving.server;
  return {
    route: 'near',
    endpoint: serving.socket,
    exportPath: '/tree',
    server: { id: key.id.toString('hex'), name: 'tested', publicKey: key.publicKey.toString('base64') },
    bootId: bootId(),
    ...changed,
  };
}

async function near(t: Test, serving: Pick<Serving, 'server' | 'socket'>): Promise<Session> {
  const session = await openSession(target(serving));
  t.teardown(() => {
    session.close();
  });
  return session;
}

/** HELLO over a connection, with or without a channel. */
async function hello(client: TestClient, token: Uint8Array, version = FGDP_VERSION) {
  const nonce = randomBytes(32);
  const args = { version, features: FEATURE_DESCRIPTORS, nonce, channel_token: token };
  return { nonce, reply: await client.connection.call(FGDP_PROGRAM, 'HELLO', args, { timeoutMs: 5_000 }) };
}

t.test('HELLO is signed with the key of the server, over what was asked', async (t) => {
  const { server, tcp } = await prepare(t);
  const client = await TestClient.connect(t, tcp);
  const token = randomBytes(32);
  const { nonce, reply } = await hello(client, token);
  if (reply.status !== HELLO_STAT.HELLO_OK) throw new Error('refused');
  const { server_id, boot_id, signature, public_key } = reply;
  const proof = { nonce, server_id, boot_id, channel_token: new Uint8Array(0) };
  t.same(Buffer.from(public_key), server.key.publicKey);
  t.equal(Buffer.from(boot_id).toString(), bootId());
  t.ok(verifyProof(server.key.publicKey, proof, signature));
  t.notOk(verifyProof(server.key.publicKey, { ...proof, nonce: randomBytes(32) }, signature));
  t.equal(reply.channel, false, 'nothing was sent on a channel');
  t.notOk(
    verifyProof(server.key.publicKey, { ...proof, channel_token: token }, signature),
    'and a token whose channel is not here is not signed',
  );
  const again = await hello(client, new Uint8Array(0), 7);
  t.same(again.reply, { status: HELLO_STAT.HELLO_VERSION, low: FGDP_VERSION, high: FGDP_VERSION });
});

t.test('a server that is not who the table says is not used', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { server } = target(serving);
  if (server === undefined) throw new Error('no server');
  const other = randomBytes(32).toString('base64');
  const refused: [why: string, changed: Partial<SessionTarget>, reason: RegExp][] = [
    ['another id', { server: { ...server, id: '00'.repeat(16) } }, /is another one than tested/],
    ['another key', { server: { ...server, publicKey: other } }, /does not hold its key/],
    ['no key', { server: { ...server, publicKey: '' } }, /does not hold its key/],
    ['another kernel', { bootId: '00000000-0000-4000-8000-000000000000' }, /another kernel/],
    ['another export', { exportPath: '/none' }, /has no export/],
  ];
  const before = openDescriptors();
  for (const [why, changed, reason] of refused)
    await t.rejects(openSession(target(serving, changed)), { name: 'RouteError', message: reason }, why);
  for (let tries = 0; openDescriptors() > before && tries < POLL_TRIES; tries += 1) await delay(POLL_MS);
  t.ok(openDescriptors() <= before, 'refused routes leave nothing open');
  const session = await near(t, serving);
  t.match(session, { route: 'near', level: 'grants', serverName: 'tested' });
});

/** Passes bytes on between a socket of its own and the server's, as socat does: descriptors do not come through. */
async function relay(t: Test, to: string): Promise<string> {
  const path = join(makeDirectory(t), 'r.sock');
  const sockets = new Set<Socket>();
  const proxy = createServer((left) => {
    const right = connectSocket(to);
    for (const [from, onto] of [
      [left, right],
      [right, left],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined).on('close', () => onto.destroy());
      from.pipe(onto);
    }
  });
  await new Promise<void>((resolve) => proxy.listen(path, resolve));
  t.teardown(() => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  });
  return path;
}

t.test('a proxied stream is not near', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const path = await relay(t, serving.socket.path);
  const endpoint = { kind: 'unix' as const, path };
  await t.rejects(openSession(target(serving, { endpoint })), { message: /has no descriptor channel/ });

  const mute = listenChannel(channelPath(path), 0o600);
  t.teardown(() => closeSync(mute));
  await t.rejects(openSession(target(serving, { endpoint })), { message: /sent no descriptor/ });
  const accepted = acceptChannel(mute);
  if (accepted !== undefined) closeSync(accepted);

  const client = await TestClient.connect(t, endpoint, as(0));
  const { reply } = await hello(client, randomBytes(32));
  t.match(reply, { status: HELLO_STAT.HELLO_OK, channel: false }, 'it answers all the same');
  const file = await client.find(await client.root('/tree'), 'file');
  const grant = await client.connection.call(
    FGDP_PROGRAM,
    'GRANT',
    { file: { data: file }, wants: GRANT_WANTS.READ },
    { credential: as(1000) },
  );
  t.match(grant, { status: NFS3_OK, body: { grant: GRANT_STAT.USE_WIRE } });
});

t.test('a token on a network connection gives no channel', { skip: notPrivileged }, async (t) => {
  const { server, socket, tcp } = await prepare(t);
  const channel = GuestChannel.connect(socket.path, randomBytes(32));
  t.teardown(() => {
    channel.close();
  });
  const network = await TestClient.connect(t, tcp);
  t.match((await hello(network, channel.token)).reply, { channel: false });
  t.notOk(channel.isProven());
  const local = await TestClient.connect(t, socket);
  t.match((await hello(local, channel.token)).reply, { channel: true });
  t.ok(channel.isProven());
  const foreign = randomBytes(32);
  const { nonce, reply } = await hello(local, foreign);
  if (reply.status !== HELLO_STAT.HELLO_OK) throw new Error('refused');
  t.equal(reply.channel, false, 'another token on the same connection');
  const { server_id, boot_id, signature } = reply;
  const proof = { nonce, server_id, boot_id, channel_token: foreign };
  t.notOk(verifyProof(server.key.publicKey, proof, signature), 'is not signed either');
});

/** To read a file, and no more. */
const READS: GrantWish = { reads: true, writes: false, writable: false };

const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
};

t.test('a grant is the file, for reading only', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t, ',ro');
  const session = await near(t, serving);
  const client = await TestClient.connect(t, serving.socket);
  const file = await client.find(session.rootHandle, 'file');
  const outcome = await session.grant(file, READS, { credential: as(1000) });
  if (outcome.kind !== 'granted') throw new Error(JSON.stringify(outcome));
  const { file: granted, handle, attributes } = outcome;
  const { descriptor, grantId } = granted;
  t.ok(readFileSync(descriptor).equals(CONTENTS));
  t.equal(attributes.size, BigInt(CONTENTS.length));
  t.match(handle, { offset: 0n, length: BigInt(CONTENTS.length), shared_file: grantId });

  t.equal(
    codeOf(() => writeSync(descriptor, 'x')),
    'EBADF',
  );
  for (const flags of ['r+', 'a', 'w'])
    t.equal(
      codeOf(() => openSync(`/proc/self/fd/${descriptor}`, flags)),
      'EROFS',
      flags,
    );
  t.equal(
    codeOf(() => fchmodSync(descriptor, 0o777)),
    'EROFS',
  );
  t.equal(
    codeOf(() => openSync(`/proc/self/fd/${descriptor}/../x`, 'w')),
    'ENOTDIR',
  );
  t.ok(readFileSync(join(serving.tree, 'file')).equals(CONTENTS), 'unchanged');

  // The page cache is one: what is written there shows here.
  const writer = openSync(join(serving.tree, 'file'), 'r+');
  writeSync(writer, 'changed', 5_000);
  fsyncSync(writer);
  closeSync(writer);
  const seen = Buffer.alloc(7);
  readSync(descriptor, seen, 0, 7, 5_000);
  t.equal(seen.toString(), 'changed');
  unlinkSync(join(serving.tree, 'file'));
  t.equal(readSync(descriptor, seen, 0, 7, 5_000), 7, 'a deleted file stays readable');
  granted.release();
  t.same(await session.grant(file, READS, { credential: as(1000) }), { kind: 'failed', status: 70 }, 'STALE');
});

t.test('who may not read a file is granted none', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const session = await near(t, serving);
  const client = await TestClient.connect(t, serving.socket);
  const grant = async (path: string, uid: number) =>
    session.grant(await client.find(session.rootHandle, path), READS, { credential: as(uid) });
  t.match(await grant('secret', 1000), { kind: 'failed', status: 13 });
  t.match(await grant('secret', 0), { kind: 'failed', status: 13 }, 'root is squashed');
  t.match(await grant('sub', 1000), { kind: 'failed', status: 21 });
  t.match(await grant('link', 1000), { kind: 'failed', status: 22 });
  t.match(await session.grant(randomBytes(40), READS, {}), { kind: 'failed', status: 10001 });
});

t.test('grants=none leaves the wire', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t, ',grants=none');
  const session = await near(t, serving);
  t.match(session, { level: 'records', levelReason: /grants=none/, canGrant: false });
  t.match(await near(t, await prepare(t)), { level: 'grants', levelReason: '', canGrant: true });
  const client = await TestClient.connect(t, serving.socket);
  const file = await client.find(session.rootHandle, 'file');
  const outcome = await session.grant(file, READS, { credential: as(1000) });
  t.match(outcome, { kind: 'wire', reason: /grants=none/, attributes: { size: BigInt(CONTENTS.length) } });
  t.ok((await client.readAll(file)).equals(CONTENTS));
});

t.test('many grants at once all arrive', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const session = await near(t, serving);
  const client = await TestClient.connect(t, serving.socket);
  const file = await client.find(session.rootHandle, 'file');
  const before = openDescriptors();
  const outcomes = await Promise.all(
    Array.from({ length: 8 * GRANTS_UNREAD_MAX }, () => session.grant(file, READS, { credential: as(1000) })),
  );
  const granted = outcomes.filter((outcome) => outcome.kind === 'granted');
  t.equal(granted.length, outcomes.length);
  for (const outcome of granted) outcome.file.release();
  t.ok(openDescriptors() <= before + 1, 'all are closed');
});

t.test('a guest that never reads its channel is served by wire', { skip: notPrivileged }, async (t) => {
  const { server, socket } = await prepare(t);
  const idle = openDescriptors();
  const client = await TestClient.connect(t, socket);
  const channel = GuestChannel.connect(socket.path, randomBytes(32));
  t.match((await hello(client, channel.token)).reply, { channel: true });
  const file = await client.find(await client.root('/tree'), 'file');
  const counts = { [GRANT_STAT.GRANTED]: 0, [GRANT_STAT.USE_WIRE]: 0 };
  for (let index = 0; index < 800; index += 1) {
    const args = { file: { data: file }, wants: GRANT_WANTS.READ };
    const reply = await client.connection.call(FGDP_PROGRAM, 'GRANT', args, { credential: as(1000) });
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    counts[reply.body.grant] += 1;
    if (reply.body.grant === GRANT_STAT.USE_WIRE && !Buffer.from(reply.body.reason).includes('full'))
      t.fail(Buffer.from(reply.body.reason).toString());
  }
  t.ok(counts[GRANT_STAT.GRANTED] >= GRANTS_UNREAD_MAX, `${counts[GRANT_STAT.GRANTED]} granted`);
  t.ok(counts[GRANT_STAT.USE_WIRE] > 0, `${counts[GRANT_STAT.USE_WIRE]} by wire`);
  t.ok((await client.readAll(file)).equals(CONTENTS), 'and the wire serves');
  t.ok(channel.isProven(), 'what was sent is there');
  channel.close();
  client.connection.close();
  for (let tries = 0; server.connections > 0 && tries < POLL_TRIES; tries += 1) await delay(POLL_MS);
  t.equal(server.connections, 0);
  // The server's caches keep a few: the nodes, and the file that was read.
  const few = 10;
  for (let tries = 0; openDescriptors() > idle + few && tries < POLL_TRIES; tries += 1) await delay(POLL_MS);
  t.ok(openDescriptors() <= idle + few, 'no descriptor of a grant stays open');
});

t.test('channels that nobody claims do not keep others out', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const before = openDescriptors();
  const waiting = Array.from({ length: 100 }, () => connectChannel(channelPath(serving.socket.path)));
  const session = await near(t, serving);
  t.equal(session.level, 'grants');
  waiting.forEach((fd) => closeSync(fd));
  (await near(t, serving)).close();
  session.close();
  for (let tries = 0; openDescriptors() > before && tries < POLL_TRIES; tries += 1) await delay(POLL_MS);
  t.ok(openDescriptors() <= before, 'and are closed when their guests go');
});

t.test('RELEASE and the end of a session give grants back', { skip: notPrivileged }, async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), { file: CONTENTS });
  const stateDirectory = join(directory, 'state');
  const exports = [parseExportOption(`tree=${join(directory, 'tree')}`)];
  const store = Store.open({ stateDirectory, exports });
  t.teardown(() => {
    store.close();
  });
  const socketPath = join(directory, 's.sock');
  const channels = ChannelListener.listen(channelPath(socketPath), 0o600);
  t.teardown(() => {
    channels.close();
  });
  const key = loadServerKey(stateDirectory);
  const procedures = fgdpProcedures({
    store,
    promises: new PromiseKeeper(store),
    key,
    serverName: 'tested',
    bootId: bootId(),
    channels,
    pool: new SegmentPool(0),
    counters: new PageCounters(),
  });
  const identity = { uid: 1000, gid: 1000, groups: [] };
  const session = new ClientSession({ kind: 'unix', identity, claims: 'any' }, 'test');
  const call: CallInfo = {
    xid: 1,
    program: 'FGDP',
    procedure: '',
    credential: { flavor: 'sys', ...identity },
    afterReply: () => undefined,
  };
  const context = { call, session };
  const guest = GuestChannel.connect(socketPath, randomBytes(32));
  t.teardown(() => {
    guest.close();
  });
  await procedures.HELLO(
    { version: FGDP_VERSION, features: 0, nonce: randomBytes(32), channel_token: guest.token },
    context,
  );
  t.ok(guest.isProven());
  t.equal(session.isFgdp, true);
  const before = openDescriptors();
  const grant = async () => {
    const { handle } = lookup(identity, store.resolve(store.rootHandle('tree')), name('file'));
    const reply = await procedures.GRANT({ file: { data: handle }, wants: GRANT_WANTS.READ }, context);
    if (reply.status !== NFS3_OK || reply.body.grant !== GRANT_STAT.GRANTED) throw new Error('not granted');
    return reply.body.grant_id;
  };
  const ids = [await grant(), await grant(), await grant()];
  t.equal(session.grants.size, 3);
  t.equal(new Set(ids).size, 3);
  await procedures.RELEASE({ grants: [ids[0]!, ids[0]!, 999n] }, context);
  t.same([...session.grants], ids.slice(1), 'twice or unknown does no harm');
  session.end();
  t.equal(session.grants.size, 0);
  const { handle } = lookup(identity, store.resolve(store.rootHandle('tree')), name('file'));
  t.match(await procedures.GRANT({ file: { data: handle }, wants: GRANT_WANTS.READ }, context), {
    body: { grant: GRANT_STAT.USE_WIRE },
  });
  guest.close();
  await Promise.resolve();
  t.ok(openDescriptors() <= before, 'the server holds no descriptor for a grant');
});

t.test('CLIENT names a client on any route, and only its own connection', async (t) => {
  const serving = await prepare(t);
  const clientId = freshClientId();
  for (const changed of [{}, { route: 'network', endpoint: serving.tcp }] as const) {
    const session = await openSession(target(serving, { ...changed, clientId }));
    t.teardown(() => session.close());
    t.equal(session.takesEffectOnce, true);
  }
  const session = new ClientSession({ kind: 'tcp', address: '192.0.2.1', port: 1 }, 'tested');
  const other = new ClientSession({ kind: 'tcp', address: '192.0.2.1', port: 2 }, 'tested');
  const store = Store.open({ stateDirectory: join(makeDirectory(t), 'state'), exports: [] });
  t.teardown(() => store.close());
  const { key, pool } = serving.server;
  const promises = new PromiseKeeper(store);
  const service = { store, promises, key, pool, serverName: 'x', bootId: 'x', channels: undefined };
  const { CLIENT } = fgdpProcedures({ ...service, counters: new PageCounters() });
  const call = { xid: 1 } as CallInfo;
  await CLIENT({ client_id: clientId }, { call, session });
  t.equal(session.clientId, Buffer.from(clientId).toString('latin1'));
  t.equal(other.clientId, undefined);
  await CLIENT({ client_id: Buffer.alloc(16, 'x') }, { call, session });
  t.equal(session.clientId, 'x'.repeat(16), 'the last one counts');
});
