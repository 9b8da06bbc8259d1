/** tar and rsync: what they unpack and copy on a mount is what they were given. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { sized } from '../trees/size.ts';
import { makeSourceTree, setOldTimes } from './source-tree.ts';
import { compareTrees, onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const FILES = sized(150, 5_000);

onMounts(
  t,
  'tar',
  skipWithoutPrograms({ tar: 'tar', diff: 'diffutils' }),
  async (t, { point, disk, plain }) => {
    const source = join(plain, 'source');
    makeSourceTree(source, FILES);
    const archive = join(plain, 'archive.tar');
    await run(t, plain, ['tar', 'cf', archive, '--format=posix', '--numeric-owner', 'source']);
    await run(t, point, ['tar', 'xpf', archive]);
    const unpacked = join(point, 'source');
    t.equal(await run(t, point, ['diff', '-r', '--no-dereference', source, unpacked]), '');
    t.equal(await run(t, point, ['tar', 'df', archive]), '', 'tar finds no difference');
    await compareTrees(t, source, unpacked);
    await compareTrees(t, source, join(disk, 'source'));

    t.comment('over what is there: files are removed and made again');
    await run(t, point, ['tar', 'xpf', archive]);
    await compareTrees(t, source, unpacked);
    await run(t, point, ['tar', 'cf', 'of-the-mount.tar', '--format=posix', 'source']);
    await run(t, plain, ['tar', 'df', join(point, 'of-the-mount.tar')]);

    await run(t, point, ['rm', '-rf', 'source', 'of-the-mount.tar']);
    t.same(readdirSync(disk), [], 'rm left nothing');
  },
);

onMounts(t, 'rsync', skipWithoutPrograms({ rsync: 'rsync' }), async (t, { point, disk, plain }) => {
  const [source, copy] = [join(plain, 'source'), join(point, 'copy')];
  makeSourceTree(source, FILES);
  const words = ['rsync', '-aHAX', '--itemize-changes'];
  const first = await run(t, plain, [...words, `${source}/`, `${copy}/`]);
  t.ok(first.split('\n').length > FILES, 'the first sends everything');
  t.equal(await run(t, plain, [...words, `${source}/`, `${copy}/`]), '', 'the second sends nothing');
  await compareTrees(t, source, copy);
  await compareTrees(t, source, join(disk, 'copy'));
  t.equal(
    await run(t, plain, [...words, '--checksum', `${source}/`, `${copy}/`]),
    '',
    'by checksums neither',
  );

  await run(t, source, [
    'sh',
    '-c',
    'rm -r "directory 1"; echo more >>large; mv empty full; chmod 700 sticky',
  ]);
  setOldTimes(source);
  await run(t, plain, [...words, '--delete', '--inplace', `${source}/`, `${copy}/`]);
  await compareTrees(t, source, join(disk, 'copy'));
  const back = join(plain, 'back');
  await run(t, plain, [...words, `${copy}/`, `${back}/`]);
  await compareTrees(t, source, back);
});
