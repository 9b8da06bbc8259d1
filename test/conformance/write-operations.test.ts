/** Changes through every route come out as in the directory itself. */
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makePlaces } from './write-places.ts';
import { GRANTED_EXCEPTIONS, NFS3_EXCEPTIONS, type WriteException } from './write-exceptions.ts';
import { SHORT_RUNS, unmark, WRITE_RUNS, writeSuite, type ProbeRun } from './write-suite.ts';

/** Watchdog of a mount: all of them stand until the last has been asked. */
const MOUNT_LIMIT_MS = 600_000;

interface Backend {
  readonly name: string;
  readonly source: (server: ServerProcess) => string;
  readonly options: string;
  readonly runs: readonly ProbeRun[];
  /** Default: what NFSv3 cannot say. */
  readonly exceptions?: readonly WriteException[];
}

const BACKENDS: readonly Backend[] = [
  { name: 'near, without grants', source: () => 'records', options: 'rw', runs: WRITE_RUNS },
  {
    name: 'network',
    source: ({ port }) => `nfs://127.0.0.1:${port}/tree`,
    options: 'rw',
    runs: WRITE_RUNS,
  },
  {
    name: 'network, small WRITEs, noac',
    source: ({ port }) => `nfs://127.0.0.1:${port}/tree`,
    options: 'rw,rsize=8192,wsize=4096,noac',
    runs: SHORT_RUNS,
  },
  {
    name: 'near, with grants',
    source: () => 'tree',
    options: 'rw',
    runs: WRITE_RUNS,
    exceptions: GRANTED_EXCEPTIONS,
  },
  { name: 'near, shared pages', source: () => 'pages', options: 'rw', runs: SHORT_RUNS },
];

t.test('every route writes as the directory itself', { skip: cannotMountHere }, async (t) => {
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
  for (const [index, backend] of BACKENDS.entries()) {
    const { name, source, options, runs, exceptions = NFS3_EXCEPTIONS } = backend;
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
});
