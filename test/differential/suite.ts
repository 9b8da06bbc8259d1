/**
 * Random programs on a mount and on a plain directory: every result and the trees that are left are the same. A program
 * that fails is shrunk to the smallest one that still does, and printed with the seed.
 *
 * NEARMOUNT_DIFFERENTIAL_SEED repeats a run, NEARMOUNT_DIFFERENTIAL_RUNS makes it longer.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { Test } from 'tap';
import { plainNode, within } from '../support/mounts.ts';
import { lineOf, programs, type Operation } from './program.ts';

type Milliseconds = number;

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
/** Watchdog of one program, which takes some 50 ms, and some seconds where the server is killed on the way. */
const PROGRAM_LIMIT: Milliseconds = 60_000;
/** What the watchdog of a mount allows beside its programs, and for each of them unless it is told. */
const MOUNT_LIMIT: Milliseconds = 120_000;
const MOUNT_LIMIT_PER_PROGRAM: Milliseconds = 2_000;
/** Programs a backend runs unless the environment says otherwise. */
const RUNS_DEFAULT = 30;
/** What a worker writes when it comes to that operation. */
const RESTART = '"restart"';
/** How long failing programs are shrunk: what is smallest then is shown. */
const SHRINK_LIMIT: Milliseconds = 60_000;

interface Outcome {
  readonly results: readonly unknown[];
  /** What closing the descriptors answered that were open in the end. */
  readonly closed: readonly unknown[];
  readonly tree: Readonly<Record<string, unknown>>;
}

interface Task {
  /** The directory to make and to work in. */
  readonly make: string;
  readonly program: readonly Operation[];
  /** `by-path` where removed directories are lost to those who have them open. */
  readonly judge?: 'by-handle' | 'by-path';
  readonly skip?: readonly number[];
}

type Restart = () => Promise<unknown>;

/** A worker in a directory, started anew when it has ended or was ended by the watchdog. */
class Worker {
  readonly #directory: string;
  #child: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #waiting: ((line: string) => void) | undefined;
  readonly #restart: Restart;
  /** Restarts are done one after the other. */
  #restarted: Promise<unknown> = Promise.resolve();

