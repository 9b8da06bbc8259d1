/**
 * One suite of changing operations and their errors, for every way in which an export can be reached. The reference is a
 * plain directory on the same file system, so nothing here says what the right answer is: the kernel's own does.
 */
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { plainNode, runTool } from '../support/mounts.ts';
import { GROUP, USER } from './tree.ts';
import type { Answer, WriteException } from './write-exceptions.ts';

type Milliseconds = number;

const PROBE = fileURLToPath(new URL('./write-probe.mjs', import.meta.url));
/** Watchdog of one run of the probe, which takes seconds. */
const PROBE_LIMIT: Milliseconds = 90_000;
/** More links than ext4 gives one file (65,000). */
const LINKS = 65_100;

export interface ProbeRun {
  /** Groups of cases: see write-probe.mjs. */
  readonly groups: string;
  /** uid:gid:group,group to act as; default: root. */
  readonly who?: string;
  /** Works in this directory, which is there; default: a new one. */
  readonly directory?: string;
  /** Fills the directory of a run, in the exported directory itself. */
  readonly fill?: (directory: string) => void;
}

const NAMES = 'names,renames,openFiles,attributes,changes';

/** All a writable file system is asked, and by whom. */
export const WRITE_RUNS: readonly ProbeRun[] = [
  { groups: `${NAMES},data,contention` },
  { groups: NAMES, who: `${USER}:${USER}:7,${GROUP}` },
  { groups: 'permissions', who: `${USER}:${USER}:` },
  { groups: 'permissions', who: `${USER}:${USER}:7,8,${GROUP},9,${GROUP}` },
  { groups: 'permissions', who: `1000:${GROUP}:` },
  { groups: 'permissions', who: '0:0:' },
  { groups: 'marked', fill: fillMarked },
];

/** For what differs from another backend only in how bytes travel. */
export const SHORT_RUNS: readonly ProbeRun[] = [{ groups: `${NAMES},data,contention` }];

/** Extended attributes and ACLs, where the server has them. */
export const XATTR_RUNS: readonly ProbeRun[] = [
  { groups: 'xattrs' },
  { groups: 'xattrs', who: `${USER}:${USER}:7,${GROUP}` },
];

export interface Written {
  readonly name: string;
  /** Where the probe works. */
  readonly point: string;
  /** The same directory without the mount in between, where runs are prepared; default: `point`. */
  readonly behind?: string;
  readonly exceptions?: readonly WriteException[];
  readonly runs: readonly ProbeRun[];
}

type Answers = Readonly<Record<string, Answer>>;

function describe({ groups, who }: ProbeRun): string {
  return who === undefined ? groups : `${groups} as ${who}`;
}

/** Runs the probe in a directory of `point`: a new one, unless the run has its own. */
async function probe(
  { point, behind = point }: Pick<Written, 'point' | 'behind'>,
  run: ProbeRun,
  name: string,
) {
  const directory = run.directory ?? name;
  if (run.directory === undefined) mkdirSync(join(behind, name));
  run.fill?.(join(behind, directory));
  const who = run.who === undefined ? [] : [run.who];
  const args = [join(point, directory), run.groups, join(behind, directory), ...who];
  const { status, signal, stdout, stderr } = await runTool(...plainNode(PROBE, ...args), {
    limitMs: PROBE_LIMIT,
  });
  if (status !== 0) throw new Error(`probe ${args.join(' ')}: ${signal ?? status}\n${stderr}`);
  return JSON.parse(stdout.toString()) as Answers;
}

/** The directory's answer, as the backend must give it; exceptions that change something are added to `used`. */
function expectedOf(
  exceptions: readonly WriteException[],
  name: string,
  answer: Answer,
  used: Set<WriteException>,
  actual: Answer = {},
): Answer {
  return exceptions
    .filter(({ cases }) => cases.test(name))
    .reduce((before, exception) => {
      const after = exception.expected(before, name, actual);
      if (exception.isChance === true || JSON.stringify(after) !== JSON.stringify(before))
        used.add(exception);
      return after;
    }, answer);
}

/**
 * Runs the probe on every mount and on `plain`, a directory on the same file system as what is mounted, and compares.
 *
 * @param prefix of the directories that are made, where several suites share a file system
 */
export async function writeSuite(
  t: Test,
  plain: string,
  mounts: readonly Written[],
  prefix = 'run',
): Promise<void> {
  const references = new Map<ProbeRun, Answers>();
  const matched = new Set<WriteException>();
  const runs = [...new Set(mounts.flatMap((mount) => mount.runs))];
  for (const [index, run] of runs.entries()) {
    references.set(run, await probe({ point: plain }, run, `${prefix}-${index}`));
  }
  for (const [number, mount] of mounts.entries()) {
    const { name, exceptions = [] } = mount;
    const used = new Set<WriteException>();
    const asked = new Set<WriteException>();
    await t.test(name, async (t) => {
      for (const [index, run] of mount.runs.entries()) {
        const expected = references.get(run) ?? {};
        const actual = await probe(mount, run, `${prefix}-${number}-${index}`);
        const wanted = Object.entries(expected).map(
          ([name, answer]) => [name, expectedOf(exceptions, name, answer, used, actual[name])] as const,
        );
        // Only what differs: a failure names its cases, and nothing else.
        const wrong = wanted.filter(
          ([name, answer]) => JSON.stringify(actual[name]) !== JSON.stringify(answer),
        );
        t.strictSame(
          Object.fromEntries(wrong.map(([name]) => [name, actual[name]])),
          Object.fromEntries(wrong),
          `${describe(run)}: ${wanted.length} cases`,
        );
        t.ok(wanted.length > 0, `${describe(run)} has cases`);
        for (const exception of exceptions) {
          if (wanted.some(([name]) => exception.cases.test(name))) asked.add(exception);
        }
      }
      for (const exception of asked) {
        t.ok(
          used.has(exception),
          `an exception that is needed: ${exception.cases.source} (${exception.reason})`,
        );
        matched.add(exception);
      }
    });
  }
  // A list is for all of them, so one suite cannot tell which exceptions are of no use, unless it asks everything.
  if (!WRITE_RUNS.every((run) => runs.includes(run))) return;
  for (const { cases } of new Set(mounts.flatMap(({ exceptions = [] }) => exceptions))) {
    t.ok(
      [...matched].some((exception) => exception.cases === cases),
      `an exception has cases: ${cases.source}`,
    );
  }
}

/** Makes a file with as many names as it can have, in `links` of a directory: see the cases `manyLinks`. */
export function makeLinks(directory: string): void {
  const links = join(directory, 'links');
  mkdirSync(links);
  writeFileSync(join(links, '0'), '');
  try {
    for (let index = 1; index < LINKS; index += 1) linkSync(join(links, '0'), join(links, String(index)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EMLINK') throw error;
  }
}

/** Files that chattr(1) marks, where the file system knows of that; unmark() must follow before they can be removed. */
function fillMarked(directory: string): void {
  const path = (name: string): string => join(directory, name);
  for (const name of ['immutable', 'append-only', 'plain']) writeFileSync(path(name), 'text');
  mkdirSync(path('immutable-directory'));
  writeFileSync(path('immutable-directory/inside'), 'text');
  spawnSync('chattr', ['+i', path('immutable'), path('immutable-directory')]);
  spawnSync('chattr', ['+a', path('append-only')]);
}

/** Takes away what fillMarked() gave, everywhere below a directory. */
export function unmark(directory: string): void {
  spawnSync('chattr', ['-R', '-i', '-a', directory], { stdio: 'ignore' });
}
