/** What must be there before anything is made: rights, the device, programs, and space. */
import { accessSync, constants, mkdtempSync, realpathSync, statfsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { hasCapability } from '../../system/capabilities.ts';
import { CliError } from '../errors.ts';

const PROGRAMS = ['unshare', 'nsenter', 'mount', 'sh', 'cat', 'dd', 'find', 'tar', 'xargs', 'mkdir', 'rm'];
/** statfs(2), OVERLAYFS_SUPER_MAGIC. */
const OVERLAYFS_MAGIC = 0x794c7630;
/** Room for the checkout's copy, what guests copy, the server's state and logs, in bytes. */
const SPARE_BYTES = 256 * 1024 * 1024;

/** @throws CliError, one line for the first thing that is missing */
export function checkSurroundings(): void {
  if (process.platform !== 'linux') throw new CliError('the demo needs Linux');
  if (process.geteuid?.() !== 0 || !hasCapability('CAP_SYS_ADMIN')) {
    throw new CliError('the demo needs root (CAP_SYS_ADMIN), to make namespaces and mounts of its own');
  }
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(
      `/dev/fuse cannot be opened (${code}): load the fuse module (modprobe fuse), or give the container the device`,
      1,
      error,
    );
  }
  const missing = PROGRAMS.filter((program) => !isInPath(program));
  if (missing.length > 0) {
    throw new CliError(
      `the demo needs ${missing.join(', ')}: install util-linux, coreutils, findutils and tar`,
    );
  }
}

function isInPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface WorkDirectory {
  /** Absolute, without symbolic links. */
  readonly path: string;
  /** On a file system the kernel's passthrough goes through only where it may be stacked. */
  readonly isOverlay: boolean;
}

/**
 * Makes the directory everything lies in.
 *
 * @param neededBytes of files to be generated; the rest is added here
 * @throws CliError when it cannot be made, or has too little space
 */
export function makeWorkDirectory(base: string, neededBytes: number): WorkDirectory {
  try {
    const { bavail, bsize, type } = statfsSync(base);
    const needed = neededBytes + SPARE_BYTES;
    if (bavail * bsize < needed) {
      throw new CliError(
        `${base} has ${mebibytes(bavail * bsize)} MiB free, the demo needs ${mebibytes(needed)}: ` +
          'choose another place with --dir, or less with --size and --files',
      );
    }
    const path = mkdtempSync(join(realpathSync(base), 'nearmount-demo-'));
    return { path, isOverlay: type === OVERLAYFS_MAGIC };
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(
      `cannot work in ${base} (${(error as NodeJS.ErrnoException).code}): choose another place with --dir`,
      1,
      error,
    );
  }
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / (1024 * 1024));
}
