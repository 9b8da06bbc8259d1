/**
 * Real mounts for tests: the built command line, each gateway in a process of its own. The test process never touches a mount by a synchronous call, because a mount that hangs
 * would hang the test with it: it asks through other processes, which a watchdog ends.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { collectStatus } from '../../src/observe/status-socket.ts';
import { hasCapability } from '../../src/system/capabilities.ts';

type Milliseconds = number;

/** The built command line. */
export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Watchdogs: far above what anything here takes, even on a machine that is busy. */
const TOOL_LIMIT: Milliseconds = 30_000;
const START_LIMIT: Milliseconds = 30_000;
const MOUNT_LIMIT: Milliseconds = 120_000;
/** How long a killed process may take to be gone: one that does not go is stuck in a call on a mount. */
const KILL_GRACE: Milliseconds = 5_000;

/** What of tap's test object is used here. */
export interface Teardown {
  teardown: (action: () => unknown) => unknown;
}

function whyNoMounts(): string | false {
  if (!hasCapability('CAP_SYS_ADMIN')) return 'mounting needs root (CAP_SYS_ADMIN)';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    return `/dev/fuse cannot be opened (${(error as NodeJS.ErrnoException).code})`;
  }
  return false;
}

/** For tap's `skip`: why nothing can be mounted here, or false. */
export const cannotMountHere: string | false = whyNoMounts();

/** For tap's `skip`: why another user cannot run the built command here, or false. */
export const notForOtherUsers: string | false = whyNotForOthers();

function whyNotForOthers(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root, to act as another user';
  const OTHERS_MAY_PASS = 0o001;
  for (let path = dirname(MAIN); path !== '/'; path = dirname(path)) {
    if ((statSync(path).mode & OTHERS_MAY_PASS) === 0) {
      return `other users may not pass ${path}: try a checkout outside of it`;
    }
  }
  return false;
}

