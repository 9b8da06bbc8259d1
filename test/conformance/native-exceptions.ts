/** The hard limits of driver=fuse-native, as docs/operations.md lists them: everything else must be right. */
import { createHash } from 'node:crypto';
import type { Exceptions } from './read-suite.ts';

const NANOSECONDS_PER_MS = 1_000_000n;
/** Of the 5,000 names in `many`, as tree.ts makes them. */
const TEXT_NAMES = Array.from({ length: 4_990 }, (_, index) => `name-${index}`);

const TIMES = 'fuse-native hands over times in milliseconds';
const NAMES = 'fuse-native makes U+FFFD of bytes that are not UTF-8, so names with them are left out';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hex = (text: string): string => Buffer.from(text).toString('hex');

function isText(nameInHex: string): boolean {
  const bytes = Buffer.from(nameInHex, 'hex');
  return Buffer.from(bytes.toString()).equals(bytes);
}

export const NATIVE_EXCEPTIONS: Exceptions = {
  cases: [
    {
      name: /^(l?stat |fstat$)/,
      reason: TIMES,
      expected: (value) =>
        Object.fromEntries(
          Object.entries(value as Record<string, string>).map(([field, text]) => {
            if (!field.endsWith('Ns')) return [field, text];
            const nanoseconds = BigInt(text);
            return [field, String(nanoseconds - (nanoseconds % NANOSECONDS_PER_MS))];
          }),
        ),
    },
    {
      name: /^readdir of 5,000 names$/,
      reason: NAMES,
      expected: () => [TEXT_NAMES.length, TEXT_NAMES.length, sha256(TEXT_NAMES.map(hex).sort().join())],
    },
    {
      name: /^readdir twice, in pieces$/,
      reason: NAMES,
      expected: () => {
        const twice = [...TEXT_NAMES, ...TEXT_NAMES].sort();
        return [twice.length, sha256(twice.join())];
      },
    },
    {
      name: /^files by every name of raw bytes$/,
      reason: NAMES,
      expected: (value) => (value as [string, string][]).filter(([name]) => isText(name)),
    },
  ],
  programs: [
    {
      program: 'find',
      reason: `${TIMES}; ${NAMES}`,
      line: (line) =>
        line
          .replace('find .', 'find . -path ./raw -prune -o -path ./many -prune -o')
          .replace('%T@', '%TY-%Tm-%Td %TH:%TM'),
    },
    {
      program: 'tar',
      reason: NAMES,
      line: (line) => line.replace('--sort=name', '--sort=name --exclude=./raw'),
    },
    {
      program: 'ls',
      reason: `${TIMES}; ${NAMES}`,
      line: (line) => line.replace('--full-time', '--time-style=+%s --ignore=raw --ignore=many'),
    },
    { program: 'cp', reason: NAMES, line: (line) => line.replace('{}/raw', '') },
    {
      program: 'rsync',
      reason: NAMES,
      line: (line) => line.replace('--exclude', '--exclude=raw --exclude=many --exclude'),
    },
  ],
};
