/** How a session names callers whose groups do not fit AUTH_SYS: CREDENTIAL once, AUTH_SHORT from then on. */
import { FGDP_PROGRAM } from '../fgdp/program.ts';
import { authShort, type opaque_auth } from '../rpc/auth.ts';
import type { RpcConnection } from '../rpc/connection.ts';
import { RpcError } from '../rpc/error.ts';
import type { WideCredential } from './credential.ts';
import { SHORTHANDS_MAX } from './limits.ts';

/** Sends of one call before it is given up: a server that keeps forgetting would be asked for ever. */
const TRIES_MAX = 3;

export class Shorthands {
  readonly #connection: Pick<RpcConnection, 'call'>;
  /** By the caller's key; a promise, so that calls made at once share one CREDENTIAL. */
  readonly #named = new Map<string, Promise<opaque_auth>>();

  constructor(connection: Pick<RpcConnection, 'call'>) {
    this.#connection = connection;
  }

  /** Runs `call` with the caller's AUTH_SHORT, and again with a new one when the server has forgotten it. */
  async use<T>(
    wide: WideCredential,
    timeoutMs: number,
    call: (credential: opaque_auth) => Promise<T>,
  ): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const named = this.#named.get(wide.key) ?? this.#name(wide, timeoutMs);
      try {
        return await call(await named);
      } catch (error) {
        const isForgotten = error instanceof RpcError && error.code === 'AUTH_REJECTEDCRED';
        if (!isForgotten || tries === TRIES_MAX) throw error;
        if (this.#named.get(wide.key) === named) this.#named.delete(wide.key);
      }
    }
  }

  #name(wide: WideCredential, timeoutMs: number): Promise<opaque_auth> {
    const { uid, gid, groups, key } = wide;
    const named = this.#connection
      .call(FGDP_PROGRAM, 'CREDENTIAL', { uid, gid, groups }, { timeoutMs })
      .then(({ shorthand }) => authShort(Uint8Array.from(shorthand)));
    named.catch(() => {
      if (this.#named.get(key) === named) this.#named.delete(key);
    });
    if (this.#named.size >= SHORTHANDS_MAX) {
      const oldest = this.#named.keys().next();
      if (oldest.done !== true) this.#named.delete(oldest.value);
    }
    this.#named.set(key, named);
    return named;
  }
}
