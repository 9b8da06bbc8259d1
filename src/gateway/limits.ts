/** Names remembered for LOOKUP beyond what the kernel keeps; the oldest go first. */
export const NAME_CACHE_ENTRIES_MAX = 65_536;
/** Names the kernel was told of that are remembered with their inodes; the oldest go first. */
export const RECENT_NAMES_MAX = 65_536;
/** Names remembered of directories that this mount has made, each directory counted as one more; the oldest go first. */
export const KNOWN_NAMES_MAX = 65_536;
/** A journal of silly names that has grown to so many bytes is written anew, with what is still to be removed. */
export const SILLY_JOURNAL_BYTES = 1024 * 1024;
/** Largest journal of an earlier gateway that is read, in bytes. */
export const SILLY_JOURNAL_READ_BYTES_MAX = 64 * 1024 * 1024;
/** Callers whose supplementary groups are remembered. */
export const CALLER_CACHE_ENTRIES_MAX = 4_096;
/**
 * How long a caller's supplementary groups are believed, in milliseconds: the kernel does not tell when they change. Long
 * enough that a busy process is looked at for less than a hundredth of its time.
 */
export const CALLER_CACHE_MS = 20;
/** Granted files kept after their last close, so that opening them again needs no call; the oldest go first. */
export const GRANTS_KEPT_MAX = 1_024;
/** How long such a file is kept, in milliseconds. While it is, a deleted file's blocks stay allocated. */
export const GRANT_KEPT_MS = 5_000;
/** Bytes of one open file asked for ahead of its reader on the wire path. */
export const READ_AHEAD_BYTES = 8 * 1024 * 1024;
/** Sequential reads in a row after which reading ahead begins. */
export const READ_AHEAD_AFTER = 2;
/** A read that begins within so many times its size from where the one before ended counts as sequential. */
export const READ_NEIGHBOURS = 16;
/** Bytes of directory entries asked for in one READDIRPLUS, attributes included. */
export const DIRECTORY_PAGE_BYTES = 64 * 1024;
/** Longest name taken from a listing, in bytes: NAME_MAX of Linux. Longer ones are left out. */
export const NAME_BYTES_MAX = 255;
/** Longest target of a symbolic link that Linux takes, in bytes. */
export const LINK_TARGET_BYTES_MAX = 4095;
/** Inodes made for listings alone; once there are so many of any kind, a listing names files without them. */
export const LISTED_INODES_MAX = 1_000_000;
/** Pages of one listing that are remembered to notice that the server leads in a circle. */
export const LISTING_PAGES_SEEN_MAX = 65_536;
/** Pages in a row without one usable name after which a listing fails. */
export const LISTING_EMPTY_PAGES_MAX = 16;
/** Largest and default READ, in bytes. */
export const RSIZE_MAX_BYTES = 1024 * 1024;
export const RSIZE_MIN_BYTES = 4096;
/** Bytes of pages in shared memory the gateway holds on to; below the server's quota, so that nothing in use is recalled. */
export const PAGES_HELD_BYTES_MAX = 112 * 1024 * 1024;
/** Bytes mapped ahead of a sequential reader of shared pages, and of one MAP then: several are under way, or the reader waits. */
export const MAP_AHEAD_BYTES = 16 * 1024 * 1024;
export const MAP_WINDOW_BYTES = 4 * 1024 * 1024;
/** What lies so far behind a sequential reader is not read again by requests that come out of order, in bytes. */
export const MAP_BEHIND_BYTES = 4 * 1024 * 1024;
/** First MAP of a sequential reader, in bytes; doubles up to MAP_WINDOW_BYTES. */
export const MAP_FIRST_BYTES = 1024 * 1024;
/** A reader that jumps about has the pages around each place mapped, aligned to so many bytes. */
export const MAP_RANDOM_BYTES = 64 * 1024;
/** How often pages that are recalled under a read are asked for again before it takes bytes. */
export const MAP_TRIES = 3;
/** Questions, of its own or of others, that one such try waits for. */
export const MAP_ROUNDS_MAX = 64;
/** After a MAP was answered with bytes, the file is read by wire for so long, in milliseconds. */
export const MAP_RETRY_MS = 1_000;
/** Buffers of RSIZE_MAX_BYTES kept for the next reads out of shared memory. */
export const SPARE_BUFFERS_MAX = 8;
/** Smallest, and largest and default WRITE, in bytes. */
export const WSIZE_MIN_BYTES = 4096;
export const WSIZE_MAX_BYTES = 1024 * 1024;
/**
 * Bytes of all files that the gateway holds because no server has them on stable storage yet. Beyond it write(2) waits.
 * Each extent counts EXTENT_OVERHEAD_BYTES on top.
 */
