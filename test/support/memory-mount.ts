/** Mounts of test/support/memory-mount.mjs: a driver of ours over a file system in memory. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { DriverKind } from '../../src/fuse/driver.ts';
import { isMounted, plainNode, runTool, within } from './mounts.ts';
import { makeDirectory } from './trees.ts';

const PROGRAM = fileURLToPath(new URL('./memory-mount.mjs', import.meta.url));
/** Watchdogs, far above what anything here takes. */
const MOUNT_LIMIT_MS = 120_000;
const STEP_LIMIT_MS = 30_000;

export interface MemoryMount {
  readonly point: string;
  /** Beside the mount. */
  readonly directory: string;
  /** Operations asked for since the last call, one a line. */
  readonly operations: () => string[];
  /** Waits until an operation is asked for, or was since the last call of `operations`. */
  readonly until: (operation: string) => Promise<void>;
  /** Runs a script in the mount. */
  readonly run: (script: string) => Promise<{ status: number | null; stdout: string; stderr: string }>;
}

/** @param options of the program: `ro`, `hang-write`, `hang-flush` */
export async function mountMemory(t: Test, driver: DriverKind, ...options: string[]): Promise<MemoryMount> {
  const directory = makeDirectory(t);
  const point = join(directory, 'mnt');
  mkdirSync(point);
  const child = spawn(...plainNode(PROGRAM, driver, point, ...options), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const destroy = async (): Promise<void> => {
    if (isMounted(point)) await runTool('umount', ['-i', '-c', '-l', '--', point]);
    child.kill('SIGKILL');
  };
  const watchdog = setTimeout(() => void destroy(), MOUNT_LIMIT_MS);
  t.teardown(async () => {
    clearTimeout(watchdog);
    await destroy();
    await ended;
  });
  const said: string[] = [];
  const lines = createInterface({ input: child.stdout });
  const mounted = new Promise<void>((resolve) => {
    lines.on('line', (line) => {
      if (line === 'mounted') resolve();
      else said.push(line);
    });
  });
  const gone = ended.then(() => {
    throw new Error('nothing was mounted');
  });
  gone.catch(() => undefined);
  await within(Promise.race([mounted, gone]), STEP_LIMIT_MS, () => 'not mounted');
  const until = async (operation: string): Promise<void> => {
    const seen = new Promise<void>((resolve) => {
      lines.on('line', (line) => {
        if (line === operation) resolve();
      });
    });
    if (!said.includes(operation)) await within(seen, STEP_LIMIT_MS, () => `nobody asks for ${operation}`);
  };
  return {
    point,
    until,
    directory,
    operations: () => said.splice(0),
    run: async (script) => {
      const shell = ['-c', 'cd "$0" && eval "$1"', point, script];
      const { status, stdout, stderr } = await runTool('bash', shell);
      return { status, stdout: stdout.toString(), stderr };
    },
  };
}
