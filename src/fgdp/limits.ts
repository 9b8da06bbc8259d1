/** Version of the FGDP program spoken here. */
export const FGDP_VERSION = 1;
/** GRANT calls a guest has under way at a time, so that the channel's buffer holds what was sent; more wait. */
export const GRANTS_UNREAD_MAX = 64;
/** Packets a guest takes from its channel in one go; the buffer of a channel holds about 278. */
export const CHANNEL_DRAIN_PACKETS_MAX = 512;
/** Granted descriptors a guest keeps that no reply has named yet; more are closed. */
export const GRANTS_UNTAKEN_MAX = 512;
/** Descriptors granted to one session at a time. */
export const GRANTS_PER_SESSION_MAX = 65_536;
/** Largest single read of a granted file, in bytes: what FUSE asks for at most. */
export const MAPPED_READ_BYTES_MAX = 1024 * 1024;
/** Grants released by one RELEASE call. */
export const RELEASE_GRANTS_MAX = 1_024;
/** Most groups of one caller, beside its own: the kernel's NGROUPS_MAX. */
export const CREDENTIAL_GROUPS_MAX = 65_536;
/** Longest name that CREDENTIAL gives a caller, in bytes: the body of AUTH_SHORT (RFC 5531 section 8.2). */
export const SHORTHAND_BYTES_MAX = 400;
/** Channels accepted whose HELLO has not come yet; the oldest is closed when one more arrives. */
export const CHANNELS_PENDING_MAX = 64;
/** How long such a channel may wait for its HELLO, in milliseconds. */
export const CHANNEL_PENDING_MS = 10_000;
/** Largest packet on the descriptor channel, in bytes. */
export const CHANNEL_PACKET_BYTES_MAX = 256;
/** Pages of one shared segment's data, of 4 KiB each: 16 MiB. */
export const SEGMENT_PAGES = 4_096;
/** Largest segment a guest maps, in pages. */
export const SEGMENT_PAGES_MAX = 65_536;
/** Segments a guest maps for one session. */
export const SEGMENTS_PER_SESSION_MAX = 256;
/** The largest run of pages is 2 to the power of this: 1 MiB. */
export const RUN_ORDER_MAX = 8;
/** Memory of all segments of a server, in bytes, without their slots. */
export const SEGMENT_POOL_BYTES = 512 * 1024 * 1024;
/** Memory of one session's segments, in bytes. Slots come on top, 32 bytes a page. */
export const SEGMENT_QUOTA_BYTES = 128 * 1024 * 1024;
/** Most bytes of a file that one MAP asks for. */
export const MAP_BYTES_MAX = 8 * 1024 * 1024;
/** Most page handles in one reply to MAP. */
export const MAP_HANDLES_MAX = 64;
/** Page handles given back by one UNMAP. */
export const UNMAP_HANDLES_MAX = 1_024;
/** Files and directories named by one INVALIDATE. */
export const INVALIDATE_OBJECTS_MAX = 1_024;
/** Names of one directory that INVALIDATE tells; of more it says ALL_NAMES. */
export const INVALIDATE_NAMES_MAX = 256;
/** Longest name of an extended attribute without `user.`, in bytes: XATTR_NAME_MAX of Linux less the prefix. */
export const XATTR_KEY_BYTES_MAX = 250;
/** Largest value of an extended attribute, in bytes: XATTR_SIZE_MAX of Linux. */
export const XATTR_VALUE_BYTES_MAX = 65_536;
/** Most extended attributes of a file: names of one byte in a list of XATTR_LIST_MAX (64 KiB), with `user.` and a NUL. */
export const XATTR_KEYS_MAX = 9_362;
/** Most bytes that one COPY copies, so that it holds a thread of the server for a moment only. */
export const COPY_BYTES_MAX = 64 * 1024 * 1024;
