/**
 * Who takes part, each in namespaces of its own: a server; a near guest in a network namespace without a network; a
 * far guest that shares the server's network namespace, where a loopback is up, and nothing else with it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, closeSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { collectStatus } from '../../observe/status-socket.ts';
import { CliError } from '../errors.ts';
import { RUNTIME_FLAGS } from '../runtime-flags.ts';
import { InterruptedError, type Place } from './programs.ts';

const EXPORT_NAME = 'demo';
/** The export that guests copy files to. */
const COPIES_NAME = 'demo-copies';
/** How long the server may take to say it is ready, and a mount to appear, in milliseconds. */
const READY_TIMEOUT_MS = 30_000;
/** How often a gateway's /proc/PID/mountinfo is looked at while its mount is awaited, in milliseconds. */
const MOUNT_POLL_MS = 10;
/** How long a process has between SIGTERM and SIGKILL, in milliseconds. */
const STOP_GRACE_MS = 3_000;
/** sockaddr_un(7), less its NUL, and the longest name the demo or the server puts into the work directory. */
const SOCKET_PATH_BYTES_MAX = 107;
const SOCKET_NAME_BYTES_MAX = '/run/mount-0123456789ab.sock'.length;

const ENTRY = fileURLToPath(new URL('./namespace-entry.js', import.meta.url));
const FAR_OPTIONS = ['route=network'];
const OWN_MOUNTS = ['unshare', '-m', '--propagation', 'private'];

const mountStatus = z.object({
  mountPoint: z.string(),
  route: z.string(),
  level: z.string(),
  why: z.string(),
  opens: z.object({ passthrough: z.number(), wire: z.number() }),
  lastWireReason: z.string().optional(),
});
export type MountStatus = z.infer<typeof mountStatus>;

export interface Guest extends Place {
  readonly name: 'near' | 'far';
  /** The gateway's. */
  readonly pid: number;
}

interface Member {
  readonly name: string;
  readonly child: ChildProcess;
  readonly pid: number;
  readonly log: string;
}

export interface StageOptions {
  readonly workDirectory: string;
  /** The exported tree. */
  readonly source: string;
  /** Whether guests see an empty directory where the tree lies, so that the mount is their only way to it. */
  readonly hideSource: boolean;
  /** `-o` lists of the near guest's mount. */
  readonly nearOptions: readonly string[];
  readonly signal: AbortSignal;
}

export class Stage {
  readonly #options: StageOptions;
  /** In the order they were started. */
  readonly #members: Member[] = [];
  readonly #environment: NodeJS.ProcessEnv;

  /** Starts nothing yet. Whoever calls `start` calls `stop` or `leave`, also when it failed. */
  constructor(options: StageOptions) {
    const { workDirectory } = options;
    if (Buffer.byteLength(workDirectory) + SOCKET_NAME_BYTES_MAX > SOCKET_PATH_BYTES_MAX) {
      throw new CliError(`${workDirectory} is too long for a Unix socket in it: give a shorter --dir`);
    }
    this.#options = options;
    this.#environment = { ...process.env, NEARMOUNT_RUNTIME_DIR: this.runtimeDirectory };
    delete this.#environment.NEARMOUNT_CLUSTER;
  }

  /** Where the mounts' status sockets are. */
  get runtimeDirectory(): string {
    return `${this.#options.workDirectory}/run`;
  }

  get table(): string {
    return `${this.#options.workDirectory}/colocation.db`;
  }

  /** The directory of the export that may be written, where the server has it; empty at first. */
  get copies(): string {
    return `${this.#options.workDirectory}/copies`;
  }

  get pids(): readonly number[] {
    return this.#members.map(({ pid }) => pid);
  }

  /** @throws CliError with what the process that failed logged last */
  async startServer(): Promise<{ readonly pid: number }> {
    const { workDirectory, source } = this.#options;
    mkdirSync(this.copies);
    const words = [
      'serve',
      ...['--export', `${EXPORT_NAME}=${source},ro,squash=none,clients=127.0.0.0/8`],
      ...['--export', `${COPIES_NAME}=${this.copies},rw,squash=none,clients=127.0.0.0/8`],
      ...['--listen', '127.0.0.1:0', '--socket', `${workDirectory}/server.sock`],
      ...['--colocation', this.table, '--state', `${workDirectory}/state`, '--name', 'demo-server', '--json'],
      ...['--log-level', 'warn'],
    ];
    const member = this.#start('server', [...OWN_MOUNTS, '-n', '--'], 'loopback', words);
    const output = member.child.stdout;
    await this.#until(member, new Promise<void>((resolve) => output?.once('data', () => resolve())));
    output?.destroy();
    return { pid: member.pid };
  }

