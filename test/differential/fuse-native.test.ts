/** Random programs come out through driver=fuse-native as in a plain directory. */
import { join } from 'node:path';
import t from 'tap';
import { noFuseNative } from '../support/fuse-native.ts';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makePlaces } from '../conformance/write-places.ts';
import { mountLimit, sameAsPlain } from './suite.ts';

t.test('random programs through fuse-native', { skip: cannotMountHere || noFuseNative }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const server = await startServer(t, {
    directory: top,
    exports: [`tree=${tree},squash=none,clients=127.0.0.1,grants=none`],
  });
  for (const [name, source] of [
    ['near', 'tree'],
    ['network', `nfs://127.0.0.1:${server.port}/tree`],
  ] as const) {
    await t.test(name, async (t) => {
      const point = join(top, name);
      await startMount(t, {
        source,
        point,
        table: server.table,
        options: 'rw,driver=fuse-native',
        limitMs: mountLimit(),
      });
      await sameAsPlain(t, `fuse-native-${name}`, plain, point, { isByPath: true });
    });
  }
});
