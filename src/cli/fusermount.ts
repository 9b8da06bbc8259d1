/** Unmounting for users other than root, who may end their own FUSE mounts by fusermount3(1). */
import { FusermountError, fusermountUnmount } from '../fuse/fusermount.ts';
import type { MountEntry } from '../system/mount-table.ts';
import { CliError } from './errors.ts';

/**
 * Ends a mount of this user.
 *
 * @returns whether it is out of the tree; false when it is busy
 * @throws CliError when it is another user's, or fusermount3 is missing or refuses
 */
export async function unmountOwn(
  { mountPoint, superOptions }: MountEntry,
  isLazy: boolean,
): Promise<boolean> {
  const owner = superOptions.find((option) => option.startsWith('user_id='))?.slice('user_id='.length);
  if (owner !== String(process.getuid?.())) {
    throw new CliError(
      `${mountPoint} was mounted by the user with id ${owner}: that user or root can unmount it`,
    );
  }
  try {
    return await fusermountUnmount(mountPoint, isLazy);
  } catch (error) {
    if (!(error instanceof FusermountError)) throw error;
    throw new CliError(`${mountPoint} cannot be unmounted: ${error.message}`, 1, error);
  }
}
