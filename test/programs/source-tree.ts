/** A tree of the kind archives hold: many small files, links of both kinds, modes, times to the nanosecond, odd names. */
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, lutimesSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { patternBytes } from '../support/trees.ts';

const FILES_EACH = 50;
const BYTES_MAX = 24 * 1024;
/** Spreads sizes evenly: any odd number of this kind. */
const SIZE_STEP = 40_503;
const LARGE_BYTES = 5 * 1024 * 1024 + 3;
const FIRST_TIME = 1_500_000_000;
const LAST_TIME = 1_600_000_000;
const MODES = [0o644, 0o600, 0o755, 0o444, 0o4755];

/** Makes `files` regular files and some more entries in a new directory. */
export function makeSourceTree(root: string, files: number): void {
  mkdirSync(root);
  for (let number = 0; number < files; number += 1) {
    const parent = join(root, `directory ${Math.floor(number / FILES_EACH)}`, 'inner');
    if (number % FILES_EACH === 0) mkdirSync(parent, { recursive: true });
    const path = join(parent, `file-${number}`);
    writeFileSync(path, patternBytes((number * SIZE_STEP) % BYTES_MAX, number + 1));
    chmodSync(path, MODES[number % MODES.length] ?? 0o644);
    // What a double holds of a fraction of a second differs from file to file in all its digits.
    utimesSync(path, FIRST_TIME + number, FIRST_TIME + number + number / 7_919);
    if (number % 20 === 0) linkSync(path, join(root, `link-to-${number}`));
    if (number % 25 === 0) symlinkSync(path.slice(root.length + 1), join(root, `symlink-to-${number}`));
  }
  writeFileSync(join(root, 'large'), patternBytes(LARGE_BYTES));
  writeFileSync(join(root, 'empty'), '');
  writeFileSync(join(root, 'n'.repeat(255)), 'long\n');
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x66, 0xff, 0xfe, 0x0a])]), 'bytes\n');
  symlinkSync('no/such target', join(root, 'dangling'));
  lutimesSync(join(root, 'dangling'), FIRST_TIME, FIRST_TIME);
  mkdirSync(join(root, 'sticky'));
  chmodSync(join(root, 'sticky'), 0o1777);
  mkdirSync(join(root, 'read-only'));
  writeFileSync(join(root, 'read-only/file'), 'x');
  chmodSync(join(root, 'read-only'), 0o555);
  setOldTimes(root);
}

/** To the past: rsync takes times of one second for equal where it has just made a directory, a link or a file. */
export function setOldTimes(root: string): void {
  execFileSync('find', [
    root,
    '-newermt',
    `@${LAST_TIME}`,
    '-exec',
    'touch',
    '-h',
    '-d',
    `@${FIRST_TIME}.123456789`,
    '{}',
    '+',
  ]);
}
