/** The place where something is or will be mounted, looked at without asking a mount that may never answer. */
import { spawn } from 'node:child_process';
import { accessSync, constants, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { findFusermount } from '../fuse/fusermount.ts';
import { FILE_SYSTEM_TYPE, mayMountDirectly } from '../fuse/mount.ts';
import { runtimeDirectory } from '../observe/status-socket.ts';
import { parseSource } from '../resolver/source.ts';
import { mountAt } from '../system/mount-table.ts';
import { CliError } from './errors.ts';
import type { MountRequest } from './mount-request.ts';

/** MAXSYMLINKS of the kernel. */
const SYMBOLIC_LINKS_MAX = 40;
/** How long an existing mount may take to answer before it counts as silent, in milliseconds. */
const ANSWER_TIMEOUT_MS = 5_000;

/** The place itself, where symbolic links lead to it. What is wrong with it is for others to say. */
export function realPlace(path: string): string {
  let place = resolve(path);
  for (let links = 0; links < SYMBOLIC_LINKS_MAX && mountAt(place) === undefined; links += 1) {
    try {
      // Never the last name itself, which may be a mount: a link is none.
      place = join(realpathSync(dirname(place)), basename(place));
      if (mountAt(place) !== undefined) return place;
      place = resolve(dirname(place), readlinkSync(place));
    } catch {
      return place;
    }
  }
  return place;
}

/**
 * Whether a mount answers: `dead` when its gateway is gone, `silent` when nothing came in time. Another process asks,
 * because whoever asks may wait for ever; and a gateway must not ask itself.
 */
export async function askMount(
  mountPoint: string,
  limitMs = ANSWER_TIMEOUT_MS,
): Promise<'answers' | 'dead' | 'silent'> {
  const DEAD_STATUS = 9;
  // statfs is never answered from the kernel's cache, as stat is.
  const program = `try { require('node:fs').statfsSync(process.argv[1]) }
    catch (error) { process.exitCode = ['ENOTCONN', 'ECONNABORTED'].includes(error.code) ? ${DEAD_STATUS} : 0 }`;
  const child = spawn(process.execPath, ['-e', program, '--', mountPoint], {
    stdio: 'ignore',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  return new Promise((done) => {
    const timer = setTimeout(() => {
      // It may be beyond signals, waiting for the mount; then it ends with the mount.
      child.kill('SIGKILL');
      child.unref();
      done('silent');
    }, limitMs);
    const finish = (state: 'answers' | 'dead' | 'silent'): void => {
      clearTimeout(timer);
      done(state);
    };
    child.once('error', () => {
      finish('silent');
    });
    child.once('exit', (status) => {
      finish(status === DEAD_STATUS ? 'dead' : status === 0 ? 'answers' : 'silent');
    });
  });
}

/** Where a mount goes, and what its gateway needs meanwhile. */
type GatewayPlaces = Pick<MountRequest, 'sourceText' | 'mountPoint' | 'tableFile'> & {
  /** Of a gateway behind. */
  readonly logFile: string | undefined;
};

/**
 * Everything that can be wrong with a place before anybody is asked.
 *
 * @throws CliError
 */
export async function checkPlace(request: GatewayPlaces): Promise<void> {
  const { mountPoint } = request;
  await checkFree(mountPoint);
  let isDirectory: boolean;
  try {
    isDirectory = statSync(mountPoint).isDirectory();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new CliError(`mount point ${mountPoint} does not exist: make the directory first`, 1);
    throw new CliError(`mount point ${mountPoint} cannot be looked at: ${code}`, 1, error);
  }
  if (!isDirectory) throw new CliError(`mount point ${mountPoint} is not a directory`, 1);
  checkCovered(request);
  if (!mayMountDirectly()) checkUserMount(mountPoint);
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const remedy =
      code === 'ENOENT'
        ? 'load the fuse module (modprobe fuse), or give the container the device'
        : 'users need it with mode 0666 (chmod 666 /dev/fuse, as root)';
    throw new CliError(`/dev/fuse cannot be opened (${code}): ${remedy}`, 1, error);
  }
}

/** A gateway that asked for a file below its own mount would wait for itself for ever. */
function checkCovered({ sourceText, mountPoint, tableFile, logFile }: GatewayPlaces): void {
  // The table is read for the names of exports only.
  const table = parseSource(sourceText).kind === 'nfs' ? undefined : tableFile;
  const needed = [
    ['the status sockets in', runtimeDirectory(), 'choose their directory with NEARMOUNT_RUNTIME_DIR'],
    ['the colocation table', table, 'give a table elsewhere with --colocation'],
    ['the log', logFile, 'choose another with --log-file'],
  ] as const;
  for (const [what, path, remedy] of needed) {
    if (path === undefined) continue;
    // A link is asked for where it is, and where it leads.
    const places = [join(realPrefix(dirname(path)), basename(path)), realPrefix(path)];
    if (!places.some((place) => isWithin(place, mountPoint))) continue;
    throw new CliError(
      `mount point ${mountPoint} would cover ${what} ${path}, which the gateway needs: mount elsewhere, or ${remedy}`,
      2,
    );
  }
}

/** A path without symbolic links, as far as it exists. */
function realPrefix(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    return absolute === '/' ? absolute : join(realPrefix(dirname(absolute)), basename(absolute));
  }
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? directory : `${directory}/`);
}

/** What fusermount3 would refuse, said so that one can do something about it. */
function checkUserMount(mountPoint: string): void {
  if (findFusermount() === undefined) {
    throw new CliError(
      'mounting without root (CAP_SYS_ADMIN) needs fusermount3: install the package fuse3, or be root',
      1,
    );
  }
  try {
    accessSync(mountPoint, constants.W_OK);
  } catch (error) {
    throw new CliError(
      `mount point ${mountPoint} is not this user's to write, so only root (CAP_SYS_ADMIN) can mount there: take a directory of your own`,
      1,
      error,
    );
  }
}

async function checkFree(mountPoint: string): Promise<void> {
  const there = mountAt(mountPoint);
  if (there === undefined) return;
  if (there.type === FILE_SYSTEM_TYPE && (await askMount(mountPoint)) === 'dead') {
    throw new CliError(
      `mount point ${mountPoint} holds a dead mount: take it away with nearmount unmount ${mountPoint}`,
      1,
    );
  }
  throw new CliError(
    `mount point ${mountPoint} is busy: ${there.source} is mounted there, unmount it first`,
    1,
  );
}
