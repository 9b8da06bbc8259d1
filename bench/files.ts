/** The tree that is read: a file or directory for each workload, so that none finds what another left in a cache. */
import { mkdir, writeFile } from 'node:fs/promises';
import type { Phase } from '../src/cli/demo/progress.ts';
import { InterruptedError } from '../src/cli/demo/programs.ts';
import { StampedContent, writeLargeFile } from '../src/cli/demo/stamped-content.ts';

export interface TreeSize {
  /** Of the file that is read sequentially. */
  readonly largeBytes: number;
  /** Of each of the two files that are read at random. */
  readonly randomBytes: number;
  readonly smallFiles: number;
  /** In each of the two trees for stat and list. */
  readonly treeFiles: number;
  /** Of each file that is written. */
  readonly writeBytes: number;
}

const FILES_PER_DIRECTORY = 100;
const SMALL_BYTES_MAX = 32 * 1024;
/** Spreads the sizes of small files evenly: any odd number of this kind. */
const SIZE_STEP = 40_503;
/** Mean of the small files, with what a file costs beside its bytes; for progress and the check of space. */
export const SMALL_FILE_BYTES = 20 * 1024;
/** Files made at a time. */
const LANES = 8;

/** What each workload reads, below the tree's root. */
export interface Tree {
  readonly root: string;
  readonly large: string;
  readonly pread: string;
  readonly mmap: string;
  readonly smallDirectory: string;
  readonly small: readonly string[];
  readonly stat: readonly string[];
  readonly list: string;
}

export function bytesOf(size: TreeSize): number {
  return (
    size.largeBytes +
    size.writeBytes +
    2 * size.randomBytes +
    (size.smallFiles + 2 * size.treeFiles) * SMALL_FILE_BYTES
  );
}

/** Makes the tree in an empty directory. Rejects with the file system's error or InterruptedError. */
export async function makeTree(
  root: string,
  size: TreeSize,
  signal: AbortSignal,
  phase: Phase,
): Promise<Tree> {
  const content = new StampedContent();
  const large = [
    ['large.bin', size.largeBytes],
    ['pread.bin', size.randomBytes],
    ['mmap.bin', size.randomBytes],
  ] as const;
  for (const [number, [name, largeBytes]] of large.entries()) {
    await writeLargeFile(`${root}/${name}`, { content, number, largeBytes, signal, phase });
  }
  const make = async (directory: string, count: number, sizeOf: (number: number) => number) => {
    const names = namesIn(directory, count);
    for (const parent of new Set(names.map((name) => name.slice(0, name.lastIndexOf('/'))))) {
      await mkdir(`${root}/${parent}`, { recursive: true });
    }
    for (let at = 0; at < names.length; at += LANES) {
      if (signal.aborted) throw new InterruptedError();
      const lane = names.slice(at, at + LANES);
      await Promise.all(
        lane.map((name, index) => {
          const number = at + index;
          const bytes = Buffer.from(content.at(large.length + number, 0, sizeOf(number)));
          return writeFile(`${root}/${name}`, bytes, { flag: 'wx' });
        }),
      );
      phase.advance(lane.length * SMALL_FILE_BYTES);
    }
    return names;
  };
  const small = await make(
    'small',
    size.smallFiles,
    (number) => (number * SIZE_STEP) % (SMALL_BYTES_MAX + 1),
  );
  // Empty: only their names and attributes are read, and some disks take long to free many blocks.
  const stat = await make('stat', size.treeFiles, () => 0);
  await make('list', size.treeFiles, () => 0);
  const files = { large: 'large.bin', pread: 'pread.bin', mmap: 'mmap.bin' };
  return { root, ...files, smallDirectory: 'small', small, stat, list: 'list' };
}

function namesIn(directory: string, count: number): string[] {
  return Array.from({ length: count }, (_none, number) => {
    const parent = String(Math.floor(number / FILES_PER_DIRECTORY)).padStart(4, '0');
    return `${directory}/directory-${parent}/file-${String(number).padStart(6, '0')}`;
  });
}
