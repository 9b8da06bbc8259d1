/** Calls that must not be taken for failed because they were sent twice. */
import type { WideCredential } from '../client/credential.ts';
import type { Waiter } from '../client/link.ts';
import type { Caller } from './callers.ts';

/**
 * A caller for one call, which notices that the call was sent more than once. A server that does not recognise the
 * second transmission (RFC 1813 section 4.8) may answer it as if somebody else had been first: EXIST for what the first one
 * made, NOENT for what it removed.
 */
export class SentCall implements Waiter {
  readonly #caller: Caller;
  #transmissions = 0;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  get credential(): Waiter['credential'] {
    return this.#caller.credential;
  }

  get wide(): WideCredential | undefined {
    return this.#caller.wide;
  }

  get signal(): AbortSignal {
    return this.#caller.signal;
  }

  onTransmission(): void {
    this.#transmissions += 1;
  }

  get wasResent(): boolean {
    return this.#transmissions > 1;
  }
}
