/** The demo's own files: a large one, many small ones with hard names, and this package's own tree. */
import { link, mkdir, symlink, utimes, writeFile, chmod } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Phase } from './progress.ts';
import { InterruptedError, runPipe, type Place } from './programs.ts';
import { StampedContent, writeLargeFile } from './stamped-content.ts';

const LARGE_FILE = 'large.bin';
/** Above the mean of the sizes below, for the check of free space. */
export const SMALL_FILE_BYTES = 40 * 1024;

const PACKAGE_ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const LEFT_OUT = ['./node_modules', './.git', './.tap', './nearmount-demo-*'];

/** tar(1): a file changed while it was read. */
const TAR_SOME_CHANGED = 1;

const FILES_PER_DIRECTORY = 50;
const SMALL_BYTES_MAX = 64 * 1024;
/** Sizes at which block arithmetic goes wrong, if it does. */
const EDGE_SIZES = [0, 1, 511, 512, 513, 4095, 4096, 4097, SMALL_BYTES_MAX - 1, SMALL_BYTES_MAX];
const MODES = [0o644, 0o600, 0o755, 0o444, 0o640];
/** 2000-01-01, in seconds. */
const FIRST_TIME_S = 946_684_800;

export interface GenerateOptions {
  /** Exists and is empty. */
  readonly directory: string;
  readonly largeBytes: number;
  readonly smallFiles: number;
  readonly here: Place;
  readonly signal: AbortSignal;
  /** Advanced by bytes of the large file, and by SMALL_FILE_BYTES for each small one. */
  readonly phase: Phase;
}

/** Makes the files. Rejects with the file system's error (ENOSPC), CliError or InterruptedError. */
export async function generate(options: GenerateOptions): Promise<void> {
  const content = new StampedContent();
  await generateLarge(options, content);
  await generateSmall(options, content);
  await copyPackage(options);
}

async function generateLarge(options: GenerateOptions, content: StampedContent): Promise<void> {
  const { largeBytes, signal, phase } = options;
  await writeLargeFile(`${options.directory}/${LARGE_FILE}`, {
    content,
    number: 0,
    largeBytes,
    signal,
    phase,
  });
}

async function generateSmall(options: GenerateOptions, content: StampedContent): Promise<void> {
  const { smallFiles, signal, phase } = options;
  const root = Buffer.from(`${options.directory}/small`);
  await mkdir(root);
  await mkdir(below(root, 'an empty directory'), 0o700);
  let directory: Buffer = root;
  for (let number = 0; number < smallFiles; number += 1) {
    if (signal.aborted) throw new InterruptedError();
    if (number % FILES_PER_DIRECTORY === 0) {
      directory = below(root, `directory ${number / FILES_PER_DIRECTORY}`);
      await mkdir(directory);
    }
    const path = below(directory, hardName(number));
    await writeFile(path, content.at(number + 1, 0, sizeOf(number)), { flag: 'wx' });
    await chmod(path, MODES[number % MODES.length] ?? 0o644);
    const time = FIRST_TIME_S + number * 86_400.125;
    await utimes(path, time, time);
    if (number % FILES_PER_DIRECTORY === 0) {
      await symlink(hardName(number), below(directory, 'link to a neighbour'));
      await symlink(Buffer.from('nowhere/\xff', 'latin1'), below(directory, 'link to nowhere'));
      await symlink('../an empty directory', below(directory, 'link to a directory'));
      await link(path, below(directory, 'second name of a file'));
    }
    phase.advance(SMALL_FILE_BYTES);
  }
}

function below(directory: Buffer, name: string | Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), Buffer.from(name)]);
}

function sizeOf(number: number): number {
  const edge = EDGE_SIZES[number % (EDGE_SIZES.length * 3)];
  return edge ?? (number * 40_503) % (SMALL_BYTES_MAX + 1);
}

/** Names that programs, shells and protocols stumble over; the number keeps them apart. */
function hardName(number: number): Buffer {
  switch (number % 10) {
    case 0:
      return Buffer.from(`with spaces ${number}`);
    case 1:
      return Buffer.from(`-leading-dash-${number}`);
    case 2:
      return Buffer.from(`ünïcödé-日本語-${number}`);
    case 3:
      return Buffer.from(`not-utf8-\xff\xfe-${number}`, 'latin1');
    case 4:
      return Buffer.from(`${number}-long-`.padEnd(255, 'x'));
    case 5:
      return Buffer.from(`new\nline ${number}`);
    case 6:
      return Buffer.from(`back\\slash "quotes" 'and' * ${number}`);
    case 7:
      return Buffer.from(`.hidden-${number}`);
    default:
      return Buffer.from(`file-${number}.txt`);
  }
}

/** By tar, which keeps modes and times; a file that changes meanwhile is copied as it was when it was read. */
async function copyPackage(options: GenerateOptions): Promise<void> {
  const target = `${options.directory}/checkout`;
  await mkdir(target);
  const exclude = LEFT_OUT.map((path) => `--exclude=${path}`);
  await runPipe(
    options.here,
    ['tar', '-cf', '-', ...exclude, '-C', PACKAGE_ROOT, '.'],
    options.here,
    ['tar', '-xpf', '-', '-C', target],
    { signal: options.signal, accept: [0, TAR_SOME_CHANGED] },
  );
}
