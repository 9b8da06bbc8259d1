/**
 * What a measuring process can be asked to do, and what it answers: one JSON document each way. Names are paths below
 * `root` with one character a byte, because not every name is UTF-8.
 */
import { z } from 'zod';

/** The six things that are timed, in the order in which they are done and shown. */
export const WORKLOADS = ['sequential', 'pread', 'mmap', 'small-files', 'stat', 'list'] as const;
export type Workload = (typeof WORKLOADS)[number];

/** For people. */
export const WORKLOAD_TITLES: Readonly<Record<Workload, string>> = {
  sequential: 'sequential read, 1 MiB each',
  pread: 'random pread, 4 KiB each',
  mmap: 'random mmap, 4 KiB each',
  'small-files': 'open, read, close small files',
  stat: 'stat every file of a tree',
  list: 'list every directory of a tree',
};

/** What a rate counts in a second. */
export const WORKLOAD_UNITS: Readonly<Record<Workload, string>> = {
  sequential: 'MiB/s',
  pread: 'reads/s',
  mmap: 'pages/s',
  'small-files': 'files/s',
  stat: 'files/s',
  list: 'entries/s',
};

const onFile = { root: z.string(), file: z.string(), seconds: z.number() };

export const timedTask = z.discriminatedUnion('workload', [
  z.object({
    workload: z.literal('sequential'),
    ...onFile,
    bytesMax: z.number(),
    dropCache: z.boolean(),
  }),
  z.object({
    workload: z.enum(['pread', 'mmap']),
    ...onFile,
    readsMax: z.number(),
    /** Decides the order; any number but 0. */
    seed: z.number(),
    dropCache: z.boolean(),
  }),
  z.object({
    workload: z.enum(['small-files', 'stat']),
    root: z.string(),
    files: z.array(z.string()),
    seconds: z.number(),
    dropCache: z.boolean(),
  }),
  z.object({ workload: z.literal('list'), root: z.string(), directory: z.string(), seconds: z.number() }),
]);
/** `seconds` ends a workload early; `dropCache` drops what was read from this machine's page cache afterwards. */
export type TimedTask = z.infer<typeof timedTask>;

export const timedResult = z.object({
  seconds: z.number(),
  /** Reads, files or entries. */
  operations: z.number(),
  bytes: z.number(),
  /** User and system time of the reading process while it read. */
  cpuSeconds: z.number(),
  /** user.nearmount.* of the file, asked while it was open; empty where it has none. */
  attributes: z.record(z.string(), z.string()),
});
export type TimedResult = z.infer<typeof timedResult>;

export const surveyTask = z.object({
  survey: z.literal(true),
  root: z.string(),
  entriesMax: z.number(),
  seconds: z.number(),
});
export type SurveyTask = z.infer<typeof surveyTask>;

export const survey = z.object({
  /** Whether every entry was seen. */
  complete: z.boolean(),
  /** Regular files with their sizes, in the order of their names. */
  files: z.array(z.object({ name: z.string(), sizeBytes: z.number() })),
  entries: z.number(),
  /** statfs(2)'s magic number of the kind of file system. */
  fileSystem: z.number(),
});
export type Survey = z.infer<typeof survey>;

export const checksumTask = z.object({
  checksum: z.literal(true),
  root: z.string(),
  files: z.array(z.string()),
});
export type ChecksumTask = z.infer<typeof checksumTask>;

/** SHA-256 over names, sizes and contents, hexadecimal. */
export const checksum = z.object({ sha256: z.string(), bytes: z.number() });
export type Checksum = z.infer<typeof checksum>;

export const task = z.union([timedTask, surveyTask, checksumTask]);
export type Task = z.infer<typeof task>;

/** In `WORKLOAD_UNITS` of the workload. */
export function rateOf(workload: Workload, { seconds, operations, bytes }: TimedResult): number {
  return (workload === 'sequential' ? bytes / 1024 ** 2 : operations) / seconds;
}
