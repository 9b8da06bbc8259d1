/** The machine in general terms: what a reader needs to place the figures, and nothing that names it. */
import { statfsSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryGib: number;
  /** Of the files. */
  readonly fileSystem: string;
  readonly node: string;
  /** How many processes wanted a processor on average in the minute before. */
  readonly loadBefore: number;
}

/** statfs(2) */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlayfs',
};

export function describeMachine(directory: string): Machine {
  const magic = statfsSync(directory).type >>> 0;
  return {
    kernel: `Linux ${/^\d+\.\d+/.exec(release())?.[0] ?? 'unknown'}`,
    cpus: cpus().length,
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    fileSystem: FILE_SYSTEMS[magic] ?? `file system 0x${magic.toString(16)}`,
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
  };
}
