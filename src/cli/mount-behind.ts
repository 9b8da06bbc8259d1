/** Starting a gateway that outlives the command, and waiting until its mount answers, like mount(8). */
import { fork } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CliError } from './errors.ts';
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
  const outcome = await Promise.race([
    new Promise<GatewayMessage>((done) => {
      child.once('message', (message) => {
        done(message as GatewayMessage);
      });
      child.once('exit', (code, signal) => {
        done({ failed: `the gateway ended (${signal ?? `status ${code}`}): see ${logFile}`, exitStatus: 1 });
      });
    }),
    delay(READY_TIMEOUT_MS, undefined, { ref: false }).then((): GatewayMessage => {
      child.kill('SIGTERM');
      return {
        failed: `the mount did not come up within ${READY_TIMEOUT_MS / 1000} s: see ${logFile}`,
        exitStatus: 1,
      };
    }),
  ]);
  if ('failed' in outcome) throw new CliError(outcome.failed, outcome.exitStatus);
  // Asked from here, because the gateway must never wait for its own mount.
  const answered = await Promise.race([
    stat(mountPoint).then(() => true),
    delay(READY_TIMEOUT_MS, false, { ref: false }),
  ]);
  if (!answered) throw new CliError(`the mount at ${mountPoint} does not answer: see ${logFile}`);
  if (child.connected) child.disconnect();
  child.unref();
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
