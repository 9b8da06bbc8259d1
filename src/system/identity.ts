import { stat } from 'node:fs/promises';
import { hasCapability } from './capabilities.ts';
import { ErrnoError } from './errno.ts';
import { kernel, lastError } from './libc.ts';
import { processGroups } from './process.ts';

/** Who a file-system call is made for. Ids are unsigned 32 bits, 0xffffffff excluded. */
export interface Identity {
  uid: number;
  gid: number;
  /** Supplementary groups, at most 65536; the order does not matter to the kernel. */
  groups: readonly number[];
}

// setfsuid(2), setfsgid(2): an id that cannot be set only asks for the present one.
const ASK = -1;
const ID_MAX = 0xfffffffe;

interface ThreadIdentity {
  server: Identity;
  /** Undefined after a failed switch: nothing may be assumed then. */
  current: Identity | undefined;
  canSwitch: boolean;
  restoreIsQueued: boolean;
}

let threadIdentity: ThreadIdentity | undefined;

function thread(): ThreadIdentity {
  if (threadIdentity === undefined) {
    const server = {
      uid: process.geteuid?.() ?? 0,
      gid: process.getegid?.() ?? 0,
      groups: processGroups('thread-self'),
    };
    const canSwitch =
      hasCapability('CAP_SETUID') && hasCapability('CAP_SETGID') && trySetGroups(server.groups);
    threadIdentity = { server, current: server, canSwitch, restoreIsQueued: false };
  }
  return threadIdentity;
}

// In a user namespace setgroups can be denied although the capability is there (user_namespaces(7)).
function trySetGroups(groups: readonly number[]): boolean {
  return kernel.setgroups(groups.length, Uint32Array.from(groups)) === 0;
}

/** The process's own identity, which becomeServer returns to. */
export function serverIdentity(): Identity {
  return thread().server;
}

/** Whether this process may act as others; without it, it serves as its own uid. */
export function canSwitchIdentity(): boolean {
  return thread().canSwitch;
}

/**
 * Runs `action` with the identity's fsuid, fsgid and groups, so that the kernel decides what it may do with files.
 * Synchronous: an asynchronous file call begun inside runs on another thread, as the server. The identity is kept
 * for a following runAs, and ended by becomeServer or at the end of the turn, whatever comes first; until then
 * the server's own CAP_DAC_* are not in effect. Where the process cannot switch, its own uid is served with its
 * own groups, and any other gets EPERM.
 */
export function runAs<T>(identity: Identity, action: () => T): T {
  const state = thread();
  if (!isSame(state.current, identity)) {
    if (state.canSwitch) switchTo(state, identity);
    else if (identity.uid !== state.server.uid) {
      throw new ErrnoError(
        'EPERM',
        'setfsuid',
        `this server is not root and acts as uid ${state.server.uid} only`,
      );
    }
  }
  return action();
}

/** Back to the process's own identity: for everything that needs its privileges, like openByHandleAt. */
export function becomeServer(): void {
  const state = thread();
  if (state.current !== state.server) switchTo(state, state.server);
}

function switchTo(state: ThreadIdentity, identity: Identity): void {
  const { uid, gid, groups } = identity;
  for (const id of [uid, gid, ...groups]) {
    if (!Number.isInteger(id) || id < 0 || id > ID_MAX)
      throw new ErrnoError('EINVAL', 'setfsuid', `id ${id}`);
  }
  state.current = undefined;
  if (identity !== state.server && !state.restoreIsQueued) {
    state.restoreIsQueued = true;
    queueMicrotask(() => {
      state.restoreIsQueued = false;
      becomeServer();
    });
  }
  if (kernel.setgroups(groups.length, Uint32Array.from(groups)) < 0) throw lastError('setgroups');
  kernel.setfsgid(gid);
  kernel.setfsuid(uid);
  // Neither call reports a failure.
  if (kernel.setfsgid(ASK) !== gid || kernel.setfsuid(ASK) !== uid) {
    throw new ErrnoError('EPERM', 'setfsuid', `could not become uid ${uid}, gid ${gid}`);
  }
  state.current = identity;
}

function isSame(a: Identity | undefined, b: Identity): boolean {
  if (a === b) return true;
  if (a?.uid !== b.uid || a.gid !== b.gid || a.groups.length !== b.groups.length) return false;
  if (a.groups === b.groups) return true;
  return a.groups.every((group, index) => group === b.groups[index]);
}

/**
 * Starts every thread of libuv's pool. To be awaited before the first runAs: a thread started under a foreign
 * identity would keep it. (libuv starts all of them with the first piece of work.)
 */
export async function warmThreadPool(): Promise<void> {
  await stat('/');
}
