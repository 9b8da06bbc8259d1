/** Largest READ the kernel sends, in bytes; FUSE_MAX_PAGES of 256 pages. */
export const MAX_READ_BYTES = 1024 * 1024;
export const MAX_PAGES = 256;
/** Largest WRITE accepted, in bytes. The mount is read-only, so the smallest the kernel allows will do. */
export const MAX_WRITE_BYTES = 4096;
/** A request buffer holds max_write and a page for header and names; names of an entry come close to 8 KiB. */
export const REQUEST_BUFFER_BYTES = 64 * 1024;
/** Requests the kernel keeps under way in the background: read-ahead and the like. */
export const MAX_BACKGROUND = 64;
export const CONGESTION_THRESHOLD = 48;
/** How long an interrupted request may still finish by itself before it is answered EINTR, in milliseconds. */
export const INTERRUPT_GRACE_MS = 200;
/** Read-ahead of the mount's pages on the wire path, in KiB; bounds how many READs a sequential reader keeps under way. */
export const READ_AHEAD_KIB = 4096;
/** Oldest kernel protocol minor version spoken: 7.31 (Linux 5.4). */
export const MINOR_VERSION_MIN = 31;
