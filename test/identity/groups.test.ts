/** Callers with more than 16 groups get through a mount what they get on the directory itself. */
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { WAYS, attemptAll, type Attempt } from './scene.ts';

const OWNER = 2000;
const GROUPS = Array.from({ length: 64 }, (_, index) => 3000 + index);
const WHO = [
  { uid: 1000, gid: 1000, groups: GROUPS },
  { uid: 1000, gid: 1000, groups: GROUPS.slice(0, 20) },
  { uid: 1001, gid: 1001, groups: [GROUPS[63]!] },
];
const ATTEMPTS = GROUPS.flatMap((gid): readonly Attempt[] =>
  gid % 9 === 0
    ? [
        ['read', `file-${gid}`],
        ['list', `directory-${gid}`],
        ['read', `directory-${gid}/file`],
      ]
    : [],
);

t.test('more than 16 groups', { skip: cannotMountHere }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  for (const gid of GROUPS) {
    const owner = { uid: OWNER, gid };
    makeTree(tree, {
      [`file-${gid}`]: { file: `of ${gid}`, mode: 0o640, ...owner },
      [`directory-${gid}/file`]: { file: `in ${gid}`, mode: 0o640, ...owner },
      [`directory-${gid}`]: { directory: true, mode: 0o750, ...owner },
    });
  }
  const server = await startServer(t, { directory, exports: [`tree=${tree},clients=127.0.0.0/8`] });
  const expected = await attemptAll(tree, WHO, ATTEMPTS);
  t.ok(Object.values(expected).includes('of 3060'), 'the last groups count here');
  t.ok(Object.values(expected).includes('EACCES'));
  for (const { name, source, options } of WAYS) {
    const point = join(directory, name.replaceAll(/[ ,]+/g, '-'));
    const mount = await startMount(t, { source: source(server), point, table: server.table, options });
    t.strictSame(await attemptAll(point, WHO, ATTEMPTS), expected, name);
    t.equal((await mount.status()).groupsCut, 0, 'no call lacked groups');
    await mount.stop();
  }
});
