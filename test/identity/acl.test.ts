/** POSIX ACLs decide through every mount as they do on the exported directory itself. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { cannotMountHere, runTool, startMount, startWorker } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { WAYS, attemptAll, type Attempt, type Person } from './scene.ts';

const OWNER = 2000;
const TEAM = 3000;
const NAMED = 1001;
const DENIED = 1002;
const STRANGER = 1003;
const NAMED_GROUP = 3100;

const noAcls =
  spawnSync('setfacl', ['--version']).status === 0 ? false : 'needs setfacl: install the package acl';

/** Every way in which an ACL says something else than the mode that shows its mask as the group's bits. */
const ACLS: readonly (readonly [path: string, mode: number, acl: string])[] = [
  ['named-may', 0o600, `u:${NAMED}:r`],
  ['named-may-not', 0o644, `u:${DENIED}:-`],
  ['group-may-not', 0o604, `g::-,u:${NAMED}:r,m::r`],
  ['named-group-may', 0o600, `g:${NAMED_GROUP}:r`],
  ['mask-takes-it-away', 0o600, `u:${NAMED}:rw,m::-`],
  ['minimal', 0o640, 'u::rw,g::r,o::-'],
  ['named-may-pass', 0o700, `u:${NAMED}:rx`],
  ['named-may-not-pass', 0o755, `u:${DENIED}:-`],
  ['with-default', 0o755, `d:u:${NAMED}:rwx,u:${DENIED}:-`],
  ['named-may-run', 0o700, `u:${NAMED}:rx`],
];
const DIRECTORIES = new Set(['named-may-pass', 'named-may-not-pass', 'with-default']);

function makeAclTree(tree: string): void {
  for (const [path, mode] of ACLS) {
    const owner = { uid: OWNER, gid: TEAM, mode };
    if (!DIRECTORIES.has(path)) {
      const file = path === 'named-may-run' ? '#!/bin/sh\nexit 7\n' : `content of ${path}`;
      makeTree(tree, { [path]: { file, ...owner } });
      continue;
    }
    makeTree(tree, { [`${path}/file`]: 'inside', [path]: { directory: true, ...owner } });
  }
  for (const [path, , acl] of ACLS) {
    const { status, stderr } = spawnSync('setfacl', ['-m', acl, join(tree, path)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`setfacl -m ${acl} ${path}: ${stderr}`);
  }
}

const PEOPLE: readonly Person[] = [
  // Who may opens everything first, so that names, attributes and grants are known when the others come.
  { uid: OWNER, gid: TEAM },
  { uid: NAMED, gid: NAMED },
  { uid: DENIED, gid: DENIED },
  { uid: STRANGER, gid: TEAM },
  { uid: STRANGER, gid: STRANGER, groups: [5, TEAM] },
  { uid: STRANGER, gid: STRANGER, groups: [NAMED_GROUP] },
  { uid: STRANGER, gid: STRANGER },
];
const ATTEMPTS: readonly Attempt[] = ACLS.flatMap(([path]): readonly Attempt[] => {
  if (DIRECTORIES.has(path))
    return [
      ['list', path],
      ['read', `${path}/file`],
      ['stat', `${path}/file`],
    ];
  return path === 'named-may-run'
    ? [['run', path]]
    : [
        ['read', path],
        ['stat', path],
      ];
});

async function getfacl(directory: string): Promise<string> {
  const { status, stdout, stderr } = await runTool('getfacl', ['-R', '-n', '-p', '.'], { cwd: directory });
  if (status !== 0) throw new Error(`getfacl in ${directory}: ${stderr}`);
  return stdout.toString();
}

async function prepare(t: Test, options = '') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeAclTree(tree);
  const server = await startServer(t, {
    directory,
    exports: [`tree=${tree}${options},clients=127.0.0.0/8,squash=none`],
  });
  return { directory, tree, server };
}

t.test('ACLs decide as on the directory itself', { skip: cannotMountHere || noAcls }, async (t) => {
  const { directory, tree, server } = await prepare(t);
  const expected = await attemptAll(tree, PEOPLE, ATTEMPTS);
  t.equal(expected[`${NAMED}:${NAMED}: read named-may`], 'content of named-may', 'the ACL counts here');
  t.equal(
    expected[`${DENIED}:${DENIED}: read named-may-not-pass/file`],
    'EACCES',
    'also where the mode says yes',
  );
  t.equal(expected[`${STRANGER}:${TEAM}: read group-may-not`], 'EACCES', 'and for the owning group');
  const acls = await getfacl(tree);

  for (const { name, source, options } of WAYS) {
    await t.test(name, async (t) => {
      const point = join(directory, name.replaceAll(/[ ,]+/g, '-'));
      const mount = await startMount(t, { source: source(server), point, table: server.table, options });
      const worker = await startWorker(t, point);
      for (const [path] of ACLS.filter(([each]) => !DIRECTORIES.has(each))) {
        const opened = await worker.ask({ op: 'open', name: path });
        t.equal(opened.error, undefined, `${path} is held open by root`);
      }
      t.strictSame(await attemptAll(point, PEOPLE, ATTEMPTS), expected, 'each user gets the same');
      const afterwards = (await mount.status()).calls.GETACL ?? 0;
      t.strictSame(
        await attemptAll(point, [...PEOPLE].reverse(), ATTEMPTS),
        expected,
        'in the other order, too',
      );
      t.equal(await getfacl(point), acls, 'getfacl shows the same');
      t.ok(afterwards > 0, 'the kernel asked for ACLs');
      t.ok(afterwards <= ACLS.length + DIRECTORIES.size + 1, 'once for each file at most');
      await mount.stop();
    });
  }
});

t.test('a change of an ACL counts', { skip: cannotMountHere || noAcls }, async (t) => {
  const { directory, tree, server } = await prepare(t);
  for (const { name, source, options } of WAYS) {
    await t.test(name, async (t) => {
      const point = join(directory, name.replaceAll(/[ ,]+/g, '-'));
      await startMount(t, { source: source(server), point, table: server.table, options: `${options},noac` });
      const who = [{ uid: STRANGER, gid: STRANGER }];
      const attempts: Attempt[] = [['read', 'named-may']];
      const key = `${STRANGER}:${STRANGER}: read named-may`;
      t.equal((await attemptAll(point, who, attempts))[key], 'EACCES');
      const change = (...args: string[]) => runTool('setfacl', [...args, join(tree, 'named-may')]);
      t.equal((await change('-m', `u:${STRANGER}:r`)).status, 0);
      t.equal((await attemptAll(point, who, attempts))[key], 'content of named-may', 'given');
      t.equal((await change('-x', `u:${STRANGER}`)).status, 0);
      t.equal((await attemptAll(point, who, attempts))[key], 'EACCES', 'and taken away');
    });
  }
});

t.test('files without an ACL cost no call each', { skip: cannotMountHere || noAcls }, async (t) => {
  const { directory, tree, server } = await prepare(t);
  makeTree(tree, Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`many/${index}`, 'x'])));
  for (const { name, source, options } of WAYS) {
    const point = join(directory, name.replaceAll(/[ ,]+/g, '-'));
    const mount = await startMount(t, { source: source(server), point, table: server.table, options });
    const listed = await runTool('ls', ['-l', join(point, 'many')]);
    t.equal(listed.stdout.toString().split('\n').length, 302, name);
    const { calls } = await mount.status();
    t.ok((calls.GETACL ?? 0) <= 2, `the directories on the way, no file (${calls.GETACL ?? 0})`);
    await mount.stop();
  }
});
