/** Limits of the benchmark's own steps, with units. */

/** How long a server or a mount may take until it can be used, in milliseconds, and how often to look. */
export const READY_LIMIT_MS = 60_000;
export const READY_POLL_MS = 20;
/** How long a process has between SIGTERM and SIGKILL, and a killed one to be gone, in milliseconds. */
export const END_GRACE_MS = 5_000;
/** How long one run of a program that sets something up may take, in milliseconds. */
export const PROGRAM_LIMIT_MS = 300_000;
/** How long the sequential read of the large file may take, in seconds: above what the slowest contender needs. */
export const SEQUENTIAL_SECONDS_MAX = 60;
/** How long one measurement of writing may take, in milliseconds: above what the slowest contender needs. */
export const WRITE_LIMIT_MS = 300_000;
