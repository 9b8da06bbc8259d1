/** Callers whose groups do not fit AUTH_SYS, by the names that AUTH_SHORT calls them (RFC 5531 section 8.2). */
import type { SysCredential } from '../rpc/auth.ts';
import { SHORTHANDS_PER_SESSION_MAX, SHORTHAND_GROUPS_PER_SESSION_MAX } from './limits.ts';

const SHORTHAND_BYTES = 8;

/** Those of one connection: a name is worth nothing on another, so it need not be hard to guess. */
export class Shorthands {
  /** The one used last comes last. */
  readonly #credentials = new Map<bigint, SysCredential>();
  #groups = 0;
  #next = 1n;

  get size(): number {
    return this.#credentials.size;
  }

  /** Remembers a caller, and forgets others where that is too much. */
  add(credential: SysCredential): Uint8Array {
    const id = this.#next;
    this.#next += 1n;
    this.#credentials.set(id, credential);
    this.#groups += credential.groups.length;
    for (const oldest of this.#credentials.keys()) {
      const fits =
        this.#credentials.size <= SHORTHANDS_PER_SESSION_MAX &&
        this.#groups <= SHORTHAND_GROUPS_PER_SESSION_MAX;
      if (fits) break;
      this.#forget(oldest);
    }
    const shorthand = Buffer.alloc(SHORTHAND_BYTES);
    shorthand.writeBigUInt64BE(id);
    return shorthand;
  }

  /** The caller of a name; undefined when it was never given, or is forgotten. */
  find(shorthand: Uint8Array): SysCredential | undefined {
    if (shorthand.length !== SHORTHAND_BYTES) return undefined;
    const id = Buffer.from(shorthand).readBigUInt64BE();
    const credential = this.#credentials.get(id);
    if (credential === undefined) return undefined;
    this.#credentials.delete(id);
    this.#credentials.set(id, credential);
    return credential;
  }

  #forget(id: bigint): void {
    this.#groups -= this.#credentials.get(id)?.groups.length ?? 0;
    this.#credentials.delete(id);
  }
}