  constructor(t: Test, directory: string, restart: Restart = () => Promise.resolve()) {
    this.#directory = directory;
    this.#restart = restart;
    t.teardown(() => this.#child?.kill('SIGKILL'));
  }

  /** @throws Error when it ends, or does not answer within PROGRAM_LIMIT */
  async run(task: Task): Promise<Outcome> {
    const child = (this.#child ??= this.#start());
    const restarts = task.program.filter(({ op }) => op === 'restart').values();
    const answer = new Promise<string>((resolve, reject) => {
      this.#waiting = (line) => {
        if (line !== RESTART) {
          resolve(line);
          return;
        }
        const next = restarts.next().value;
        this.#restarted = this.#restarted.then(this.#restart);
        const ready = next?.op === 'restart' && next.isAwaited ? this.#restarted : Promise.resolve();
        ready.then(() => child.stdin.write('\n')).catch(reject);
        this.#restarted.catch(reject);
      };
    });
    const gone = once(child, 'exit').then(([status, signal]): never => {
      throw new Error(`the worker ended (${signal ?? status})`);
    });
    gone.catch(() => undefined); // most often the answer is first
    child.stdin.write(`${JSON.stringify(task)}\n`);
    try {
      return JSON.parse(
        await within(Promise.race([answer, gone]), PROGRAM_LIMIT, () => 'the program hangs'),
      ) as Outcome;
    } catch (error) {
      child.kill('SIGKILL');
      this.#child = undefined;
      throw error;
    }
  }

  #start(): ChildProcessByStdio<Writable, Readable, null> {
    const child = spawn(...plainNode(WORKER), { cwd: this.#directory, stdio: ['pipe', 'pipe', 'inherit'] });
    child.setMaxListeners(0); // one for every program
    child.stdin.on('error', () => undefined); // one that has ended does not read on
    createInterface({ input: child.stdout }).on('line', (line) => this.#waiting?.(line));
    return child;
  }
}

/** The first thing that is not the same, or undefined. */
function difference(operations: readonly Operation[], plain: Outcome, mounted: Outcome): string | undefined {
  const lines: string[] = [];
  for (const [index, operation] of operations.entries()) {
    const [wanted, got] = [JSON.stringify(plain.results[index]), JSON.stringify(mounted.results[index])];
    lines.push(`${lineOf(operation, index)}  -> ${wanted}`);
    if (wanted !== got) return [...lines, `   on the mount: ${got}`].join('\n');
  }
  const [wanted, got] = [plain.closed, mounted.closed].map((closed) => JSON.stringify(closed));
  if (wanted !== got)
    return [...lines, `   closing what was open gives ${wanted}, on the mount ${got}`].join('\n');
  const paths = new Set([...Object.keys(plain.tree), ...Object.keys(mounted.tree)]);
  const wrong = [...paths].filter(
    (path) => JSON.stringify(plain.tree[path]) !== JSON.stringify(mounted.tree[path]),
  );
  if (wrong.length === 0) return undefined;
  return [
    ...lines,
    ...wrong.map(
      (path) =>
        `   in the end ${path} is ${JSON.stringify(plain.tree[path])}, on the mount ${JSON.stringify(mounted.tree[path])}`,
    ),
  ].join('\n');
}

function fromEnvironment(name: string, otherwise: number): number {
  const text = process.env[name];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${name} must be a whole number: ${text}`);
  return value;
}

function runsFromEnvironment(otherwise = RUNS_DEFAULT): number {
  return fromEnvironment('NEARMOUNT_DIFFERENTIAL_RUNS', otherwise);
}

/** How long a mount that these programs run on may live; see MountOptions of mounts.ts. */
export function mountLimit(runs?: number, perProgram = MOUNT_LIMIT_PER_PROGRAM): Milliseconds {
  return MOUNT_LIMIT + runsFromEnvironment(runs) * perProgram;
}

export interface ProgramOptions {
  /** Default: programs of root alone, on a server that lives. */
  readonly program?: fc.Arbitrary<readonly Operation[]>;
  /** Default RUNS_DEFAULT. */
  readonly runs?: number;
  /** Kills the server and starts it anew; resolves when it serves. */
  readonly restart?: Restart;
  /** The driver knows files by their paths: what it has open does not outlive its directory's name. */
  readonly isByPath?: boolean;
}

/**
 * Runs programs in new directories of both.
 *
 * @param plain a directory of the same file system as what is mounted at `point`
 */
export async function sameAsPlain(
  t: Test,
  name: string,
  plain: string,
  point: string,
  { program = programs, runs, restart, isByPath = false }: ProgramOptions = {},
): Promise<void> {
  // 31 bits, as fast-check takes them.
  const seed = fromEnvironment('NEARMOUNT_DIFFERENTIAL_SEED', Date.now() % 2 ** 31);
  const numRuns = runsFromEnvironment(runs);
  const [reference, mounted] = [new Worker(t, plain), new Worker(t, point, restart)];
  let count = 0;
  let done = 0;
  let shrinkUntil: Milliseconds = Infinity;
  const property = fc.asyncProperty(program, async (operations) => {
    // Smaller programs are taken for good ones from then on, which ends the search.
    if (performance.now() > shrinkUntil) return;
    count += 1;
    const make = `${name}-${count}`;
    try {
      const judge = isByPath ? 'by-path' : 'by-handle';
      const wanted = await reference.run({ make, program: operations, judge });
      const skip = wanted.results.flatMap((result, index) => (result === 'skipped' ? [index] : []));
      const got = await mounted.run({ make, program: operations, skip });
      done += wanted.results.length;
      const wrong = difference(operations, wanted, got);
      if (wrong !== undefined) throw new Error(wrong);
    } catch (error) {
      shrinkUntil = Math.min(shrinkUntil, performance.now() + SHRINK_LIMIT);
      throw error;
    }
  });
  const details = await fc.check(property, { seed, numRuns });
  t.comment(`${name}: seed ${seed}, ${details.numRuns} programs, ${done} operations`);
  if (details.failed) {
    const [operations = []] = details.counterexample ?? [];
    const { errorInstance } = details;
    const why = errorInstance instanceof Error ? errorInstance.message : 'no error';
    t.fail(`${name} differs from a plain directory; NEARMOUNT_DIFFERENTIAL_SEED=${seed} shows it again`, {
      program: operations.map(lineOf),
      why: why.split('\n'),
    });
    return;
  }
  t.equal(details.numRuns, numRuns, `${numRuns} programs of seed ${seed} came out the same`);
}