export interface ToolResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface ToolOptions {
  /** Default 30 s; then the program is killed, which shows as signal SIGKILL. */
  readonly limitMs?: Milliseconds;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a program to its end without blocking this process.
 *
 * @throws Error when it is not even gone KILL_GRACE after SIGKILL, or cannot be started
 */
export async function runTool(
  program: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<ToolResult> {
  const { limitMs = TOOL_LIMIT, cwd, env } = options;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const killTimer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  try {
    const [status, signal] = await within(
      once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
      limitMs + KILL_GRACE,
      () => `${program} ${args.join(' ')} cannot be killed: it hangs in a system call`,
    );
    return { status, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
  } finally {
    clearTimeout(killTimer);
  }
}

/**
 * A program and its arguments that run a script without the loaders of the test runner, which put themselves into
 * NODE_OPTIONS of every child process, catch its signals and slow its start. The pid stays the same.
 */
export function plainNode(script: string, ...args: string[]): [string, string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, script, ...args]];
}

/** Runs `step` for every item, a few at a time, so that none waits for the processes of all others. */
export async function inLanes<T>(items: Iterable<T>, step: (item: T) => Promise<void>): Promise<void> {
  const LANES = 3;
  // Lanes share the iterator: each takes the next item when it is done.
  const shared = items[Symbol.iterator]();
  const lane = async (): Promise<void> => {
    for (let next = shared.next(); next.done !== true; next = shared.next()) await step(next.value);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

/** Runs the built command line to its end. */
export function runCli(args: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
  return runTool(process.execPath, [MAIN, ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    ...options,
  });
}

/** `promise`, or an Error after a watchdog's time. */
export async function within<T>(promise: Promise<T>, limitMs: Milliseconds, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()} (${limitMs} ms)`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Takes a mount away without looking into it: its gateway may be dead. */
function detach(point: string): void {
  spawnSync('umount', ['-i', '-c', '-l', '--', point], { stdio: 'ignore', timeout: KILL_GRACE });
}

/** Whether something is mounted at `point`; reads /proc only. */
export function isMounted(point: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === point);
}

const live = new Set<() => void>();
process.once('exit', () => {
  for (const end of live) end();
});

export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

function cleanEnvironment(runtimeDirectory: string): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, NEARMOUNT_RUNTIME_DIR: runtimeDirectory };
  delete env.NEARMOUNT_COLOCATION;
  delete env.NEARMOUNT_CLUSTER;
  return env;
}

/** What `nearmount status` knows of a mount; the fields tests look at. */
export interface MountStatus {
  readonly mountPoint: string;
  readonly driver: string;
  readonly connected: boolean;
  readonly route: string;
  readonly level: string;
  readonly why: string;
  readonly routes: readonly { route: string; endpoint: string; state: string; why: string }[];
  readonly openFiles: Readonly<Record<string, number>>;
  readonly opens: Readonly<Record<string, number>>;
  readonly inodes: number;
  readonly requestsPending: number;
  readonly wireBytes: string;
  readonly mappedBytes: string;
  readonly mapFallbacks: number;
  readonly calls: Readonly<Record<string, number>>;
  readonly dirtyBytes: number;
  readonly lastWireReason?: string;
  readonly locks: string;
  readonly groupsCut: number;
  readonly push: {
    readonly on: boolean;
    readonly why?: string;
    readonly invalidations: number;
    readonly overflows: number;
  };
}

export interface RunningMount {
  readonly point: string;
  readonly pid: number;
  /** All the gateway has logged so far. */
  readonly log: () => string;
  /** Settles when the gateway is gone. */
  readonly ended: Promise<Ending>;
  /** Sends the gateway a signal and waits until it is gone. */
  readonly kill: (signal: NodeJS.Signals) => Promise<Ending>;
  /** Asks the gateway, not the mount. */
  readonly status: () => Promise<MountStatus>;
  /** Asks until the gateway's answer is as wanted. */
  readonly until: (what: string, isSo: (status: MountStatus) => boolean) => Promise<MountStatus>;
  /** Unmounts (SIGTERM) and waits until the gateway is gone. */
  readonly stop: () => Promise<Ending>;
}

export interface MountOptions {
  readonly source: string;
  /** Made where it is missing. */
  readonly point: string;
  /** The colocation table; not needed for nfs:// sources. */
  readonly table?: string;
  /** The list of -o. */
  readonly options?: string;
  readonly args?: readonly string[];
  /** How long the mount may live; default 120 s. */
  readonly limitMs?: Milliseconds;
}

/** How often a gateway is asked for its status while a test waits for a state. */
const STATUS_INTERVAL: Milliseconds = 50;

/** Mounts in a gateway process of its own and returns when another process got an answer through the mount. */
export async function startMount(t: Teardown, chosen: MountOptions): Promise<RunningMount> {
  const { source, point } = chosen;
  mkdirSync(point, { recursive: true });
  const runtime = `${point}.run`;
  const args = ['mount', source, point, '--foreground', '--colocation', chosen.table ?? `${point}.no-table`];
  if (chosen.options !== undefined) args.push('-o', chosen.options);
  args.push(...(chosen.args ?? []));
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: npm run build`);
  const child = spawn(...plainNode(MAIN, ...args), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: cleanEnvironment(runtime),
  });
  const destroy = (): void => {
    if (isMounted(point)) detach(point);
    child.kill('SIGKILL');
  };
  const watchdog = setTimeout(destroy, chosen.limitMs ?? MOUNT_LIMIT);
  live.add(destroy);
  let log = '';
  const ended = new Promise<Ending>((resolve) => {
    child.once('close', (status, signal) => {
      clearTimeout(watchdog);
      live.delete(destroy);
      resolve({ status, signal });
    });
  });
  t.teardown(async () => {
    destroy();
    await ended;
    // A gateway that was killed while it mounted.
    if (isMounted(point)) detach(point);
  });
  const mounted = new Promise<'mounted'>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (log.includes('"msg":"mounted"')) resolve('mounted');
    });
  });
  const how = await within(
    Promise.race([mounted, ended]),
    START_LIMIT,
    () => `no mount at ${point}:\n${log}`,
  );
  if (how !== 'mounted')
    throw new Error(`the gateway ended (${how.signal ?? `status ${how.status}`}):\n${log}`);
  const answer = await runTool('stat', ['-c', '%i', '--', point]);
  if (answer.status !== 0) throw new Error(`${point} does not answer: ${answer.stderr}\n${log}`);

  const status = async (): Promise<MountStatus> => {
    const { statuses } = await collectStatus(runtime);
    const found = (statuses as MountStatus[]).find((each) => each.mountPoint === point);
    if (found === undefined) throw new Error(`no status of ${point}\n${log}`);
    return found;
  };
  const until = async (what: string, isSo: (status: MountStatus) => boolean): Promise<MountStatus> => {
    const end = performance.now() + TOOL_LIMIT;
    for (;;) {
      const now = await status();
      if (isSo(now)) return now;
      if (performance.now() > end) throw new Error(`${point} is not ${what}: ${JSON.stringify(now)}`);
      await new Promise((resolve) => setTimeout(resolve, STATUS_INTERVAL));
    }
  };
  const kill = (signal: NodeJS.Signals): Promise<Ending> => {
    child.kill(signal);
    return within(ended, TOOL_LIMIT, () => `${signal} does not end the gateway of ${point}:\n${log}`);
  };
  return {
    point,
    pid: child.pid ?? 0,
    log: () => log,
    ended,
    kill,
    status,
    until,
    stop: () => kill('SIGTERM'),
  };
}

