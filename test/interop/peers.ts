/**
 * Other people's programs, for the interoperability tests: nfs-ganesha as a server, libnfs' tools as clients,
 * dumpcap and tshark as witnesses of what went over the wire. Everything started here is private to its caller
 * (own ports, own namespaces, own temporary directory) and ends with stop(), or with this process.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

type Milliseconds = number;

/** How often a starting server's ports are tried. ganesha answers after about 100 ms. */
const READY_INTERVAL: Milliseconds = 50;
/** ganesha takes 10 s to report that it cannot start: 15 s of tries let it say why. */
const READY_TRIES = 300;
/** How often a capture is asked whether it holds a marker, and how many times: 10 s in all. */
const MARKER_INTERVAL: Milliseconds = 50;
const MARKER_TRIES = 200;
/** The kernel's buffer for dumpcap: packets that do not fit are lost, and what follows them does not decode. */
const CAPTURE_BUFFER_MIB = 128;
/** Above what any single run of a tool here takes. */
const TOOL_LIMIT: Milliseconds = 60_000;

/** What a test may ask for, by name. */
export type PeerName = 'ganesha' | 'libnfs' | 'tshark' | 'attr';

interface Requirement {
  package: string;
  present: () => boolean;
}

function inPath(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

/** ganesha loads the module that serves local file systems from the multiarch library folder. */
function hasVfsModule(): boolean {
  const folders = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'ganesha'));
  return [...folders, '/usr/lib/ganesha'].some((folder) => existsSync(join(folder, 'libfsalvfs.so')));
}

const REQUIREMENTS: Record<PeerName, Requirement[]> = {
  ganesha: [
    { package: 'nfs-ganesha', present: () => inPath('ganesha.nfsd') },
    { package: 'nfs-ganesha-vfs', present: hasVfsModule },
    { package: 'rpcbind', present: () => inPath('rpcbind') },
    { package: 'util-linux', present: () => inPath('unshare') },
    { package: 'bash', present: () => inPath('bash') },
  ],
  libnfs: [{ package: 'libnfs-utils', present: () => inPath('nfs-ls') && inPath('nfs-cp') }],
  tshark: [{ package: 'tshark', present: () => inPath('tshark') && inPath('dumpcap') }],
  attr: [{ package: 'attr', present: () => inPath('getfattr') }],
};

/** The Debian packages that must be installed before these peers can run; empty when all are there. */
export function missingPeers(names: readonly PeerName[]): string[] {
  const missing = names.flatMap((name) => REQUIREMENTS[name]).filter((one) => !one.present());
  return [...new Set(missing.map((one) => one.package))];
}

/**
 * For tap's `skip`: false when these peers can run here, else the reason and its remedy. ganesha (namespaces,
 * handles) and tshark (packet sockets) need root.
 */
export function skipWithout(names: readonly PeerName[]): string | false {
  const missing = missingPeers(names);
  if (missing.length > 0) return `needs other programs: apt-get install ${missing.join(' ')}`;
  const root = names.some((name) => name === 'ganesha' || name === 'tshark');
  if (root && process.getuid?.() !== 0) return `needs root for ${names.join(', ')}`;
  return false;
}

/** Free TCP ports of 127.0.0.1, all different; free means: nobody had them a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ports.push((server.address() as AddressInfo).port);
  }
  for (const server of servers) {
    server.close();
    await once(server, 'close');
  }
  return ports;
}

/**
 * A URL for libnfs' tools: NFSv3 and explicit ports, so no portmapper is asked.
 *
 * @param path begins with a slash; taken byte for byte (libnfs 4.0 decodes no %XX), so it cannot hold a '?'. nfs-ls
 *   mounts the path itself, nfs-cat and nfs-cp mount the folder the file is in, and call MNT with that.
 */
export function nfsUrl(host: string, port: number, mountPort: number, path: string): string {
  if (path.includes('?')) throw new RangeError(`libnfs cannot name ${path}`);
  return `nfs://${host}${path}?version=3&nfsport=${port}&mountport=${mountPort}`;
}

export interface ToolResult {
  status: number | null;
  stdout: Buffer;
  stderr: string;
}

/** Runs a program to its end without blocking this process (which may be the server it talks to). */
export async function runTool(program: string, args: readonly string[]): Promise<ToolResult> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: TOOL_LIMIT });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

