/** A PostgreSQL server for tests: as a user who is not root, on a Unix socket alone, in a process of its own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { runTool, within } from '../support/mounts.ts';
import { run } from './writable-mount.ts';

type Milliseconds = number;

/** `nobody` of every distribution: PostgreSQL refuses root. */
export const DATABASE_USER = 65_534;
/** Where Debian keeps what only users of a certain version call. */
const VERSIONS = '/usr/lib/postgresql';
/** How often a server is asked whether it is ready, and a process looked for. */
const LOOK_EVERY: Milliseconds = 100;
/** Watchdogs: recovery by wire takes seconds. */
const READY_LIMIT: Milliseconds = 120_000;
const END_LIMIT: Milliseconds = 60_000;

/** Checkpoints come often, so that they meet the writers. */
const SETTINGS = ['max_wal_size=64MB', 'checkpoint_timeout=30s', 'shared_buffers=16MB', 'listen_addresses='];

function findPrograms(): string | undefined {
  if (!existsSync(VERSIONS)) return undefined;
  const versions = readdirSync(VERSIONS).sort((one, other) => Number(other) - Number(one));
  return versions
    .map((version) => join(VERSIONS, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'pg_amcheck')));
}

const programs = findPrograms();

/** For tap's `skip`: false when it is installed, else what and how to get it. */
export function skipWithoutPostgres(): string | false {
  if (programs === undefined) return 'needs PostgreSQL with pg_amcheck: apt-get install postgresql';
  return process.geteuid?.() === 0 ? false : 'needs root, to become the user of a database';
}

function program(name: string): string {
  return join(programs ?? '', name);
}

/** A program's words as those of DATABASE_USER. */
function asUser(words: readonly string[]): string[] {
  const id = String(DATABASE_USER);
  return ['setpriv', '--reuid', id, '--regid', id, '--clear-groups', ...words];
}

/** A process and all that came from it; a backend leads a session of its own. */
function family(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  const children = stdout
    .split('\n')
    .map(Number)
    .filter((child) => child > 0);
  return [pid, ...children.flatMap(family)];
}

const isThere = (pid: number): boolean => {
  try {
    // A zombie is there until it is waited for, and has nothing open.
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return false;
  }
};

export class Postgres {
  readonly #t: Test;
  readonly #sockets: string;
  #child: ChildProcess | undefined;
  #log = '';

  /** @param top a directory that is not on a mount, where the server's socket will be */
  constructor(t: Test, top: string) {
    this.#t = t;
    this.#sockets = join(top, 'sockets');
    mkdirSync(this.#sockets);
    chownSync(this.#sockets, DATABASE_USER, DATABASE_USER);
    t.teardown(() => this.kill());
  }

  /** What the servers said. */
  get log(): string {
    return this.#log;
  }

  /** Makes a cluster in a new directory; `parent` must belong to DATABASE_USER. */
  async init(parent: string): Promise<string> {
    const data = join(parent, 'data');
    const words = [
      '-D',
      data,
      '-U',
      'postgres',
      '-A',
      'trust',
      '--no-locale',
      '-E',
      'UTF8',
      '--data-checksums',
    ];
    await run(this.#t, '/', asUser([program('initdb'), ...words]));
    return data;
  }

  /** Starts a server of a cluster and returns when it answers, recovered where it has to be. */
  async start(data: string): Promise<void> {
    const words = ['-D', data, '-k', this.#sockets, ...SETTINGS.flatMap((setting) => ['-c', setting])];
    const [first = '', ...rest] = asUser([program('postgres'), ...words]);
    const child = spawn(first, rest, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    const end = performance.now() + READY_LIMIT;
    while ((await this.#client('pg_isready', ['-q'])).status !== 0) {
      if (child.exitCode !== null || performance.now() > end) throw new Error(`no server:\n${this.#log}`);
      await delay(LOOK_EVERY);
    }
  }

  /** A client program with the server's address. */
  #client(name: string, words: readonly string[]): ReturnType<typeof runTool> {
    return runTool(program(name), ['-h', this.#sockets, '-U', 'postgres', ...words], {
      limitMs: READY_LIMIT,
      cwd: '/',
      env: { ...process.env, NODE_OPTIONS: '', LC_ALL: 'C.UTF-8' },
    });
  }

  /** Runs a client program, which must succeed, and returns what it printed. */
  async client(name: string, ...words: string[]): Promise<string> {
    const { status, signal, stdout, stderr } = await this.#client(name, words);
    this.#t.equal(status, 0, `${name} ${words.join(' ')}: ${signal ?? ''} ${stderr}`);
    return stdout.toString();
  }

  /** Runs a client program that the server's death will end; returns what it printed until then. */
  async untilDeath(name: string, ...words: string[]): Promise<string> {
    const { status, stdout } = await this.#client(name, words);
    this.#t.not(status, 0, `${name} has lost its server`);
    return stdout.toString();
  }

  sql(text: string): Promise<string> {
    return this.client('psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-c', text);
  }

  /** SIGKILL for the server and all its processes; returns when they are gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid === undefined || child.exitCode !== null) return;
    // Stopped, it starts no more of them meanwhile.
    child.kill('SIGSTOP');
    const pids = family(child.pid);
    for (const pid of pids) if (isThere(pid)) process.kill(pid, 'SIGKILL');
    const end = performance.now() + END_LIMIT;
    while (pids.some(isThere)) {
      if (performance.now() > end) throw new Error(`cannot be killed: ${pids.filter(isThere).join(' ')}`);
      await delay(LOOK_EVERY);
    }
  }

  /** A "fast" shutdown: it ends all sessions and writes what it has. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) throw new Error('stopped before it was started');
    const ended = once(child, 'close');
    child.kill('SIGINT');
    const [status] = (await within(ended, END_LIMIT, () => `no end:\n${this.#log}`)) as [number | null];
    this.#t.equal(status, 0, 'it has shut down');
    this.#child = undefined;
  }

  /** Reads every page of a cluster whose server is stopped, and compares its checksum. */
  async checkPages(data: string): Promise<void> {
    await run(this.#t, '/', asUser([program('pg_checksums'), '--check', '-D', data]));
  }
}
