/**
 * The writing process: does one task from standard input and prints the result. Plain synchronous calls one after the
 * other, as a simple program would make them; what is timed ends with close or fsync, or the end of tar.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import { pageOrder } from '../../src/cli/bench/page-order.ts';
import { cpuSecondsOf } from '../../src/cli/bench/cpu-time.ts';
import { BLOCK_BYTES, fillPiece, makePiece, PAGE_BYTES } from './content.ts';
import { FILE_NAME, writeTask, type WriteTask } from './tasks.ts';

const STDIN = 0;
const MS_PER_SECOND = 1000;

interface Counted {
  readonly operations: number;
  readonly bytes: number;
}

function writeAll(fd: number, piece: Buffer, at: number): void {
  for (let done = 0; done < piece.length;) {
    done += writeSync(fd, piece, done, piece.length - done, at + done);
  }
}

function writeSequentially({ directory, bytes, seed, workload }: WriteTask): Counted {
  const block = makePiece(BLOCK_BYTES);
  const fd = openSync(`${directory}/${FILE_NAME}`, 'wx');
  let number = 0;
  for (; number * BLOCK_BYTES < bytes; number += 1) {
    fillPiece(block, number, seed);
    writeAll(fd, block, number * BLOCK_BYTES);
  }
  if (workload === 'write-fsync') fsyncSync(fd);
  closeSync(fd);
  return { operations: number, bytes: number * BLOCK_BYTES };
}

function writeRandomly(fd: number, order: Uint32Array, seed: number): Counted {
  const page = makePiece(PAGE_BYTES);
  for (const number of order) {
    fillPiece(page, number, seed);
    writeAll(fd, page, number * PAGE_BYTES);
  }
  fsyncSync(fd);
  return { operations: order.length, bytes: order.length * PAGE_BYTES };
}

function unpack({ directory, archive, archiveFiles }: WriteTask): Counted {
  const { status, stderr } = spawnSync('tar', ['xf', archive, '-C', directory], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`tar: ${stderr.split('\n')[0]}`);
  return { operations: archiveFiles, bytes: 0 };
}

/** Into the page cache. */
function warm(path: string): void {
  const fd = openSync(path, 'r');
  const buffer = Buffer.alloc(BLOCK_BYTES);
  while (readSync(fd, buffer) > 0);
  closeSync(fd);
}

/** What comes before the time counts, then what is timed. */
function prepare(task: WriteTask): () => Counted {
  mkdirSync(task.directory);
  switch (task.workload) {
    case 'write':
    case 'write-fsync':
      return () => writeSequentially(task);
    case 'random-write': {
      const fd = openSync(`${task.directory}/${FILE_NAME}`, 'wx');
      ftruncateSync(fd, task.bytes);
      const order = pageOrder(task.bytes / PAGE_BYTES, task.pages, task.seed);
      return () => {
        const counted = writeRandomly(fd, order, task.seed);
        closeSync(fd);
        return counted;
      };
    }
    case 'untar':
      warm(task.archive);
      return () => unpack(task);
  }
}

const task = writeTask.parse(JSON.parse(readFileSync(STDIN, 'utf8')));
const work = prepare(task);
const cpuBefore = cpuSecondsOf(process.pid);
const start = performance.now();
const counted = work();
const seconds = (performance.now() - start) / MS_PER_SECOND;
const result = { ...counted, seconds, cpuSeconds: cpuSecondsOf(process.pid) - cpuBefore, attributes: {} };
process.stdout.write(JSON.stringify(result));
