import { AT_EMPTY_PATH, AT_FDCWD, S_IFLNK, S_IFMT } from './constants.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { statFd } from './files.ts';
import { EMPTY_PATH, kernel, lastErrno, lastError, libc, pathArgument } from './libc.ts';

/** Calls that change the attributes of an open file; all but ftruncate take O_PATH descriptors, of links too. */

/** Linux 6.6. */
let hasFchmodat2 = true;

/**
 * chmod(2) with the low twelve bits of a mode. EOPNOTSUPP: a symbolic link, which has no mode of its own.
 *
 * @param status its attributes, where they are known
 */
export function chmodFd(fd: number, mode: number, status = statFd(fd)): void {
  // Kernels before 6.6 would change some file systems' links.
  if ((status.mode & S_IFMT) === S_IFLNK) throw new ErrnoError('EOPNOTSUPP', 'fchmodat');
  if (hasFchmodat2) {
    if (kernel.fchmodat2(fd, EMPTY_PATH, mode, AT_EMPTY_PATH) >= 0) return;
    const errno = lastErrno();
    // Containers may answer EPERM for calls that they do not know; the older one tells then.
    if (errno !== ERRNO.ENOSYS && errno !== ERRNO.EPERM) throw new ErrnoError(errno, 'fchmodat2');
    if (errno === ERRNO.ENOSYS) hasFchmodat2 = false;
  }
  if (libc.fchmodat(AT_FDCWD, pathArgument(`/proc/self/fd/${fd}`, 'fchmodat'), mode, 0) < 0) {
    throw lastError('fchmodat');
  }
}

const UNCHANGED_ID = 0xffff_ffff;

/** chown(2); an id that is undefined stays. EINVAL: 4294967295, which says "no change" to the kernel. */
export function chownFd(fd: number, uid: number | undefined, gid: number | undefined): void {
  if (uid === UNCHANGED_ID || gid === UNCHANGED_ID) throw new ErrnoError('EINVAL', 'fchownat', 'not an id');
  if (libc.fchownat(fd, EMPTY_PATH, uid ?? UNCHANGED_ID, gid ?? UNCHANGED_ID, AT_EMPTY_PATH) < 0) {
    throw lastError('fchownat');
  }
}

/** Nanoseconds since 1970, the time of the call, or no change. */
export type NewTime = bigint | 'now' | undefined;

const UTIME_NOW = 0x3fff_ffffn;
const UTIME_OMIT = 0x3fff_fffen;
const NANOSECONDS = 1_000_000_000n;

// Two of struct timespec: seconds and nanoseconds, 64 bits each.
const timespecs = new BigInt64Array(4);

/** utimensat(2) (AT_EMPTY_PATH: Linux 5.8). Who may only write may set both to `now`, and nothing else: EPERM. */
export function utimensFd(fd: number, atime: NewTime, mtime: NewTime): void {
  setTimespec(0, atime);
  setTimespec(2, mtime);
  if (libc.utimensat(fd, EMPTY_PATH, timespecs, AT_EMPTY_PATH) < 0) throw lastError('utimensat');
}

function setTimespec(at: number, time: NewTime): void {
  if (typeof time !== 'bigint') {
    timespecs[at] = 0n;
    timespecs[at + 1] = time === 'now' ? UTIME_NOW : UTIME_OMIT;
    return;
  }
  const nanoseconds = ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  timespecs[at] = (time - nanoseconds) / NANOSECONDS;
  timespecs[at + 1] = nanoseconds;
}

/** ftruncate(2) of a file open for writing. EFBIG: more than its file system can hold; EINVAL: negative. */
export function ftruncate(fd: number, sizeBytes: bigint): void {
  if (BigInt.asIntN(64, sizeBytes) !== sizeBytes) throw new ErrnoError('EFBIG', 'ftruncate');
  if (libc.ftruncate(fd, sizeBytes) < 0) throw lastError('ftruncate');
}
