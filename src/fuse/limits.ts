/** Largest READ the kernel sends, in bytes; FUSE_MAX_PAGES of 256 pages. */
export const MAX_READ_BYTES = 1024 * 1024;
export const MAX_PAGES = 256;
/** Largest WRITE accepted, in bytes; as many pages as a READ. */
export const MAX_WRITE_BYTES = 1024 * 1024;
/** Room for one request: max_write, and a page for header and names, as the kernel demands. */
export const REQUEST_BUFFER_BYTES = MAX_WRITE_BYTES + 4096;
/** Memory for requests is taken in pieces of so many bytes: at most a quarter of one stays unused behind large WRITEs. */
export const REQUEST_SLAB_BYTES = 4 * REQUEST_BUFFER_BYTES;
/** Pieces of such memory that are kept for use when they are given back. */
export const REQUEST_SLABS_SPARE_MAX = 8;
/** The bytes of WRITEs up to this size are copied by whoever keeps them: less than a held piece of memory would cost. */
export const WRITE_COPIED_BYTES_MAX = 64 * 1024 - 1;
/** Requests the kernel keeps under way in the background: read-ahead and the like. */
export const MAX_BACKGROUND = 64;
export const CONGESTION_THRESHOLD = 48;
/** How long an interrupted request may still finish by itself before it is answered EINTR, in milliseconds. */
export const INTERRUPT_GRACE_MS = 200;
/** Read-ahead of the mount's pages on the wire path, in KiB; bounds how many READs a sequential reader keeps under way. */
export const READ_AHEAD_KIB = 4096;
/** Oldest kernel protocol minor version spoken: 7.31 (Linux 5.4). */
export const MINOR_VERSION_MIN = 31;
/** Largest READ of the fuse-native driver, in bytes: what libfuse 2 has room for. */
export const NATIVE_READ_BYTES = 128 * 1024;
/** Names that the fuse-native driver remembers with their inodes; the longest unused go first. */
export const NATIVE_NAMES_MAX = 65_536;
/** Inode numbers above 31 bits that the fuse-native driver keeps a short number for; the oldest go first. */
export const NATIVE_INODE_NUMBERS_MAX = 1_048_576;
/** How often the fuse-native driver looks whether it was unmounted, in milliseconds: libfuse does not tell. */
export const NATIVE_UNMOUNT_CHECK_MS = 500;
/** Names that have changed and of which the kernel is not told yet; what comes beyond is left to its time-out. */
export const NAME_NOTICES_MAX = 16_384;
/** How long it is tried to find a moment without requests about a name's directory, in milliseconds; then the name times out. */
export const NAME_NOTICE_TRIED_MS = 10_000;
/** How often it is tried, in milliseconds. */
export const NAME_NOTICE_RETRY_MS = 5;
