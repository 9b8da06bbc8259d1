/** Descriptors (O_PATH) kept for handles that were used lately, for all exports of a store. */
export const OPEN_NODES_MAX = 1024;
/** How long an unused one is kept. While it is, a deleted file's blocks stay allocated. */
export const OPEN_NODE_IDLE_MS = 5000;
/** Files kept open for reading, for all exports of a store; files being read right now come on top. */
export const OPEN_FILES_MAX = 512;
export const OPEN_FILE_IDLE_MS = 5000;
/** The most that one readSource returns. */
export const READ_BYTES_MAX = 1_048_576;
/** Buffers of READ_BYTES_MAX kept for the next reads. */
export const SPARE_READ_BUFFERS_MAX = 16;
/** Reads up to here take memory of their own size instead of such a buffer. */
export const SMALL_READ_BYTES_MAX = 16_384;
/** RFC 1813, section 2.4: NFS3_FHSIZE. */
export const FILE_HANDLE_BYTES_MAX = 64;
/** NAME_MAX of Linux. */
export const NAME_BYTES_MAX = 255;
/** Directory entries are taken from the kernel in pieces of this size. */
export const DIRECTORY_BUFFER_BYTES = 32_768;
/** Directories held between two calls where the file system asks for it, for all exports of a store. */
export const HELD_DIRECTORIES_MAX = 64;
/** How long an unused one is held: a listing that pauses for longer may miss names, or show them twice. */
export const HELD_DIRECTORY_IDLE_MS = 60_000;
/** How many directories a climb from `..` to the export's root passes before it is given up. */
export const DIRECTORY_DEPTH_MAX = 2048;
/** Files watched for changes at a time, each with one inotify watch (fs.inotify.max_user_watches is 8,192 or more). */
export const WATCHED_FILES_MAX = 8_000;
/** How much earlier than the clock says a new file may seem to be made: the kernel's time goes on in ticks (CONFIG_HZ). */
export const FILE_TIME_TICK_NS = 20_000_000n;
/** Files kept open for writing, for all exports of a store; those being written right now come on top. */
export const OPEN_WRITERS_MAX = 256;
/**
 * How long a file nobody writes is kept open for writing. Short, because meanwhile it counts as being written: its pages
 * are not shared with guests (see isOpenForWriting), and programs on the server cannot execute it (ETXTBSY).
 */
export const OPEN_WRITER_IDLE_MS = 1000;
/** Files being closed that wait until what was written to them is on the disk; above it, WRITEs wait to be answered. */
export const CLOSING_WRITERS_MAX = 256;
/** Writes of one file at a time: one that copies, and one that waits for the file's lock in the kernel. */
export const WRITES_AT_ONCE_PER_FILE = 2;
/** Writes up to here are done at once, on the main thread, where the file system can without waiting for a disk. */
export const WRITE_NOW_BYTES_MAX = 65_536;
/** How long the main thread may be kept by a disk that is to begin with such a write, before it is left to the pool. */
export const AHEAD_LONG_MS = 5;
/** For how long it is left to the pool then. */
export const AHEAD_PAUSE_MS = 5_000;
/** With less than this left for everybody, a file system that keeps a reserve for root is written as the caller. */
export const NEARLY_FULL_BYTES = 64n * 1024n * 1024n;
/** One record of a log in the state directory, in bytes. */
export const STATE_LOG_RECORD_BYTES_MAX = 4_096;
/** So old a time stamp is of an earlier tick of any kernel's clock, in nanoseconds: ticks are 1 to 10 ms. */
export const COARSE_TICK_NS = 20_000_000n;
/** Events of changes are gathered for so long, in milliseconds, after the first was told at once: the kernel merges them. */
export const CHANGES_GATHERED_MS = 5;
/** Bytes that one copy moves on the main thread, where it matters in whose name: see WritableFile. */
export const COPY_HERE_BYTES_MAX = 1024 * 1024;
