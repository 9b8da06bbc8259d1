/**
 * The timed workloads, as they run in the measuring process: plain synchronous calls, one after the other, as a simple
 * program would make them. Random reads and maps go through libc directly, where Node's own calls would weigh as much as
 * the read.
 */
import { closeSync, fstatSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { mapFile } from '../../system/memory-map.ts';
import { dropCachedPages, pread } from '../../system/page-cache.ts';
import { getXattr } from '../../system/xattr.ts';
import { RANDOM_SPAN_BYTES_MAX } from './limits.ts';
import { pageOrder } from './page-order.ts';
import type { TimedResult, TimedTask } from './tasks.ts';

const BLOCK_BYTES = 1024 * 1024;
const PAGE_BYTES = 4096;
/** How many operations pass between two looks at the clock. */
const CLOCK_EVERY = 8;
const ATTRIBUTES = ['route', 'datapath', 'why'] as const;
const MS_PER_SECOND = 1000;
const US_PER_SECOND = 1_000_000;
/** Operations on the program of this process before the timed ones, so that the compiler is done with the loop. */
const WARM_UP_OPERATIONS = 3_000;

/** A file or directory below `root`; `name` has one character a byte. */
export function pathOf(root: string, name: string): Buffer {
  return name === ''
    ? Buffer.from(root)
    : Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name, 'latin1')]);
}

/** Does the task once. Throws the file system's error. */
export function runTimed(task: TimedTask): TimedResult {
  switch (task.workload) {
    case 'sequential':
      return onFile(task, (fd) => readSequentially(fd, task.bytesMax, task.seconds));
    case 'pread':
    case 'mmap': {
      const readAll = task.workload === 'pread' ? readPages : touchPages;
      warmUp((fd, size) => readAll(fd, pagesOf(size, WARM_UP_OPERATIONS, task.seed), 1));
      return onFile(task, (fd, size) => readAll(fd, pagesOf(size, task.readsMax, task.seed), task.seconds));
    }
    case 'small-files': {
      warmUp(() => {
        each(sameFile(WARM_UP_OPERATIONS), 1, (path) => readStart(path));
      });
      const result = each(pathsOf(task), task.seconds, readWhole);
      if (task.dropCache) for (const path of pathsOf(task)) dropFile(path);
      return result;
    }
    case 'stat':
      each(sameFile(WARM_UP_OPERATIONS), 1, statOnce);
      return each(pathsOf(task), task.seconds, statOnce);
    case 'list':
      return list(pathOf(task.root, task.directory), task.seconds);
  }
}

type Measured = Omit<TimedResult, 'attributes'>;

function onFile(
  task: { readonly root: string; readonly file: string; readonly dropCache: boolean },
  work: (fd: number, sizeBytes: number) => Measured,
): TimedResult {
  const fd = openSync(pathOf(task.root, task.file), 'r');
  try {
    const result = work(fd, fstatSync(fd).size);
    const attributes = attributesOf(fd);
    if (task.dropCache) dropCachedPages(fd);
    return { ...result, attributes };
  } finally {
    closeSync(fd);
  }
}

function attributesOf(fd: number): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const name of ATTRIBUTES) {
    try {
      const value = getXattr(fd, `user.nearmount.${name}`);
      if (value !== undefined) attributes[name] = value.toString();
    } catch {
      // Some file systems answer with an error of their own (rclone: EIO): they are none of ours.
      break;
    }
  }
  return attributes;
}

function warmUp(work: (fd: number, sizeBytes: number) => void): void {
  const fd = openSync(process.execPath, 'r');
  try {
    work(fd, fstatSync(fd).size);
  } finally {
    closeSync(fd);
  }
}

/** Times `work`, which counts what it did. */
function timed(seconds: number, work: (isOver: () => boolean, count: Counter) => void): Measured {
  const count: Counter = { operations: 0, bytes: 0 };
  const cpu = process.cpuUsage();
  const start = performance.now();
  const end = start + seconds * MS_PER_SECOND;
  work(() => count.operations % CLOCK_EVERY === 0 && performance.now() > end, count);
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { ...count, seconds: elapsed / MS_PER_SECOND, cpuSeconds: (user + system) / US_PER_SECOND };
}

