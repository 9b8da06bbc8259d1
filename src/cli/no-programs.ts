/** The mount option noexec, for a mount that is in place. */
import { MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT } from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { mountAt } from '../system/mount-table.ts';
import { mountFileSystem } from '../system/mounts.ts';
import { CliError } from './errors.ts';

/**
 * Lets no program of a mount run.
 *
 * @throws CliError where this user may not change the mount
 */
export function forbidPrograms(mountPoint: string): void {
  // A remount sets all flags, so those it has are said again.
  const readOnly = mountAt(mountPoint)?.options.includes('ro') === true ? MS_RDONLY : 0;
  try {
    mountFileSystem({
      source: 'none',
      target: mountPoint,
      flags: MS_REMOUNT | MS_BIND | MS_NOEXEC | MS_NOSUID | MS_NODEV | readOnly,
    });
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    throw new CliError(
      `${mountPoint}: noexec cannot be set (${error.code}): be root, or write exec after user in fstab`,
      1,
      error,
    );
  }
}