/** Starts a program that runs until it is stopped; `ended` settles when it is gone. */
function startProcess(
  program: string,
  args: readonly string[],
  stdio: StdioOptions,
  env: NodeJS.ProcessEnv = process.env,
) {
  const child: ChildProcess = spawn(program, args, { stdio, env });
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve());
  });
  ended.catch(() => undefined); // its awaiters still see the error; nobody may be waiting yet
  return { child, ended, running: () => child.exitCode === null && child.signalCode === null };
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/*
 * The first process of a process namespace: when it ends, the kernel kills ganesha and rpcbind, and the mount and
 * network namespaces, which have no name, go with their last process. It ends when ganesha does, or when its
 * standard input closes: on stop(), and on the death of the test. /run and /var/lib/nfs are its own, so several
 * ganeshas can run side by side; rpcbind (which ganesha insists on) has a network of its own and is reached by
 * its socket in /run.
 */
const GANESHA_SCRIPT = `
mount -t tmpfs tmpfs /run && mkdir /run/rpcbind /run/ganesha || exit 1
if [ -d /var/lib/nfs ]; then mount -t tmpfs tmpfs /var/lib/nfs || exit 1; fi
cat <&0 >/dev/null &
unshare --net rpcbind -f -w </dev/null &
for _ in $(seq 100); do [ -S /run/rpcbind.sock ] && break; sleep 0.05; done
ganesha.nfsd -F -f "$1/ganesha.conf" -L "$1/ganesha.log" -p "$1/ganesha.pid" -N NIV_EVENT </dev/null &
wait -n
`;

function ganeshaConfig(directory: string, nfsPort: number, mountPort: number): string {
  // glibc resolves no numeric address for ganesha (AI_ADDRCONFIG) on a machine that has only loopback; there,
  // "any address" is loopback as well.
  const onlyLoopback = !Object.values(networkInterfaces()).some((all) => all?.some((one) => !one.internal));
  return `
NFS_CORE_PARAM { Protocols=3; ${onlyLoopback ? '' : 'Bind_addr=127.0.0.1;'}
  NFS_Port=${nfsPort}; MNT_Port=${mountPort};
  Enable_NLM=false; Enable_RQUOTA=false; Enable_UDP=false; mount_path_pseudo=false; }
NFSv4 { Graceless=true; }
EXPORT { Export_Id=1; Path=${directory}; Pseudo=/export; Protocols=3; Transports=TCP;
  Access_Type=RW; Squash=None; SecType=sys; Attr_Expiration_Time=0; FSAL { Name=VFS; } }
`;
}

export interface Ganesha {
  /** Ends the server and everything it brought with it; a second call does nothing. */
  stop: () => Promise<void>;
}

/**
 * Starts nfs-ganesha (NFSv3, TCP, 127.0.0.1) and returns when both ports accept connections.
 *
 * @param options.directory absolute path of the tree to export, which is also the path clients mount; on a file
 *   system with file handles, not below /run
 * @param options.nfsPort free port for NFS
 * @param options.mountPort free port for MOUNT
 * @param options.env environment of everything that is started (default: this process's)
 * @throws Error with the end of ganesha's log when it ends, or does not answer within 15 s
 */
export async function startGanesha(options: {
  directory: string;
  nfsPort: number;
  mountPort: number;
  env?: NodeJS.ProcessEnv;
}): Promise<Ganesha> {
  const { directory, nfsPort, mountPort } = options;
  const work = mkdtempSync(join(tmpdir(), 'ganesha-'));
  writeFileSync(join(work, 'ganesha.conf'), ganeshaConfig(directory, nfsPort, mountPort));
  const server = startProcess(
    'unshare',
    // slave: what is mounted on the machine later shows in the export too, and nothing the other way.
    ['--mount', '--propagation=slave', '--pid', '--fork', '--kill-child', '--mount-proc'].concat([
      'bash',
      '-c',
      GANESHA_SCRIPT,
      'ganesha',
      work,
    ]),
    ['pipe', 'ignore', 'ignore'],
    options.env,
  );
  server.child.stdin?.on('error', () => undefined); // the script may be gone before its input is closed
  const stop = async () => {
    server.child.stdin?.end();
    await server.ended;
    rmSync(work, { recursive: true, force: true });
  };
  for (let tries = 0; tries < READY_TRIES && server.running(); tries++) {
    if ((await accepts(nfsPort)) && (await accepts(mountPort))) return { stop };
    await delay(READY_INTERVAL);
  }
  const log = join(work, 'ganesha.log');
  const tail = existsSync(log)
    ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-8).join('\n')
    : 'no log';
  await stop();
  throw new Error(`nfs-ganesha did not start:\n${tail}`);
}

export interface CaptureResult {
  /** The capture file. */
  pcap: string;
  /** One line of tshark for each packet it found malformed; must be empty for our traffic. */
  malformed: string[];
  /** One line for each packet whose bytes tshark could not take for RPC: it does not call those malformed. */
  undecoded: string[];
  /** Packets that hold RPC messages tshark decoded. 0 means that nothing was looked at. */
  rpcPackets: number;
  /** One line of tshark for each packet a display filter matches. */
  matching: (filter: string) => Promise<string[]>;
  /** Deletes the capture file. */
  remove: () => void;
}

