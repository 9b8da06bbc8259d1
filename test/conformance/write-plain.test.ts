/** Two plain directories answer alike: what the write suite says of a mount is not due to chance. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';
import { unmark, WRITE_RUNS, writeSuite } from './write-suite.ts';

// The cases need root as mounts do: they act as several users.
t.test('a plain directory writes as another', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const [plain, other] = [join(top, 'plain'), join(top, 'other')];
  for (const directory of [plain, other]) {
    mkdirSync(directory);
    t.teardown(() => unmark(directory));
  }
  await writeSuite(t, plain, [{ name: 'plain directory', point: other, runs: WRITE_RUNS }]);
});
