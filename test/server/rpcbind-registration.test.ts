/** Registration with rpcbind: against one that is scripted, and against the real one where it is installed. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { createLogger } from '../../src/observe/log.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { Dispatcher } from '../../src/rpc/dispatcher.ts';
import { RPCBIND_PROGRAM, type RPCBIND_PROCEDURES, type rpcb } from '../../src/rpc/rpcbind.ts';
import type { Handlers } from '../../src/rpc/program.ts';
import { RpcbindRegistration } from '../../src/server/rpcbind-registration.ts';
import { connect } from '../../src/transport/connect.ts';
import { listen } from '../../src/transport/listen.ts';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { notPrivileged } from './serving.ts';
import { PassThrough } from 'node:stream';

/** How often something is looked at, and for how long in all, in milliseconds. */
const POLL_MS = 20;
const POLL_LIMIT_MS = 10_000;

const keyOf = ({ r_prog, r_netid }: rpcb): string => `${r_prog} ${Buffer.from(r_netid).toString()}`;

/** As rpcbind decides: the same address again is fine, another one is refused. */
async function fakeRpcbind(t: Parameters<typeof makeDirectory>[0], entries: Map<string, string>) {
  const path = join(makeDirectory(t), 'rpcbind.sock');
  const dispatcher = new Dispatcher<undefined>({ onFailure: () => undefined });
  const handlers: Handlers<typeof RPCBIND_PROCEDURES, undefined> = {
    NULL: () => undefined,
    SET: (entry) => {
      const address = Buffer.from(entry.r_addr).toString();
      const known = entries.get(keyOf(entry));
      if (known === undefined) entries.set(keyOf(entry), address);
      return known === undefined || known === address;
    },
    UNSET: (entry) => entries.delete(keyOf(entry)),
    DUMP: () =>
      [...entries].map(([key, address]) => {
        const [program, netid = ''] = key.split(' ');
        return {
          r_prog: Number(program),
          r_vers: 3,
          r_netid: Buffer.from(netid),
          r_addr: Buffer.from(address),
          r_owner: Buffer.alloc(0),
        };
      }),
  };
  dispatcher.register(RPCBIND_PROGRAM, handlers);
  const listener = await listen(
    { kind: 'unix', path },
    {
      onConnection: (transport) => {
        new RpcConnection<undefined>(transport, { dispatcher, makeContext: () => undefined });
      },
    },
  );
  t.teardown(() => void listener.close());
  return path;
}

function memoryLog() {
  const destination = new PassThrough();
  const lines: string[] = [];
  destination.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
  return { log: createLogger({ level: 'info', name: 'test', destination }), lines };
}

const at = (host: string, port: number) => ({ kind: 'tcp' as const, host, port });

t.test('one address a family, taken back at the end', async (t) => {
  const entries = new Map<string, string>([['100000 tcp', '0.0.0.0.0.111']]);
  const { log, lines } = memoryLog();
  const registration = new RpcbindRegistration(await fakeRpcbind(t, entries), log);
  await registration.register([at('10.0.0.1', 2049), at('10.0.0.2', 2050), at('fe80::1%eth0', 2051)]);
  t.same([...entries].sort(), [
    ['100000 tcp', '0.0.0.0.0.111'],
    ['100003 tcp', '10.0.0.1.8.1'],
    ['100003 tcp6', 'fe80::1.8.3'],
    ['100005 tcp', '10.0.0.1.8.1'],
    ['100005 tcp6', 'fe80::1.8.3'],
  ]);
  t.match(lines.join(''), /registered with rpcbind/);
  await registration.release();
  t.same([...entries.keys()], ['100000 tcp'], 'nothing else is touched');
  await registration.register([at('::', 2049)]);
  t.match([...entries].sort(), [[], ['100003 tcp', '0.0.0.0.8.1'], ['100003 tcp6', '::.8.1'], [], []]);
});

