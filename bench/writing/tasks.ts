/** What a writing process can be asked to do: one JSON document. Its answer is that of every measuring process. */
import { z } from 'zod';

/** In the order in which they are done and shown. */
export const WRITE_WORKLOADS = ['write', 'write-fsync', 'random-write', 'untar'] as const;
export type WriteWorkload = (typeof WRITE_WORKLOADS)[number];

export const WRITE_TITLES: Readonly<Record<WriteWorkload, string>> = {
  write: 'sequential write, 1 MiB each, and close',
  'write-fsync': 'sequential write, 1 MiB each, fsync and close',
  'random-write': 'random pwrite, 4 KiB each, and fsync at the end',
  untar: 'tar x of small files',
};

export const WRITE_UNITS: Readonly<Record<WriteWorkload, string>> = {
  write: 'MiB/s',
  'write-fsync': 'MiB/s',
  'random-write': 'writes/s',
  untar: 'files/s',
};

export const writeTask = z.object({
  workload: z.enum(WRITE_WORKLOADS),
  /** A directory that does not exist yet, below a mount: it is made, and what is written comes into it. */
  directory: z.string(),
  /** Size of the file that is written, and of the one that random pages are written to. */
  bytes: z.number(),
  /** Of a page and a file: any number but 0. */
  seed: z.number(),
  /** How many pages, each once. */
  pages: z.number(),
  /** What is unpacked, not on the mount, and how many files it holds. */
  archive: z.string(),
  archiveFiles: z.number(),
});
export type WriteTask = z.infer<typeof writeTask>;

/** The one file of the workloads that write to one. */
export const FILE_NAME = 'file';
