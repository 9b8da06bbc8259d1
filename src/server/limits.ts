/** Connections a server holds, all listeners together; when more come, see ConnectionAdmission. */
export const CONNECTIONS_MAX = 4_096;
/** Connections it holds in any case, however few files the process may open. */
export const CONNECTIONS_MIN = 64;
/** Descriptors left for listeners, channels, databases and the like. */
export const DESCRIPTORS_SPARE = 256;
/** Connections of one address, or of one user over the Unix socket. */
export const CONNECTIONS_PER_PEER_MAX = 1_024;
/** A record of which more than this has come, and which is not complete, counts as long, in bytes. */
export const LONG_RECORD_BYTES = 64 * 1024;
/** Long records on their way at a time, all connections together; the oldest is cut off for one more. */
export const LONG_RECORDS_MAX = 256;
/** How long a peer may take to send one record, in milliseconds. */
export const RECORD_TIMEOUT_MS = 60_000;
/** How long a peer may take to take one reply, in milliseconds. */
export const SEND_STALLED_MS = 60_000;
/** Memory of bulk replies being made or waiting to be sent, all connections together, in bytes. */
export const REPLY_BYTES_MAX = 256 * 1024 * 1024;
/** The same of one connection, in bytes: sixteen READs of 1 MiB. */
export const REPLY_BYTES_PER_CONNECTION_MAX = 16 * 1024 * 1024;
/** Memory of calls received and not carried out, all connections together, in bytes: above it only small calls are read. */
export const CALL_BYTES_MAX = 256 * 1024 * 1024;
/** The same of one connection, in bytes: sixteen WRITEs of 1 MiB. */
export const CALL_BYTES_PER_CONNECTION_MAX = 16 * 1024 * 1024;
/** How often connections that were refused are logged, in milliseconds. */
export const REFUSED_LOG_MS = 10_000;
/** A connection without a call for this long is closed, in milliseconds; NFS clients connect again by themselves. */
export const CONNECTION_IDLE_MS = 6 * 60_000;
/** How often idle and stalled connections are looked for, in milliseconds. */
export const IDLE_CHECK_MS = 10_000;
/** Callers with more than 16 groups that one connection has told about; the one not heard of longest goes first. */
export const SHORTHANDS_PER_SESSION_MAX = 1_024;
/** Groups of all these callers together, four bytes each. */
export const SHORTHAND_GROUPS_PER_SESSION_MAX = 131_072;
/** How long SIGTERM waits for calls that are being answered, in milliseconds. */
export const DRAIN_MS = 5_000;
/** Entries of the list that MOUNT's DUMP shows; the oldest go first. */
export const MOUNT_LIST_MAX = 1_024;
/** One reply of DUMP, in bytes; what does not fit is left out. */
export const MOUNT_LIST_BYTES_MAX = 64 * 1024;
/** Directory entries of one reply take at most this many bytes, whatever the client asks for. */
export const DIRECTORY_REPLY_BYTES_MAX = 256 * 1024;
/** How long the local rpcbind may take to answer, in milliseconds. */
export const RPCBIND_TIMEOUT_MS = 5_000;
/** Files one session has pages of; with one more, the pages of the file not used for longest are taken back. */
export const MAPPED_FILES_PER_SESSION_MAX = 4_096;
/**
 * Calls of one client that are remembered so that they take effect once, the newest: a gateway has a quarter of that
 * under way at a time (ONCE_CALLS_IN_FLIGHT_MAX), so those that it may send again are among them however late it does.
 */
export const KEPT_CALLS_PER_CLIENT_MAX = 256;
/** Clients (mounts) whose calls are remembered; for one more, one that was silent for long is forgotten. */
export const KEPT_CLIENTS_MAX = 4_096;
/** What the remembered calls of all clients take in their log, in bytes. */
export const KEPT_BYTES_MAX = 16 * 1024 * 1024;
/** A client that made no such call for this long is forgotten when there is need, in milliseconds: a day. */
export const KEPT_CLIENT_SILENT_MS = 24 * 60 * 60_000;
/** What a procedure may keep before a change, in bytes. */
export const INTENT_BYTES_MAX = 1_024;
/** Least and greatest size of each of the two files of the log, in bytes; they grow with what is remembered. */
export const CALL_LOG_BYTES_MIN = 4 * 1024 * 1024;
export const CALL_LOG_BYTES_MAX = 64 * 1024 * 1024;
/** How long a new server waits for the one before it to let go of the log, in milliseconds: it may be answering its last calls. */
export const CALL_LOG_WAIT_MS = DRAIN_MS + 2_000;
/** How often it looks, in milliseconds: nobody tells when a lock is free. */
export const CALL_LOG_RETRY_MS = 50;
/** How often it is logged that the log cannot be written, in milliseconds. */
export const CALL_LOG_WARN_MS = 60_000;
/** Replies to clients that do not speak FGDP remembered for a while, all clients together. */
export const RECENT_REPLIES_MAX = 4_096;
/** For how long, in milliseconds; other servers (nfsd's RC_EXPIRE) have the same. */
export const RECENT_REPLY_MS = 120_000;
/** Locks of one client (mount), each range of an owner counted; for one more LOCK answers that there is no room: ENOLCK. */
export const LOCKS_PER_CLIENT_MAX = 16_384;
/** Requests for locks of one client that wait, and those for one file of all clients; beyond it ENOLCK. */
export const LOCK_WAITS_PER_CLIENT_MAX = 4_096;
export const LOCK_WAITS_PER_FILE_MAX = 16_384;
/** Clients that have locks at a time; one more gets ENOLCK. */
export const LOCK_CLIENTS_MAX = 4_096;
/**
 * How long the locks of a client are kept whose last connection has ended, in milliseconds: over a Unix socket, where only a
 * gateway that has ended loses it, and over TCP.
 */
export const LOCK_RECONNECT_NEAR_MS = 1_000;
export const LOCK_RECONNECT_MS = 10_000;
/**
 * How long a server that was started anew gives out no locks but those that clients had before, in milliseconds, unless all
 * of them have come sooner. Gateways that lost their server look for it at least every RECONNECT_PAUSE_MAX_MS.
 */
export const LOCK_GRACE_MS = 10_000;
/** How long it stays on record that a client may have locks after it has given up its last one, in milliseconds. */
export const LOCK_RECORD_IDLE_MS = 2_000;
/** Size of each of the two files of that record, `locks.0` and `locks.1`, in bytes. */
export const LOCK_RECORD_BYTES = 256 * 1024;
/** How long a guest may take to acknowledge that it was told of a lock, in milliseconds; it asks again when it reconnects. */
export const LOCK_GRANTED_TIMEOUT_MS = 60_000;
/** Files and directories one guest is told the changes of, about 100 bytes each; the oldest are told to be forgotten. */
export const PROMISES_PER_SESSION_MAX = 262_144;
/** The same of all guests together; the guest with the most of them gives way. */
export const PROMISES_MAX = 1_048_576;
/** So many are forgotten at a time. */
export const PROMISES_FORGOTTEN_AT_ONCE = 1_024;
/**
 * Files and directories that have changed and that a guest is not told of yet, because it has not answered the last
 * INVALIDATE. Beyond it the guest is told once that everything may have changed, and no more.
 */
export const INVALIDATIONS_WAITING_MAX = 8_192;
/** Names of all directories in one INVALIDATE, at most 255 bytes each. */
export const INVALIDATE_NAMES_PER_CALL_MAX = 2_048;
