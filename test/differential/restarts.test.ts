/**
 * Random programs on a hard mount come out as in a plain directory, though the server is killed between their operations and
 * under them: nothing is lost, nothing is done twice, and every open file goes on.
 */
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makePlaces } from '../conformance/write-places.ts';
import { programsWithRestarts } from './program.ts';
import { mountLimit, sameAsPlain } from './suite.ts';

/** Fewer than elsewhere: a start takes as long as hundreds of operations. */
const RUNS = 1;
/** For the watchdog of the mount, in milliseconds. */
const PROGRAM_LIMIT_MS = 20_000;
const BACKENDS = [
  { name: 'near-restarts', source: () => 'tree', options: 'rw,hard' },
  { name: 'network-restarts', source: (port: number) => `nfs://127.0.0.1:${port}/tree`, options: 'rw,hard' },
] as const;

t.test('random programs on a server that is killed', { skip: cannotMountHere }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const options = { directory: top, exports: [`tree=${tree},squash=none,clients=127.0.0.1`] };
  let server = await startServer(t, options);
  const { port, table } = server;
  let restarts = 0;
  const restart = async (): Promise<void> => {
    await server.kill();
    server = await startServer(t, { ...options, port });
    restarts += 1;
  };
  for (const { name, source, options } of BACKENDS) {
    await t.test(name, async (t) => {
      const point = join(top, name);
      const limitMs = mountLimit(RUNS, PROGRAM_LIMIT_MS);
      const mount = await startMount(t, { source: source(port), point, table, options, limitMs });
      await sameAsPlain(t, name, plain, point, { program: programsWithRestarts, runs: RUNS, restart });
      t.notMatch(mount.log(), /"level":"(error|fatal)"/, 'no fault was logged');
      t.ok(restarts > 0, `the server was killed ${restarts} times`);
      restarts = 0;
    });
  }
});
