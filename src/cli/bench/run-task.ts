/** Runs a task in a measuring process, with a watchdog. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { CliError } from '../errors.ts';
import { KILL_GRACE_MS, TASK_GRACE_MS } from './limits.ts';
import {
  checksum,
  survey,
  timedResult,
  type Checksum,
  type ChecksumTask,
  type Survey,
  type SurveyTask,
  type Task,
  type TimedResult,
  type TimedTask,
} from './tasks.ts';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
const MS_PER_SECOND = 1000;
/** Reading everything for a checksum has no limit of its own: this much at least is allowed, in milliseconds. */
const CHECKSUM_LIMIT_MS = 600_000;

export interface TaskRun {
  /** The built measuring program (default: the one beside this file). */
  readonly worker?: string;
  readonly signal: AbortSignal;
}

/** @throws CliError naming the directory and what went wrong there, or that it took too long */
export async function runTimedTask(task: TimedTask, run: TaskRun): Promise<TimedResult> {
  return timedResult.parse(await runTask(task, run, task.seconds * MS_PER_SECOND + TASK_GRACE_MS));
}

export async function runSurvey(task: SurveyTask, run: TaskRun): Promise<Survey> {
  return survey.parse(await runTask(task, run, task.seconds * MS_PER_SECOND + TASK_GRACE_MS));
}

export async function runChecksum(task: ChecksumTask, run: TaskRun): Promise<Checksum> {
  return checksum.parse(await runTask(task, run, CHECKSUM_LIMIT_MS));
}

function runTask(task: Task, run: TaskRun, limitMs: number): Promise<unknown> {
  const what = `reading ${task.root}`;
  return runWorker(run.worker ?? WORKER, task, { what, limitMs, signal: run.signal });
}

export interface WorkerRun {
  /** What it does and where, for messages. */
  readonly what: string;
  /** When it is killed. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

/**
 * Runs a measuring program with a document on its standard input; returns the document it prints.
 *
 * @throws CliError saying what went wrong, or that it took too long
 */
export async function runWorker(program: string, task: object, run: WorkerRun): Promise<unknown> {
  const { what, limitMs } = run;
  run.signal.throwIfAborted();
  const child = spawn(process.execPath, [program], {
    stdio: 'pipe',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const output: Buffer[] = [];
  let errors = '';
  child.stdout.on('data', (piece: Buffer) => output.push(piece));
  child.stderr.on('data', (piece: Buffer) => (errors += piece.toString()));
  child.stdin.on('error', () => undefined); // it ended early, and says why
  child.stdin.end(JSON.stringify(task));
  const kill = (): void => void child.kill('SIGKILL');
  run.signal.addEventListener('abort', kill);
  let over: string | undefined;
  let stuck: NodeJS.Timeout | undefined;
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
      stuck = setTimeout(() => {
        over = `took more than ${limitMs / MS_PER_SECOND} s`;
        kill();
        stuck = setTimeout(() => {
          reject(new CliError(`${what} hangs in the kernel: its file system does not answer`));
        }, KILL_GRACE_MS);
      }, limitMs);
    });
    run.signal.throwIfAborted();
    if (over !== undefined) throw new CliError(`${what} ${over}`);
    if (status !== 0) throw new CliError(`${what}: ${lastReason(errors)}`);
    return JSON.parse(Buffer.concat(output).toString());
  } finally {
    clearTimeout(stuck);
    run.signal.removeEventListener('abort', kill);
  }
}

/** The line of an uncaught error that names it. */
function lastReason(errors: string): string {
  const named = /^\w*Error: (.*)$/m.exec(errors)?.[1];
  if (named !== undefined) return named;
  const last = errors.trim().split('\n').at(-1) ?? '';
  return last === '' ? 'it ended without a word' : last;
}
