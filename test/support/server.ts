/** `nearmount serve` as users start it: the built command in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Watchdogs, in milliseconds: until it serves, which takes seconds on a busy machine, and until it has ended after SIGTERM. */
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;

interface Teardown {
  teardown: (action: () => Promise<unknown>) => unknown;
}

export interface ServerOptions {
  /** Values of --export. */
  readonly exports: readonly string[];
  /** Holds socket, table and state; two servers started with the same one after another share them. */
  readonly directory: string;
  /** Default 0: any free one. */
  readonly port?: number;
  /** TCP address to listen at; default 127.0.0.1. */
  readonly host?: string;
  /** File of the network namespace to run in; default: this process' own. */
  readonly network?: string;
  /** Further arguments. */
  readonly args?: readonly string[];
}

export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServerProcess {
  readonly pid: number;
  /** On `host`; NFS and MOUNT answer there. */
  readonly port: number;
  readonly socket: string;
  /** The colocation table it entered itself into. */
  readonly table: string;
  readonly id: string;
  /** Base64 of the raw 32 bytes. */
  readonly publicKey: string;
  /** What it has logged so far. */
  log(): string;
  /** Descriptors it has open now. */
  descriptors(): number;
  /** SIGTERM, and SIGKILL when it has not ended after STOP_LIMIT_MS; a second call only waits. */
  stop(): Promise<Ending>;
  /** SIGKILL. */
  kill(): Promise<Ending>;
}

/** For tap's `skip`: false when the command is built. */
export function skipWithoutBuild(): string | false {
  return existsSync(COMMAND) ? false : 'needs the built command: npm run build';
}

interface ReadyLine {
  readonly pid: number;
  readonly endpoints: readonly string[];
  readonly id: string;
  readonly publicKey: string;
}

/**
 * Starts a server on one TCP address and a Unix socket, and returns when it serves; it is stopped with the test.
 *
 * @throws Error with what it wrote to stderr when it ends or is not ready within READY_LIMIT_MS
 */
export async function startServer(t: Teardown, options: ServerOptions): Promise<ServerProcess> {
  const { directory, host = '127.0.0.1', network } = options;
  const socket = join(directory, 's.sock');
  const table = join(directory, 'colocation.db');
  // nsenter becomes the program it runs: the pid is the server's.
  const child = spawn(
    network === undefined ? 'env' : 'nsenter',
    [
      network === undefined ? [] : [`--net=${network}`],
      [
        process.execPath,
        COMMAND,
        'serve',
        '--json',
        '--name',
        'tested',
        '--socket',
        socket,
        '--colocation',
        table,
      ],
      ['--state', join(directory, 'state'), '--listen', `${host}:${options.port ?? 0}`],
      options.exports.flatMap((each) => ['--export', each]),
      options.args ?? [],
    ].flat(),
    // The loaders of the test runner are none of its business.
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_OPTIONS: '' } },
  );
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const ended = once(child, 'close').then(([status, signal]): Ending => ({
    status: status as number | null,
    signal: signal as NodeJS.Signals | null,
  }));
  const end = async (signal: NodeJS.Signals): Promise<Ending> => {
    child.kill(signal);
    const watchdog = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    try {
      return await ended;
    } finally {
      clearTimeout(watchdog);
    }
  };
  const stop = (): Promise<Ending> => end('SIGTERM');
  t.teardown(stop);

  const ready = new Promise<ReadyLine>((resolve) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      const line = text.includes('\n') ? text.slice(0, text.indexOf('\n')) : undefined;
      if (line !== undefined) resolve(JSON.parse(line) as ReadyLine);
    });
  });
  const watchdog = setTimeout(() => child.kill('SIGKILL'), READY_LIMIT_MS);
  const first = await Promise.race([ready, ended]);
  clearTimeout(watchdog);
  if ('status' in first) {
    throw new Error(`the server ended (${first.signal ?? `status ${first.status}`}):\n${log}`);
  }
  const tcp = first.endpoints.find((endpoint) => endpoint.startsWith(`${host}:`));
  return {
    pid: first.pid,
    port: Number(tcp?.split(':')[1]),
    socket,
    table,
    id: first.id,
    publicKey: first.publicKey,
    log: () => log,
    descriptors: () => readdirSync(`/proc/${first.pid}/fd`).length,
    stop,
    kill: () => end('SIGKILL'),
  };
}
