import { writeSync } from 'node:fs';
import { F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE } from './constants.ts';
import { closeFd } from './files.ts';
import { kernel, lastError, libc, pathArgument } from './libc.ts';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;

/** memfd_create(2): empty, not sealed. `name` (at most 249 bytes) shows up in /proc only. The caller closes it. */
export function createMemory(name: string): number {
  const fd = kernel.memfdCreate(pathArgument(name, 'memfd_create'), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw lastError('memfd_create');
  return fd;
}

/** Adds F_SEAL_* bits for good. EPERM: sealed against it; EBUSY: F_SEAL_WRITE while it is mapped for writing. */
export function addSeals(fd: number, seals: number): void {
  if (libc.fcntl(fd, F_ADD_SEALS, seals) < 0) throw lastError('fcntl', 'F_ADD_SEALS');
}

/**
 * A memfd_create(2) segment with `contents`, which nobody can change, shrink or grow any more, so that mapping it
 * cannot fault. `name` (at most 249 bytes) shows up in /proc only. The caller closes it.
 */
export function createSealedMemory(name: string, contents: Uint8Array): number {
  const fd = createMemory(name);
  try {
    for (let at = 0; at < contents.length;) at += writeSync(fd, contents, at);
    addSeals(fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** The F_SEAL_* bits of a descriptor; EINVAL when it cannot have any. */
export function getSeals(fd: number): number {
  const seals = libc.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0) throw lastError('fcntl', 'F_GET_SEALS');
  return seals;
}
