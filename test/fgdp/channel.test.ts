import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { ChannelListener, GuestChannel, ServerChannel, channelPath } from '../../src/fgdp/channel.ts';
import { CHANNELS_PENDING_MAX, CHANNEL_PACKET_BYTES_MAX } from '../../src/fgdp/limits.ts';
import { CHANNEL_PACKET, channel_packet } from '../../src/fgdp/program.ts';
import { acceptChannel, connectChannel, listenChannel, sendPacket } from '../../src/system/channel.ts';
import { encodeAll } from '../../src/xdr/codec.ts';
import { makeDirectory } from '../support/trees.ts';

const token = (): Buffer => randomBytes(32);
const descriptors = (): number => readdirSync('/proc/self/fd').length;
const packetOf = (packet: channel_packet): Buffer => Buffer.concat(encodeAll(channel_packet, packet));

function listening(t: Test): { socket: string; listener: ChannelListener } {
  const socket = join(makeDirectory(t), 's.sock');
  const listener = ChannelListener.listen(channelPath(socket), 0o600);
  t.teardown(() => listener.close());
  return { socket, listener };
}

function connected(t: Test): { guest: GuestChannel; server: ServerChannel; file: string } {
  const { socket, listener } = listening(t);
  const guest = GuestChannel.connect(socket, token());
  t.teardown(() => guest.close());
  const server = listener.claim(guest.token);
  if (server === undefined) throw new Error('no channel for the token');
  t.teardown(() => server.close());
  const file = `${socket}.file`;
  writeFileSync(file, 'the file');
  return { guest, server, file };
}

t.test('a channel is proven by a descriptor that holds its token', async (t) => {
  const { guest, server } = connected(t);
  t.notOk(guest.isProven());
  t.ok(server.prove(token()), 'with a foreign token');
  t.notOk(guest.isProven());
  t.ok(server.prove(guest.token));
  t.ok(guest.isProven());
  t.ok(guest.isProven(), 'for good');
});

t.test('the token in a packet without a descriptor proves nothing', async (t) => {
  const socket = join(makeDirectory(t), 's.sock');
  const listener = listenChannel(channelPath(socket), 0o600);
  t.teardown(() => closeSync(listener));
  const guest = GuestChannel.connect(socket, token());
  t.teardown(() => guest.close());
  const fd = acceptChannel(listener);
  if (fd === undefined) throw new Error('nobody connected');
  t.teardown(() => closeSync(fd));
  const proof = packetOf({ kind: CHANNEL_PACKET.PROOF, token: guest.token });
  sendPacket(fd, proof);
  t.notOk(guest.isProven());
  const directory = openSync('/', 'r');
  sendPacket(fd, proof, [directory]);
  t.notOk(guest.isProven(), 'a directory');
  const zero = openSync('/dev/zero', 'r');
  sendPacket(fd, proof, [zero]);
  t.notOk(guest.isProven(), 'a device');
  closeSync(directory);
  closeSync(zero);
  sendPacket(fd, Buffer.alloc(3, 0xff));
  sendPacket(fd, Buffer.alloc(CHANNEL_PACKET_BYTES_MAX + 1));
  t.notOk(guest.isProven(), 'rubbish');
  new ServerChannel(fd).prove(guest.token);
  t.ok(guest.isProven(), 'and what follows rubbish counts');
});

t.test('grants arrive under their ids, in any order', async (t) => {
  const { guest, server, file } = connected(t);
  const before = descriptors();
  for (const id of [1n, 2n, 3n, 2n ** 64n - 1n]) {
    const fd = openSync(file, 'r');
    t.ok(server.grant(id, fd));
    closeSync(fd);
  }
  for (const id of [2n ** 64n - 1n, 2n]) {
    const granted = guest.take(id);
    if (granted === undefined) throw new Error(`grant ${id} did not come`);
    t.equal(readFileSync(granted, 'utf8'), 'the file');
    t.equal(guest.take(id), undefined, 'once');
    closeSync(granted);
  }
  t.equal(guest.take(77n), undefined);
  guest.close();
  t.equal(guest.take(1n), undefined, 'not after the end');
  t.equal(descriptors(), before - 1, 'those nobody took are closed, and so is the channel');
  t.notOk(server.grant(4n, 0), 'nobody is there');
});

