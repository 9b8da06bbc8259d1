/** `nearmount up FILE` and `nearmount down FILE`: all mounts of a declarative mount file. */
import { mkdirSync } from 'node:fs';
import { Command } from 'commander';
import { FILE_SYSTEM_TYPE } from '../fuse/mount.ts';
import { mountAt, type MountEntry } from '../system/mount-table.ts';
import { CliError } from './errors.ts';
import { mountBehind } from './mount-behind.ts';
import { readMountFile, type FileMount } from './mount-file.ts';
import { askMount, checkPlace, realPlace } from './mount-place.ts';
import { printJson, printRemark, printTable, processStreams } from './output.ts';
import type { MountRequest } from './mount-request.ts';
import { asCliError } from './reported.ts';
import { runningMounts, type RunningMount } from './running-mounts.ts';
import { unmountPlace } from './unmount.ts';
import { YamlFileError } from './yaml-file.ts';

type State = 'mounted' | 'already mounted' | 'unmounted' | 'not mounted' | 'failed' | 'not tried';

interface Outcome {
  readonly state: State;
  /** What there is to say about it; may be empty. */
  readonly remark: string;
}

interface Line extends Outcome {
  readonly mountPoint: string;
  readonly source: string;
}

type Gateways = ReadonlyMap<string, RunningMount>;

const FILE_ARGUMENT = ['<file>', 'a mount file (YAML), as in mounts/'] as const;

export function upCommand(): Command {
  return new Command('up')
    .description('mount everything a mount file lists and that is not mounted yet')
    .argument(...FILE_ARGUMENT)
    .option('--check', 'only say whether the file is right')
    .option('--json', 'print JSON')
    .action(async (file: string, options: { check?: boolean; json?: boolean }) => {
      const mounts = readFile(file);
      if (options.check === true) {
        if (options.json === true) printJson(processStreams, { valid: true, mounts: mounts.length });
        else processStreams.out.write(`${file} is valid: ${mounts.length} mounts\n`);
        return;
      }
      await eachMount(mounts, mountOne, options.json === true);
    });
}

export function downCommand(): Command {
  return new Command('down')
    .description('unmount everything a mount file lists, in the reverse order')
    .argument(...FILE_ARGUMENT)
    .option('--force', 'as for unmount')
    .option('--json', 'print JSON')
    .action(async (file: string, options: { force?: boolean; json?: boolean }) => {
      const unmountOne = (mount: FileMount, gateways: Gateways): Promise<Outcome> =>
        unmountListed(mount.request, gateways, options.force === true);
      await eachMount(readFile(file).toReversed(), unmountOne, options.json === true);
    });
}

/** A file with several problems gets a line for each. */
function readFile(file: string): readonly FileMount[] {
  try {
    return readMountFile(file);
  } catch (error) {
    if (!(error instanceof YamlFileError)) throw error;
    for (const line of error.lines.slice(0, -1)) printRemark(processStreams, line);
    throw new CliError(error.lines.at(-1) ?? error.message, 1, error);
  }
}

/** Takes every mount in turn, prints what came of all, and fails when one did. */
async function eachMount(
  mounts: readonly FileMount[],
  act: (mount: FileMount, gateways: Gateways) => Promise<Outcome>,
  asJson: boolean,
): Promise<void> {
  const gateways = await runningMounts();
  const lines: Line[] = [];
  for (const mount of mounts) {
    const { mountPoint, sourceText } = mount.request;
    const above = lines.find(
      (line) =>
        isFailure(line) && mountPoint.startsWith(`${line.mountPoint}/`) && line.mountPoint !== mountPoint,
    );
    const outcome =
      above === undefined
        ? await outcomeOf(() => act(mount, gateways))
        : { state: 'not tried' as const, remark: `${above.mountPoint} above it failed` };
    lines.push({ mountPoint, source: sourceText, ...outcome });
  }
  if (asJson) printJson(processStreams, { mounts: lines });
  else {
    const rows = lines.map(({ mountPoint, source, state, remark }) => [mountPoint, source, state, remark]);
    printTable(processStreams, ['MOUNTPOINT', 'SOURCE', 'STATE', 'REMARK'], rows);
  }
  const failures = lines.filter(isFailure).length;
  if (failures > 0) throw new CliError(`${failures} of ${lines.length} mounts failed`);
}

function isFailure({ state }: Outcome): boolean {
  return state === 'failed' || state === 'not tried';
}

async function outcomeOf(act: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await act();
  } catch (error) {
    const known = asCliError(error);
    if (known === undefined) throw error;
    return { state: 'failed', remark: known.message };
  }
}

async function mountOne({ request, create }: FileMount, gateways: Gateways): Promise<Outcome> {
  const there = mountAt(realPlace(request.mountPoint));
  let remark = '';
  if (there !== undefined) {
    const kept = await keepMounted(there, request, gateways);
    if (kept !== undefined) return kept;
    await unmountPlace(there.mountPoint, false, gateways);
    remark = 'in place of a dead mount';
  }
  if (create) makeDirectory(request.mountPoint);
  const mountPoint = realPlace(request.mountPoint);
  const real = { ...request, mountPoint };
  await checkPlace(real);
  await mountBehind(real);
  return { state: 'mounted', remark };
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new CliError(
      `mount point ${path} cannot be made (${(error as NodeJS.ErrnoException).code})`,
      1,
      error,
    );
  }
}

/** What is to be said of a place where something is mounted; undefined when that is a dead mount of ours. */
async function keepMounted(
  there: MountEntry,
  request: MountRequest,
  gateways: Gateways,
): Promise<Outcome | undefined> {
  checkSame(there, request);
  const running = gateways.get(there.device);
  if (running !== undefined) return { state: 'already mounted', remark: compareOptions(running, request) };
  switch (await askMount(there.mountPoint)) {
    case 'dead':
      return undefined;
    case 'answers':
      return { state: 'already mounted', remark: 'its gateway does not tell its options' };
    case 'silent':
      return { state: 'already mounted', remark: 'it does not answer now' };
  }
}

function checkSame(there: MountEntry, { sourceText }: MountRequest): void {
  if (there.type === FILE_SYSTEM_TYPE && there.source === sourceText) return;
  throw new CliError(
    `${there.mountPoint} is busy: ${there.source} (type ${there.type}) is mounted there, unmount it first`,
  );
}

/** What differs; the order of options is no difference. */
function compareOptions(running: RunningMount, { optionLists }: MountRequest): string {
  const describe = (options: readonly string[]): string => [...new Set(options)].sort().join(',');
  const has = describe(running.options);
  const wanted = describe(optionLists.flatMap((list) => list.split(',')));
  if (has === wanted) return '';
  const name = (options: string): string => (options === '' ? 'no options' : options);
  return `its options are ${name(has)}, the file has ${name(wanted)}: unmount it and run up again`;
}

async function unmountListed(request: MountRequest, gateways: Gateways, force: boolean): Promise<Outcome> {
  const there = mountAt(realPlace(request.mountPoint));
  if (there === undefined) return { state: 'not mounted', remark: '' };
  checkSame(there, request);
  await unmountPlace(there.mountPoint, force, gateways);
  return { state: 'unmounted', remark: '' };
}
