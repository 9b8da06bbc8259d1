/** Interleaved, timed reads of one large file, and what the kernel counted for our processes meanwhile. */
import { CliError } from '../errors.ts';
import { ioBetween, processIo, type ProcessIo } from './process-io.ts';
import type { Phase } from './progress.ts';
import { runProgram, type Place } from './programs.ts';
import type { Guest } from './stage.ts';

const READ_BYTES = '1M';
const MEBIBYTE = 1024 * 1024;

/** Direct and near reads are short, and noise weighs on them: so many pairs go with each far read. */
const PAIRS_PER_ROUND = 3;

/** One read of the whole file through one guest. */
export interface GuestRead {
  readonly seconds: number;
  /** Time of the direct read just before by this one's. */
  readonly ratio: number;
  readonly gateway: ProcessIo;
  readonly server: ProcessIo;
}

export interface Round {
  readonly direct: readonly { readonly seconds: number }[];
  readonly near: readonly GuestRead[];
  readonly far: readonly GuestRead[];
}

export interface TimedFile {
  /** Below every place's root. */
  readonly name: string;
  readonly sizeBytes: number;
}

export interface Players {
  readonly direct: Place;
  readonly near: Guest;
  readonly far: Guest;
  readonly server: { readonly pid: number };
}

/**
 * Reads the file directly and near in turn, PAIRS_PER_ROUND times, then far, and so on for `rounds`; by dd with 1 MiB
 * reads, timed by dd itself. `phase` advances once a round.
 */
export async function timeReads(
  players: Players,
  file: TimedFile,
  rounds: number,
  signal: AbortSignal,
  phase: Phase,
): Promise<readonly Round[]> {
  // The server's page cache is to hold the file from the first round on.
  await readBy(players.direct, file, signal);
  const results: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const direct: { seconds: number }[] = [];
    const near: GuestRead[] = [];
    let seconds = NaN;
    for (let pair = 0; pair < PAIRS_PER_ROUND; pair += 1) {
      seconds = await readBy(players.direct, file, signal);
      direct.push({ seconds });
      near.push(await readThrough(players.near, players.server, file, seconds, signal));
    }
    const far = await readThrough(players.far, players.server, file, seconds, signal);
    results.push({ direct, near, far: [far] });
    phase.advance(1);
  }
  return results;
}

async function readThrough(
  guest: Guest,
  server: { readonly pid: number },
  file: TimedFile,
  directSeconds: number,
  signal: AbortSignal,
): Promise<GuestRead> {
  await forget(guest, file, signal);
  const before = { gateway: processIo(guest.pid), server: processIo(server.pid) };
  const seconds = await readBy(guest, file, signal);
  return {
    seconds,
    ratio: directSeconds / seconds,
    gateway: ioBetween(before.gateway, processIo(guest.pid)),
    server: ioBetween(before.server, processIo(server.pid)),
  };
}

/** Drops the file from the guest's own page cache; the files' own pages, where they lie, stay. */
async function forget(guest: Guest, file: TimedFile, signal: AbortSignal): Promise<void> {
  const words = ['dd', `if=${guest.root}/${file.name}`, 'of=/dev/null', 'iflag=nocache', 'count=0'];
  await runProgram(guest, words, { signal });
}

/** Seconds from dd's own report: opening the file and starting the program are not in it. */
async function readBy(place: Place, file: TimedFile, signal: AbortSignal): Promise<number> {
  const words = ['dd', `if=${place.root}/${file.name}`, 'of=/dev/null', `bs=${READ_BYTES}`];
  const { errors } = await runProgram(place, words, { signal });
  const report = /^(\d+) bytes.* copied, ([\d.e+-]+) s/m.exec(errors);
  if (report === null) throw new CliError(`dd did not say how long it took: ${errors.trim()}`);
  if (Number(report[1]) !== file.sizeBytes) {
    throw new CliError(
      `dd read ${report[1]} of ${file.sizeBytes} bytes of ${file.name} through the ${place.title}`,
    );
  }
  return Number(report[2]);
}

export interface Summary {
  readonly median: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** Of at least one value. */
export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? NaN;
  const lower = sorted[(sorted.length - 1) >> 1] ?? NaN;
  return { median: (lower + upper) / 2, minimum: sorted[0] ?? NaN, maximum: sorted.at(-1) ?? NaN };
}

export function mebibytesPerSecond(bytes: number, seconds: number): number {
  return bytes / MEBIBYTE / seconds;
}

/** Times of one place's two passes over everything but the large file. */
export interface ArchivePass {
  /** With a mount that has read nothing yet. */
  readonly firstSeconds: number;
  readonly againSeconds: number;
}

/** Archives everything but the large file with `tar | cat`, twice; timed inside, without nsenter's start. */
export async function timeArchive(
  place: Place,
  file: TimedFile,
  signal: AbortSignal,
  phase: Phase,
): Promise<ArchivePass> {
  const once = async (): Promise<number> => {
    const exclude = ['--anchored', '--no-wildcards', `--exclude=./${file.name}`];
    const words = ['tar', '-cf', '-', ...exclude, '-C', place.root, '.'];
    // tar knows /dev/null and would read nothing, hence the cat. What tar complains about ends the demo.
    const script = 'date +%s.%N; "$@" | cat >/dev/null; date +%s.%N';
    const { output, errors } = await runProgram(place, ['sh', '-c', script, 'sh', ...words], { signal });
    const complaint = errors.split('\n').find((line) => line !== '' && !line.endsWith('socket ignored'));
    if (complaint !== undefined) throw new CliError(`tar, reading through the ${place.title}: ${complaint}`);
    const [start = NaN, end = NaN] = output.toString().trim().split('\n').map(Number);
    phase.advance(1);
    return end - start;
  };
  return { firstSeconds: await once(), againSeconds: await once() };
}
