/** What the kernel counted for a process: proc(5), /proc/PID/io. */
import { readFileSync } from 'node:fs';
import { CliError } from '../errors.ts';

/** Bytes that went through read(2) and write(2) and their kin, on files, sockets and devices alike. */
export interface ProcessIo {
  readonly rchar: number;
  readonly wchar: number;
}

export function processIo(pid: number): ProcessIo {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/io`, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(
      `/proc/${pid}/io cannot be read (${code}), so bytes on sockets cannot be counted`,
      1,
      error,
    );
  }
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1]);
  return { rchar: field('rchar'), wchar: field('wchar') };
}

export function ioBetween(before: ProcessIo, after: ProcessIo): ProcessIo {
  return { rchar: after.rchar - before.rchar, wchar: after.wchar - before.wchar };
}

/** Bytes in and out of every interface of the process's network namespace: /proc/PID/net/dev. */
export function networkBytes(pid: number): {
  readonly interfaces: readonly string[];
  readonly bytes: number;
} {
  const lines = readFileSync(`/proc/${pid}/net/dev`, 'utf8').trim().split('\n').slice(2);
  const interfaces: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    const [name = '', counters = ''] = line.split(':');
    const values = counters.trim().split(/\s+/).map(Number);
    interfaces.push(name.trim());
    bytes += (values[0] ?? 0) + (values[8] ?? 0);
  }
  return { interfaces, bytes };
}
