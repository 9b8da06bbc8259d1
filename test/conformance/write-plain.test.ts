/** Two plain directories answer alike: what the write suite says of a mount is not due to chance. */
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { makePlaces } from './write-places.ts';
import { unmark, WRITE_RUNS, writeSuite } from './write-suite.ts';

// The cases need root as mounts do: they act as several users.
t.test('a plain directory writes as another', { skip: cannotMountHere }, async (t) => {
  const { plain, tree: other } = makePlaces(t);
  for (const directory of [plain, other]) t.teardown(() => unmark(directory));
  await writeSuite(t, plain, [{ name: 'plain directory', point: other, runs: WRITE_RUNS }]);
});
