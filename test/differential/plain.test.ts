/** Random programs come out the same in two plain directories: what differs on a mount is not due to chance. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';
import { sameAsPlain } from './suite.ts';

// The programs change owners, which needs root as mounts do.
t.test('two plain directories', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const [plain, other] = [join(top, 'plain'), join(top, 'other')];
  for (const directory of [plain, other]) mkdirSync(directory);
  await sameAsPlain(t, 'plain', plain, other);
});
