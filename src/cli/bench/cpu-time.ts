/** Processor time of processes: proc(5), /proc/PID/stat. */
import { readFileSync } from 'node:fs';

/** USER_HZ, in which the kernel reports times to programs on every architecture we run on. */
const TICKS_PER_SECOND = 100;
/** Places of utime, stime, cutime and cstime behind the command's name. */
const FIRST_TIME = 11;
const TIMES = 4;

/** User and system seconds of a process and the children it has waited for; 0 when it is gone. Steps of 10 ms. */
export function cpuSecondsOf(pid: number): number {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return 0;
  }
  // The name may hold blanks and parentheses: what counts comes after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(FIRST_TIME, FIRST_TIME + TIMES).reduce((sum, field) => sum + Number(field), 0);
  return ticks / TICKS_PER_SECOND;
}
