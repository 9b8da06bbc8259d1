/** The bytes of a WRITE, where the kernel has put them. */
import type { WriteData } from '../gateway/operations.ts';
import { WRITE_COPIED_BYTES_MAX } from './limits.ts';
import type { GiveBack } from './request-memory.ts';

export class RequestWriteData implements WriteData {
  readonly bytes: Uint8Array;
  readonly #keepMemory: () => GiveBack;
  #taken: Uint8Array | undefined;
  #giveBack: GiveBack | undefined;
  #isOver = false;

  /** @param keepMemory of the request that holds the bytes */
  constructor(bytes: Uint8Array, keepMemory: () => GiveBack) {
    this.bytes = bytes;
    this.#keepMemory = keepMemory;
  }

  take(): Uint8Array {
    if (this.#taken !== undefined) return this.#taken;
    if (this.#isOver) throw new Error('the bytes of a WRITE were taken after its operation had returned');
    if (this.bytes.length <= WRITE_COPIED_BYTES_MAX) {
      this.#taken = Uint8Array.from(this.bytes);
    } else {
      this.#giveBack = this.#keepMemory();
      this.#taken = this.bytes;
    }
    return this.#taken;
  }

  release(): void {
    this.#giveBack?.();
  }

  /** The operation has returned: what was not taken is gone with the next request. */
  end(): void {
    this.#isOver = true;
  }
}
