/** Where a mount keeps what is not told it: for root in the system's directories, for others in their own. */
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runtimeDirectory } from '../observe/status-socket.ts';

const SYSTEM_LOG_DIRECTORY = '/var/log';
const SYSTEM_STATE_DIRECTORY = '/var/lib';

/**
 * The log of mounts that run behind: /var/log/nearmount.log where that can be written, else nearmount.log in the user's
 * state directory (XDG Base Directory Specification), or beside the status sockets of users without a home.
 */
export function defaultLogFile(environment: NodeJS.ProcessEnv = process.env): string {
  if (isWritable(SYSTEM_LOG_DIRECTORY)) return join(SYSTEM_LOG_DIRECTORY, 'nearmount.log');
  const { XDG_STATE_HOME: chosen } = environment;
  if (chosen !== undefined && chosen !== '') return join(chosen, 'nearmount.log');
  const home = homedir();
  const directory = isWritable(home) ? join(home, '.local/state') : runtimeDirectory(environment);
  return join(directory, 'nearmount.log');
}

/**
 * Where gateways note what they have to remove from servers, should they be killed before: /var/lib/nearmount-gateway for
 * root, else in the user's state directory, or beside the status sockets of users without a home.
 */
export function defaultJournalDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const { XDG_STATE_HOME: chosen } = environment;
  if (process.geteuid?.() === 0 && isWritable(SYSTEM_STATE_DIRECTORY)) {
    return join(SYSTEM_STATE_DIRECTORY, 'nearmount-gateway');
  }
  if (chosen !== undefined && chosen !== '') return join(chosen, 'nearmount');
  const home = homedir();
  return isWritable(home)
    ? join(home, '.local/state/nearmount')
    : join(runtimeDirectory(environment), 'gateway');
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
