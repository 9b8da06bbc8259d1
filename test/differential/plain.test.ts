/** Random programs come out the same in two plain directories: what differs on a mount is not due to chance. */
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { makePlaces } from '../conformance/write-places.ts';
import { sameAsPlain } from './suite.ts';

// The programs change owners, which needs root as mounts do.
t.test('two plain directories', { skip: cannotMountHere }, async (t) => {
  const { plain, tree: other } = makePlaces(t);
  await sameAsPlain(t, 'plain', plain, other);
});
