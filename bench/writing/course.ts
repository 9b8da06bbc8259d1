/** One measurement of writing: the disk is quiet before, and what was written is looked at and removed after. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runWorker } from '../../src/cli/bench/run-task.ts';
import { timedResult, type TimedResult } from '../../src/cli/bench/tasks.ts';
import { CliError } from '../../src/cli/errors.ts';
import { WRITE_LIMIT_MS } from '../limits.ts';
import { checkWritten } from './check.ts';
import { PAGE_BYTES } from './content.ts';
import type { WriteTask, WriteWorkload } from './tasks.ts';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
/** Where everybody writes, below the tree's root. */
const PLACE = 'written';
/** Files that are unpacked before the time counts. */
const WARM_UP_FILES = 1_000;
const WARM_UP_CHUNK_BYTES = 1024 * 1024;
/** One page in so many of the file is written at random. */
const PAGES_SKIPPED = 8;

export interface WritingCourse {
  /** The tree, on the server's disk. */
  readonly source: string;
  readonly workDirectory: string;
  readonly writeBytes: number;
  /** Directory below `source` with what is unpacked, and its files by their paths below `source`. */
  readonly packed: string;
  readonly packedFiles: readonly string[];
  readonly signal: AbortSignal;
}

export class Writing {
  readonly #course: WritingCourse;
  readonly #archive: string;
  /** Of some of the files. */
  readonly #warmUpArchive: string;

  /** Makes the archives. Throws CliError where that fails. */
  constructor(course: WritingCourse) {
    this.#course = course;
    this.#archive = `${course.workDirectory}/archive.tar`;
    mkdirSync(`${course.source}/${PLACE}`);
    this.#warmUpArchive = `${course.workDirectory}/warm-up.tar`;
    runQuickly('tar', ['cf', this.#archive, '-C', `${course.source}/${course.packed}`, '.']);
    const some = course.packedFiles.slice(0, WARM_UP_FILES);
    runQuickly('tar', ['cf', this.#warmUpArchive, '-C', course.source, ...some]);
  }

  /**
   * @param who for names nobody has used before
   * @param root where the tree is found, by the way that is measured
   */
  async time(workload: WriteWorkload, who: string, root: string, round: number): Promise<TimedResult> {
    const { source, writeBytes, packed, packedFiles, signal } = this.#course;
    const name = `${PLACE}/${who}-${workload}-${round}`;
    const task: WriteTask = {
      workload,
      directory: `${root}/${name}`,
      bytes: writeBytes,
      pages: Math.ceil(writeBytes / PAGE_BYTES / PAGES_SKIPPED),
      seed: round,
      archive: this.#archive,
      archiveFiles: packedFiles.length,
    };
    if (workload === 'untar') this.#warmUp(`${root}/${name}-before`);
    else this.#warmMemory();
    // What others have left to write back is not to be paid by this one.
    this.#settle();
    const result = timedResult.parse(
      await runWorker(WORKER, task, { what: `writing to ${root}`, limitMs: WRITE_LIMIT_MS, signal }),
    );
    // Closed, so it is on the server; what is checked there is in its page cache or on its disk.
    checkWritten(task, `${source}/${name}`, `${source}/${packed}`);
    // For half a minute ext4 does not give away the inodes of deleted files, and looks at each of them for every new file:
    // whoever came next would pay for that.
    if (workload !== 'untar') rmSync(`${source}/${name}`, { recursive: true });
    return result;
  }

  /** A mount that was just made has compiled nothing of what it needs for this, if it compiles at all. */
  #warmUp(directory: string): void {
    mkdirSync(directory);
    runQuickly('tar', ['xf', this.#warmUpArchive, '-C', directory]);
  }

  /**
   * Memory that a virtual machine has given back costs many times as much as what was in use a moment ago: whoever came first
   * would pay for it.
   */
  #warmMemory(): void {
    const { source, writeBytes } = this.#course;
    const file = `${source}/${PLACE}/memory`;
    const bytes = Buffer.alloc(WARM_UP_CHUNK_BYTES);
    const fd = openSync(file, 'wx');
    for (let written = 0; written < writeBytes; written += bytes.length) writeSync(fd, bytes);
    closeSync(fd);
    rmSync(file);
  }

  #settle(): void {
    runQuickly('sync', ['-f', this.#course.source]);
  }
}

function runQuickly(program: string, words: readonly string[]): void {
  const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new CliError(`${program}: ${stderr.trim()}`);
}
