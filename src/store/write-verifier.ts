import { randomBytes } from 'node:crypto';

/** RFC 1813, section 2.4: NFS3_WRITEVERFSIZE. */
const VERIFIER_BYTES = 8;

/**
 * writeverf3 of RFC 1813 section 3.3.7: as long as it is the same, what was written is still there to be committed. New at
 * every start of a server, and when a disk lost something: clients that see another one send their data again.
 */
export class WriteVerifier {
  #bytes: Uint8Array = randomBytes(VERIFIER_BYTES);

  /** Never changed in place: what was taken once stays as it was. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  renew(): void {
    this.#bytes = randomBytes(VERIFIER_BYTES);
  }
}
