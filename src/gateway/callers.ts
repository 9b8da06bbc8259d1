/** Who a request comes from, in AUTH_SYS terms. */
import { hostname } from 'node:os';
import type { Waiter } from '../client/link.ts';
import { authSysCredential, type Credential } from '../client/credential.ts';
import { CALLER_CACHE_ENTRIES_MAX, CALLER_CACHE_MS } from './limits.ts';
import type { CallContext } from './operations.ts';

interface Remembered {
  readonly credential: Credential;
  readonly expiresMs: number;
}

/** A waiter that also tells callers of the same rights apart from others. */
export interface Caller extends Waiter {
  /** Equal for equal uid, gid and groups. */
  readonly key: string;
}

/**
 * Makes credentials for callers and remembers them for CALLER_CACHE_MS.
 *
 * @param groupsOf supplementary groups of a process; throws when it is gone or out of sight, then none are sent
 */
export class Callers {
  readonly #groupsOf: (pid: number) => readonly number[];
  readonly #machineName = hostname();
  readonly #remembered = new Map<string, Remembered>();

  constructor(groupsOf: (pid: number) => readonly number[]) {
    this.#groupsOf = groupsOf;
  }

  caller(context: CallContext): Caller {
    const { credential } = this.#find(context);
    return {
      credential: credential.auth,
      key: credential.key,
      get signal() {
        return context.signal;
      },
    };
  }

  #find(context: CallContext): Remembered {
    const nowMs = performance.now();
    const key = `${context.pid}:${context.uid}:${context.gid}`;
    const known = this.#remembered.get(key);
    if (known !== undefined && known.expiresMs > nowMs) return known;
    const { uid, gid } = context;
    const credential = authSysCredential(this.#machineName, uid, gid, this.#groups(context.pid));
    const fresh = { credential, expiresMs: nowMs + CALLER_CACHE_MS };
    if (this.#remembered.size >= CALLER_CACHE_ENTRIES_MAX) this.#remembered.clear();
    this.#remembered.set(key, fresh);
    return fresh;
  }

  #groups(pid: number): readonly number[] {
    if (pid === 0) return [];
    try {
      return this.#groupsOf(pid);
    } catch {
      return [];
    }
  }
}
