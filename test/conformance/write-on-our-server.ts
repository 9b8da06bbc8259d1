/** The suite of changing operations on mounts of our own server. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { startMount } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makePlaces } from './write-places.ts';
import { FGDP_EXCEPTIONS, type WriteException } from './write-exceptions.ts';
import { unmark, writeSuite, type ProbeRun } from './write-suite.ts';

/** Watchdog of a mount: all of them stand until the last has been asked. */
const MOUNT_LIMIT_MS = 600_000;

export interface Backend {
  readonly name: string;
  readonly source: (server: ServerProcess) => string;
  readonly options: string;
  readonly runs: readonly ProbeRun[];
  /** Default: what neither NFSv3 nor FGDP can say. */
  readonly exceptions?: readonly WriteException[];
}

/** Exports of one tree: `tree`, `pages` with grants=pages, and `records` with grants=none. */
export async function writeOnOurServer(t: Test, backends: readonly Backend[]): Promise<void> {
  const { top, tree, plain } = makePlaces(t);
  for (const directory of [plain, tree]) t.teardown(() => unmark(directory));
  const server = await startServer(t, {
    directory: top,
    exports: [
      `tree=${tree},squash=none,clients=127.0.0.1`,
      `pages=${tree},squash=none,clients=127.0.0.1,grants=pages`,
      `records=${tree},squash=none,clients=127.0.0.1,grants=none`,
    ],
  });
  const mounts = [];
  for (const [index, backend] of backends.entries()) {
    const { name, source, options, runs, exceptions = FGDP_EXCEPTIONS } = backend;
    const point = join(top, `mnt${index}`);
    const mount = await startMount(t, {
      source: source(server),
      point,
      table: server.table,
      options,
      limitMs: MOUNT_LIMIT_MS,
    });
    mounts.push({ name, point, behind: tree, exceptions, runs, log: mount.log });
  }
  await writeSuite(t, plain, mounts);
  for (const { name, log } of mounts)
    t.notMatch(log(), /"level":"(error|fatal)"/, `${name}: no fault was logged`);
  t.notMatch(server.log(), /"level":"(error|fatal)"/, 'no fault was logged by the server');
}
