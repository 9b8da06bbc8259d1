import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import {
  acceptChannel,
  channelPair,
  connectChannel,
  listenChannel,
  type Packet,
  peerCredentials,
  peerGroups,
  receivePacket,
  sendPacket,
  socketDescriptor,
} from '../../src/system/channel.ts';
import { closeFd } from '../../src/system/files.ts';
import { createSealedMemory } from '../../src/system/memory.ts';
import { processGroups } from '../../src/system/process.ts';

interface Teardown {
  teardown: (action: () => void) => unknown;
}

// A fixture directory of tap's has too long a name for a socket.
function shortDirectory(t: Teardown): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'nearmount-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

function pair(t: Teardown): [number, number] {
  const socket = path.join(shortDirectory(t), 'channel');
  const listening = listenChannel(socket, 0o660);
  const client = connectChannel(socket);
  const server = acceptChannel(listening);
  if (server === undefined) throw new Error('nothing was waiting');
  closeFd(listening);
  t.teardown(() => {
    for (const fd of [client, server]) {
      try {
        closeFd(fd);
      } catch {
        // The test closed it already.
      }
    }
  });
  return [client, server];
}

function received(fd: number): Packet {
  const packet = receivePacket(fd, 100);
  if (typeof packet === 'string') throw new Error(packet);
  return packet;
}

function openDescriptors(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

t.test('listening, accepting, and what goes wrong with paths', async (t) => {
  const directory = shortDirectory(t);
  const socket = path.join(directory, 's');
  const listening = listenChannel(socket, 0o660);
  t.teardown(() => closeFd(listening));
  t.equal(fs.statSync(socket).mode & 0o777, 0o660);
  t.equal(acceptChannel(listening), undefined);
  const before = openDescriptors();
  t.throws(() => listenChannel(socket, 0o600), { code: 'EADDRINUSE' });
  t.throws(() => connectChannel(path.join(directory, 'none')), { code: 'ENOENT' });
  const long = `/${'x'.repeat(107)}`;
  t.throws(() => connectChannel(long), { code: 'ENAMETOOLONG', message: /at most 107 bytes.*has 108/ });
  t.throws(() => listenChannel('', 0o600), { code: 'EINVAL' });
  t.throws(() => listenChannel('a\0b', 0o600), { code: 'EINVAL' });
  t.equal(openDescriptors(), before);
});

t.test('packets keep borders and order, and carry descriptors', async (t) => {
  const [client, server] = pair(t);
  t.equal(receivePacket(server, 100), 'empty');
  const memory = createSealedMemory('test', Buffer.from('shared'));
  t.equal(sendPacket(client, Buffer.from('one'), [memory, memory]), 'sent');
  t.equal(sendPacket(client, Buffer.from('two')), 'sent');
  closeFd(memory);
  const first = received(server);
  t.equal(first.bytes.toString(), 'one');
  t.equal(first.fds.length, 2);
  for (const fd of first.fds) {
    t.match(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'), /flags:\s*0?2\d{6}/, 'closed on exec');
    const bytes = Buffer.alloc(6);
    fs.readSync(fd, bytes, 0, 6, 0);
    t.equal(bytes.toString(), 'shared');
    closeFd(fd);
  }
  t.match(receivePacket(server, 100), { bytes: Buffer.from('two'), fds: [] });
  t.throws(() => sendPacket(client, Buffer.alloc(0)), { code: 'EINVAL' });
  t.throws(() => sendPacket(client, Buffer.from('x'), [-1]), { code: 'EBADF' });
});

t.test('a full buffer is reported, nothing of it is lost, and reading makes room', async (t) => {
  const [client, server] = pair(t);
  let sent = 0;
  while (sendPacket(client, Buffer.from([sent & 255]), [client]) === 'sent') sent += 1;
  t.ok(sent > 64, `${sent} packets`);
  for (let index = 0; index < sent; index += 1) {
    const packet = received(server);
    t.equal(packet.bytes[0], index & 255);
    packet.fds.forEach(closeFd);
  }
  t.equal(receivePacket(server, 10), 'empty');
  t.equal(sendPacket(client, Buffer.from('x')), 'sent');
});

t.test('a cut packet closes what came with it', async (t) => {
  const [client, server] = pair(t);
  const before = openDescriptors();
  sendPacket(client, Buffer.from('longer than ten'), [client]);
  t.throws(() => receivePacket(server, 10), { code: 'EMSGSIZE' });
  t.equal(openDescriptors(), before);
});

t.test('the end is seen on both sides', async (t) => {
  const [client, server] = pair(t);
  sendPacket(client, Buffer.from('last'));
  closeFd(client);
  t.match(receivePacket(server, 10), { bytes: Buffer.from('last') });
  t.equal(receivePacket(server, 10), 'closed');
  t.equal(sendPacket(server, Buffer.from('x')), 'closed');
});

t.test('the kernel tells who connected, also on sockets of Node', async (t) => {
  const [client, server] = pair(t);
  const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
  t.same(peerCredentials(server), self);
  t.same(peerCredentials(client), self);
  t.same(peerGroups(server), processGroups(process.pid));

  const socketPath = path.join(shortDirectory(t), 'stream');
  const listener = net.createServer().listen(socketPath);
  await once(listener, 'listening');
  const connecting = net.connect(socketPath);
  const [accepted] = (await once(listener, 'connection')) as [net.Socket];
  t.same(peerCredentials(socketDescriptor(accepted)), self);
  connecting.destroy();
  accepted.destroy();
  listener.close();
  await once(accepted, 'close');
  t.throws(() => socketDescriptor(accepted), { code: 'EBADF' });
});

const canBecomeOthers = process.getuid?.() === 0 && spawnSync('python3', ['--version']).status === 0;

t.test('many groups of a peer', { skip: !canBecomeOthers && 'needs root and python3' }, async (t) => {
  const directory = shortDirectory(t);
  fs.chmodSync(directory, 0o755);
  const socket = path.join(directory, 's');
  const listening = listenChannel(socket, 0o666);
  t.teardown(() => closeFd(listening));
  const groups = Array.from({ length: 100 }, (_, index) => 5000 + index);
  // A SOCK_SEQPACKET client of another process, closed at once: credentials outlive it.
  const script = `
    import os, socket
    os.setgroups([${groups.join()}]); os.setgid(4321); os.setuid(1234)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(${JSON.stringify(socket)})`;
  const python = spawnSync('python3', ['-c', script.replaceAll('\n    ', '\n')], { encoding: 'utf8' });
  t.equal(python.stderr, '');
  const fd = acceptChannel(listening);
  if (fd === undefined) throw new Error('nobody connected');
  t.teardown(() => closeFd(fd));
  t.match(peerCredentials(fd), { uid: 1234, gid: 4321 });
  t.same(peerGroups(fd), groups);
});

t.test('a pair is connected, and its packets keep their borders', async (t) => {
  const [a, b] = channelPair();
  t.teardown(() => closeFd(a));
  sendPacket(a, Buffer.from('one'));
  sendPacket(a, Buffer.from('two'));
  t.match(receivePacket(b, 16), { bytes: Buffer.from('one') });
  t.match(receivePacket(b, 16), { bytes: Buffer.from('two') });
  t.equal(receivePacket(b, 16), 'empty');
  closeFd(b);
  t.equal(receivePacket(a, 16), 'closed');
});
