/** The guest's half of the reverse direction: what servers call here. */
import { FGDP_CALLBACK_PROGRAM } from '../fgdp/callback.ts';
import type { Serving } from '../rpc/connection.ts';
import { Dispatcher } from '../rpc/dispatcher.ts';
import { CALLBACKS_IN_FLIGHT_MAX } from './limits.ts';

/** Takes what servers say on their own account; one for a mount, whichever session it comes by. */
export class Callbacks {
  /** Set by whoever waits for locks: a request that had to wait has its lock now. */
  onLockGranted: ((cookie: bigint) => void) | undefined;

  /** How a connection answers the calls of its server. */
  serving(): Serving<undefined> {
    // A fault of ours is the server's SYSTEM_ERR; it has nobody to tell.
    const dispatcher = new Dispatcher<undefined>({ onFailure: () => undefined });
    dispatcher.register(FGDP_CALLBACK_PROGRAM, {
      NULL: () => undefined,
      LOCK_GRANTED: ({ cookie }) => {
        this.onLockGranted?.(cookie);
      },
    });
    return { dispatcher, makeContext: () => undefined, callsInFlightMax: CALLBACKS_IN_FLIGHT_MAX };
  }
}