interface Counter {
  operations: number;
  bytes: number;
}

function readSequentially(fd: number, bytesMax: number, seconds: number): Measured {
  const buffer = Buffer.alloc(BLOCK_BYTES);
  return timed(seconds, (isOver, count) => {
    while (count.bytes < bytesMax && !isOver()) {
      const length = readSync(fd, buffer);
      if (length === 0) break;
      count.operations += 1;
      count.bytes += length;
    }
  });
}

/** Whole pages of the file's beginning, in random order. */
function pagesOf(sizeBytes: number, count: number, seed: number): Uint32Array {
  return pageOrder(Math.floor(Math.min(sizeBytes, RANDOM_SPAN_BYTES_MAX) / PAGE_BYTES), count, seed);
}

function readPages(fd: number, pages: Uint32Array, seconds: number): Measured {
  const buffer = Buffer.alloc(PAGE_BYTES);
  return timed(seconds, (isOver, count) => {
    for (const page of pages) {
      if (isOver()) break;
      count.bytes += pread(fd, buffer, page * PAGE_BYTES);
      count.operations += 1;
    }
  });
}

function touchPages(fd: number, pages: Uint32Array, seconds: number): Measured {
  const highest = pages.reduce((most, page) => Math.max(most, page), 0);
  const buffer = Buffer.alloc(PAGE_BYTES);
  const map = mapFile(fd, (highest + 1) * PAGE_BYTES);
  const { bytes } = map;
  const result = timed(seconds, (isOver, count) => {
    for (const page of pages) {
      if (isOver()) break;
      buffer.set(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
      count.bytes += PAGE_BYTES;
      count.operations += 1;
    }
  });
  map.unmap();
  return result;
}

function pathsOf({ root, files }: { readonly root: string; readonly files: readonly string[] }): Buffer[] {
  return files.map((name) => pathOf(root, name));
}

function sameFile(count: number): Buffer[] {
  return Array.from({ length: count }, () => Buffer.from(process.execPath));
}

/** `operation` on every path; it returns how many bytes it read. */
function each(paths: readonly Buffer[], seconds: number, operation: (path: Buffer) => number): TimedResult {
  const result = timed(seconds, (isOver, count) => {
    for (const path of paths) {
      if (isOver()) break;
      count.bytes += operation(path);
      count.operations += 1;
    }
  });
  return { ...result, attributes: {} };
}

const fileBuffer = Buffer.alloc(BLOCK_BYTES);

function readWhole(path: Buffer): number {
  const fd = openSync(path, 'r');
  try {
    let bytes = 0;
    for (;;) {
      const length = readSync(fd, fileBuffer);
      if (length === 0) return bytes;
      bytes += length;
    }
  } finally {
    closeSync(fd);
  }
}

function readStart(path: Buffer): number {
  const fd = openSync(path, 'r');
  const length = readSync(fd, fileBuffer, 0, PAGE_BYTES, 0);
  closeSync(fd);
  return length;
}

function dropFile(path: Buffer): void {
  const fd = openSync(path, 'r');
  try {
    dropCachedPages(fd);
  } finally {
    closeSync(fd);
  }
}

function statOnce(path: Buffer): number {
  lstatSync(path);
  return 0;
}

function list(directory: Buffer, seconds: number): TimedResult {
  const waiting = [directory];
  const result = timed(seconds, (isOver, count) => {
    for (let next = waiting.pop(); next !== undefined && !isOver(); next = waiting.pop()) {
      const entries = readdirSync(next, { withFileTypes: true, encoding: 'buffer' });
      for (const entry of entries) {
        if (entry.isDirectory()) waiting.push(Buffer.concat([next, Buffer.from('/'), entry.name]));
      }
      // Its own `.` stands for the directory, so that an empty one counts.
      count.operations += entries.length + 1;
    }
  });
  return { ...result, attributes: {} };
}
