/** Random programs of several users come out on a mount as in a plain directory: who may do what, and whose is what is made. */
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makePlaces } from '../conformance/write-places.ts';
import { programsOfUsers } from './program.ts';
import { mountLimit, sameAsPlain } from './suite.ts';

const BACKENDS = [
  { name: 'near-users', source: () => 'tree' },
  { name: 'network-users', source: ({ port }: ServerProcess) => `nfs://127.0.0.1:${port}/tree` },
] as const;

t.test('random programs of several users', { skip: cannotMountHere }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const server = await startServer(t, {
    directory: top,
    exports: [`tree=${tree},squash=none,clients=127.0.0.1`],
  });
  for (const { name, source } of BACKENDS) {
    await t.test(name, async (t) => {
      const mount = await startMount(t, {
        source: source(server),
        point: join(top, name),
        table: server.table,
        options: 'rw',
        limitMs: mountLimit(),
      });
      await sameAsPlain(t, name, plain, mount.point, { program: programsOfUsers });
      t.notMatch(mount.log(), /"level":"(error|fatal)"/, 'no fault was logged');
    });
  }
});
