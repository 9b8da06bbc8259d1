/** Our gateway writes to nfs-ganesha: changes come out as in the directory itself. */
import { join } from 'node:path';
import t from 'tap';
import { freePorts, skipWithout, startGanesha } from '../interop/peers.ts';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { skipWithoutBuild } from '../support/server.ts';
import { makePlaces } from './write-places.ts';
import { GANESHA_EXCEPTIONS } from './ganesha-exceptions.ts';
import { unmark, WRITE_RUNS, writeSuite } from './write-suite.ts';

/** Watchdog of the mount, which is asked everything that a file system is. */
const MOUNT_LIMIT_MS = 600_000;

const skip = skipWithout(['ganesha']) || cannotMountHere || skipWithoutBuild();

t.test('a mount of nfs-ganesha writes as the directory itself', { skip }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  for (const directory of [plain, tree]) t.teardown(() => unmark(directory));
  const [nfsPort = 0, mountPort = 0] = await freePorts(2);
  const ganesha = await startGanesha({ directory: tree, nfsPort, mountPort });
  t.teardown(() => ganesha.stop());
  const point = join(top, 'mnt');
  await startMount(t, {
    source: `nfs://127.0.0.1:${nfsPort}${tree}?mountport=${mountPort}`,
    point,
    options: 'rw',
    limitMs: MOUNT_LIMIT_MS,
  });
  const runs = WRITE_RUNS;
  await writeSuite(t, plain, [
    { name: 'nfs-ganesha', point, behind: tree, exceptions: GANESHA_EXCEPTIONS, runs },
  ]);
});
