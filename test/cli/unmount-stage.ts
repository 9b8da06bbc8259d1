/** A server, and mounts of it left behind by the command line, for the tests of `nearmount unmount`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { isMounted, runCli, runTool, type ToolResult } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

export interface Stage {
  readonly top: string;
  readonly server: ServerProcess;
  readonly cli: (...args: string[]) => Promise<ToolResult>;
  /** Mounts `tree` behind at a new directory; returns place and gateway. */
  readonly mount: (name: string, options?: string) => Promise<{ point: string; pid: number }>;
}

export async function makeStage(t: Test): Promise<Stage> {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(join(tree, 'sub'), { recursive: true });
  writeFileSync(join(tree, 'file'), 'content');
  const server = await startServer(t, { directory: top, exports: [`tree=${tree}`] });
  const env = { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: join(top, 'run') };
  const cli = (...args: string[]): Promise<ToolResult> => runCli(args, { env });
  const mount = async (name: string, options = 'ro'): Promise<{ point: string; pid: number }> => {
    const point = join(top, name);
    mkdirSync(point, { recursive: true });
    const log = join(top, `${name.replaceAll('/', '-')}.log`);
    const args = ['--colocation', server.table, '--log-file', log, '-o', options];
    const result = await cli('mount', 'tree', point, ...args);
    if (result.status !== 0) throw new Error(`no mount at ${point}: ${result.stderr}`);
    const pid = Number(/"pid":(\d+)/.exec(readFileSync(log, 'utf8').trim().split('\n').at(-1)!)?.[1]);
    t.teardown(async () => {
      if (isMounted(point)) await runTool('umount', ['-i', '-c', '-l', '--', point]);
      if (isRunning(pid)) process.kill(pid, 'SIGKILL');
    });
    return { point, pid };
  };
  return { top, server, cli, mount };
}

/** A zombie of a container without an init has ended, too. */
export function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
}