/** A child that works on files by request, one JSON document a line: see file-worker.mjs. */
export interface FileWorker {
  readonly pid: number;
  /** Sends a request; the answer is the call's value, or an error with the call's `code`. */
  readonly ask: (request: Readonly<Record<string, unknown>>, limitMs?: Milliseconds) => Promise<WorkerAnswer>;
  /** Sends a signal and waits until it is gone; the signal or status it ended by. */
  readonly kill: (signal: NodeJS.Signals) => Promise<NodeJS.Signals | number | null>;
}

export interface WorkerAnswer {
  readonly error?: string;
  readonly value?: unknown;
}

const WORKER = fileURLToPath(new URL('./file-worker.mjs', import.meta.url));

const LOCK_WORKER = fileURLToPath(new URL('./lock-worker.py', import.meta.url));

/** Starts a worker whose current directory is `directory`. */
export function startWorker(t: Teardown, directory: string): Promise<FileWorker> {
  return startWorkerBy(t, directory, plainNode(WORKER, directory));
}

/** The same for what needs fcntl(2): see lock-worker.py. */
export function startLockWorker(t: Teardown, directory: string): Promise<FileWorker> {
  return startWorkerBy(t, directory, ['python3', [LOCK_WORKER, directory]]);
}

async function startWorkerBy(
  t: Teardown,
  directory: string,
  [program, args]: [string, string[]],
): Promise<FileWorker> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) => {
    child.once('exit', (status, signal) => resolve(signal ?? status));
  });
  child.stdin.on('error', () => undefined); // a killed worker does not read on
  const waiting: ((answer: WorkerAnswer) => void)[] = [];
  createInterface({ input: child.stdout }).on('line', (text) => {
    waiting.shift()?.(JSON.parse(text) as WorkerAnswer);
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await within(ended, KILL_GRACE, () => 'a file worker cannot be killed').catch(() => undefined);
  });
  const ask = (request: Readonly<Record<string, unknown>>, limitMs = TOOL_LIMIT): Promise<WorkerAnswer> => {
    const answer = new Promise<WorkerAnswer>((resolve) => waiting.push(resolve));
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const gone = ended.then((how): WorkerAnswer => ({ error: `worker ended: ${how}` }));
    return within(Promise.race([answer, gone]), limitMs, () => `no answer to ${JSON.stringify(request)}`);
  };
  const started = await ask({ op: 'ready' });
  if (started.value !== 'ready')
    throw new Error(`the file worker cannot work in ${directory}: ${started.error}`);
  const kill = (signal: NodeJS.Signals): Promise<NodeJS.Signals | number | null> => {
    child.kill(signal);
    return within(ended, TOOL_LIMIT, () => `${signal} does not end a file worker`);
  };
  return { pid: child.pid ?? 0, ask, kill };
}
