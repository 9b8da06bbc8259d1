import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { capabilityBit } from './capabilities.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { closeFd } from './files.ts';
import { kernel, lastErrno } from './libc.ts';
import { watchReadable } from './watch.ts';

/** The random id of the running kernel: the same in all its containers, another in every VM and after each start. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** What /proc/PID/status tells of a process or thread (proc(5)), in ids of our user namespace. */
export interface ProcessCredentials {
  /** Real and file-system ids: the latter count when it opens a file, the former in access(2). */
  readonly uids: readonly [real: number, fileSystem: number];
  readonly gids: readonly [real: number, fileSystem: number];
  readonly groups: readonly number[];
  /** Its kernel lets it past the modes of files: CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH in effect. */
  readonly passesModes: boolean;
  /** It may take up other groups at any moment: CAP_SETGID, if only permitted. */
  readonly maySetGroups: boolean;
}

/**
 * Waits until a process, which need not be a child, has ended. False when it still runs after `limitMs`.
 *
 * @throws ErrnoError of pidfd_open(2), which Linux has since 5.3
 */
export async function processEnded(pid: number, limitMs: number): Promise<boolean> {
  const fd = kernel.pidfdOpen(pid, 0);
  if (fd < 0) {
    const errno = lastErrno();
    if (errno === ERRNO.ESRCH) return true;
    throw new ErrnoError(errno, 'pidfd_open', String(pid));
  }
  // A pidfd becomes readable when its process ends.
  return new Promise((resolve) => {
    const finish = (ended: boolean): void => {
      clearTimeout(timer);
      watch.stop();
      closeFd(fd);
      resolve(ended);
    };
    const timer = setTimeout(finish, limitMs, false);
    const watch = watchReadable(fd, () => {
      finish(true);
    });
  });
}

const PASSES_MODES = capabilityBit('CAP_DAC_OVERRIDE') | capabilityBit('CAP_DAC_READ_SEARCH');
const SETS_GROUPS = capabilityBit('CAP_SETGID');

/** ESRCH when the process is gone, or not seen from here. A thread may have credentials of its own. */
export function processCredentials(pid: number | 'thread-self'): ProcessCredentials {
  const status = readStatus(pid);
  const line = (name: string): string => {
    const start = status.indexOf(`\n${name}:`) + name.length + 2;
    return status.slice(start, status.indexOf('\n', start));
  };
  const numbers = (name: string): number[] => (line(name).match(/\d+/g) ?? []).map(Number);
  const ids = (name: string): readonly [number, number] => {
    const [real, , , fileSystem] = numbers(name);
    if (real === undefined || fileSystem === undefined) throw new Error(`/proc/${pid}/status has no ${name}`);
    return [real, fileSystem];
  };
  const capabilities = (name: string): bigint => BigInt(`0x${line(name).trim()}`);
  return {
    uids: ids('Uid'),
    gids: ids('Gid'),
    groups: numbers('Groups'),
    passesModes: (capabilities('CapEff') & PASSES_MODES) !== 0n,
    maySetGroups: (capabilities('CapPrm') & SETS_GROUPS) !== 0n,
  };
}

/** The supplementary groups of a process; ESRCH as for processCredentials. */
export function processGroups(pid: number | 'thread-self'): readonly number[] {
  return processCredentials(pid).groups;
}

/** Enough for a few hundred groups; grows where a process has more. */
let statusBuffer = Buffer.allocUnsafe(8 * 1024);

function readStatus(pid: number | 'thread-self'): string {
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}/status`, 'r');
    let length = 0;
    for (;;) {
      const more = readSync(fd, statusBuffer, length, statusBuffer.length - length, null);
      if (more === 0) return statusBuffer.toString('latin1', 0, length);
      length += more;
      if (length === statusBuffer.length) statusBuffer = Buffer.concat([statusBuffer], 2 * length);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') throw new ErrnoError('ESRCH', 'open', `/proc/${pid}`);
    throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
