/** Ordinary programs, run here or inside a guest's namespaces. */
import { spawn, type ChildProcess } from 'node:child_process';
import { CliError } from '../errors.ts';

/** Where a program runs and what it sees the files as. */
export interface Place {
  readonly name: 'direct' | 'near' | 'far';
  /** For people. */
  readonly title: string;
  /** The tree's root as seen there. */
  readonly root: string;
  /** Words before the program's own: nsenter(1) and its options, or none. */
  readonly enter: readonly string[];
}

export interface ProgramRun {
  readonly signal: AbortSignal;
  /** Written to standard input. */
  readonly input?: Uint8Array;
  /** Takes the output in pieces; without it the output is kept. Waits for what it returns. */
  readonly onOutput?: (piece: Buffer) => void | Promise<void>;
  /** Exit statuses that are no failure (default: 0). */
  readonly accept?: readonly number[];
}

export interface PipeRun extends Omit<ProgramRun, 'input'> {
  /** Exit statuses of the sink that are no failure (default: 0). */
  readonly acceptOfSink?: readonly number[];
}

export interface ProgramOutcome {
  readonly status: number;
  readonly output: Buffer;
  readonly errors: string;
}

/** Longest error output kept, in characters. */
const ERRORS_MAX = 64 * 1024;

/** The demo was told to end. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** Untranslated messages and plain names, whatever the user's locale. */
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

/** Starts a program in a process group of its own; nothing of the terminal's reaches it. */
function start(place: Place, words: readonly string[], signal: AbortSignal): ChildProcess {
  if (signal.aborted) throw new InterruptedError();
  const [program = '', ...rest] = [...place.enter, ...words];
  // In a session of its own, so that Ctrl-C is answered by the demo alone; the whole group ends with it.
  const child = spawn(program, rest, { stdio: 'pipe', env: ENVIRONMENT, detached: true });
  const abort = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Gone by itself.
    }
  };
  signal.addEventListener('abort', abort);
  child.once('close', () => signal.removeEventListener('abort', abort));
  return child;
}

/**
 * Runs a program to its end.
 *
 * @throws CliError naming the program and its first line of error output
 * @throws InterruptedError
 */
export async function runProgram(
  place: Place,
  words: readonly string[],
  run: ProgramRun,
): Promise<ProgramOutcome> {
  const child = start(place, words, run.signal);
  const ended = end(child);
  const errors = collectErrors(child);
  // Where the program ends before it has read everything, its own complaint says why.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(run.input);
  const pieces: Buffer[] = [];
  for await (const piece of child.stdout ?? []) {
    if (run.onOutput === undefined) pieces.push(piece as Buffer);
    else await run.onOutput(piece as Buffer);
  }
  const status = await ended;
  if (run.signal.aborted) throw new InterruptedError();
  const outcome = { status, output: Buffer.concat(pieces), errors: errors() };
  if (!(run.accept ?? [0]).includes(status)) throw failure(place, words, outcome);
  return outcome;
}

/** Runs `words` at `place` with its output going to `sinkWords` at `sinkPlace`; the outcome is the sink's. */
export async function runPipe(
  place: Place,
  words: readonly string[],
  sinkPlace: Place,
  sinkWords: readonly string[],
  run: PipeRun,
): Promise<ProgramOutcome> {
  const sink = start(sinkPlace, sinkWords, run.signal);
  const sinkEnded = end(sink);
  const sinkErrors = collectErrors(sink);
  const output: Buffer[] = [];
  sink.stdout?.on('data', (piece: Buffer) => output.push(piece));
  sink.stdin?.on('error', () => undefined);
  await runProgram(place, words, {
    ...run,
    onOutput: async (piece) => {
      await run.onOutput?.(piece);
      if (sink.stdin?.write(piece) === false) {
        await Promise.race([new Promise((resolve) => sink.stdin?.once('drain', resolve)), sinkEnded]);
      }
    },
  });
  sink.stdin?.end();
  const status = await sinkEnded;
  if (run.signal.aborted) throw new InterruptedError();
  const outcome = { status, output: Buffer.concat(output), errors: sinkErrors() };
  if (!(run.acceptOfSink ?? [0]).includes(status)) throw failure(sinkPlace, sinkWords, outcome);
  return outcome;
}

function collectErrors(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('latin1').on('data', (piece: string) => {
    if (text.length < ERRORS_MAX) text += piece;
  });
  return () => text;
}

function end(child: ChildProcess): Promise<number> {
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(new CliError(`${child.spawnfile} cannot be run (${error.code})`, 1, error));
    });
    child.once('close', (code) => resolve(code ?? -1));
  });
  // Looked at only after the output has ended.
  ended.catch(() => undefined);
  return ended;
}

function failure(place: Place, words: readonly string[], outcome: ProgramOutcome): CliError {
  const [program = ''] = words;
  const line = outcome.errors.split('\n').find((each) => each !== '') ?? `status ${outcome.status}`;
  return new CliError(`${program}, reading through the ${place.title}: ${line}`);
}