export const DIRTY_BYTES_MAX = 64 * 1024 * 1024;
/** Above so many of them the files that were written first are committed, in bytes; nobody waits for it. */
export const DIRTY_BYTES_BACKGROUND = 24 * 1024 * 1024;
/** What an extent of written bytes takes beside its bytes: many small ones are bounded with it. */
export const EXTENT_OVERHEAD_BYTES = 512;
/** How long written bytes wait for more to make a full WRITE, in milliseconds. */
export const WRITE_BEHIND_MS = 1_000;
/** How long attributes of a new file that is not closed wait to be set, in milliseconds. */
export const ATTRIBUTES_BEHIND_MS = 1_000;
/** How long bytes that were sent wait for more until they are committed, in milliseconds. */
export const COMMIT_BEHIND_MS = 5_000;
/** Bytes, and WRITE calls, of one file that are under way. */
export const WRITES_IN_FLIGHT_BYTES = 8 * 1024 * 1024;
export const WRITES_IN_FLIGHT_MAX = 64;
/** Writes up to this size are copied together; larger ones are sent from the memory they came in. In bytes. */
export const GATHER_COPY_BYTES = 32 * 1024;
/**
 * A write from here on that leaves a hole is answered when the server has answered: how large a file may be differs by file
 * system (2 TiB on ext3, 16 TiB on ext4), and whoever looks for the end is told by EFBIG. In bytes.
 */
export const FAR_HOLE_BYTES = 2n ** 41n;
/** First memory for writes that are copied together, in bytes; doubles. */
export const GATHER_CHUNK_MIN_BYTES = 4096;
/** Short answers to one WRITE after which the server counts as broken: EIO. */
export const SHORT_WRITES_MAX = 512;
/** How often bytes are sent again because the write verifier has changed, until that counts as a broken server: EIO. */
export const WRITE_RESENDS_MAX = 64;
/** How long the end of a mount waits until everything that was written is at the server, in milliseconds. */
export const UNMOUNT_DRAIN_MS = 30_000;
/**
 * How long a file is kept for an OPEN that is about to come again, in milliseconds: the kernel sends it at once, a stopped or
 * killed program never.
 */
export const AWAITED_OPEN_MS = 1_000;
/** How long a lock that a server puts off waits until it is asked for again, in milliseconds: it was started anew a moment ago. */
export const LOCK_RETRY_MS = 200;
/** Threads of which is remembered, for each file, that the kernel is to look it up again for their open. */
export const SENT_BACK_MAX = 64;
/**
 * How long attributes and names are believed whose changes the server tells (push), in milliseconds, where acregmax and
 * acdirmax are not given. The kernel is told less: acregmax and acdirmax.
 */
export const PUSH_VALID_MS = 3_600_000;
/** Files of which it is remembered when the server told of them last; twice as many at most. */
export const COVERAGE_BROKEN_MAX = 32_768;
/** How long after the server has missed changes, or could not subscribe the mount, it is asked again, in milliseconds. */
export const PUSH_RESUBSCRIBE_MS = 1_000;
/** How long the server may take to answer SUBSCRIBE, in milliseconds. */
export const PUSH_SUBSCRIBE_TIMEOUT_MS = 10_000;
/** Files whose extended attributes are kept in memory, and how much memory all of them may take, in bytes. */
export const XATTR_FILES_MAX = 4_096;
export const XATTR_CACHE_BYTES_MAX = 8 * 1024 * 1024;
/** Larger values of extended attributes are asked for each time, in bytes. */
export const XATTR_KEPT_BYTES_MAX = 4_096;
/** Longest name of an extended attribute behind `user.`, in bytes: XATTR_NAME_MAX of Linux without it. */
export const XATTR_KEY_BYTES_MAX = 250;
/** Most bytes that a server is asked to copy in one call; it may copy fewer. */
export const COPY_ASKED_BYTES_MAX = 1024 * 1024 * 1024;
