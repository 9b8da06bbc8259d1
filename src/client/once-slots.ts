import { RpcError } from '../rpc/error.ts';
import { ONCE_CALLS_IN_FLIGHT_MAX } from './limits.ts';

/**
 * How many calls that are not idempotent one mount has under way: no more than its server remembers, so that whichever it
 * has to send again is known there.
 */
export class OnceSlots {
  readonly #max: number;
  #taken = 0;
  /** The one that waits longest first. */
  readonly #waiting = new Set<() => void>();

  constructor(max = ONCE_CALLS_IN_FLIGHT_MAX) {
    this.#max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  /**
   * Runs `call` in a slot, when there is one.
   *
   * @param signal read only where there is none
   * @throws RpcError ABORTED when the signal comes before a slot does
   */
  async run<T>(waiter: { readonly signal: AbortSignal }, call: () => Promise<T>): Promise<T> {
    if (this.#taken < this.#max) this.#taken += 1;
    else await this.#handedOver(waiter.signal);
    try {
      return await call();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#taken -= 1;
      else next();
    }
  }

  /** Waits until somebody leaves a slot, which stays taken. */
  #handedOver(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(onTurn);
        reject(new RpcError('ABORTED', 'given up before it was sent'));
      };
      const onTurn = (): void => {
        this.#waiting.delete(onTurn);
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(onTurn);
    });
  }
}
