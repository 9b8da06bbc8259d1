/** Putting a FUSE file system into the tree, and taking it out: mount(2), umount2(2). */
import { readFileSync, writeFileSync } from 'node:fs';
import { closeFd } from '../system/files.ts';
import { openFuseDevice } from '../system/fuse-device.ts';
import { mountFileSystem, unmount } from '../system/mounts.ts';
import { MNT_DETACH, MS_NODEV, MS_NOSUID, MS_RDONLY } from '../system/constants.ts';
import { MAX_READ_BYTES, READ_AHEAD_KIB } from './limits.ts';

const FILE_SYSTEM_TYPE = 'fuse.nearmount';

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

/** Takes the mount out of the tree at once; files that are open go on until they are closed. */
export function unmountFuse(mountPoint: string): void {
  unmount(mountPoint, MNT_DETACH);
}

/**
 * Widens the kernel's read-ahead on this mount, so that several READs are under way. Reads mountinfo instead of
 * asking the mount, which only we could answer. Where sysfs cannot be written the narrower default stays.
 *
 * @returns whether it was set
 */
export function widenReadAhead(mountPoint: string): boolean {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((each) => each.split(' '))
    .findLast((fields) => fields[4] === escapeMountPath(mountPoint));
  const device = line?.[2];
  if (device === undefined) return false;
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(READ_AHEAD_KIB));
    return true;
  } catch {
    return false;
  }
}

/** proc(5): space, tab, newline and backslash are octal in mountinfo. */
function escapeMountPath(path: string): string {
  return path.replace(
    /[ \t\n\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
}
