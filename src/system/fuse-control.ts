/** fusectl: how the kernel lets go of a FUSE connection whose gateway does not answer (Documentation/filesystems/fuse). */
import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from './constants.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import { closeFd, openat } from './files.ts';
import { kernel, lastError, libc, pathArgument } from './libc.ts';

const CONTROL_DIRECTORY = '/sys/fs/fuse/connections';
// include/uapi/linux/mount.h
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_CMD_CREATE = 6;

/**
 * Aborts the connection of a FUSE file system: every request, waiting or later, fails with ENOTCONN or ECONNABORTED,
 * and its gateway ends. Where fusectl is not mounted it is mounted for this one call, in no one's tree.
 *
 * @param device MAJ:MIN of the mount, as mountinfo has it
 * @throws ErrnoError ENOENT: there is no such connection; EACCES, EPERM: it is another user's
 */
export function abortFuseConnection(device: string): void {
  const name = `${connectionNumber(device)}/abort`;
  const fd = openAbort(name);
  try {
    if (libc.write(fd, Buffer.from('1'), 1) < 0) throw lastError('write', name);
  } finally {
    closeFd(fd);
  }
}

/** fs/fuse/control.c names a connection by its device as one number (MKDEV: 20 bits of it are the minor). */
function connectionNumber(device: string): number {
  const [major = NaN, minor = NaN] = device.split(':').map(Number);
  return major * (1 << 20) + minor;
}

function openAbort(name: string): number {
  try {
    return openat(AT_FDCWD, `${CONTROL_DIRECTORY}/${name}`, O_WRONLY | O_CLOEXEC);
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.errno !== ERRNO.ENOENT) throw error;
  }
  const directory = mountControl();
  try {
    return openat(directory, name, O_WRONLY | O_CLOEXEC);
  } finally {
    closeFd(directory);
  }
}

/** fusectl as a detached mount: all such mounts show the same connections, and this one ends with its descriptor. */
function mountControl(): number {
  const context = kernel.fsopen(pathArgument('fusectl', 'fsopen'), FSOPEN_CLOEXEC);
  if (context < 0) throw lastError('fsopen', 'fusectl');
  try {
    if (kernel.fsconfig(context, FSCONFIG_CMD_CREATE) < 0) throw lastError('fsconfig', 'fusectl');
    const mount = kernel.fsmount(context, FSMOUNT_CLOEXEC);
    if (mount < 0) throw lastError('fsmount', 'fusectl');
    return mount;
  } finally {
    closeFd(context);
  }
}
