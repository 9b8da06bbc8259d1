/** `nearmount demo`: the main job in one command, on real files, checked and timed. */
import { isUtf8 } from 'node:buffer';
import { spawn } from 'node:child_process';
import { mkdirSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { checkCopies, checkUnchanged, chooseCopied } from './demo/copy-check.ts';
import { generate, SMALL_FILE_BYTES } from './demo/generate.ts';
import { networkBytes } from './demo/process-io.ts';
import type { Place } from './demo/programs.ts';
import { Progress } from './demo/progress.ts';
import {
  describeFindings,
  JUDGED_FILE_BYTES_MIN,
  judge,
  printReport,
  type Findings,
  type GuestFindings,
} from './demo/report.ts';
import { Stage, type Guest } from './demo/stage.ts';
import { checkSurroundings, makeWorkDirectory, type WorkDirectory } from './demo/surroundings.ts';
import { timeArchive, timeReads, type TimedFile } from './demo/timed-reads.ts';
import { bytesToCheck, checkTree, readTruth, type TreeTruth, type TreeVerdict } from './demo/tree-check.ts';
import { CliError } from './errors.ts';
import { parseMountOptions } from './mount-options.ts';
import { printJson, printRemark, processStreams } from './output.ts';
import { parseSize, wholeNumber } from './quantities.ts';

const SIZE_MAX_BYTES = 1024 ** 4;
const FILES_MAX = 1_000_000;
const ROUNDS_MAX = 1_000;
const STOPPING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SIGNAL_STATUS_BASE = 128;

interface DemoOptions {
  readonly options?: readonly string[];
  readonly size: number;
  readonly files: number;
  readonly rounds: number;
  readonly dir: string;
  readonly keep?: boolean;
  readonly json?: boolean;
}

const collect = (value: string, earlier: readonly string[] = []): readonly string[] => [...earlier, value];

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'share files with a near guest that has no network and a far one over TCP, check every byte, copy some files, ' +
        'time the reads',
    )
    .argument('[directory]', 'read this tree instead of generated files; nothing in it is changed')
    .option('-o, --options <name[=value],...>', "options of the near guest's mount; repeats", collect)
    .option(
      '--size <bytes>',
      'size of the large generated file, with K, M or G',
      parseSize('--size', JUDGED_FILE_BYTES_MIN, SIZE_MAX_BYTES),
      1024 ** 3,
    )
    .option('--files <n>', 'number of small generated files', wholeNumber('--files', 0, FILES_MAX), 5000)
    .option('--rounds <n>', 'rounds of timed reads', wholeNumber('--rounds', 1, ROUNDS_MAX), 15)
    .option('--dir <directory>', 'where to put the files; a directory is made inside', tmpdir())
    .option('--keep', 'leave files, server and mounts, and say how to look at them and how to stop them')
    .option('--json', 'print one JSON document, and no progress')
    .action(async (directory: string | undefined, options: DemoOptions) => {
      await demo(directory, options);
    });
}

