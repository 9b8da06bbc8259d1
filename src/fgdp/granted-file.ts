/** An exported file in the guest's hands: a read-only descriptor, good until it is released. */
import { closeSync, fstatSync, type BigIntStats } from 'node:fs';
import { seek } from '../system/files.ts';
import { readFully } from '../system/read-file.ts';
import { MAPPED_READ_BYTES_MAX } from './limits.ts';

/** Reads that are answered at once share this memory: their bytes are good until the next of them. */
let sharedBuffer: Buffer | undefined;

export class GrantedFile {
  readonly grantId: bigint;
  /** For the kernel's own use, like a passthrough backing. */
  readonly descriptor: number;
  readonly #onRelease: () => void;
  #reading = 0;
  #released = false;

  /**
   * @param descriptor the granted file's; closed by release
   * @param onRelease gives the grant back to the server, after the descriptor is closed
   */
  constructor(grantId: bigint, descriptor: number, onRelease: () => void) {
    this.grantId = grantId;
    this.descriptor = descriptor;
    this.#onRelease = onRelease;
  }

  /** fstat(2): never waits for the server. */
  status(): BigIntStats {
    return fstatSync(this.descriptor, { bigint: true });
  }

  /**
   * Reads up to `sizeBytes` at `offset`: fewer only at the end of the file. One pread(2), no call to the server.
   *
   * What the page cache has comes back at once, in memory that the next read uses again; the rest comes as a promise
   * of memory of its own, which rejects with a system error. Throws ErrnoError.
   *
   * @param sizeBytes at most MAPPED_READ_BYTES_MAX of them are read
   */
  read(offset: bigint, sizeBytes: number): Uint8Array | Promise<Uint8Array> {
    const length = Math.min(sizeBytes, MAPPED_READ_BYTES_MAX);
    const buffer = takeBuffer().subarray(0, length);
    const filled = readFully(this.descriptor, buffer, offset);
    if (typeof filled === 'number') return buffer.subarray(0, filled);
    // The pool's thread writes to this memory, so the next read takes other.
    sharedBuffer = undefined;
    this.#reading += 1;
    return filled
      .then((count) => buffer.subarray(0, count))
      .finally(() => {
        this.#reading -= 1;
        this.#closeIfDone();
      });
  }

  /** lseek(2): where data (SEEK_DATA, 3) or a hole (SEEK_HOLE, 4) begins; ErrnoError ENXIO, EINVAL. Reads do not mind. */
  seek(offset: bigint, whence: number): bigint {
    return seek(this.descriptor, offset, whence);
  }

  /** Ends the grant. The descriptor is closed when no read is under way any more; a second call has no effect. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (!this.#released || this.#reading > 0) return;
    closeSync(this.descriptor);
    this.#onRelease();
  }
}

function takeBuffer(): Buffer {
  sharedBuffer ??= Buffer.allocUnsafeSlow(MAPPED_READ_BYTES_MAX);
  return sharedBuffer;
}
