/** How a link behaves while its server is away, who waits for its calls, and whom it tells. */
import type { opaque_auth } from '../rpc/auth.ts';
import type { RpcError } from '../rpc/error.ts';
import type { WideCredential } from './credential.ts';
import type { Session } from './session.ts';

/** Retry rules under NFS's own names: nfs(5). */
export interface RetryOptions {
  /** True (default): wait for the server as long as it takes. False ("soft"): fail after the retransmissions. */
  readonly hard: boolean;
  /** How long a transmission may stay unanswered before the connection counts as dead, in milliseconds. */
  readonly timeoutMs: number;
  /** Retransmissions before a soft mount gives up. */
  readonly retransmissions: number;
  /** Other pauses than those of limits.ts. */
  readonly pauses?: RetryPauses | undefined;
}

/** In milliseconds; defaults in limits.ts. */
export interface RetryPauses {
  readonly jukeboxMs?: number;
  readonly reconnectMinMs?: number;
  readonly reconnectMaxMs?: number;
  readonly recheckMs?: number;
}

/** Who waits for a call. */
export interface Waiter {
  readonly credential: opaque_auth;
  /** Set for a caller with more groups than the credential holds. */
  readonly wide?: WideCredential | undefined;
  /** Read only where waiting may be long, so that it can be made on demand. */
  readonly signal: AbortSignal;
}

export interface LinkEvents {
  readonly onLost: (reason: RpcError) => void;
  readonly onRestored: (session: Session) => void;
  /** A try failed; called for each, with the pause before the next. */
  readonly onTryFailed: (error: Error, pauseMs: number) => void;
  /** A caller has more groups than the server takes; called once. */
  readonly onGroupsCut?: (caller: WideCredential) => void;
}

/** Opens a session over the best route that works now. `better` limits it to routes better than the one in use. */
export type SessionOpener = (better?: Session) => Promise<Session | undefined>;
