/** Limits of measuring, with units; docs/operations.md names those a user meets. */

/** How many entries of a tree are looked at to choose files, and how long that may take. */
export const SURVEY_ENTRIES_MAX = 20_000;
export const SURVEY_SECONDS_MAX = 20;
/** What counts as a small file, and how many of them one pass opens. */
export const SMALL_FILE_BYTES_MAX = 64 * 1024;
export const SMALL_FILES_MAX = 5_000;
/** Pages one pass of random reads touches, each once. */
export const RANDOM_READS_MAX = 200_000;
/** How much of a file random reads are spread over: what is mapped at once, and shuffled. */
export const RANDOM_SPAN_BYTES_MAX = 4 * 1024 ** 3;
/** What a task may take beyond its own time limit until its process is killed, in milliseconds. */
export const TASK_GRACE_MS = 60_000;
/** How long a killed process may take to be gone, in milliseconds: one that is not is stuck in a system call. */
export const KILL_GRACE_MS = 5_000;
