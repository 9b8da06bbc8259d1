import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { hasCapability } from '../../src/system/capabilities.ts';

/** Why nothing can be mounted here, or false. */
export const cannotMount = !hasCapability('CAP_SYS_ADMIN') && 'needs CAP_SYS_ADMIN';

/**
 * Runs a module of this folder in a process of its own, with the loaders of this one, behind a command such as
 * `unshare -m`. Returns what it printed as JSON.
 */
export function runChild(before: readonly string[], module: string, ...args: string[]): unknown {
  const file = fileURLToPath(new URL(module, import.meta.url));
  const [command, ...rest] = [...before, process.execPath, ...process.execArgv, file, ...args];
  const child = spawnSync(command as string, rest, { encoding: 'utf8' });
  if (child.error) throw child.error;
  if (child.status !== 0) throw new Error(`${module}: status ${child.status}\n${child.stderr}`);
  return JSON.parse(child.stdout);
}
