/** Files of the tree copied inside a guest, from one mount to another that may be written; compared where they lie. */
import type { Phase } from './progress.ts';
import { runProgram, type Place } from './programs.ts';
import { compareListings, hashContents, listTree, type TreeTruth, type TreeVerdict } from './tree-check.ts';

/** How much is copied: enough for some seconds of writing by network, and within the space that is looked for. */
const COPIED_FILES_MAX = 100;
const COPIED_BYTES_MAX = 32 * 1024 ** 2;

/** tar(1) of names on standard input ($1: from, $2: to); its format keeps nanoseconds. */
const COPY =
  'tar -C "$1" --format=posix --numeric-owner --null --no-recursion -T - -cf - | tar -C "$2" --numeric-owner -xpf -';

/** A part of the tree: the files that are copied. */
export function chooseCopied(truth: TreeTruth): TreeTruth {
  let bytes = 0;
  const chosen = truth.files.flatMap((file, index) => {
    if (bytes + file.sizeBytes > COPIED_BYTES_MAX) return [];
    bytes += file.sizeBytes;
    return [{ file, sha256: truth.sha256[index] ?? '' }];
  });
  const kept = chosen.slice(0, COPIED_FILES_MAX);
  const files = kept.map(({ file }) => file);
  return {
    files,
    bytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    sha256: kept.map(({ sha256 }) => sha256),
    entries: new Map(files.map(({ name }) => [name, truth.entries.get(name) ?? []])),
  };
}

/**
 * Copies `chosen` from the guest's mount of the tree to `to`, a directory below its mount that may be written.
 *
 * @param arrived the same directory where the server has it
 * @param phase advances by bytes compared
 */
export async function checkCopies(
  guest: Place,
  to: string,
  arrived: Place,
  chosen: TreeTruth,
  signal: AbortSignal,
  phase: Phase,
): Promise<TreeVerdict> {
  const names = chosen.files.map(({ name }) => Buffer.from(`./${name}\0`, 'latin1'));
  await runProgram(guest, ['mkdir', '--', to], { signal });
  const { errors } = await runProgram(guest, ['sh', '-c', COPY, 'sh', guest.root, to], {
    signal,
    input: Buffer.concat(names),
    // What tar could not do is missing among the copies.
    accept: Array.from({ length: 256 }, (_none, index) => index),
  });
  const listing = await listTree(arrived, signal);
  for (const [name, [type]] of listing) if (type === 'd') listing.delete(name);
  const differing = compareListings(chosen.entries, listing, ['links']);
  const { sums } = await hashContents(arrived, chosen.files, signal, phase);
  const contents = chosen.files.filter((_file, index) => sums[index] !== chosen.sha256[index]);
  return {
    what: 'tar: files copied into another export, compared on the server',
    checked: chosen.files.length,
    mismatches: [
      ...errors.split('\n').filter((line) => line !== ''),
      ...differing,
      ...contents.map(({ name }) => `${Buffer.from(name, 'latin1').toString()}: contents differ`),
    ],
  };
}

/** Whether the tree is still what was read of it first. */
export async function checkUnchanged(
  source: Place,
  truth: TreeTruth,
  signal: AbortSignal,
): Promise<TreeVerdict> {
  return {
    what: 'the exported tree is unchanged',
    checked: truth.entries.size,
    mismatches: compareListings(truth.entries, await listTree(source, signal)),
  };
}
