/** Largest record accepted or sent, in bytes: 1 MiB of READ data and room for headers and attributes. */
export const RECORD_BYTES_MAX = 1024 * 1024 + 64 * 1024;
/** Zero-length fragments tolerated in one record; more are an attack. */
export const RECORD_EMPTY_FRAGMENTS_MAX = 1024;
/** Calls of one connection being worked on at a time; further records wait unread in the socket. */
export const CALLS_IN_FLIGHT_MAX = 128;
/** Longest body of an opaque_auth, in bytes (RFC 5531 section 8.2). */
export const AUTH_BODY_BYTES_MAX = 400;
/** Longest machine name in AUTH_SYS, in bytes (RFC 5531 appendix A). */
export const AUTH_MACHINENAME_BYTES_MAX = 255;
/** Most supplementary groups in AUTH_SYS (RFC 5531 appendix A). */
export const AUTH_SYS_GROUPS_MAX = 16;
/** Longest netid, address or owner of rpcbind, in bytes. */
export const RPCBIND_STRING_BYTES_MAX = 255;
/** Most registrations that rpcbind may list. */
export const RPCBIND_LIST_MAX = 4_096;