/** What a run needs at every step. */
interface Run {
  readonly startedMs: number;
  readonly options: DemoOptions;
  readonly work: WorkDirectory;
  readonly stage: Stage;
  readonly source: Place;
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

async function demo(directory: string | undefined, options: DemoOptions): Promise<void> {
  const startedMs = performance.now();
  parseMountOptions(options.options ?? []);
  checkSurroundings();
  const given = directory === undefined ? undefined : realDirectory(directory);
  const interruption = new Interruption();
  const work = makeWorkDirectory(
    resolve(options.dir),
    given === undefined ? options.size + options.files * SMALL_FILE_BYTES : 0,
  );
  const progress = new Progress(options.json === true);
  let stage: Stage | undefined;
  let kept = false;
  try {
    const data = `${work.path}/data`;
    if (given !== undefined && `${work.path}/`.startsWith(given === '/' ? '/' : `${given}/`)) {
      throw new CliError(`the demo's own files would lie inside ${given}: choose another place with --dir`);
    }
    if (work.isOverlay && given === undefined) {
      printRemark(
        processStreams,
        `${work.path} is on an overlay file system, which the kernel's passthrough does not reach: use --dir`,
      );
    }
    stage = new Stage({
      workDirectory: work.path,
      source: data,
      hideSource: given === undefined,
      nearOptions: options.options ?? [],
      signal: interruption.signal,
    });
    const source: Place = { name: 'direct', title: 'files themselves', root: given ?? data, enter: [] };
    const run: Run = { startedMs, options, work, stage, source, signal: interruption.signal, progress };
    if (given === undefined) await makeFiles(run);
    // By a link, because an export's directory cannot contain a comma.
    else symlinkSync(given, data);
    const { findings, guests } = await perform(run);
    progress.complete();
    const checks = judge(findings);
    if (options.json === true) {
      const keeping = options.keep === true ? { kept: describeKept(run, guests) } : {};
      printJson(processStreams, { ...describeFindings(findings, checks), ...keeping });
    } else {
      printReport(processStreams, findings, checks);
      if (options.keep === true) printKept(run, guests);
    }
    if (!checks.every(({ ok }) => ok)) process.exitCode = 1;
    if (options.keep === true) {
      stage.leave();
      kept = true;
    }
  } catch (error) {
    if (!interruption.signal.aborted) throw explain(error, work, stage);
  } finally {
    progress.abandon();
    if (!kept) {
      await stage?.stop();
      await remove(work);
    }
    interruption.forget();
    const { signalName } = interruption;
    if (signalName !== undefined) {
      process.exitCode = SIGNAL_STATUS_BASE + constants.signals[signalName];
      printRemark(processStreams, `${signalName}: stopped, everything is cleaned up`);
    }
  }
}

function realDirectory(directory: string): string {
  let isDirectory: boolean;
  try {
    isDirectory = statSync(directory).isDirectory();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(`${directory} cannot be read (${code})`, 1, error);
  }
  if (!isDirectory) throw new CliError(`${directory} is not a directory`);
  return realpathSync(directory);
}

class Interruption {
  readonly #controller = new AbortController();
  #signalName: (typeof STOPPING_SIGNALS)[number] | undefined;
  readonly #listener = (name: NodeJS.Signals): void => {
    // A second Ctrl-C changes nothing: cleaning up is under way, and short.
    this.#signalName ??= STOPPING_SIGNALS.find((each) => each === name);
    this.#controller.abort();
  };

