/** What programs are run on: mounts of a server's empty directory, on every data path that what is written may take. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { makePlaces, type Places } from '../conformance/write-places.ts';
import { cannotMountHere, runTool, startMount, type ToolOptions } from '../support/mounts.ts';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { FULL_SIZE, MOUNT_LIMIT_MS, sized } from '../trees/size.ts';

type Milliseconds = number;

/** Above what any program here takes. */
const PROGRAM_LIMIT: Milliseconds = sized(120_000, 1_200_000);

/** How a mount reaches its server, and what it is handed there: `near` has files granted to it, `near-records` nothing. */
export type Way = 'network' | 'near-records' | 'near';

const WAYS: Readonly<Record<Way, { readonly route: string; readonly source: string }>> = {
  network: { route: 'network', source: 'records' },
  'near-records': { route: 'near', source: 'records' },
  near: { route: 'near', source: 'tree' },
};

/** With the other tests one is enough: what differs by route differs in what is written to the server, not in what. */
const USUAL_WAYS: readonly Way[] = FULL_SIZE ? ['network', 'near-records', 'near'] : ['network'];

/**
 * For tap's `skip`: false when nothing is missing, else what and how to get it.
 *
 * @param programs by name, the Debian package that brings each
 */
export function skipWithoutPrograms(programs: Readonly<Record<string, string>>): string | false {
  const missing = Object.keys(programs).filter(
    (program) => spawnSync('sh', ['-c', 'command -v "$0"', program]).status !== 0,
  );
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((program) => programs[program]))].join(' ');
    return `needs ${missing.join(', ')}: apt-get install ${packages}`;
  }
  return cannotMountHere || skipWithoutBuild();
}

/** In full size, with a disk's own speed of fsync. */
function makePlacesOnDisk(t: Test): Places {
  const top = makeDirectory(t);
  const [tree, plain] = [join(top, 'disk'), join(top, 'plain')];
  for (const directory of [tree, plain]) mkdirSync(directory);
  return { top, tree, plain };
}

export interface WritableMount {
  readonly way: Way;
  /** Where programs write. */
  readonly point: string;
  /** The same directory on the server's disk. */
  readonly disk: string;
  /** A directory beside it that is not on the mount, with the same file system below. */
  readonly plain: string;
}

/** Runs `test` once a way, each on a mount of its own. */
export function onMounts(
  t: Test,
  name: string,
  skip: string | false,
  test: (t: Test, mount: WritableMount) => Promise<void>,
  ways: readonly Way[] = USUAL_WAYS,
): void {
  for (const way of ways) {
    const { route, source } = WAYS[way];
    t.test(`${name}, ${way}`, { skip }, async (t) => {
      t.setTimeout(MOUNT_LIMIT_MS);
      const { top, tree: disk, plain } = FULL_SIZE ? makePlacesOnDisk(t) : makePlaces(t);
      const point = join(top, 'mnt');
      const trusted = 'squash=none,clients=127.0.0.0/8';
      const server = await startServer(t, {
        directory: top,
        exports: [`tree=${disk},${trusted}`, `records=${disk},${trusted},grants=none`],
      });
      const mount = await startMount(t, {
        source,
        point,
        table: server.table,
        options: `route=${route},hard`,
        limitMs: MOUNT_LIMIT_MS,
      });
      await test(t, { way, point, disk, plain });
      t.equal((await mount.status()).route, route);
      t.same(await mount.stop(), { status: 0, signal: null });
    });
  }
}

/** Runs a program and returns what it printed; the test fails here when it does. */
export async function run(
  t: Test,
  cwd: string,
  words: readonly string[],
  options: Omit<ToolOptions, 'cwd'> = {},
): Promise<string> {
  const [program = '', ...rest] = words;
  const { status, signal, stdout, stderr } = await runTool(program, rest, {
    limitMs: PROGRAM_LIMIT,
    cwd,
    env: { ...process.env, NODE_OPTIONS: '', LC_ALL: 'C.UTF-8' },
    ...options,
  });
  t.equal(
    status,
    0,
    `${words.slice(0, 4).join(' ')}: ${signal ?? ''} ${stderr} ${stdout.toString().slice(-2_000)}`,
  );
  return stdout.toString();
}

/** Kinds, modes, owners, times, sizes, link counts and targets, without those directories' sizes that differ by file system. */
export async function listing(t: Test, directory: string): Promise<string[]> {
  const format = ['-type', 'd', '-printf', '%P %y %m %n %U %G %T@\\n', '-o', '-printf'];
  const text = await run(t, directory, ['find', '.', ...format, '%P %y %m %n %U %G %T@ %s %l\\n']);
  return text.split('\n').sort();
}

/** Both have the same entries with the same contents. */
export async function compareTrees(t: Test, one: string, other: string): Promise<void> {
  t.same(await listing(t, other), await listing(t, one), 'names, kinds, modes, owners, times');
  const files = ['sh', '-c', 'find . -type f -print0 | sort -z | xargs -0 -r sha256sum'];
  t.equal(await run(t, other, files), await run(t, one, files), 'contents');
}