  async startNear(): Promise<Guest> {
    const namespaces = [...OWN_MOUNTS, '-n', '--', ...this.#hiding()];
    return this.#startGuest('near', namespaces, EXPORT_NAME, 'near', this.#options.nearOptions);
  }

  async startFar(server: { readonly pid: number }): Promise<Guest> {
    const namespaces = [
      'nsenter',
      '-t',
      String(server.pid),
      '-n',
      '--',
      ...OWN_MOUNTS,
      '--',
      ...this.#hiding(),
    ];
    return this.#startGuest('far', namespaces, EXPORT_NAME, 'far', FAR_OPTIONS);
  }

  /** Mounts the export that may be written beside the guest's other mount, by the same way. */
  async mountCopies({ name, enter }: Guest): Promise<Guest> {
    const options = name === 'near' ? this.#options.nearOptions : FAR_OPTIONS;
    return this.#startGuest(name, enter, COPIES_NAME, `${name}-copies`, [...options, 'rw']);
  }

  /** What the gateway says about its mount. */
  async status(guest: Guest): Promise<MountStatus> {
    const { statuses } = await collectStatus(this.runtimeDirectory);
    for (const status of statuses) {
      const parsed = mountStatus.parse(status);
      if (parsed.mountPoint === guest.root) return parsed;
    }
    throw new CliError(`the ${guest.title}'s mount does not answer${this.deaths()}`);
  }

  /** For the end of an error line: which processes have died, and their last words; empty when none has. */
  deaths(): string {
    return this.#members
      .filter(({ child }) => hasEnded(child))
      .map((member) => `; ${ending(member)}`)
      .join('');
  }

  /** Ends every process, guests first; with them go their namespaces and mounts. */
  async stop(): Promise<void> {
    for (const { child } of this.#members.splice(0).reverse()) {
      if (hasEnded(child)) continue;
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
      await ended;
      clearTimeout(timer);
    }
  }

  /** Lets the processes outlive this one. */
  leave(): void {
    for (const { child } of this.#members) {
      child.stdin?.end('farewell');
      child.unref();
    }
  }

  /** Words that put an empty file system over the tree before the gateway starts. */
  #hiding(): string[] {
    if (!this.#options.hideSource) return [];
    const script = 'mount -t tmpfs -o ro,size=4k nearmount-demo "$1" && shift && exec "$@"';
    return ['sh', '-c', script, 'sh', this.#options.source];
  }

  async #startGuest(
    name: Guest['name'],
    namespaces: readonly string[],
    exportName: string,
    directory: string,
    options: readonly string[],
  ): Promise<Guest> {
    const root = `${this.#options.workDirectory}/${directory}`;
    mkdirSync(root);
    const words = ['mount', exportName, root, '--foreground', '--colocation', this.table];
    const member = this.#start(directory, namespaces, 'plain', [
      ...words,
      ...options.flatMap((list) => ['-o', list]),
    ]);
    await this.#until(member, waitForMount(member, root, this.#options.signal));
    const enter = ['nsenter', '-t', String(member.pid), '-m', '-n', '--'];
    return { name, title: `${name} guest`, root, enter, pid: member.pid };
  }

  #start(
    name: string,
    namespaces: readonly string[],
    loopback: 'loopback' | 'plain',
    words: readonly string[],
  ): Member {
    if (this.#options.signal.aborted) throw new InterruptedError();
    const [program = '', ...before] = namespaces;
    const log = `${this.#options.workDirectory}/${name}.log`;
    const logFd = openSync(log, 'a', 0o600);
    try {
      // unshare, nsenter and sh become the next program, so this pid stays the process's own.
      const child = spawn(
        program,
        [...before, process.execPath, ...RUNTIME_FLAGS, ENTRY, loopback, ...words],
        {
          stdio: ['pipe', 'pipe', logFd],
          env: this.#environment,
          cwd: '/',
          detached: true,
        },
      );
      const { pid } = child;
      if (pid === undefined) throw new CliError(`${program} cannot be run`);
      child.stdin?.on('error', () => undefined);
      const member = { name, child, pid, log };
      this.#members.push(member);
      return member;
    } finally {
      closeSync(logFd);
    }
  }

  /** Waits for `ready`, for the process's end, or for its time to be over, whatever comes first. */
  async #until(member: Member, ready: Promise<void>): Promise<void> {
    const { signal } = this.#options;
    const over = new AbortController();
    await Promise.race([
      ready,
      new Promise<never>((_resolve, reject) => {
        member.child.once('exit', () => reject(new CliError(ending(member))));
        signal.addEventListener('abort', () => reject(new InterruptedError()), { signal: over.signal });
      }),
      delay(READY_TIMEOUT_MS, undefined, { signal: over.signal }).then(() => {
        throw new CliError(`the ${member.name} was not ready after ${READY_TIMEOUT_MS / 1000} s`);
      }),
    ]).finally(() => over.abort());
  }
}

async function waitForMount(member: Member, root: string, signal: AbortSignal): Promise<void> {
  while (!hasEnded(member.child) && !signal.aborted) {
    const mounts = readMounts(member.pid);
    if (mounts.includes(` - fuse.nearmount `) && mounts.includes(` ${root} `)) return;
    await delay(MOUNT_POLL_MS);
  }
}

/** Empty once the process is gone; its exit is noticed elsewhere. */
function readMounts(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
  } catch {
    return '';
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** How a process ended, with its last words where it had time for some. */
function ending({ name, child, log }: Member): string {
  const who = name === 'server' ? 'the server' : `the ${name} guest's gateway`;
  if (child.signalCode !== null) return `${who} was ended by ${child.signalCode}`;
  return `${who} ended with status ${child.exitCode}: ${lastWords(log)}`;
}

/** The last line of a log, which is a JSON document while a command works, and a sentence when it gives up. */
function lastWords(log: string): string {
  const line = readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '';
  try {
    const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } };
    return [msg, err?.message].filter((part) => part !== undefined).join(': ');
  } catch {
    return line.replace(/^nearmount: /, '');
  }
}
