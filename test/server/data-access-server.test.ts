import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { channelPath } from '../../src/fgdp/channel.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { connect } from '../../src/transport/connect.ts';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { TestClient, notPrivileged, openDescriptors, serve, statusOf } from './serving.ts';

/** How often a condition is looked at, and for how long in all, in milliseconds. */
const POLL_MS = 10;
const POLL_LIMIT_MS = 10_000;

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + POLL_LIMIT_MS;
  while (!condition() && performance.now() < end) await delay(POLL_MS);
  if (!condition()) throw new Error(`did not come true: ${condition.toString()}`);
}

t.test('handles survive a restart and a rename, and go stale with their file', async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: 'the file', two: 'two names', 'sub/inner': 'inner' });
  linkSync(join(tree, 'two'), join(tree, 'names'));
  const exports = [`tree=${tree}`];
  const first = await serve(t, directory, exports);
  const before = await TestClient.connect(t, first.tcp);
  const root = await before.root('/tree');
  const file = await before.find(root, 'file');
  const two = await before.find(root, 'two');
  const inner = await before.find(root, 'sub/inner');
  await first.server.stop();
  renameSync(join(tree, 'file'), join(tree, 'sub/renamed'));
  renameSync(join(tree, 'sub'), join(tree, 'sub-renamed'));

  const second = await serve(t, directory, exports);
  t.same(second.server.key.id, first.server.key.id, 'the same server');
  const client = await TestClient.connect(t, second.tcp);
  t.same(Buffer.from(await client.root('/tree')), Buffer.from(root), 'the same root');
  // Without kernel handles, a rename that nobody saw makes a handle stale.
  if (second.server.exports[0]?.handles === 'kernel') {
    t.equal((await client.readAll(file)).toString(), 'the file');
    t.equal((await client.readAll(inner)).toString(), 'inner');
    t.same(Buffer.from(await client.find(root, 'sub-renamed/renamed')), Buffer.from(file));
  }
  unlinkSync(join(tree, 'two'));
  if (second.server.exports[0]?.handles === 'kernel')
    t.equal((await client.readAll(two)).toString(), 'two names', 'it has another name');
  unlinkSync(join(tree, 'names'));
  rmSync(join(tree, 'sub-renamed/renamed'));
  writeFileSync(join(tree, 'sub-renamed/renamed'), 'another');
  for (const gone of [two, file]) {
    const object = { data: gone };
    t.equal(statusOf(await client.nfs('GETATTR', { object })), 'NFS3ERR_STALE');
    t.equal(statusOf(await client.nfs('READ', { file: object, offset: 0n, count: 1 })), 'NFS3ERR_STALE');
    t.equal(statusOf(await client.nfs('ACCESS', { object, access: 1 })), 'NFS3ERR_STALE');
  }
});

t.test('handles belong to one server and one export', async (t) => {
  const one = makeDirectory(t);
  const other = makeDirectory(t);
  const tree = join(one, 'tree');
  makeTree(tree, { file: 'x' });
  const here = await serve(t, one, [`tree=${tree}`]);
  const there = await serve(t, other, [`tree=${tree}`]);
  const renamed = await serve(t, join(one, '.'), [`renamed=${tree}`]).catch(() => undefined);
  t.equal(renamed, undefined, 'one socket, one server');
  const client = await TestClient.connect(t, here.tcp);
  const stranger = await TestClient.connect(t, there.tcp);
  const object = { data: await client.find(await client.root('/tree'), 'file') };
  t.equal(statusOf(await client.nfs('GETATTR', { object })), 'NFS3_OK');
  t.equal(statusOf(await stranger.nfs('GETATTR', { object })), 'NFS3ERR_BADHANDLE');
  await here.server.stop();
  const without = await serve(t, one, [`other=${other}`]);
  const later = await TestClient.connect(t, without.tcp);
  t.equal(statusOf(await later.nfs('GETATTR', { object })), 'NFS3ERR_STALE', 'its export is gone');
});

t.test('stopping answers what was taken, also to a slow reader', async (t) => {
  for (const kind of ['tcp', 'socket'] as const) {
    const directory = makeDirectory(t);
    const tree = join(directory, 'tree');
    const contents = patternBytes(1024 * 1024);
    makeTree(tree, { file: contents });
    const serving = await serve(t, directory, [`tree=${tree}`]);
    const client = await TestClient.connect(t, serving[kind]);
    const file = { data: await client.find(await client.root('/tree'), 'file') };
    const calls = 12;
    const expected = serving.server.callsAnswered + BigInt(calls);
    client.connection.transport.pause();
    const replies = Array.from({ length: calls }, () =>
      client.nfs('READ', { file, offset: 0n, count: contents.length }),
    );
    await until(() => serving.server.callsAnswered === expected);
    const stopping = serving.server.stop();
    client.connection.transport.resume();
    const right = (await Promise.all(replies)).filter((reply) => {
      if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
      return Buffer.concat(reply.data).equals(contents);
    });
    await stopping;
    t.equal(right.length, calls, `${kind}: every reply after the stop has the right bytes`);
    await t.rejects(connect(serving[kind]), { code: 'CONNECTION_LOST' }, 'nobody listens any more');
  }
});