  constructor() {
    for (const name of STOPPING_SIGNALS) process.on(name, this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get signalName(): (typeof STOPPING_SIGNALS)[number] | undefined {
    return this.#signalName;
  }

  forget(): void {
    for (const name of STOPPING_SIGNALS) process.removeListener(name, this.#listener);
  }
}

async function makeFiles({ options, source, signal, progress }: Run): Promise<void> {
  mkdirSync(source.root);
  await generate({
    directory: source.root,
    largeBytes: options.size,
    smallFiles: options.files,
    here: source,
    signal,
    phase: progress.phase('making files', options.size + options.files * SMALL_FILE_BYTES),
  });
}

async function perform(run: Run): Promise<{ findings: Findings; guests: readonly Guest[] }> {
  const { options, stage, source, signal, progress } = run;
  const truth = await readTruth(source, signal, (bytes) =>
    progress.phase('reading the files directly', bytes),
  );
  const file = largestFile(truth, source);

  progress.phase('starting server and guests', 1);
  const server = await stage.startServer();
  const near = await stage.startNear();
  const far = await stage.startFar(server);

  // First, while the mounts have read nothing.
  const archiving = progress.phase('timing tar of the smaller files', 6);
  const directArchive = await timeArchive(source, file, signal, archiving);
  const nearArchive = await timeArchive(near, file, signal, archiving);
  const farArchive = await timeArchive(far, file, signal, archiving);

  const checking = progress.phase('checking every file through the guests', bytesToCheck(truth) * 2);
  const nearVerdicts = await checkTree(near, source, truth, signal, checking);
  const farVerdicts = await checkTree(far, source, truth, signal, checking);

  const chosen = chooseCopied(truth);
  const copying = progress.phase('copying files into another export', chosen.bytes * 2);
  const copies = { near: await stage.mountCopies(near), far: await stage.mountCopies(far) };
  const copyVerdict = async (guest: Guest): Promise<TreeVerdict> => {
    const to = `${copies[guest.name].root}/${guest.name}`;
    const arrived: Place = { ...source, root: `${stage.copies}/${guest.name}` };
    return checkCopies(guest, to, arrived, chosen, signal, copying);
  };
  const nearCopy = await copyVerdict(near);
  const farCopy = await copyVerdict(far);
  const unchanged = await checkUnchanged(source, truth, signal);

  const timing = progress.phase('timing reads of the largest file', options.rounds);
  const before = { near: await stage.status(near), far: await stage.status(far) };
  const rounds = await timeReads({ direct: source, near, far, server }, file, options.rounds, signal, timing);
  const after = { near: await stage.status(near), far: await stage.status(far) };

  const guestFindings = (
    guest: Guest,
    archive: GuestFindings['archive'],
    verdicts: GuestFindings['verdicts'],
    copy: TreeVerdict,
  ): GuestFindings => ({
    guest,
    before: before[guest.name],
    after: after[guest.name],
    reads: rounds.flatMap((round) => round[guest.name]),
    archive,
    verdicts,
    copy,
  });
  const findings: Findings = {
    file,
    tree: { files: truth.files.length, entries: truth.entries.size, bytes: truth.bytes },
    rounds,
    directArchive,
    near: guestFindings(near, nearArchive, nearVerdicts, nearCopy),
    far: guestFindings(far, farArchive, farVerdicts, farCopy),
    unchanged,
    nearNetwork: networkBytes(near.pid),
    seconds: (performance.now() - run.startedMs) / 1000,
  };
  return { findings, guests: [near, far] };
}

/** dd gets its name as an argument, so it has to be UTF-8. */
function largestFile(truth: TreeTruth, source: Place): TimedFile {
  let largest: TimedFile | undefined;
  for (const { name, sizeBytes } of truth.files) {
    if (sizeBytes <= (largest?.sizeBytes ?? 0)) continue;
    const bytes = Buffer.from(name, 'latin1');
    if (isUtf8(bytes)) largest = { name: bytes.toString(), sizeBytes };
  }
  if (largest === undefined) throw new CliError(`${source.root} has no file with something in it to read`);
  return largest;
}

/** What a user can act on, in one line. */
function explain(error: unknown, work: WorkDirectory, stage: Stage | undefined): unknown {
  if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
    return new CliError(
      `${work.path} is full: choose another place with --dir, or less with --size`,
      1,
      error,
    );
  }
  const deaths = stage?.deaths() ?? '';
  if (deaths === '' || !(error instanceof CliError) || deaths.endsWith(error.message)) return error;
  return new CliError(`${error.message}${deaths}`, error.exitStatus, error);
}

/** By rm, which takes names that are not UTF-8. Mounts in it were the guests', and went with them. */
async function remove(work: WorkDirectory): Promise<void> {
  const words = ['-rf', '--one-file-system', '--', work.path];
  // In a session of its own: a second Ctrl-C must not stop it.
  const child = spawn('rm', words, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  await new Promise((done) => {
    child.once('close', done);
    child.once('error', done);
  });
}

interface Kept {
  readonly directory: string;
  readonly pids: readonly number[];
  /** Shell commands. */
  readonly look: readonly string[];
  readonly stop: string;
}

function describeKept({ work, stage }: Run, guests: readonly Guest[]): Kept {
  const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`;
  return {
    directory: work.path,
    pids: stage.pids,
    look: [
      ...guests.map(({ enter, root }) => [...enter, 'ls', '-l', quoted(root)].join(' ')),
      `NEARMOUNT_RUNTIME_DIR=${quoted(stage.runtimeDirectory)} npx nearmount status`,
      `npx nearmount colocation list --colocation ${quoted(stage.table)}`,
    ],
    stop: `kill ${stage.pids.toReversed().join(' ')}; sleep 1; rm -rf --one-file-system ${quoted(work.path)}`,
  };
}

function printKept(run: Run, guests: readonly Guest[]): void {
  const { directory, look, stop } = describeKept(run, guests);
  processStreams.out.write(
    `\nkept in ${directory}; look:\n${look.map((line) => `  ${line}\n`).join('')}stop:\n  ${stop}\n`,
  );
}
