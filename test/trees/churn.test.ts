/**
 * Directories under churn: names come and go between any two reads of a listing, and still every name that was there
 * throughout is listed exactly once, on every route and every kind of file system, and across a restart of the server.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, startMount, startWorker, type FileWorker } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { FILE_SYSTEMS, overlay, type FreshFileSystem } from './file-systems.ts';
import { MOUNT_LIMIT_MS, routesTo, sized } from './size.ts';

/** Names that stay; the whole size of the promise is 100,000. */
const NAMES = sized(4_000, 100_000);
/** Names that come and go with each step of a listing, and names read with each. */
const CHURN = 50;
const STEP = NAMES / 20;

/** Long enough that a listing takes many calls. */
const nameOf = (kind: string, index: number): string => `${kind}-${'n'.repeat(30)}-${index}`;

function fill(directory: string, from: number, to: number): void {
  for (let index = from; index < to; index += 1) {
    writeFileSync(join(directory, nameOf('stays', index)), '');
    // Spread among the others, so that removing one moves what lies behind it where positions are counted.
    if (index % 20 === 0) writeFileSync(join(directory, nameOf('goes', index)), '');
  }
}

class Churn {
  readonly #directory: string;
  #step = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Removes names, of those that were made first and of its own, and makes others. */
  once(): void {
    const first = this.#step * CHURN;
    for (let index = 0; index < CHURN; index += 1) {
      const number = first + index;
      rmSync(join(this.#directory, nameOf('goes', number * 20)), { force: true });
      writeFileSync(join(this.#directory, nameOf('comes', number)), '');
      if (number % 2 === 0) rmSync(join(this.#directory, nameOf('comes', number - CHURN)), { force: true });
    }
    this.#step += 1;
  }
}

/** How often each name that stays was listed, as counts of counts: {1: NAMES} is what is wanted. */
function countStaying(listed: readonly string[]): Record<number, number> {
  const times = new Map<string, number>();
  for (let index = 0; index < NAMES; index += 1) times.set(nameOf('stays', index), 0);
  for (const name of listed) {
    const before = times.get(name);
    if (before !== undefined) times.set(name, before + 1);
  }
  const counts: Record<number, number> = {};
  for (const count of times.values()) counts[count] = (counts[count] ?? 0) + 1;
  return counts;
}

/** Lists to the end, with `between` after each step. */
async function listAll(
  worker: FileWorker,
  between: (step: number) => void | Promise<void>,
  name = '.',
): Promise<string[]> {
  const as = 'listing';
  const opened = await worker.ask({ op: 'opendir', name, as });
  if (opened.error !== undefined) throw new Error(`opendir: ${opened.error}`);
  const listed: string[] = [];
  for (let step = 0; ; step += 1) {
    const { value, error } = await worker.ask({ op: 'names', as, count: STEP }, 120_000);
    if (!Array.isArray(value)) throw new Error(`names: ${error}`);
    listed.push(...(value as string[]));
    if (value.length < STEP) break;
    await between(step);
  }
  await worker.ask({ op: 'closedir', as });
  return listed;
}

const kinds = [
  ...FILE_SYSTEMS.filter(({ name }) => name !== 'overlayfs').map(({ name, make }) => ({
    name,
    make: (t: Test): FreshFileSystem | string => {
      const made = make(t);
      if (typeof made !== 'string') fill(made.directory, 0, NAMES);
      return made;
    },
  })),
  {
    name: 'overlayfs, a directory of two layers, handles of the table',
    make: (t: Test): FreshFileSystem | string => {
      const made = overlay(t, (lower) => fill(lower, 0, NAMES / 2));
      if (typeof made !== 'string') fill(made.directory, NAMES / 2, NAMES);
      return made;
    },
  },
];

for (const { name, make } of kinds) {
  t.test(name, { skip: cannotMountHere, timeout: 600_000 }, async (t) => {
    const made = make(t);
    if (typeof made === 'string') {
      t.pass(made, { skip: made });
      return;
    }
    const { directory } = made;
    const top = makeDirectory(t);
    const exports = [`tree=${directory},squash=none,clients=127.0.0.1`];
    let server = await startServer(t, { directory: top, exports });
    const churn = new Churn(directory);

    for (const [route, options] of routesTo(name)) {
      const point = join(top, route);
      mkdirSync(point);
      const mount = await startMount(t, {
        source: 'tree',
        point,
        table: server.table,
        options,
        limitMs: MOUNT_LIMIT_MS,
      });
      const worker = await startWorker(t, point);
      t.same(countStaying(await listAll(worker, () => churn.once())), { 1: NAMES }, `${route}: under churn`);
      t.same(countStaying(await listAll(worker, () => undefined)), { 1: NAMES }, `${route}: afterwards`);

      const across = await listAll(worker, async (step) => {
        if (step !== 3) return;
        await server.kill();
        server = await startServer(t, { directory: top, exports, port: server.port });
      });
      t.same(countStaying(across), { 1: NAMES }, `${route}: across a restart of the server`);
      t.notMatch(mount.log(), /"level":"(error|fatal)"/);
      await mount.stop();
    }
    t.notMatch(server.log(), /"level":"(error|fatal)"/);
  });
}
