/** What cannot be written is refused as the directory itself refuses it: read-only, full, without inodes, with all links. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { FILE_SYSTEMS } from '../trees/file-systems.ts';
import { READ_ONLY_EXPORT_EXCEPTIONS } from './write-exceptions.ts';
import { makeLinks, writeSuite, type ProbeRun } from './write-suite.ts';

/** The two ways of our own that differ in how an error travels. */
const ROUTES = [
  ['near, without grants', (name: string) => name],
  ['network', (name: string, { port }: ServerProcess) => `nfs://127.0.0.1:${port}/${name}`],
] as const;

function mountTmpfs(t: Test, at: string, options: string): void {
  mkdirSync(at);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `mode=755,${options}`, 'conformance', at]);
  t.teardown(() => spawnSync('umount', ['-l', at]));
}

/** What the cases `readOnly` find. */
function fillClosed(directory: string): void {
  const path = (name: string): string => join(directory, name);
  writeFileSync(path('file'), 'text');
  writeFileSync(path('other'), 'other');
  mkdirSync(path('directory'));
  symlinkSync('file', path('link'));
  execFileSync('mknod', ['-m', '666', path('null'), 'c', '1', '3']);
}

/** Mounts an export on every route. */
async function mountAll(
  t: Test,
  server: ServerProcess,
  top: string,
  exported: string,
  options: string,
): Promise<{ readonly name: string; readonly point: string }[]> {
  const mounts = [];
  for (const [index, [name, source]] of ROUTES.entries()) {
    const point = join(top, `mnt-${exported}-${options}-${index}`);
    const chosen = { source: source(exported, server), point, table: server.table, options };
    await startMount(t, chosen);
    mounts.push({ name: `${name}, ${exported}, ${options}`, point });
  }
  return mounts;
}

/** An export with its place in the file system, and the same directory as the reference. */
const exportOf = (name: string, directory: string, more = ''): string =>
  `${name}=${directory},squash=none,clients=127.0.0.1,grants=none${more}`;

t.test('a read-only export and a read-only mount', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const [tree, plain] = [join(top, 'tree'), join(top, 'plain')];
  for (const directory of [tree, plain, join(tree, 'files')]) mkdirSync(directory);
  fillClosed(join(tree, 'files'));
  // With the options that every mount of ours has.
  execFileSync('mount', ['--bind', '-o', 'ro,nodev,nosuid', tree, plain]);
  t.teardown(() => spawnSync('umount', ['-l', plain]));
  const server = await startServer(t, {
    directory: top,
    exports: [exportOf('open', tree), exportOf('closed', tree, ',ro')],
  });
  const runs: ProbeRun[] = [{ groups: 'readOnly', directory: 'files' }];
  const open = await mountAll(t, server, top, 'open', 'ro');
  const closed = await mountAll(t, server, top, 'closed', 'rw');
  const exceptions = READ_ONLY_EXPORT_EXCEPTIONS;
  await writeSuite(t, plain, [
    ...open.map((mount) => ({ ...mount, runs })),
    ...closed.map((mount) => ({ ...mount, runs, exceptions })),
  ]);
});

t.test('a full file system, and one without inodes', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const spaces = [
    ['full', 'size=6m', 'noSpace'],
    ['few', 'size=6m,nr_inodes=40', 'noInodes'],
  ] as const;
  for (const [name, options] of spaces) mountTmpfs(t, join(top, name), options);
  const server = await startServer(t, {
    directory: top,
    exports: spaces.map(([name]) => exportOf(name, join(top, name))),
  });
  for (const [name, , groups] of spaces) {
    const mounts = await mountAll(t, server, top, name, 'rw');
    const behind = join(top, name);
    // Everybody in the same directory, one after another: it is empty again at the end.
    mkdirSync(join(behind, 'empty'));
    const runs: ProbeRun[] = [{ groups, directory: 'empty' }];
    await writeSuite(
      t,
      behind,
      mounts.map((mount) => ({ ...mount, behind, runs })),
    );
  }
});

const btrfs = spawnSync('btrfs', ['--version']).status === 0;

t.test('a quota', { skip: cannotMountHere || (!btrfs && 'needs btrfs-progs') }, async (t) => {
  const made = FILE_SYSTEMS.find(({ name }) => name === 'btrfs')?.make(t);
  if (made === undefined || typeof made === 'string') throw new Error(`btrfs is needed here: ${made}`);
  const run = (...args: string[]) => execFileSync('btrfs', args, { stdio: 'pipe' });
  run('quota', 'enable', made.directory);
  // One for each, as btrfs counts what was removed until it is committed. Its quotas hold for root too.
  const limited = ['plain', ...ROUTES.keys()].map((name) => {
    const directory = join(made.directory, `limited-${name}`);
    run('subvolume', 'create', directory);
    run('qgroup', 'limit', '4M', directory);
    return directory;
  });
  const top = makeDirectory(t);
  const server = await startServer(t, {
    directory: top,
    exports: limited.map((directory, index) => exportOf(`limited${index}`, directory)),
  });
  const mounts = [];
  for (const [index, [name, source]] of ROUTES.entries()) {
    const point = join(top, `mnt-${index}`);
    const chosen = {
      source: source(`limited${index + 1}`, server),
      point,
      table: server.table,
      options: 'rw',
    };
    await startMount(t, chosen);
    mounts.push({ name, point, runs: [{ groups: 'overQuota' }], behind: limited[index + 1]! });
  }
  await writeSuite(t, limited[0]!, mounts);
});

t.test('all links a file can have', { skip: cannotMountHere }, async (t) => {
  const made = FILE_SYSTEMS.find(({ name }) => name === 'ext4')?.make(t);
  if (made === undefined || typeof made === 'string') throw new Error(`ext4 is needed here: ${made}`);
  const behind = made.directory;
  makeLinks(behind);
  const top = makeDirectory(t);
  const server = await startServer(t, { directory: top, exports: [exportOf('links', behind)] });
  const mounts = await mountAll(t, server, top, 'links', 'rw');
  const runs: ProbeRun[] = [{ groups: 'manyLinks' }];
  await writeSuite(
    t,
    behind,
    mounts.map((mount) => ({ ...mount, behind, runs })),
  );
});
