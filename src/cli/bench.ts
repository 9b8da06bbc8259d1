/** `nearmount bench`: how fast the files of a mount are read, beside another way to them. Reads only. */
import { realpathSync, statSync } from 'node:fs';
import { Command } from 'commander';
import { z } from 'zod';
import { collectStatus, runtimeDirectory } from '../observe/status-socket.ts';
import { RANDOM_READS_MAX, SURVEY_ENTRIES_MAX, SURVEY_SECONDS_MAX } from './bench/limits.ts';
import { isClientFileSystem, planReads } from './bench/plan.ts';
import { printMountReport, describeMountReport, type MountReport } from './bench/mount-report.ts';
import { cpuSecondsOf } from './bench/cpu-time.ts';
import { runSurvey, runTimedTask } from './bench/run-task.ts';
import { WORKLOAD_TITLES, type TimedResult, type TimedTask } from './bench/tasks.ts';
import { Progress } from './demo/progress.ts';
import { CliError } from './errors.ts';
import { printJson, processStreams } from './output.ts';
import { parseSize, wholeNumber } from './quantities.ts';

const SECONDS_MAX = 3_600;
const ROUNDS_MAX = 1_000;
const SIZE_MIN_BYTES = 1024 ** 2;
const SIZE_MAX_BYTES = 1024 ** 4;
const INTERRUPTED_STATUS = 130;

interface BenchOptions {
  readonly against?: string;
  readonly size: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly json?: boolean;
}

export function benchCommand(): Command {
  return new Command('bench')
    .description(
      'measure reads of a mount, or any directory: sequential, random, mapped, small files, stat, list; changes nothing',
    )
    .argument('<directory>', 'a mount point, or a directory in one')
    .option('--against <directory>', 'another way to the same files, measured in turn; ratios are to it')
    .option(
      '--size <bytes>',
      'how much of the largest file one sequential read takes, with K, M or G',
      parseSize('--size', SIZE_MIN_BYTES, SIZE_MAX_BYTES),
      1024 ** 3,
    )
    .option('--seconds <n>', 'longest time of one measurement', wholeNumber('--seconds', 1, SECONDS_MAX), 2)
    .option('--rounds <n>', 'rounds, of which medians are taken', wholeNumber('--rounds', 1, ROUNDS_MAX), 5)
    .option('--json', 'print one JSON document, and no progress')
    .action(async (directory: string, options: BenchOptions) => {
      await bench(directory, options);
    });
}

interface Side {
  readonly root: string;
  /** Whether its page cache is a copy of somebody else's files, to be dropped between rounds. */
  readonly dropCache: boolean;
  readonly gatewayPid: number | undefined;
}

async function bench(directory: string, options: BenchOptions): Promise<void> {
  const interruption = new AbortController();
  const interrupt = (): void => interruption.abort();
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const progress = new Progress(options.json === true);
  try {
    const report = await measure(directory, options, interruption.signal, progress);
    progress.complete();
    if (options.json === true) printJson(processStreams, describeMountReport(report));
    else printMountReport(processStreams, report);
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
    process.exitCode = INTERRUPTED_STATUS;
  } finally {
    progress.abandon();
    process.removeListener('SIGINT', interrupt);
    process.removeListener('SIGTERM', interrupt);
  }
}

async function measure(
  directory: string,
  options: BenchOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<MountReport> {
  const roots = [directory, ...(options.against === undefined ? [] : [options.against])].map(realDirectory);
  progress.phase('looking for files', 1);
  const limits = { survey: true, entriesMax: SURVEY_ENTRIES_MAX, seconds: SURVEY_SECONDS_MAX } as const;
  const surveys = await Promise.all(roots.map((root) => runSurvey({ ...limits, root }, { signal })));
  const [first] = surveys;
  if (first === undefined || first.entries === 0)
    throw new CliError(`${directory} has nothing in it to read`);
  const sides: Side[] = [];
  for (const [index, root] of roots.entries()) {
    const fileSystem = surveys[index]?.fileSystem ?? 0;
    sides.push({ root, dropCache: isClientFileSystem(fileSystem), gatewayPid: await gatewayOf(root) });
  }
  const plan = planReads(first, { bytesMax: options.size, readsMax: RANDOM_READS_MAX });

  const total = options.rounds * plan.length * sides.length;
  const phase = progress.phase('measuring', total);
  const measurements = plan.map(({ workload, subject }) => ({
    workload,
    subject,
    sides: sides.map(() => ({ results: [] as TimedResult[], gatewayCpuSeconds: [] as number[] })),
  }));
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const [at, { work }] of plan.entries()) {
      // Whoever is first in one round is last in the next.
      const order = round % 2 === 1 ? sides : sides.toReversed();
      for (const side of order) {
        const given = { root: side.root, seconds: options.seconds, dropCache: side.dropCache, seed: round };
        const before = side.gatewayPid === undefined ? 0 : cpuSecondsOf(side.gatewayPid);
        const result = await runTimedTask({ ...work, ...given } as TimedTask, { signal });
        const into = measurements[at]?.sides[sides.indexOf(side)];
        into?.results.push(result);
        if (side.gatewayPid !== undefined) {
          into?.gatewayCpuSeconds.push(cpuSecondsOf(side.gatewayPid) - before);
        }
        phase.advance(1);
      }
    }
  }
  const measured = new Set(plan.map(({ workload }) => workload));
  return {
    directory,
    against: options.against,
    rounds: options.rounds,
    secondsMax: options.seconds,
    dropCaches: sides.map(({ dropCache }) => dropCache),
    surveyComplete: first.complete,
    measurements,
    leftOut: (Object.keys(WORKLOAD_TITLES) as (keyof typeof WORKLOAD_TITLES)[]).filter(
      (workload) => !measured.has(workload),
    ),
  };
}

function realDirectory(directory: string): string {
  let isDirectory: boolean;
  let path: string;
  try {
    path = realpathSync(directory);
    isDirectory = statSync(path).isDirectory();
  } catch (error) {
    throw new CliError(`${directory} cannot be read (${(error as NodeJS.ErrnoException).code})`, 1, error);
  }
  if (!isDirectory)
    throw new CliError(`${directory} is not a directory: give a mount point, or a directory in one`);
  return path;
}

const mountStatus = z.object({ mountPoint: z.string(), pid: z.number() });

/** The process that serves the mount the directory is in; undefined where it is none of ours. */
async function gatewayOf(root: string): Promise<number | undefined> {
  const { statuses } = await collectStatus(runtimeDirectory());
  return statuses
    .map((status) => mountStatus.parse(status))
    .filter(({ mountPoint }) => `${root}/`.startsWith(`${mountPoint}/`))
    .sort((a, b) => b.mountPoint.length - a.mountPoint.length)[0]?.pid;
}
