/** Unmounting for users other than root, who may end their own FUSE mounts by fusermount3(1). */
import { spawnSync } from 'node:child_process';
import type { MountEntry } from '../system/mount-table.ts';
import { CliError } from './errors.ts';

/**
 * Ends a mount of this user.
 *
 * @returns whether it is out of the tree; false when it is busy
 * @throws CliError when it is another user's, or fusermount3 is missing or refuses
 */
export function unmountOwn({ mountPoint, superOptions }: MountEntry, isLazy: boolean): boolean {
  const owner = superOptions.find((option) => option.startsWith('user_id='))?.slice('user_id='.length);
  if (owner !== String(process.getuid?.())) {
    throw new CliError(
      `${mountPoint} was mounted by the user with id ${owner}: that user or root can unmount it`,
    );
  }
  const result = spawnSync('fusermount3', [isLazy ? '-uz' : '-u', '--', mountPoint], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (result.error !== undefined) {
    throw new CliError(
      `${mountPoint} cannot be unmounted: fusermount3 cannot be run (${(result.error as NodeJS.ErrnoException).code}), install fuse3`,
      1,
      result.error,
    );
  }
  if (result.status === 0) return true;
  if (!isLazy && /busy/i.test(result.stderr)) return false;
  throw new CliError(`${mountPoint} cannot be unmounted: ${result.stderr.trim().split('\n').at(-1) ?? ''}`);
}
