/** Reads a whole tree with ordinary programs and holds it against the files themselves. */
import { createHash } from 'node:crypto';
import type { Phase } from './progress.ts';
import { runPipe, runProgram, type Place } from './programs.ts';

/** Everything find(1) prints of an entry, in order; times to the nanosecond. */
const FIELDS = ['type', 'size', 'mode', 'links', 'uid', 'gid', 'mtime', 'target'] as const;
export type TreeField = (typeof FIELDS)[number];
const FIND_FORMAT = '%P\\0%y\\0%s\\0%m\\0%n\\0%U\\0%G\\0%T@\\0%l\\0';
/** tar(1): with --compare, something differs. */
const TAR_DIFFERS = 1;
/** Mismatches named in a verdict; the rest is counted. */
const NAMED_MAX = 3;

export interface TreeFile {
  /** Below the root; one character a byte. */
  readonly name: string;
  readonly sizeBytes: number;
}

/** What the files themselves are. */
export interface TreeTruth {
  /** By name, every entry's fields as find prints them. */
  readonly entries: ReadonlyMap<string, readonly string[]>;
  /** Regular files in the order they are read. */
  readonly files: readonly TreeFile[];
  readonly bytes: number;
  /** Hexadecimal, in the order of `files`. */
  readonly sha256: readonly string[];
}

/** What came of one way of reading everything. */
export interface TreeVerdict {
  readonly what: string;
  /** Entries or files that were compared. */
  readonly checked: number;
  /** One line for each that differs, naming it. */
  readonly mismatches: readonly string[];
}

/** Lists and reads the tree where it lies. `phase` advances by bytes read. */
export async function readTruth(
  source: Place,
  signal: AbortSignal,
  phase: (totalBytes: number) => Phase,
): Promise<TreeTruth> {
  const entries = await listTree(source, signal);
  const files = [...entries]
    .filter(([, fields]) => fields[0] === 'f')
    .map(([name, fields]) => ({ name, sizeBytes: Number(fields[1]) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const bytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const { sums } = await hashContents(source, files, signal, phase(bytes));
  return { entries, files, bytes, sha256: sums };
}

/** How many bytes `checkTree` reads, for a bar. */
export function bytesToCheck(truth: TreeTruth): number {
  return truth.bytes * 2;
}

/** Three readings: find's listing, cat with a checksum of every file, and tar compared with the files by tar. */
export async function checkTree(
  guest: Place,
  source: Place,
  truth: TreeTruth,
  signal: AbortSignal,
  phase: Phase,
): Promise<readonly TreeVerdict[]> {
  const listed = compareListings(truth.entries, await listTree(guest, signal));
  const { sums, errors } = await hashContents(guest, truth.files, signal, phase);
  const contents = truth.files.flatMap((file, index) =>
    sums[index] === truth.sha256[index] ? [] : [`${shown(file.name)}: contents differ`],
  );
  const archive = await runPipe(
    guest,
    ['tar', '-cf', '-', '-C', guest.root, '.'],
    source,
    ['tar', '-df', '-', '-C', source.root],
    { signal, acceptOfSink: [0, TAR_DIFFERS], onOutput: (piece) => phase.advance(piece.length) },
  );
  return [
    {
      what: 'find: names, types, sizes, modes, owners, times, targets',
      checked: truth.entries.size,
      mismatches: listed,
    },
    { what: 'cat: sha256 of every file', checked: truth.files.length, mismatches: [...errors, ...contents] },
    {
      what: 'tar: archive compared by tar',
      checked: truth.entries.size,
      mismatches: [archive.output.toString('latin1'), archive.errors].flatMap(linesOf),
    },
  ];
}

/** One line about a verdict. */
export function describeVerdict({ checked, mismatches }: TreeVerdict): string {
  if (mismatches.length === 0) return `${checked} checked, all equal`;
  const named = mismatches.slice(0, NAMED_MAX).join('; ');
  const rest = mismatches.length - NAMED_MAX;
  return `${checked} checked: ${named}${rest > 0 ? `; and ${rest} more` : ''}`;
}

/** Every entry below the place's root, by name, with its fields. */
export async function listTree(place: Place, signal: AbortSignal): Promise<Map<string, readonly string[]>> {
  const { output } = await runProgram(place, ['find', place.root, '-printf', FIND_FORMAT], { signal });
  const words = output.toString('latin1').split('\0');
  const entries = new Map<string, readonly string[]>();
  const stride = FIELDS.length + 1;
  for (let at = 0; at + stride < words.length + 1 && at < words.length - 1; at += stride) {
    entries.set(words[at] ?? '', words.slice(at + 1, at + stride));
  }
  return entries;
}

/** One line for each entry that is not the same in both, but for the fields `besides`. */
export function compareListings(
  truth: ReadonlyMap<string, readonly string[]>,
  seen: ReadonlyMap<string, readonly string[]>,
  besides: readonly TreeField[] = [],
): string[] {
  const mismatches: string[] = [];
  for (const [name, wanted] of truth) {
    const found = seen.get(name);
    if (found === undefined) {
      mismatches.push(`${shown(name)}: missing`);
      continue;
    }
    const differing = FIELDS.flatMap((field, index) =>
      wanted[index] === found[index] || besides.includes(field)
        ? []
        : [`${field} ${found[index]} instead of ${wanted[index]}`],
    );
    if (differing.length > 0) mismatches.push(`${shown(name)}: ${differing.join(', ')}`);
  }
  for (const name of seen.keys()) if (!truth.has(name)) mismatches.push(`${shown(name)}: not in the source`);
  return mismatches;
}

/** One cat of everything, cut where the sizes say, each part hashed. */
export async function hashContents(
  place: Place,
  files: readonly TreeFile[],
  signal: AbortSignal,
  phase: Phase,
): Promise<{ readonly sums: readonly string[]; readonly errors: readonly string[] }> {
  const names = files.map(({ name }) =>
    Buffer.concat([Buffer.from(`${place.root}/`), Buffer.from(`${name}\0`, 'latin1')]),
  );
  const sums: string[] = [];
  let hash = createHash('sha256');
  let left = files[0]?.sizeBytes ?? 0;
  const finishFiles = (): void => {
    while (left === 0 && sums.length < files.length) {
      sums.push(hash.digest('hex'));
      hash = createHash('sha256');
      left = files[sums.length]?.sizeBytes ?? 0;
    }
  };
  finishFiles();
  const { status, errors } = await runProgram(place, ['xargs', '-0r', 'cat', '--'], {
    signal,
    input: Buffer.concat(names),
    accept: Array.from({ length: 256 }, (_none, index) => index),
    onOutput: (piece) => {
      phase.advance(piece.length);
      for (let at = 0; at < piece.length && sums.length < files.length;) {
        const part = piece.subarray(at, at + left);
        hash.update(part);
        at += part.length;
        left -= part.length;
        finishFiles();
      }
    },
  });
  const complaints = status === 0 ? [] : [...linesOf(errors), `cat ended with status ${status}`];
  return { sums, errors: complaints };
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** A name for people: bytes as text where they are UTF-8. */
function shown(name: string): string {
  return name === '' ? '(the root)' : Buffer.from(name, 'latin1').toString();
}
