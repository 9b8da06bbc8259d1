/** Mount points that would cover what their own gateway needs. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkPlace } from '../../src/cli/mount-place.ts';
import { cannotMountHere } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';

t.test('what the gateway needs stays in sight', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  for (const name of ['free', 'run', 'place/table', 'place/other'])
    mkdirSync(join(top, name), { recursive: true });
  symlinkSync(join(top, 'place'), join(top, 'link'));
  writeFileSync(join(top, 'place/other/real.db'), '');
  symlinkSync(join(top, 'place/other/real.db'), join(top, 'free.db'));
  const earlier = process.env.NEARMOUNT_RUNTIME_DIR;
  t.teardown(() => {
    if (earlier === undefined) delete process.env.NEARMOUNT_RUNTIME_DIR;
    else process.env.NEARMOUNT_RUNTIME_DIR = earlier;
  });
  const check = (
    mountPoint: string,
    places: { run?: string; tableFile?: string; logFile?: string; source?: string },
  ) => {
    process.env.NEARMOUNT_RUNTIME_DIR = join(top, places.run ?? 'run');
    return checkPlace({
      sourceText: places.source ?? 'tree',
      mountPoint: join(top, mountPoint),
      tableFile: join(top, places.tableFile ?? 'table.db'),
      logFile: join(top, places.logFile ?? 'log'),
    });
  };
  await t.resolves(check('place', {}));
  await t.resolves(check('place/table', { run: 'place', tableFile: 'place/table.db', logFile: 'place/log' }));
  const sockets = /would cover the status sockets in .*: mount elsewhere, .*NEARMOUNT_RUNTIME_DIR$/;
  const table = /would cover the colocation table .*: mount elsewhere, .*--colocation$/;
  const log = /would cover the log .*: mount elsewhere, .*--log-file$/;
  const cases = [
    ['the directory of the sockets', 'run', {}, sockets],
    ['one above it', 'place', { run: 'place/other' }, sockets],
    ['one that is not made yet', 'place', { run: 'place/other/new/run' }, sockets],
    ['by a link', 'place', { run: 'link/new' }, sockets],
    ['the directory of the table', 'place/table', { tableFile: 'place/table/t.db' }, table],
    ['one above the table', 'place', { tableFile: 'link/table/t.db' }, table],
    ['where the table leads', 'place', { tableFile: 'free.db' }, table],
    ['the directory of the log', 'place', { logFile: 'place/log' }, log],
  ] as const;
  for (const [what, mountPoint, places, message] of cases) {
    await t.rejects(check(mountPoint, places), { exitStatus: 2, message }, what);
  }
  const source = 'nfs://host/tree';
  await t.resolves(check('place', { source, tableFile: 'place/t.db' }), 'such a source needs no table');
});
