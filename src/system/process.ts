import { readFileSync } from 'node:fs';
import { ERRNO, ErrnoError } from './errno.ts';
import { closeFd } from './files.ts';
import { kernel, lastErrno } from './libc.ts';
import { watchReadable } from './watch.ts';

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

function readStatus(pid: number | 'thread-self'): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new ErrnoError('ESRCH', 'open', `/proc/${pid}`);
    throw error;
  }
}
