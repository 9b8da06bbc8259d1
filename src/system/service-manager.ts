/** sd_notify(3): telling systemd, or whoever listens like it, how a service is. */
import { ERRNO, ErrnoError } from './errno.ts';
import { closeFd } from './files.ts';
import { lastError, libc } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
/** sun_path of unix(7), in bytes. */
const SUN_PATH_BYTES = 108;

/**
 * Sends assignments such as `READY=1` to the socket named by NOTIFY_SOCKET: a path, or `@` and a name that is in no
 * directory. Returns false when nobody asked to be told.
 *
 * @throws ErrnoError when the one who asked cannot be reached: ECONNREFUSED, ENOENT, EACCES; EINVAL: an address of a
 *   kind not known here
 */
export function notifyServiceManager(
  assignments: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): boolean {
  const socket = environment.NOTIFY_SOCKET;
  if (socket === undefined || socket === '') return false;
  const address = socketAddress(socket);
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) throw lastError('socket');
  try {
    if (libc.connect(fd, address, address.length) < 0) throw lastError('connect', socket);
    const message = Buffer.from(assignments.join('\n'));
    if (libc.write(fd, message, message.length) < 0) throw lastError('write', socket);
    return true;
  } finally {
    closeFd(fd);
  }
}

/** An abstract name begins with NUL and has no NUL at its end. */
function socketAddress(socket: string): Buffer {
  if (!/^[/@]./.test(socket)) throw new ErrnoError('EINVAL', 'connect', `NOTIFY_SOCKET=${socket}`);
  const name = Buffer.from(socket.startsWith('@') ? `\0${socket.slice(1)}` : `${socket}\0`);
  if (name.length > SUN_PATH_BYTES) throw new ErrnoError(ERRNO.ENAMETOOLONG, 'connect', socket);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}
