/** `nearmount unmount`: the end of a mount, plain, then lazy; with --force its connection is aborted first. */
import { Command } from 'commander';
import { FILE_SYSTEM_TYPE } from '../fuse/mount.ts';
import { UNMOUNT_DRAIN_MS } from '../gateway/limits.ts';
import { hasCapability } from '../system/capabilities.ts';
import { MNT_DETACH } from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { abortFuseConnection } from '../system/fuse-control.ts';
import { mountHolders } from '../system/mount-holders.ts';
import { mountAt, mountTable, type MountEntry } from '../system/mount-table.ts';
import { unmount } from '../system/mounts.ts';
import { processEnded } from '../system/process.ts';
import { CliError } from './errors.ts';
import { unmountOwn } from './fusermount.ts';
import { realPlace } from './mount-place.ts';
import { printRemark, processStreams } from './output.ts';
import { holdsWrittenBytes, runningMounts, type RunningMount } from './running-mounts.ts';

/** How long a gateway may take to end after its mount, in milliseconds. */
const GATEWAY_END_TIMEOUT_MS = 5_000;
/** How many processes that keep a mount busy are named. */
const HOLDERS_NAMED_MAX = 5;

export function unmountCommand(): Command {
  return new Command('unmount')
    .description('end mounts: at once where nothing is open, else as soon as their users are done')
    .argument('<mountpoint...>', 'where they are')
    .option('--force', 'where a mount is busy: break off what its programs wait for, and end its gateway')
    .action(async (mountPoints: readonly string[], options: { force?: boolean }) => {
      await unmountAll(mountPoints.map(realPlace), options.force === true);
    });
}

/**
 * Unmounts deeper places first; tries all.
 *
 * @throws CliError of the last that failed; the others were printed
 */
async function unmountAll(mountPoints: readonly string[], force: boolean): Promise<void> {
  const gateways = await runningMounts();
  const failures: CliError[] = [];
  for (const mountPoint of deepestFirst(mountPoints)) {
    try {
      await unmountPlace(mountPoint, force, gateways);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures.push(error);
    }
  }
  const last = failures.pop();
  for (const { message } of failures) printRemark(processStreams, message);
  if (last !== undefined) throw last;
}

/** Places below others first. */
export function deepestFirst(mountPoints: readonly string[]): readonly string[] {
  const depth = (path: string): number => path.split('/').length;
  return mountPoints.toSorted((a, b) => depth(b) - depth(a));
}

/**
 * Ends the mount at `mountPoint` (real) and waits until its gateway is gone, unless programs still use it. Nothing here
 * asks the mount itself, so a server that is away does not matter.
 *
 * @throws CliError
 */
export async function unmountPlace(
  mountPoint: string,
  force: boolean,
  gateways: ReadonlyMap<string, RunningMount>,
): Promise<void> {
  const entry = mountAt(mountPoint);
  if (entry === undefined) throw new CliError(`nothing is mounted at ${mountPoint}`);
  if (entry.type !== FILE_SYSTEM_TYPE) {
    throw new CliError(
      `${mountPoint} is no mount of nearmount (type ${entry.type}): take it away with umount, if that is what you want`,
    );
  }
  const isGone = await detach(entry, false);
  if (!isGone) await endBusy(entry, force);
  const gateway = gateways.get(entry.device);
  if (gateway === undefined || (!isGone && !force)) return;
  // The file system may be mounted at another place, too (mount --bind).
  if (mountTable().some(({ device }) => device === entry.device)) return;
  if (await processEnded(gateway.pid, GATEWAY_END_TIMEOUT_MS)) return;
  const why = (await holdsWrittenBytes(gateway.pid))
    ? `it waits for its server with what programs have written, and after ${UNMOUNT_DRAIN_MS / 1000} s that is lost`
    : "another mount namespace, such as a container's, holds the mount";
  printRemark(
    processStreams,
    `${mountPoint} is unmounted, but its gateway (pid ${gateway.pid}) still runs: ${why}`,
  );
}

/** What comes after EBUSY. */
async function endBusy(entry: MountEntry, force: boolean): Promise<void> {
  const { mountPoint, id, device } = entry;
  const below = mountTable().filter(({ parentId }) => parentId === id);
  if (below.length > 0 && !force) {
    const places = below.map((each) => each.mountPoint).join(', ');
    throw new CliError(`${mountPoint} is busy: ${places} is mounted below, unmount that first`);
  }
  const holders = describeHolders(mountPoint);
  if (force) {
    try {
      abortFuseConnection(device);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      printRemark(processStreams, `the connection of ${mountPoint} cannot be aborted (${error.code})`);
    }
  }
  await detach(entry, true);
  const outcome = force
    ? 'its connection was aborted'
    : 'the mount ends when they are done, or at once with --force';
  printRemark(processStreams, `${mountPoint} was busy (${holders}) and is taken away lazily: ${outcome}`);
}

function describeHolders(mountPoint: string): string {
  const holders = mountHolders(mountPoint);
  if (holders.length === 0) return 'held by a mapped file, or from another namespace';
  const named = holders
    .slice(0, HOLDERS_NAMED_MAX)
    .map(({ pid, name, how }) => `${name} (pid ${pid}): ${how}`);
  const more = holders.length - named.length;
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** Whether the mount is out of the tree; false when it is busy, which a lazy one never is. */
async function detach(entry: MountEntry, isLazy: boolean): Promise<boolean> {
  if (!hasCapability('CAP_SYS_ADMIN')) return unmountOwn(entry, isLazy);
  try {
    unmount(entry.mountPoint, isLazy ? MNT_DETACH : 0);
    return true;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    if (error.code === 'EBUSY' && !isLazy) return false;
    throw new CliError(`${entry.mountPoint} cannot be unmounted (${error.code})`, 1, error);
  }
}
