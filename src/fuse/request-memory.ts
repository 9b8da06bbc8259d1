/**
 * The memory into which requests are read. Most are over when their handler returns, and the next is read to the same
 * place. The bytes of a large WRITE can be kept where the kernel has put them: the next request is then read behind them.
 * What is given back is used again, because fresh memory costs the kernel three times what reading into it does.
 */
import { REQUEST_BUFFER_BYTES, REQUEST_SLAB_BYTES, REQUEST_SLABS_SPARE_MAX } from './limits.ts';

/** Gives memory back that was kept; nobody may look at it any more. Calling it again does nothing. */
export type GiveBack = () => void;

interface Slab {
  readonly bytes: Buffer;
  /** Where the next request goes. */
  at: number;
  /** Requests in it that are kept. */
  kept: number;
}

/** Requests begin at such addresses, so that their structures are aligned. */
const ALIGNMENT = 64;

export class RequestMemory {
  #slab = newSlab();
  #room = roomOf(this.#slab);
  readonly #spare: Slab[] = [];

  /** Where the next request is read to. */
  get room(): Buffer {
    return this.#room;
  }

  /** Slabs that wait for use. */
  get spareSlabs(): number {
    return this.#spare.length;
  }

  /**
   * Leaves the first bytes of the room as they are, for as long as somebody refers to them.
   *
   * @returns for those who can say when they are done: without it the memory is freed when nothing refers to it
   */
  keep(lengthBytes: number): GiveBack {
    const slab = this.#slab;
    slab.kept += 1;
    slab.at += Math.ceil(lengthBytes / ALIGNMENT) * ALIGNMENT;
    if (slab.at + REQUEST_BUFFER_BYTES > slab.bytes.length) this.#slab = this.#spare.pop() ?? newSlab();
    this.#room = roomOf(this.#slab);
    let isBack = false;
    return () => {
      if (isBack) return;
      isBack = true;
      slab.kept -= 1;
      if (slab.kept === 0) this.#reuse(slab);
    };
  }

  #reuse(slab: Slab): void {
    slab.at = 0;
    if (slab === this.#slab) this.#room = roomOf(slab);
    else if (this.#spare.length < REQUEST_SLABS_SPARE_MAX) this.#spare.push(slab);
  }
}

function newSlab(): Slab {
  return { bytes: Buffer.allocUnsafeSlow(REQUEST_SLAB_BYTES), at: 0, kept: 0 };
}

function roomOf({ bytes, at }: Slab): Buffer {
  return bytes.subarray(at, at + REQUEST_BUFFER_BYTES);
}
