/**
 * The processes of one contender. Each carries the contender's name in its environment, and so do the daemons they start:
 * that is how their processor time is added up and how they are ended. Whatever survives ends with the namespaces the
 * benchmark runs in.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { cpuSecondsOf } from '../src/cli/bench/cpu-time.ts';
import { CliError } from '../src/cli/errors.ts';
import { END_GRACE_MS, PROGRAM_LIMIT_MS, READY_LIMIT_MS, READY_POLL_MS } from './limits.ts';

const MARK = 'NEARMOUNT_BENCH_CONTENDER';
/** A listening socket's state in /proc/net/tcp. */
const TCP_LISTEN = '0A';

interface Member {
  readonly child: ChildProcess;
  readonly program: string;
  readonly log: string;
}

export class Company {
  /** A directory of the contender's own. */
  readonly directory: string;
  readonly #name: string;
  readonly #signal: AbortSignal;
  readonly #servers: Member[] = [];
  readonly #stops: (() => Promise<void>)[] = [];
  /** By mount point. */
  readonly #clients = new Map<string, Member>();

  constructor(name: string, workDirectory: string, signal: AbortSignal) {
    this.#name = name;
    this.#signal = signal;
    // Short: Unix sockets lie in it.
    this.directory = `${workDirectory}/${name}`;
    mkdirSync(this.directory);
  }

  /** Starts a server and waits until `isReady`. Rejects with its last words when it ends before. */
  async serve(words: readonly string[], isReady: () => boolean): Promise<void> {
    const member = this.#start(words);
    this.#servers.push(member);
    await this.#until(member, isReady);
  }

  /** Starts a client that stays in the foreground, and waits until something is mounted at `point`. */
  async mount(words: readonly string[], point: string): Promise<void> {
    const member = this.#start(words);
    this.#clients.set(point, member);
    await this.#until(member, () => isMounted(point));
  }

  /** Takes a mount away and waits until its client is gone. */
  async unmount(point: string): Promise<void> {
    if (isMounted(point)) await this.run(['umount', '-i', '-c', point]).catch(() => this.#detach(point));
    const member = this.#clients.get(point);
    this.#clients.delete(point);
    if (member !== undefined) await end(member);
  }

  async #detach(point: string): Promise<void> {
    await this.run(['umount', '-i', '-c', '-l', point]);
  }

  /** Runs a program that sets something up. Rejects with its first error line. */
  async run(words: readonly string[]): Promise<string> {
    const [program = '', ...rest] = words;
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: this.environment() });
    let output = '';
    let errors = '';
    child.stdout.on('data', (piece: Buffer) => (output += piece.toString()));
    child.stderr.on('data', (piece: Buffer) => (errors += piece.toString()));
    const timer = setTimeout(() => child.kill('SIGKILL'), PROGRAM_LIMIT_MS);
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    }).finally(() => clearTimeout(timer));
    if (status === 0) return output;
    const line = `${errors}\n${output}`.split('\n').find((each) => each.trim() !== '');
    throw new CliError(`${program}: ${line ?? `ended with status ${status}`}`);
  }

  /** Ends what somebody else started, when everything else of the contender is ended. */
  endWith(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  /** User and system seconds of all processes that live now. */
  cpuSeconds(): number {
    return this.#pids().reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  }

  /** Ends everything, clients first. */
  async end(): Promise<void> {
    for (const point of [...this.#clients.keys()]) await this.unmount(point).catch(() => undefined);
    for (const member of this.#servers.splice(0).reverse()) await end(member).catch(() => undefined);
    for (const stop of this.#stops.splice(0)) await stop().catch(() => undefined);
    for (const pid of this.#pids()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone meanwhile.
      }
    }
  }

  /** For a process that somebody else starts on the contender's behalf. */
  environment(): NodeJS.ProcessEnv {
    const environment: NodeJS.ProcessEnv = {
      ...process.env,
      [MARK]: this.#name,
      NEARMOUNT_RUNTIME_DIR: `${this.directory}/run`,
      LC_ALL: 'C',
    };
    for (const name of ['NODE_OPTIONS', 'NEARMOUNT_COLOCATION', 'NEARMOUNT_CLUSTER']) {
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- an empty value is not the same to all of them
      delete environment[name];
    }
    return environment;
  }

  #start(words: readonly string[]): Member {
    this.#signal.throwIfAborted();
    const [path = '', ...rest] = words;
    const program = path === process.execPath ? 'nearmount' : (path.split('/').at(-1) ?? path);
    const log = `${this.directory}/${program}.log`;
    const fd = openSync(log, 'a', 0o600);
    try {
      const child = spawn(path, rest, {
        stdio: ['ignore', fd, fd],
        env: this.environment(),
        cwd: '/',
        detached: true, // Ctrl-C is answered by the benchmark alone
      });
      child.on('error', () => undefined); // seen as a missing pid
      return { child, program, log };
    } finally {
      closeSync(fd);
    }
  }

  async #until(member: Member, isReady: () => boolean): Promise<void> {
    const limit = performance.now() + READY_LIMIT_MS;
    while (!isReady()) {
      this.#signal.throwIfAborted();
      if (hasEnded(member)) throw new CliError(`${member.program} ended: ${lastWords(member.log)}`);
      if (performance.now() > limit) {
        throw new CliError(
          `${member.program} was not ready after ${READY_LIMIT_MS / 1000} s: ${lastWords(member.log)}`,
        );
      }
      await delay(READY_POLL_MS);
    }
  }

  /** Every process with the contender's mark. */
  #pids(): number[] {
    const mark = `${MARK}=${this.#name}`;
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark);
        } catch {
          return false;
        }
      });
  }
}

function hasEnded({ child }: Member): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function end(member: Member): Promise<void> {
  const { child } = member;
  if (hasEnded(member)) return;
  const ended = new Promise<true>((resolve) => child.once('exit', () => resolve(true)));
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    child.kill(signal);
    if (await Promise.race([ended, delay(END_GRACE_MS, false, { ref: false })])) return;
  }
}

function lastWords(log: string): string {
  const line = readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '';
  return line === '' ? 'it said nothing' : line.replace(/^nearmount: /, '');
}

function isMounted(point: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === point);
}

/** Whether a program of this network namespace listens on a TCP port. */
export function isListening(port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['/proc/self/net/tcp', '/proc/self/net/tcp6'].some((table) =>
    readFileSync(table, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .some(([, address, , state]) => address?.endsWith(local) === true && state === TCP_LISTEN),
  );
}

export function hasContent(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}
