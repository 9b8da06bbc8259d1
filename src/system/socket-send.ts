import { libc, type Pointer } from './libc.ts';

/**
 * Has the kernel take bytes of a non-blocking socket's stream now, as many as it has room for. Whatever else happens
 * (no room, an interrupt, a connection that is over) counts as none: whoever sends the rest meets it again.
 */
export function sendNow(fd: number, bytes: Exclude<Pointer, null>, lengthBytes: number): number {
  return Math.max(0, libc.write(fd, bytes, lengthBytes));
}
