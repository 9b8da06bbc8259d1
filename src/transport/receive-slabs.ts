/**
 * Receive memory of a connection that brings bulk data: large slabs instead of 64 KiB chunks, so that a READ reply
 * takes few reads, lies in few pieces and leaves little for the garbage collector.
 */
import type { OnReadOpts } from 'node:net';
import { RECEIVE_SLAB_BYTES, RECEIVE_SLAB_REST_BYTES } from './limits.ts';

export class ReceiveSlabs {
  /** Set by the transport before the socket flows. */
  receiver: ((chunk: Uint8Array) => void) | undefined;
  #slab: Buffer = Buffer.allocUnsafeSlow(RECEIVE_SLAB_BYTES);

  /** For the `onread` option of net.createConnection. */
  readonly onread: OnReadOpts = {
    buffer: () => {
      if (this.#slab.length < RECEIVE_SLAB_REST_BYTES)
        this.#slab = Buffer.allocUnsafeSlow(RECEIVE_SLAB_BYTES);
      return this.#slab;
    },
    callback: (lengthBytes) => {
      // What was received is never written again: views of it may be kept as long as anybody likes.
      const chunk = this.#slab.subarray(0, lengthBytes);
      this.#slab = this.#slab.subarray(lengthBytes);
      this.receiver?.(chunk);
      return true;
    },
  };
}
