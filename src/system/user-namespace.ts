import fs from 'node:fs';
import { addressOf, lastError, libc, symbolAddress } from './libc.ts';

// include/uapi/linux/sched.h, include/uapi/linux/wait.h
const CLONE_VM = 0x100;
const CLONE_NEWUSER = 0x1000_0000;
const WCLONE = -0x8000_0000;
/** What pause(2) needs, many times over. */
const STACK_BYTES = 64 * 1024;
const STACK_ALIGNMENT = 16n;

/** Ids that a mount knows, from `first` on: `count` of them, unsigned 32 bits. */
export interface KnownIds {
  readonly first: number;
  readonly count: number;
}

/**
 * A user namespace in which the given ids, and no others, are what they are here: for the ids of a mount. Returns a
 * descriptor that the caller closes; the namespace lives as long as anything refers to it. Needs CAP_SETUID, CAP_SETGID and
 * room for a user namespace: EPERM, ENOSPC (user_namespaces(7)).
 */
export function openUserNamespace(uids: KnownIds, gids: KnownIds): number {
  // A namespace is made with a process in it: one that shares our memory, and does nothing but wait to be killed.
  const stack = Buffer.alloc(STACK_BYTES);
  const top = (addressOf(stack) + BigInt(STACK_BYTES)) & ~(STACK_ALIGNMENT - 1n);
  const pid = libc.clone(symbolAddress('pause'), top, CLONE_NEWUSER | CLONE_VM, null);
  if (pid < 0) throw lastError('clone', 'CLONE_NEWUSER');
  try {
    fs.writeFileSync(`/proc/${pid}/uid_map`, mapOf(uids));
    fs.writeFileSync(`/proc/${pid}/gid_map`, mapOf(gids));
    return fs.openSync(`/proc/${pid}/ns/user`, 'r');
  } finally {
    process.kill(pid, 'SIGKILL');
    // It tells nobody of its end (no SIGCHLD), so nobody else waits for it. The stack is in use until here.
    libc.waitpid(pid, null, WCLONE);
    stack.fill(0);
  }
}

function mapOf({ first, count }: KnownIds): string {
  return `${first} ${first} ${count}\n`;
}
