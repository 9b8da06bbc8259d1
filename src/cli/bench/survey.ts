/** What a measuring process finds out about a tree before anything is timed. */
import { createHash } from 'node:crypto';
import { closeSync, lstatSync, openSync, readdirSync, readSync, statfsSync } from 'node:fs';
import type { Checksum, ChecksumTask, Survey, SurveyTask } from './tasks.ts';
import { pathOf } from './workloads.ts';

const BLOCK_BYTES = 1024 * 1024;
const MS_PER_SECOND = 1000;

/** Walks the tree, breadth first, until a limit is met. What cannot be read on the way is left out. */
export function surveyTree({ root, entriesMax, seconds }: SurveyTask): Survey {
  const end = performance.now() + seconds * MS_PER_SECOND;
  const files: { name: string; sizeBytes: number }[] = [];
  const waiting = [''];
  let entries = 0;
  const isOver = (): boolean => entries >= entriesMax || performance.now() > end;
  for (const directory of waiting) {
    if (isOver()) break;
    for (const entry of readDirectory(root, directory)) {
      if (isOver()) break;
      entries += 1;
      const name = `${directory === '' ? '' : `${directory}/`}${entry.name.toString('latin1')}`;
      if (entry.isDirectory()) waiting.push(name);
      else if (entry.isFile()) {
        const size = lstatSync(pathOf(root, name), { throwIfNoEntry: false })?.size;
        if (size !== undefined) files.push({ name, sizeBytes: size });
      }
    }
  }
  files.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { complete: !isOver(), files, entries, fileSystem: statfsSync(root).type };
}

function readDirectory(root: string, name: string): ReturnType<typeof readEntries> {
  try {
    return readEntries(root, name);
  } catch (error) {
    // The root itself must be readable; a subdirectory may be somebody else's.
    if (name === '') throw error;
    return [];
  }
}

function readEntries(root: string, name: string) {
  return readdirSync(pathOf(root, name), { withFileTypes: true, encoding: 'buffer' });
}

/** Reads every file to its end. Throws the file system's error. */
export function checksumFiles({ root, files }: ChecksumTask): Checksum {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(BLOCK_BYTES);
  let bytes = 0;
  for (const name of files) {
    const fd = openSync(pathOf(root, name), 'r');
    let sizeBytes = 0;
    try {
      for (;;) {
        const length = readSync(fd, buffer);
        if (length === 0) break;
        hash.update(buffer.subarray(0, length));
        sizeBytes += length;
      }
    } finally {
      closeSync(fd);
    }
    // The name and length behind each file's bytes keep files apart.
    hash.update(`${name}\0${sizeBytes}\0`, 'latin1');
    bytes += sizeBytes;
  }
  return { sha256: hash.digest('hex'), bytes };
}
