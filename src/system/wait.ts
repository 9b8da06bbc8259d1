import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { lastErrno, lastError, libc } from './libc.ts';

/** An eventfd(2): it becomes readable by signalEvent, until clearEvent. The caller closes it. */
export function createEvent(): number {
  const fd = libc.eventfd(0, O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw lastError('eventfd');
  return fd;
}

const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
const counter = Buffer.alloc(8);

/** Makes the event readable; many signals count as one. */
export function signalEvent(fd: number): void {
  // EAGAIN: the counter is full, and therefore readable.
  if (libc.write(fd, one, 8) < 0 && lastErrno() !== ERRNO.EAGAIN) throw lastError('write', 'eventfd');
}

/** Makes the event unreadable again; whether it had been signalled. */
export function clearEvent(fd: number): boolean {
  if (libc.read(fd, counter, 8) === 8) return true;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN) return false;
  throw new ErrnoError(errno, 'read', 'eventfd');
}

const POLLIN = 0x1;
const POLLNVAL = 0x20;
const POLLFD_BYTES = 8;

/**
 * poll(2) on a thread of libuv's pool: resolves with the descriptors that are readable, hung up or in error, or with an
 * empty list after `timeoutMs` (-1: never). The wait cannot be cancelled, holds one thread of the pool and keeps
 * the process alive: put an event into the list to end it, and do not close a descriptor that is waited for.
 * Rejects with EBADF for a descriptor that is not open.
 */
export async function waitReadable(fds: readonly number[], timeoutMs: number): Promise<number[]> {
  const pollfds = Buffer.alloc(POLLFD_BYTES * fds.length);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    fds.forEach((fd, index) => {
      pollfds.writeInt32LE(fd, index * POLLFD_BYTES);
      pollfds.writeUInt32LE(POLLIN, index * POLLFD_BYTES + 4);
    });
    const remainingMs = timeoutMs < 0 ? -1 : Math.max(0, Math.ceil(deadline - performance.now()));
    const errno = await pollAsync(pollfds, fds.length, remainingMs);
    if (errno === 0) break;
    if (errno !== ERRNO.EINTR) throw new ErrnoError(errno, 'poll');
  }
  const events = (index: number) => pollfds.readUInt16LE(index * POLLFD_BYTES + 6);
  if (fds.some((_, index) => (events(index) & POLLNVAL) !== 0)) throw new ErrnoError('EBADF', 'poll');
  return fds.filter((_, index) => events(index) !== 0);
}

function pollAsync(pollfds: Buffer, count: number, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    libc.poll.async(pollfds, count, timeoutMs, (error, result) => {
      // koffi carries the errno of the other thread over to this callback.
      const errno = result < 0 ? lastErrno() : 0;
      if (error === null) resolve(errno);
      else reject(error);
    });
  });
}
