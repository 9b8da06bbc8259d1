/** Changes through driver=fuse-native come out as in the directory itself, within the limits of native-write-exceptions.ts. */
import { join } from 'node:path';
import t from 'tap';
import { noFuseNative } from '../support/fuse-native.ts';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makePlaces } from './write-places.ts';
import { NATIVE_WRITE_EXCEPTIONS } from './native-write-exceptions.ts';
import { writeSuite, type ProbeRun } from './write-suite.ts';

/** Watchdog of a mount: both stand until the last has been asked. */
const MOUNT_LIMIT_MS = 600_000;

/** It cannot tell callers apart: everything is asked as root. */
const RUNS: readonly ProbeRun[] = [{ groups: 'names,renames,data,openFiles,attributes,changes,contention' }];

t.test('fuse-native writes as the directory itself', { skip: cannotMountHere || noFuseNative }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const server = await startServer(t, {
    directory: top,
    exports: [`tree=${tree},squash=none,clients=127.0.0.1,grants=none`],
  });
  const mounts = [];
  // Near without grants bytes go the same way; differential/fuse-native.test.ts takes both.
  for (const [name, source] of [['network', `nfs://127.0.0.1:${server.port}/tree`]] as const) {
    const point = join(top, name);
    await startMount(t, {
      source,
      point,
      table: server.table,
      options: 'rw,driver=fuse-native',
      limitMs: MOUNT_LIMIT_MS,
    });
    mounts.push({ name, point, behind: tree, exceptions: NATIVE_WRITE_EXCEPTIONS, runs: RUNS });
  }
  await writeSuite(t, plain, mounts);
});
