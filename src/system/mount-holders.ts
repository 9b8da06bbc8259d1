/** Which processes keep a mount busy, as far as /proc tells without touching the mount. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

export interface MountHolder {
  readonly pid: number;
  /** Its name, as /proc/PID/comm has it. */
  readonly name: string;
  /** How it holds the mount, such as `its current directory`. */
  readonly how: string;
}

/**
 * Processes with a current directory, root, program or open file at or below `mountPoint`. Not seen: mappings of closed
 * files (reading them could wait for the very mount), mount namespaces of others, other users' processes without root.
 */
export function mountHolders(mountPoint: string): readonly MountHolder[] {
  const inside = (path: string | undefined): boolean =>
    path !== undefined && (path === mountPoint || path.startsWith(`${mountPoint}/`));
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const how = howHeld(pid, inside);
      return how === undefined ? [] : [{ pid: Number(pid), name: processName(pid), how }];
    });
}

function howHeld(pid: string, inside: (path: string | undefined) => boolean): string | undefined {
  if (inside(linkTarget(`/proc/${pid}/cwd`))) return 'its current directory';
  if (inside(linkTarget(`/proc/${pid}/root`))) return 'its root directory';
  if (inside(linkTarget(`/proc/${pid}/exe`))) return 'its program';
  let descriptors: string[];
  try {
    descriptors = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return undefined; // it ended, or is another user's
  }
  const held = descriptors.find((fd) => inside(linkTarget(`/proc/${pid}/fd/${fd}`)));
  return held === undefined ? undefined : `an open file: ${linkTarget(`/proc/${pid}/fd/${held}`) ?? held}`;
}

/** Where a link of /proc points; the kernel answers from its own memory. */
function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function processName(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '?';
  }
}
