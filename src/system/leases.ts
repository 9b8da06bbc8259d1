import { ERRNO, ErrnoError } from './errno.ts';
import { lastErrno, libc } from './libc.ts';

const F_SETLEASE = 1024;
const F_SETSIG = 10;
const F_RDLCK = 0;
const F_UNLCK = 2;
/** Ignored by default, unlike SIGIO: somebody may open the file in the moment between the two calls. */
const SIGURG = 23;

/**
 * Whether anybody has the file of a descriptor (O_RDONLY) open, or mapped, for writing: a read lease is refused then
 * (fcntl(2), F_SETLEASE), and given back at once otherwise. Undefined where it cannot be told: the file system has
 * no leases, or the thread acts as neither the owner nor with CAP_LEASE.
 */
export function isOpenForWriting(fd: number): boolean | undefined {
  if (libc.fcntl(fd, F_SETSIG, SIGURG) < 0 || libc.fcntl(fd, F_SETLEASE, F_RDLCK) < 0) {
    const errno = lastErrno();
    if (errno === ERRNO.EAGAIN) return true;
    if (errno === ERRNO.EBADF) throw new ErrnoError(errno, 'fcntl', 'F_SETLEASE');
    return undefined;
  }
  libc.fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}
