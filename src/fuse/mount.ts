/** Putting a FUSE file system into the tree, and taking it out: mount(2) and umount2(2), or fusermount3. */
import { writeFileSync } from 'node:fs';
import { hasCapability } from '../system/capabilities.ts';
import { closeFd } from '../system/files.ts';
import { openFuseDevice } from '../system/fuse-device.ts';
import { mountAt } from '../system/mount-table.ts';
import { mountFileSystem, unmount } from '../system/mounts.ts';
import { MNT_DETACH, MS_NODEV, MS_NOSUID, MS_RDONLY } from '../system/constants.ts';
import type { MountRequest } from './driver.ts';
import { escapeOption, fusermount, fusermountUnmount, mayAllowOther } from './fusermount.ts';
import { MAX_READ_BYTES, READ_AHEAD_KIB } from './limits.ts';

/** The subtype, which mount(8) shows behind `fuse.`. */
export const FILE_SYSTEM_SUBTYPE = 'nearmount';
export const FILE_SYSTEM_TYPE = `fuse.${FILE_SYSTEM_SUBTYPE}`;

/**
 * Whether this process mounts by mount(2): root, or root of a user namespace with a mount namespace of its own.
 * Everybody else needs fusermount3.
 */
export function mayMountDirectly(): boolean {
  return hasCapability('CAP_SYS_ADMIN');
}

/**
 * Mounts and returns the device's descriptor, on which the kernel's INIT waits.
 *
 * @throws ErrnoError of open(2) on /dev/fuse or of mount(2), FusermountError
 */
export async function mountFuse({ source, mountPoint, readOnly }: MountRequest): Promise<number> {
  const common = ['default_permissions', `max_read=${MAX_READ_BYTES}`];
  if (!mayMountDirectly()) {
    const names = [`fsname=${escapeOption(source)}`, `subtype=${FILE_SYSTEM_SUBTYPE}`];
    const others = mayAllowOther() ? ['allow_other'] : [];
    return fusermount(mountPoint, [
      readOnly ? 'ro' : 'rw',
      'nosuid',
      'nodev',
      ...names,
      ...common,
      ...others,
    ]);
  }
  const fd = openFuseDevice();
  try {
    // The kernel lets these two only be those of whoever opened the device.
    const owner = `user_id=${process.geteuid?.() ?? 0},group_id=${process.getegid?.() ?? 0}`;
    mountFileSystem({
      source,
      target: mountPoint,
      type: FILE_SYSTEM_TYPE,
      flags: (readOnly ? MS_RDONLY : 0) | MS_NOSUID | MS_NODEV,
      data: [`fd=${fd}`, 'rootmode=40000', owner, 'allow_other', ...common].join(','),
    });
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * The device number (MAJOR:MINOR) of what is mounted at a path, on top; undefined when nothing is. It is read from
 * mountinfo instead of the mount, which only the gateway itself could answer.
 */
export function deviceOfMount(mountPoint: string): string | undefined {
  return mountAt(mountPoint)?.device;
}

/**
 * Takes a mount out of the tree at once; files that are open go on until they are closed.
 *
 * @param device of the mount that is meant: what else may lie at the path by now is left alone
 * @returns whether it was there
 * @throws ErrnoError of umount2(2), FusermountError
 */
export async function unmountFuse(mountPoint: string, device: string | undefined): Promise<boolean> {
  if (device === undefined || deviceOfMount(mountPoint) !== device) return false;
  if (mayMountDirectly()) unmount(mountPoint, MNT_DETACH);
  else await fusermountUnmount(mountPoint, true);
  return true;
}

/**
 * Widens the kernel's read-ahead on a mount, so that several READs are under way. To be done before INIT is answered.
 * Where sysfs cannot be written the narrower default stays.
 *
 * @returns whether it was set
 */
export function widenReadAhead(device: string | undefined): boolean {
  if (device === undefined) return false;
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(READ_AHEAD_KIB));
    return true;
  } catch {
    return false;
  }
}
