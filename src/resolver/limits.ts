/** How long a call waits for another process's transaction, milliseconds. It blocks the event loop, so it is short. */
export const BUSY_TIMEOUT_MS = 2000;
/** Longest name of an export, a server, a node or a cluster, bytes. */
export const MAX_NAME_BYTES = 255;
/** Longest node id, characters (a boot_id has 36). */
export const MAX_NODE_ID_CHARS = 128;
/** Longest path of an export on its server, bytes: MNTPATHLEN, RFC 1813 section 5.1.4. */
export const MAX_EXPORT_PATH_BYTES = 1024;
/** Endpoints one server may list. */
export const MAX_ENDPOINTS_PER_SERVER = 64;
/** Exports one server may list. */
export const MAX_EXPORTS_PER_SERVER = 4096;
/** Highest endpoint priority number (the least wanted). */
export const MAX_PRIORITY = 65535;
/** Largest document `colocation import` reads, bytes. */
export const MAX_IMPORT_BYTES = 64 * 1024 * 1024;
/** How many known exports an "unknown export" error names. */
export const KNOWN_EXPORTS_SHOWN = 5;