t.test('stopping under load loses no reply of a call that was run', async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: patternBytes(256 * 1024) });
  const { server, tcp } = await serve(t, directory, [`tree=${tree}`]);
  const client = await TestClient.connect(t, tcp);
  const file = { data: await client.find(await client.root('/tree'), 'file') };
  const before = server.callsAnswered;
  let answered = 0n;
  let lost = 0;
  const calls = Array.from({ length: 1_000 }, async () => {
    try {
      const reply = await client.nfs('READ', { file, offset: 0n, count: 256 * 1024 });
      if (reply.status === NFS3_OK) answered += 1n;
    } catch (error) {
      if ((error as { code?: string }).code !== 'CONNECTION_LOST') throw error;
      lost += 1;
    }
  });
  // A reader that is behind leaves replies in the server's send buffer, and calls unread in its receive buffer.
  client.connection.transport.pause();
  let seen = 0n;
  await until(() => {
    const isStuck = seen > before + 20n && server.callsAnswered === seen;
    seen = server.callsAnswered;
    return isStuck;
  });
  const stopping = server.stop();
  client.connection.transport.resume();
  await stopping;
  await Promise.all(calls);
  t.ok(answered > 20n, `${answered} answered, ${lost} to be sent again`);
  t.ok(lost > 0);
  t.equal(answered, server.callsAnswered - before);
});

t.test('nothing stays open after a stop, nor after a start that failed', async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: 'x' });
  const idle = openDescriptors();
  for (let round = 0; round < 3; round += 1) {
    const { server, tcp, socket } = await serve(t, directory, [`tree=${tree}`]);
    const client = await TestClient.connect(t, round % 2 === 0 ? tcp : socket);
    t.equal((await client.readAll(await client.find(await client.root('/tree'), 'file'))).toString(), 'x');
    t.equal(server.connections, 1);
    await server.stop();
    client.connection.close();
    await until(() => server.connections === 0);
    t.notOk(existsSync(socket.path), 'the socket is gone');
    t.notOk(existsSync(channelPath(socket.path)), 'the channel is gone');
  }
  await t.rejects(serve(t, directory, [`tree=${tree}`, `none=${directory}/none`]), { code: 'ENOENT' });
  await t.rejects(serve(t, directory, [`tree=${tree}`, `tree=${tree}`]), /given twice/);
  mkdirSync(join(directory, 's.sock'));
  await t.rejects(serve(t, directory, [`tree=${tree}`]), { code: 'EADDRINUSE' });
  await until(() => openDescriptors() <= idle);
  t.ok(openDescriptors() <= idle, 'descriptors are back');
});

t.test('its secrets are readable by its user only', async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), {});
  const { server } = await serve(t, directory, [`tree=${join(directory, 'tree')}`]);
  const state = join(directory, 'state');
  t.equal(statSync(state).mode & 0o777, 0o700);
  for (const file of ['server-key.pem', 'handle-key'])
    t.equal(statSync(join(state, file)).mode & 0o777, 0o600);
  await server.stop();
  writeFileSync(join(state, 'server-key.pem'), 'no key');
  await t.rejects(serve(t, directory, [`tree=${join(directory, 'tree')}`]), /server-key\.pem holds no/);
});

t.test('descriptors are for root’s guests', { skip: notPrivileged }, async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), {});
  const { socket } = await serve(t, directory, [`tree=${join(directory, 'tree')}`]);
  t.equal(lstatSync(socket.path).mode & 0o777, 0o666, 'NFS is for everybody');
  t.equal(lstatSync(channelPath(socket.path)).mode & 0o777, 0o600);
});

t.test('the command: SIGTERM under load, kill and restart', { skip: skipWithoutBuild() }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  const contents = patternBytes(512 * 1024);
  makeTree(tree, { file: contents });
  const exports = [`tree=${tree}`];
  const first = await startServer(t, { directory, exports });
  const client = await TestClient.connect(t, { kind: 'tcp', host: '127.0.0.1', port: first.port });
  const file = { data: await client.find(await client.root('/tree'), 'file') };
  let good = 0;
  const calls = Array.from({ length: 200 }, async () => {
    try {
      const reply = await client.nfs('READ', { file, offset: 0n, count: contents.length });
      if (reply.status !== NFS3_OK || !Buffer.concat(reply.data).equals(contents)) t.fail('a wrong answer');
      good += 1;
    } catch (error) {
      if ((error as { code?: string }).code !== 'CONNECTION_LOST') throw error;
    }
  });
  await until(() => good > 3);
  t.same(await first.stop(), { status: 0, signal: null }, 'it ends by itself');
  await Promise.all(calls);
  t.ok(good > 3, `${good} answers`);
  t.match(first.log(), /stopped/);

  const second = await startServer(t, { directory, exports, port: first.port });
  t.equal(second.id, first.id);
  const again = await TestClient.connect(t, { kind: 'unix', path: second.socket });
  t.ok((await again.readAll(file.data)).equals(contents), 'the same handle');
  t.same(await second.kill(), { status: null, signal: 'SIGKILL' });
  t.ok(existsSync(second.socket), 'what a killed server leaves behind');
  const third = await startServer(t, { directory, exports });
  const last = await TestClient.connect(t, { kind: 'unix', path: third.socket });
  t.ok((await last.readAll(file.data)).equals(readFileSync(join(tree, 'file'))), 'does not hinder the next');
});

t.test('one server has a state directory, and the next one waits until it is done', async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: 'x' });
  const first = await serve(t, directory, [`tree=${tree}`]);
  const state = join(directory, 'state');
  const beside = makeDirectory(t);
  symlinkSync(state, join(beside, 'state'));
  await t.rejects(serve(t, beside, [`tree=${tree}`]), {
    message: `another server uses --state ${join(beside, 'state')}: stop it, or give this one a directory of its own`,
  });
  const next = serve(t, beside, [`tree=${tree}`]);
  await first.server.stop();
  const client = await TestClient.connect(t, (await next).tcp);
  t.ok(await client.root('/tree'));
});
