import { readFileSync } from 'node:fs';
import { ErrnoError } from './errno.ts';

/** The random id of the running kernel: the same in all its containers, another in every VM and after each start. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/**
 * The supplementary groups of a process, from /proc/PID/status (proc(5)). ESRCH when it is gone. A thread
 * may have groups of its own: `thread-self` asks for the calling one.
 */
export function processGroups(pid: number | 'thread-self'): number[] {
  const line = /^Groups:(.*)$/m.exec(readStatus(pid))?.[1] ?? '';
  return (line.match(/\d+/g) ?? []).map(Number);
}

function readStatus(pid: number | 'thread-self'): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new ErrnoError('ESRCH', 'open', `/proc/${pid}`);
    throw error;
  }
}
