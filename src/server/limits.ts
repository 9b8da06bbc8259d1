/** A TCP connection without a call for this long is closed, in milliseconds; NFS clients connect again by themselves. */
export const CONNECTION_IDLE_MS = 6 * 60_000;
/** How often idle connections are looked for, in milliseconds. */
export const IDLE_CHECK_MS = 10_000;
/** How long SIGTERM waits for calls that are being answered, in milliseconds. */
export const DRAIN_MS = 5_000;
/** Entries of the list that MOUNT's DUMP shows; the oldest go first. */
export const MOUNT_LIST_MAX = 1_024;
/** Directory entries of one reply take at most this many bytes, whatever the client asks for. */
export const DIRECTORY_REPLY_BYTES_MAX = 256 * 1024;
/** How long the local rpcbind may take to answer, in milliseconds. */
export const RPCBIND_TIMEOUT_MS = 5_000;
