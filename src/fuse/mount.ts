/** Putting a FUSE file system into the tree, and taking it out: mount(2), umount2(2). */
import { writeFileSync } from 'node:fs';
import { closeFd } from '../system/files.ts';
import { openFuseDevice } from '../system/fuse-device.ts';
import { mountAt } from '../system/mount-table.ts';
import { mountFileSystem, unmount } from '../system/mounts.ts';
import { MNT_DETACH, MS_NODEV, MS_NOSUID, MS_RDONLY } from '../system/constants.ts';
import { MAX_READ_BYTES, READ_AHEAD_KIB } from './limits.ts';

export const FILE_SYSTEM_TYPE = 'fuse.nearmount';

/**
 * Mounts read-only at `mountPoint` (absolute) and returns the device's descriptor, on which the kernel's INIT waits.
 *
 * @param source what mount(8) and /proc/mounts show
 * @throws ErrnoError of open(2) on /dev/fuse or of mount(2)
 */
export function mountFuse(source: string, mountPoint: string): number {
  const fd = openFuseDevice();
  try {
    mountFileSystem({
      source,
      target: mountPoint,
      type: FILE_SYSTEM_TYPE,
      flags: MS_RDONLY | MS_NOSUID | MS_NODEV,
      data: `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=${MAX_READ_BYTES}`,
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
 */
export function unmountFuse(mountPoint: string, device: string | undefined): boolean {
  if (device === undefined || deviceOfMount(mountPoint) !== device) return false;
  unmount(mountPoint, MNT_DETACH);
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