t.test('a guest that never reads fills the channel, and loses nothing it was promised', async (t) => {
  const { guest, server, file } = connected(t);
  const before = descriptors();
  const fd = openSync(file, 'r');
  let sent = 0n;
  while (sent < 5_000n && server.grant(sent, fd)) sent += 1n;
  t.ok(sent >= 64n && sent < 5_000n, `${sent} grants fit`);
  t.notOk(server.grant(9_999n, fd), 'full');
  closeSync(fd);
  for (let id = 0n; id < sent; id += 1n) {
    const granted = guest.take(id);
    if (granted === undefined) t.fail(`grant ${id} was lost`);
    else closeSync(granted);
  }
  t.equal(descriptors(), before);
});

t.test('a token serves once, and only who sent it', async (t) => {
  const { socket, listener } = listening(t);
  const guest = GuestChannel.connect(socket, token());
  t.teardown(() => guest.close());
  t.equal(listener.claim(token()), undefined);
  t.equal(listener.claim(new Uint8Array(0)), undefined);
  t.equal(listener.claim(guest.token.subarray(1)), undefined);
  const server = listener.claim(guest.token);
  t.ok(server);
  server?.close();
  t.equal(listener.claim(guest.token), undefined);

  const twin = GuestChannel.connect(socket, guest.token);
  const second = GuestChannel.connect(socket, guest.token);
  const first = listener.claim(guest.token);
  first?.prove(guest.token);
  first?.close();
  t.ok(twin.isProven(), 'the first with a token has it');
  t.notOk(second.isProven());
  twin.close();
  second.close();
});

t.test('hostile first packets are dropped with their descriptors, and honest guests served', async (t) => {
  const { socket, listener } = listening(t);
  const before = descriptors();
  const own = token();
  const bad: [why: string, bytes: Buffer, descriptors: number][] = [
    ['rubbish', Buffer.from('rubbish'), 3],
    ['a packet too large', Buffer.alloc(CHANNEL_PACKET_BYTES_MAX + 1), 2],
    ['another kind', packetOf({ kind: CHANNEL_PACKET.GRANT, grant_id: 1n }), 3],
    ['a proof', packetOf({ kind: CHANNEL_PACKET.PROOF, token: own }), 250],
    ['a token and more', Buffer.concat([packetOf({ kind: CHANNEL_PACKET.TOKEN, token: own }), own]), 1],
  ];
  for (const [why, bytes, count] of bad) {
    const honest = GuestChannel.connect(socket, token());
    const fd = connectChannel(channelPath(socket));
    sendPacket(
      fd,
      bytes,
      Array.from({ length: count }, () => 0),
    );
    const silent = connectChannel(channelPath(socket));
    const server = listener.claim(honest.token);
    t.ok(server, `${why}: an honest guest`);
    t.equal(listener.claim(own), undefined, why);
    server?.close();
    honest.close();
    closeSync(fd);
    closeSync(silent);
    listener.claim(own);
    t.equal(descriptors(), before, `${why}: descriptors`);
  }
});

t.test('channels that wait for no HELLO are limited, the oldest go', async (t) => {
  const { socket, listener } = listening(t);
  const before = descriptors();
  const waiting: GuestChannel[] = [];
  const silent: number[] = [];
  const rounds = 3;
  for (let round = 0; round < rounds; round += 1) {
    for (let index = 0; index < 50; index += 1) {
      waiting.push(GuestChannel.connect(socket, token()));
      silent.push(connectChannel(channelPath(socket)));
    }
    const honest = GuestChannel.connect(socket, token());
    const server = listener.claim(honest.token);
    t.ok(server, 'an honest guest is served');
    server?.close();
    honest.close();
  }
  const ours = waiting.length + silent.length;
  t.ok(descriptors() - before - ours <= 2 * CHANNELS_PENDING_MAX, `${descriptors() - before - ours} pending`);
  t.equal(listener.claim(waiting[0]?.token ?? token()), undefined, 'the oldest is gone');
  const newest = listener.claim(waiting.at(-1)?.token ?? token());
  t.ok(newest, 'the newest is there');
  newest?.close();
  for (const each of waiting) each.close();
  silent.forEach((fd) => closeSync(fd));
  listener.close();
  t.equal(descriptors(), before - 1, 'closing the listener closes what waited');
});