t.test('what a killed server left is replaced, a living one is not', async (t) => {
  const living = await listen(at('127.0.0.1', 0), { onConnection: ({ socket }) => socket.destroy() });
  t.teardown(() => living.close());
  const dead = await listen(at('127.0.0.1', 0), { onConnection: ({ socket }) => socket.destroy() });
  await dead.close();
  const address = ({ endpoint }: typeof living): string => {
    if (endpoint.kind !== 'tcp') throw new Error('not tcp');
    return `0.0.0.0.${endpoint.port >> 8}.${endpoint.port & 255}`;
  };
  const entries = new Map([
    ['100003 tcp', address(living)],
    ['100005 tcp', address(dead)],
  ]);
  const { log, lines } = memoryLog();
  const registration = new RpcbindRegistration(await fakeRpcbind(t, entries), log);
  await registration.register([at('0.0.0.0', 2049)]);
  t.same(
    [...entries],
    [
      ['100003 tcp', address(living)],
      ['100005 tcp', '0.0.0.0.8.1'],
    ],
  );
  t.match(lines.join(''), /another NFS server for tcp .*stop that one, or leave --rpcbind out/);
  await registration.release();
  t.same([...entries.keys()], ['100003 tcp']);
});

t.test('without rpcbind there is a warning, and no more', async (t) => {
  const { log, lines } = memoryLog();
  const registration = new RpcbindRegistration(join(makeDirectory(t), 'none.sock'), log);
  await registration.register([at('127.0.0.1', 1)]);
  t.match(lines.join(''), /not registered with rpcbind at .*ENOENT.*start rpcbind/);
  await registration.release();
});

const noRpcbind =
  skipWithoutBuild() ||
  notPrivileged ||
  (!existsSync('/usr/sbin/rpcbind') && 'needs rpcbind: apt-get install rpcbind') ||
  (spawnSync('unshare', ['-m', '-n', 'true']).status !== 0 && 'needs namespaces of its own (unshare -m -n)');

t.test('the real rpcbind', { skip: noRpcbind }, async (t) => {
  // Its socket is /run/rpcbind.sock in its own mount namespace, and in a directory of ours outside of it.
  const run = makeDirectory(t);
  const child = spawn(
    'unshare',
    ['-m', '-n', 'sh', '-c', 'ip link set lo up; mount --bind "$0" /run && exec rpcbind -f', run],
    { stdio: 'ignore' },
  );
  t.teardown(() => child.kill('SIGKILL'));
  const socket = join(run, 'rpcbind.sock');
  const end = performance.now() + POLL_LIMIT_MS;
  while (!existsSync(socket) && child.exitCode === null && performance.now() < end) await delay(POLL_MS);
  if (child.exitCode !== null) throw new Error(`rpcbind ended with status ${child.exitCode}`);
  const listed = async (): Promise<string[]> => {
    const rpcbind = new RpcConnection(await connect({ kind: 'unix', path: socket }));
    try {
      const entries = await rpcbind.call(RPCBIND_PROGRAM, 'DUMP', undefined, { timeoutMs: POLL_LIMIT_MS });
      return entries
        .filter(({ r_prog }) => r_prog === 100003 || r_prog === 100005)
        .map((entry) => `${keyOf(entry)} ${Buffer.from(entry.r_addr).toString()}`)
        .sort();
    } finally {
      rpcbind.close();
    }
  };
  t.same(await listed(), []);
  const directory = makeDirectory(t);
  const options = { directory, exports: [`tree=${directory}`], args: ['--rpcbind', socket] };
  const entries = (port: number): string[] =>
    [100003, 100005].map((program) => `${program} tcp 127.0.0.1.${port >> 8}.${port & 255}`);
  const first = await startServer(t, options);
  t.same(await listed(), entries(first.port));
  await first.kill();
  t.same(await listed(), entries(first.port), 'a killed server stays listed');
  const second = await startServer(t, options);
  t.same(await listed(), entries(second.port), 'until the next one starts');
  await second.stop();
  t.same(await listed(), [], 'SIGTERM takes it away');
});
