import { readFileSync, readlinkSync } from 'node:fs';
import { capabilityBit } from './capabilities.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { closeFd } from './files.ts';
import { lastErrno, libc } from './libc.ts';

const SOL_SOCKET = 1;
/** Linux 6.5. */
const SO_PEERPIDFD = 77;

/** A line of uid_map or gid_map (user_namespaces(7)): `count` ids from `inside` on are `outside` and on to us. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** What the process at the other end of a Unix socket is in its user namespace. */
export interface PeerProcess {
  readonly sharesUserNamespace: boolean;
  /** Ids of its namespace, in ours. */
  readonly uidMap: readonly IdRange[];
  readonly gidMap: readonly IdRange[];
  /** Whether it may take every identity of its namespace: CAP_SETUID, CAP_SETGID, and setgroups is not denied. */
  readonly maySwitch: boolean;
}

const SWITCHES = capabilityBit('CAP_SETUID') | capabilityBit('CAP_SETGID');

/**
 * The process that connected, as it is now. `unknown` where the kernel cannot say (before 6.5), `unseen` when it lives in
 * a pid namespace that is not seen from here, `gone` when it has ended. Its pid is held by a pidfd meanwhile, so that
 * no other process is taken for it.
 */
export function peerProcess(socketFd: number): PeerProcess | 'unknown' | 'unseen' | 'gone' {
  const pidfd = peerPidfd(socketFd);
  if (typeof pidfd === 'string') return pidfd;
  try {
    const pid = pidOf(pidfd);
    if (pid === 0) return 'unseen';
    const found = pid < 0 ? undefined : look(pid);
    // As long as the pidfd still names it, its number was given to nobody else.
    return found === undefined || pidOf(pidfd) !== pid ? 'gone' : found;
  } finally {
    closeFd(pidfd);
  }
}

function peerPidfd(socketFd: number): number | 'unknown' | 'gone' {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  if (libc.getsockopt(socketFd, SOL_SOCKET, SO_PEERPIDFD, value, length) === 0) return value.readInt32LE(0);
  const errno = lastErrno();
  if (errno === ERRNO.ENOPROTOOPT || errno === ERRNO.ENODATA) return 'unknown';
  if (errno === ERRNO.ESRCH || errno === ERRNO.EINVAL) return 'gone';
  throw new ErrnoError(errno, 'getsockopt', 'SO_PEERPIDFD');
}

/** In our pid namespace: 0 outside of it, -1 when it has ended (proc(5), fdinfo). */
function pidOf(pidfd: number): number {
  const pid = /^Pid:\s*(-?\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1'))?.[1];
  if (pid === undefined) throw new Error('fdinfo of a pidfd has no Pid line');
  return Number(pid);
}

function look(pid: number): PeerProcess | undefined {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'latin1');
  try {
    const permitted = /^CapPrm:\s*([0-9a-f]+)$/m.exec(read('status'))?.[1] ?? '0';
    return {
      sharesUserNamespace: readlinkSync(`/proc/${pid}/ns/user`) === readlinkSync('/proc/self/ns/user'),
      uidMap: parseMap(read('uid_map')),
      gidMap: parseMap(read('gid_map')),
      maySwitch: (BigInt(`0x${permitted}`) & SWITCHES) === SWITCHES && read('setgroups').trim() === 'allow',
    };
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code === 'string') return undefined;
    throw error;
  }
}

function parseMap(text: string): IdRange[] {
  return text
    .split('\n')
    .map((line) => (line.match(/\d+/g) ?? []).map(Number))
    .flatMap(([inside, outside, count]) =>
      inside === undefined || outside === undefined || count === undefined
        ? []
        : [{ inside, outside, count }],
    );
}

/** The id of a namespace in ours; undefined for one that does not exist there. */
export function outsideId(map: readonly IdRange[], id: number): number | undefined {
  const range = map.find(({ inside, count }) => id >= inside && id - inside < count);
  return range === undefined ? undefined : range.outside + (id - range.inside);
}