/**
 * Replies that no peer of ours should give or get: calls that were not understood (RFC 5531, accept_stat), calls sent
 * twice, and NFS3ERR_IO and NFS3ERR_SERVERFAULT (RFC 1813, 2.6).
 */
export const FAILED_REPLIES = 'rpc.state_accept != 0 || rpc.dup || nfs.status3 == 5 || nfs.status3 == 10006';

export interface Capture {
  /** Ends the capture when all that was sent before is in it, and has tshark decode it. */
  stop: () => Promise<CaptureResult>;
}

/** Sends datagrams over the captured loopback interface, to be found in the capture. */
interface Marker {
  readonly port: number;
  readonly send: (token: string) => Promise<void>;
  readonly close: () => void;
}

async function markerHere(): Promise<Marker> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  const send = (token: string) => {
    socket.send(token, port, '127.0.0.1');
    return Promise.resolve();
  };
  return { port, send, close: () => socket.close() };
}

/** In a namespace of a test's own every port is free: the discard port needs nobody who listens. */
const DISCARD_PORT = 9;

function markerInside(network: string): Marker {
  const script = `printf %s "$0" >/dev/udp/127.0.0.1/${DISCARD_PORT}`;
  const send = async (token: string) => {
    await runTool('nsenter', [`--net=${network}`, 'bash', '-c', script, token]);
  };
  return { port: DISCARD_PORT, send, close: () => undefined };
}

/** Sends a datagram until the capture file holds it: packets before it are in the file too. */
async function markCapture(file: string, marker: Marker): Promise<void> {
  const token = randomUUID();
  for (let tries = 0; tries < MARKER_TRIES; tries++) {
    await marker.send(token);
    await delay(MARKER_INTERVAL);
    if (existsSync(file) && readFileSync(file).includes(token)) return;
  }
  throw new Error('dumpcap does not see the loopback traffic');
}

/**
 * Captures the TCP traffic of some ports; returns when the capture runs.
 *
 * @param options.interface the loopback interface, or with it any other: its traffic proves beginning and end
 * @param options.network file of the network namespace to capture in; default: this process' own
 * @param options.ports the ports to capture, and to decode as RPC whatever their number
 * @throws Error when dumpcap sees no traffic within 10 s
 */
export async function startCapture(options: {
  interface: 'lo' | 'any';
  ports: readonly number[];
  network?: string;
}): Promise<Capture> {
  const { network } = options;
  const work = mkdtempSync(join(tmpdir(), 'capture-'));
  const remove = () => rmSync(work, { recursive: true, force: true });
  const pcap = join(work, 'capture.pcapng');
  const marker = network === undefined ? await markerHere() : markerInside(network);
  const filter = [`udp port ${marker.port}`, ...options.ports.map((port) => `tcp port ${port}`)];
  const dumpcap = startProcess(
    network === undefined ? 'env' : 'nsenter',
    [
      network === undefined ? [] : [`--net=${network}`],
      ['dumpcap', '-q', '-B', String(CAPTURE_BUFFER_MIB)],
      ['-i', options.interface, '-f', filter.join(' or '), '-w', pcap],
    ].flat(),
    'ignore',
  );
  const end = async () => {
    marker.close();
    dumpcap.child.kill('SIGINT');
    await dumpcap.ended;
  };
  try {
    await markCapture(pcap, marker);
  } catch (error) {
    await end();
    remove();
    throw error;
  }
  const decode = async (filter: string) => {
    const decodeAs = options.ports.flatMap((port) => ['-d', `tcp.port==${port},rpc`]);
    const preferences = [
      ...['-o', 'rpc.dissect_unknown_programs:TRUE'], // ours beside NFS
      // Two CPUs send the segments of one connection: they may be seen in another order than they were sent in.
      ...['-o', 'tcp.reassemble_out_of_order:TRUE'],
    ];
    const result = await runTool('tshark', ['-n', '-r', pcap, ...decodeAs, ...preferences, '-Y', filter]);
    if (result.status !== 0) throw new Error(`tshark: ${result.stderr}`);
    return result.stdout
      .toString()
      .split('\n')
      .filter((line) => line !== '');
  };
  const stop = async () => {
    try {
      await markCapture(pcap, marker);
    } finally {
      await end();
    }
    // rpc.xid: a header that was decoded, not bytes that only passed for a continuation.
    return {
      pcap,
      malformed: await decode('_ws.malformed'),
      undecoded: await decode('rpc.continuation_data'),
      rpcPackets: (await decode('rpc.xid')).length,
      matching: decode,
      remove,
    };
  };
  return { stop };
}
