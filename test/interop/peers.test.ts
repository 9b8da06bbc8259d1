import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import {
  freePorts,
  missingPeers,
  nfsUrl,
  runTool,
  skipWithout,
  startCapture,
  startGanesha,
} from './peers.ts';

/** Long enough that two writes become two TCP segments; were they one, the test would fail, not pass. */
const PACKET_GAP_MS = 50;

async function refuses(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return false;
  } catch {
    return true;
  } finally {
    socket.destroy();
  }
}

t.test('the packages to install are named', async (t) => {
  const path = process.env.PATH;
  t.teardown(() => (process.env.PATH = path));
  const known = ['nfs-ganesha', 'nfs-ganesha-vfs', 'rpcbind', 'util-linux', 'bash', 'libnfs-utils', 'tshark'];
  for (const name of missingPeers(['ganesha', 'libnfs', 'tshark'])) t.ok(known.includes(name), name);
  t.same(missingPeers([]), []);
  t.equal(skipWithout([]), false);
});

t.test('free ports differ and can be bound', async (t) => {
  const ports = await freePorts(5);
  t.equal(new Set(ports).size, 5);
  for (const port of ports) {
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    t.equal((server.address() as AddressInfo).port, port);
    server.close();
    await once(server, 'close');
  }
});

t.test(
  'ganesha serves libnfs, and tshark decodes what they say',
  {
    skip: skipWithout(['ganesha', 'libnfs', 'tshark']),
  },
  async (t) => {
    const directory = t.testdir();
    mkdirSync(join(directory, 'folder'));
    writeFileSync(join(directory, 'folder', 'file'), 'from ganesha\n');
    const large = Buffer.alloc(3_000_000, 'many segments');
    writeFileSync(join(directory, 'large'), large);
    const [nfsPort = 0, mountPort = 0] = await freePorts(2);
    const ganesha = await startGanesha({ directory, nfsPort, mountPort });
    t.teardown(() => ganesha.stop());
    const capture = await startCapture({ interface: 'lo', ports: [nfsPort, mountPort] });

    const listed = await runTool('nfs-ls', ['-R', nfsUrl('127.0.0.1', nfsPort, mountPort, directory)]);
    t.equal(listed.status, 0, listed.stderr);
    t.match(listed.stdout.toString(), /13 folder\/file/);
    const read = await runTool('nfs-cat', [
      nfsUrl('127.0.0.1', nfsPort, mountPort, `${directory}/folder/file`),
    ]);
    t.equal(read.stdout.toString(), 'from ganesha\n', read.stderr);

    const result = await capture.stop();
    t.teardown(result.remove);
    t.same(result.malformed, []);
    t.same(result.undecoded, []);
    t.ok(result.rpcPackets > 20, `${result.rpcPackets} RPC packets`);

    await ganesha.stop();
    t.ok(await refuses(nfsPort));
    t.ok(await refuses(mountPort));
    result.remove();
    t.notOk(existsSync(result.pcap));
  },
);

t.test('two ganeshas run side by side', { skip: skipWithout(['ganesha']) }, async (t) => {
  const directory = t.testdir({ file: 'x' });
  const [a = 0, b = 0, c = 0, d = 0] = await freePorts(4);
  const one = await startGanesha({ directory, nfsPort: a, mountPort: b });
  t.teardown(() => one.stop());
  const two = await startGanesha({ directory, nfsPort: c, mountPort: d });
  t.teardown(() => two.stop());
  await one.stop();
  t.ok(await refuses(a));
  t.notOk(await refuses(c));
});

t.test('a ganesha that cannot start says why', { skip: skipWithout(['ganesha']) }, async (t) => {
  const directory = t.testdir();
  const [port = 0] = await freePorts(1);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const nfsPort = (taken.address() as AddressInfo).port;
  await t.rejects(startGanesha({ directory, nfsPort, mountPort: port }), /did not start/);
});

t.test('a capture counts only what it could decode', { skip: skipWithout(['tshark']) }, async (t) => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const port = (server.address() as AddressInfo).port;
  const capture = await startCapture({ interface: 'lo', ports: [port] });
  const socket = connect({ host: '127.0.0.1', port });
  // A GETATTR call (xid 1, NFS version 3, no credentials) whose handle claims 64 bytes and has 4.
  const words = [1, 0, 2, 100003, 3, 1, 0, 0, 0, 0, 64, 0xdeadbeef];
  const body = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => body.writeUInt32BE(word, i * 4));
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE(0x80000000 + body.length);
  socket.write(Buffer.concat([mark, body]));
  await delay(PACKET_GAP_MS);
  socket.end(Buffer.alloc(100, 0xff));
  await once(socket, 'close');
  const result = await capture.stop();
  t.teardown(result.remove);
  t.equal(result.rpcPackets, 1);
  t.equal(result.malformed.length, 1);
  t.equal(result.undecoded.length, 1);
});
