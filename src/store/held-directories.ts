import { randomBytes } from 'node:crypto';
import type { Identity } from '../system/identity.ts';
import { closeAfterTurn, DescriptorCache, type Retirable } from './descriptor-cache.ts';
import { HELD_DIRECTORIES_MAX, HELD_DIRECTORY_IDLE_MS } from './limits.ts';

class HeldDirectory implements Retirable {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  retire(): void {
    closeAfterTurn(this.fd);
  }
}

/** cookieverf3 of RFC 1813: opaque, 8 bytes. */
export type DirectoryVerifier = Uint8Array;
export const NO_VERIFIER: DirectoryVerifier = new Uint8Array(8);

/**
 * Directories kept open from one call to the next, where positions mean something to an open directory only: overlayfs
 * counts the entries of a directory of several layers in a list that it makes with an open, and that the open
 * keeps while names come and go. The verifier of the reply says which one the next call goes on with.
 * A listing that pauses for longer than HELD_DIRECTORY_IDLE_MS, or goes on after a restart, is continued by counting anew.
 */
export class HeldDirectories {
  readonly #cache = new DescriptorCache<HeldDirectory>({
    max: HELD_DIRECTORIES_MAX,
    idleMs: HELD_DIRECTORY_IDLE_MS,
  });

  get size(): number {
    return this.#cache.size;
  }

  /** The descriptor is good within this turn. */
  find(verifier: DirectoryVerifier, handle: Uint8Array, identity: Identity): number | undefined {
    return this.#cache.get(keyOf(verifier, handle, identity))?.fd;
  }

  /** Takes an open directory over; the returned verifier finds it again for this handle and identity. */
  hold(handle: Uint8Array, identity: Identity, fd: number): DirectoryVerifier {
    const verifier = randomBytes(NO_VERIFIER.length);
    this.#cache.set(keyOf(verifier, handle, identity), new HeldDirectory(fd));
    return verifier;
  }

  /** Lets go of a directory that is read to its end. */
  release(verifier: DirectoryVerifier, handle: Uint8Array, identity: Identity): void {
    this.#cache.delete(keyOf(verifier, handle, identity));
  }

  close(): void {
    this.#cache.clear();
  }
}

function keyOf(verifier: DirectoryVerifier, handle: Uint8Array, { uid, gid, groups }: Identity): string {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
  return `${text(verifier)}${text(handle)}/${uid}:${gid}:${groups.join()}`;
}
