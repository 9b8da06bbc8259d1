/** The guest's half of the reverse direction: what servers call here. */
import { FGDP_CALLBACK_PROGRAM, INVALID, INVALIDATE_KIND, type INVALIDATEargs } from '../fgdp/callback.ts';
import type { Serving } from '../rpc/connection.ts';
import { Dispatcher } from '../rpc/dispatcher.ts';
import { CALLBACKS_IN_FLIGHT_MAX } from './limits.ts';

/** What a server says of one file or directory. */
export interface Invalidation {
  readonly handle: Uint8Array;
  /** Its attributes or content have changed, or it is gone. */
  readonly isChanged: boolean;
  /** Names of the directory have changed, and these need not be all. */
  readonly areNamesUnknown: boolean;
  /** The server does not look after it any more. */
  readonly isForgotten: boolean;
  /** Names of the directory that have changed. */
  readonly names: readonly Uint8Array[];
}

export interface InvalidationListener {
  invalidated(changes: readonly Invalidation[]): void;
  /** Changes were missed: nothing is told any more until the session is subscribed again. */
  everythingInvalidated(reason: string): void;
}

function tell(listener: InvalidationListener, args: INVALIDATEargs): void {
  if (args.kind === INVALIDATE_KIND.EVERYTHING) {
    listener.everythingInvalidated(Buffer.from(args.reason).toString());
    return;
  }
  const changes = args.objects.map(({ object, what, names }) => ({
    handle: object.data,
    isChanged: (what & INVALID.ATTRIBUTES) !== 0,
    areNamesUnknown: (what & INVALID.ALL_NAMES) !== 0,
    isForgotten: (what & INVALID.FORGOTTEN) !== 0,
    names,
  }));
  listener.invalidated(changes);
}

/** Takes what servers say on their own account; one for a mount, whichever session it comes by. */
export class Callbacks {
  /** Set by whoever waits for locks: a request that had to wait has its lock now. */
  onLockGranted: ((cookie: bigint) => void) | undefined;
  /**
   * Set by whoever subscribes. It is told when the replies that were received before have been taken in by those who
   * waited for them, however many records came at once.
   */
  listener: InvalidationListener | undefined;

  /** How a connection answers the calls of its server. */
  serving(): Serving<undefined> {
    // A fault of ours is the server's SYSTEM_ERR; it has nobody to tell.
    const dispatcher = new Dispatcher<undefined>({ onFailure: () => undefined });
    dispatcher.register(FGDP_CALLBACK_PROGRAM, {
      NULL: () => undefined,
      LOCK_GRANTED: ({ cookie }) => {
        this.onLockGranted?.(cookie);
      },
      INVALIDATE: async (args) => {
        // Behind the promise jobs of this turn: those of earlier replies are among them.
        await new Promise((resolve) => setImmediate(resolve));
        // Answered when it is done, so that a server does not send more and more.
        if (this.listener !== undefined) tell(this.listener, args);
      },
    });
    return { dispatcher, makeContext: () => undefined, callsInFlightMax: CALLBACKS_IN_FLIGHT_MAX };
  }
}
