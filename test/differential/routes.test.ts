/** Random programs come out on every route as in a plain directory. */
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makePlaces } from '../conformance/write-places.ts';
import { mountLimit, sameAsPlain } from './suite.ts';

const overNetwork = ({ port }: ServerProcess): string => `nfs://127.0.0.1:${port}/tree`;
const BACKENDS = [
  { name: 'near-without-grants', source: () => 'records', options: 'rw' },
  { name: 'network', source: overNetwork, options: 'rw' },
  // No caches, and requests so small that most operations take several.
  { name: 'network-small-noac', source: overNetwork, options: 'rw,rsize=8192,wsize=4096,noac' },
  { name: 'near-with-grants', source: () => 'tree', options: 'rw' },
  { name: 'near-shared-pages', source: () => 'pages', options: 'rw' },
] as const;

t.test('random programs on every route', { skip: cannotMountHere }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const server = await startServer(t, {
    directory: top,
    exports: [
      `tree=${tree},squash=none,clients=127.0.0.1`,
      `pages=${tree},squash=none,clients=127.0.0.1,grants=pages`,
      `records=${tree},squash=none,clients=127.0.0.1,grants=none`,
    ],
  });
  for (const { name, source, options } of BACKENDS) {
    await t.test(name, async (t) => {
      const mount = await startMount(t, {
        source: source(server),
        point: join(top, name),
        table: server.table,
        options,
        limitMs: mountLimit(),
      });
      await sameAsPlain(t, name, plain, mount.point);
      t.notMatch(mount.log(), /"level":"(error|fatal)"/, 'no fault was logged');
    });
  }
  t.notMatch(server.log(), /"level":"(error|fatal)"/, 'no fault was logged by the server');
});
