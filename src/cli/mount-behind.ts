/** Starting a gateway that outlives the command, and waiting until its mount answers, like mount(8). */
import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CliError } from './errors.ts';
import { askMount } from './mount-place.ts';
import { mountArguments, type MountRequest } from './mount-request.ts';
import { RUNTIME_FLAGS } from './runtime-flags.ts';

/** How long a mount may take until it answers, in milliseconds; reaching the server has its own limits inside. */
export const READY_TIMEOUT_MS = 60_000;

/** The command line, which runs the gateway: other programs of this package start it as well. */
const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));

/** What the gateway behind tells the command in front. */
export type GatewayMessage =
  { readonly ready: true } | { readonly failed: string; readonly exitStatus: 1 | 2 };

/**
 * Mounts, and leaves the gateway behind. The place must have been checked.
 *
 * @throws CliError with the gateway's own reason, or with the log that tells it
 */
export async function mountBehind(request: MountRequest): Promise<void> {
  const { logFile, mountPoint } = request;
  const log = openLog(logFile);
  const child = fork(MAIN, mountArguments(request), {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    env: { ...process.env },
    execArgv: [...new Set([...process.execArgv, ...RUNTIME_FLAGS])],
  });
  closeSync(log);
  try {
    const word = await firstWord(child, logFile);
    if ('failed' in word) throw new CliError(word.failed, word.exitStatus);
    await expectAnswer(mountPoint, logFile);
  } finally {
    // Whatever the gateway does, the command can end.
    if (child.connected) child.disconnect();
    child.unref();
  }
}

/** What the gateway says first; one that is silent for too long is ended. */
export async function firstWord(
  child: ChildProcess,
  logFile: string,
  limitMs = READY_TIMEOUT_MS,
): Promise<GatewayMessage> {
  return new Promise((done) => {
    const decide = (word: GatewayMessage): void => {
      // A gateway that is up must not be ended by a timer that goes on.
      clearTimeout(timer);
      done(word);
    };
    const timer = setTimeout(() => {
      child.kill('SIGTERM');
      done({ failed: `the mount did not come up within ${limitMs / 1000} s: see ${logFile}`, exitStatus: 1 });
    }, limitMs);
    child.once('message', (message) => {
      decide(message as GatewayMessage);
    });
    child.once('exit', (code, signal) => {
      decide({ failed: `the gateway ended (${signal ?? `status ${code}`}): see ${logFile}`, exitStatus: 1 });
    });
  });
}

/**
 * Waits until a mount answers another process: the gateway must never wait for its own, and this one must be able to
 * end.
 *
 * @throws CliError
 */
export async function expectAnswer(
  mountPoint: string,
  logFile: string,
  limitMs = READY_TIMEOUT_MS,
): Promise<void> {
  if ((await askMount(mountPoint, limitMs)) === 'answers') return;
  throw new CliError(`the mount at ${mountPoint} does not answer: see ${logFile}`);
}

function openLog(file: string): number {
  try {
    mkdirSync(dirname(file), { recursive: true });
    return openSync(file, 'a', 0o640);
  } catch (error) {
    throw new CliError(
      `cannot write the log ${file} (${(error as NodeJS.ErrnoException).code}): choose another with --log-file`,
      1,
      error,
    );
  }
}
