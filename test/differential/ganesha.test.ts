/** Random programs come out on a mount of nfs-ganesha as in a plain directory. */
import { join } from 'node:path';
import t from 'tap';
import { freePorts, skipWithout, startGanesha } from '../interop/peers.ts';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { skipWithoutBuild } from '../support/server.ts';
import { makePlaces } from '../conformance/write-places.ts';
import { programs } from './program.ts';
import { mountLimit, sameAsPlain } from './suite.ts';

const skip = skipWithout(['ganesha']) || cannotMountHere || skipWithoutBuild();

/** It answers NFS3_OK to a SETATTR of a symbolic link's times, and does not set them. */
const program = programs.map((operations) => operations.filter(({ op }) => op !== 'lutimes'));

t.test('random programs on nfs-ganesha', { skip }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const [nfsPort = 0, mountPort = 0] = await freePorts(2);
  const ganesha = await startGanesha({ directory: tree, nfsPort, mountPort });
  t.teardown(() => ganesha.stop());
  const point = join(top, 'mnt');
  await startMount(t, {
    source: `nfs://127.0.0.1:${nfsPort}${tree}?mountport=${mountPort}`,
    point,
    options: 'rw',
    limitMs: mountLimit(),
  });
  await sameAsPlain(t, 'nfs-ganesha', plain, point, { program });
});
