/** How long a server may take to answer HELLO and MNT while a route is tried, in milliseconds. */
export const ROUTE_TRY_TIMEOUT_MS = 5_000;
/** First pause before a lost connection is tried again, in milliseconds; doubles up to RECONNECT_PAUSE_MAX_MS. */
export const RECONNECT_PAUSE_MIN_MS = 50;
/** Longest pause between tries, in milliseconds: a returned server is found this soon. */
export const RECONNECT_PAUSE_MAX_MS = 2_000;
/** While a worse route is in use, better ones are tried again this often, in milliseconds. */
export const ROUTE_RECHECK_MS = 15_000;
/** Callers with more than 16 groups whose name at the server is remembered, by session; the oldest go first. */
export const SHORTHANDS_MAX = 1_024;
/** Pause before a call answered NFS3ERR_JUKEBOX is sent again, in milliseconds (RFC 1813 leaves it to the client). */
export const JUKEBOX_PAUSE_MS = 1_000;
/**
 * A session with a Nearmount server that was silent for so long says NULL, in milliseconds: servers close what is idle,
 * and a server that went away without a word is noticed.
 */
export const PING_AFTER_MS = 120_000;
/** How long page handles that are not used any more may wait for company before they are given back, in milliseconds. */
export const UNMAP_DELAY_MS = 50;
/**
 * Calls that are not idempotent one mount has under way; more wait. A Nearmount server remembers four times as many of a
 * client (KEPT_CALLS_PER_CLIENT_MAX), which leaves room for those that were given up.
 */
export const ONCE_CALLS_IN_FLIGHT_MAX = 64;
/** Calls of a server that a guest has under way; no more are read until one is answered. */
export const CALLBACKS_IN_FLIGHT_MAX = 64;
/** How often a server that tells of changes is asked whether it is there, and how long it has to answer, in milliseconds. */
export const PUSH_PING_MS = 20_000;
