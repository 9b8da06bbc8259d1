/** Who a request comes from, in AUTH_SYS terms. */
import { hostname } from 'node:os';
import type { Waiter } from '../client/link.ts';
import { authSysCredential, type Credential } from '../client/credential.ts';
import { CALLER_CACHE_ENTRIES_MAX, CALLER_CACHE_MS } from './limits.ts';
import type { CallContext } from './operations.ts';

/** What the kernel tells of the process behind a request: see ProcessCredentials of src/system. */
export interface CallerProcess {
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: readonly number[];
  readonly passesModes: boolean;
  readonly maySetGroups: boolean;
}

interface Remembered {
  readonly credential: Credential;
  readonly passesModes: boolean;
  readonly expiresMs: number;
}

/** A waiter that also tells callers of the same rights apart from others. */
export interface Caller extends Waiter {
  /** Equal for equal uid, gid and groups. */
  readonly key: string;
  /** Of the thread that asks; 0 where it is not known. */
  readonly pid: number;
  /** Whether the guest's kernel lets it past modes and ACLs, so that only the server's word counts. */
  readonly passesModes: boolean;
}

const ROOT_UID = 0;

/**
 * Makes credentials for callers and remembers them for CALLER_CACHE_MS.
 *
 * @param processOf credentials of a process or thread; throws when it is gone or out of sight
 * @param nowMs the time, in milliseconds since any moment
 */
export class Callers {
  readonly #processOf: (pid: number) => CallerProcess;
  readonly #nowMs: () => number;
  readonly #machineName = hostname();
  readonly #remembered = new Map<string, Remembered>();

  constructor(processOf: (pid: number) => CallerProcess, nowMs: () => number = () => performance.now()) {
    this.#processOf = processOf;
    this.#nowMs = nowMs;
  }

  /** @param gids groups that own what the call is about: they come first where not all of a caller's groups fit */
  caller(context: CallContext, gids: readonly number[] = []): Caller {
    const { credential, passesModes } = this.#find(context);
    const { auth, key, wide } = credential.forFilesOf(gids);
    return {
      credential: auth,
      wide,
      key,
      pid: context.pid,
      passesModes,
      get signal() {
        return context.signal;
      },
    };
  }

  #find(context: CallContext): Remembered {
    const nowMs = this.#nowMs();
    const { pid, uid, gid } = context;
    const key = `${pid}:${uid}:${gid}`;
    const known = this.#remembered.get(key);
    if (known !== undefined && known.expiresMs > nowMs) return known;
    const process = this.#look(context);
    const fresh = {
      credential: authSysCredential(this.#machineName, uid, gid, process?.groups ?? []),
      // Nobody to ask: then whatever it is allowed is the server's to say.
      passesModes: process?.passesModes ?? true,
      expiresMs: nowMs + CALLER_CACHE_MS,
    };
    // One that acts for others may take up other groups before the next request, with the same ids.
    if (process === undefined || (process.maySetGroups && uid !== ROOT_UID)) {
      this.#remembered.delete(key);
      return fresh;
    }
    if (this.#remembered.size >= CALLER_CACHE_ENTRIES_MAX) this.#remembered.clear();
    this.#remembered.set(key, fresh);
    return fresh;
  }

  /**
   * The process of a request; undefined where it cannot be seen (pid 0: a foreign pid namespace, or the kernel itself),
   * is gone, or does not act as itself: a file system stacked on the mount makes requests in its mounter's name,
   * to whom the groups of the process do not belong.
   */
  #look({ pid, uid, gid }: CallContext): CallerProcess | undefined {
    if (pid === 0) return undefined;
    try {
      const process = this.#processOf(pid);
      return process.uids.includes(uid) && process.gids.includes(gid) ? process : undefined;
    } catch {
      return undefined;
    }
  }
}
