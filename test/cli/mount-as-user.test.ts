/** Mounts of users who are not root: by fusermount3, and in user namespaces. */
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MAIN, type MountStatus, type ToolResult } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import {
  USER_ID,
  noUserMounts,
  noUserNamespaces,
  openUserPlace,
  type UserPlace,
  type Who,
} from '../support/users.ts';

interface Scene {
  readonly server: ServerProcess;
  readonly place: UserPlace;
  /** Arguments of `nearmount mount` for the export. */
  readonly args: readonly string[];
}

async function makeScene(t: Test): Promise<Scene> {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  makeTree(tree, {
    file: 'for everybody\n',
    secret: { file: 'for root\n', mode: 0o600 },
    own: { file: 'for the user\n', mode: 0o600, uid: USER_ID, gid: USER_ID },
  });
  const server = await startServer(t, { directory: top, exports: [`tree=${tree}`] });
  const place = await openUserPlace(t, top);
  return { server, place, args: ['mount', 'tree', place.point, '--colocation', server.table] };
}

async function statusOf(place: UserPlace): Promise<readonly MountStatus[]> {
  const { stdout, stderr } = await place.nearmount('user', 'status', '--json');
  if (stdout.length === 0) throw new Error(stderr);
  return (JSON.parse(stdout.toString()) as { mounts: MountStatus[] }).mounts;
}

function refused(t: Test, what: string, result: ToolResult, message: RegExp): void {
  t.equal(result.status, 1, what);
  t.match(result.stderr, /^nearmount: [^\n]+\n$/, `${what}: one line`);
  t.match(result.stderr, message, what);
}

t.test('a user mounts by fusermount3', { skip: noUserMounts }, async (t) => {
  const { place, args } = await makeScene(t);
  const mounted = await place.nearmount('user', ...args);
  t.equal(mounted.status, 0, mounted.stderr);
  t.equal(mounted.stdout.toString() + mounted.stderr, '', 'it says nothing when it works');
  t.ok(await place.isMounted());

  const cat = (who: 'root' | 'user', name: string) => place.run(who, 'cat', join(place.point, name));
  t.equal((await cat('user', 'file')).stdout.toString(), 'for everybody\n');
  t.equal((await cat('user', 'own')).stdout.toString(), 'for the user\n');
  t.match((await cat('user', 'secret')).stderr, /Permission denied/);
  t.match((await cat('root', 'file')).stderr, /Permission denied/, 'the mount is the user’s alone');

  t.match(await statusOf(place), [
    {
      mountPoint: place.point,
      driver: 'kernel',
      route: 'near',
      level: 'records',
      levelReason: 'no descriptor channel: this user may not connect to it',
      opens: { passthrough: 0, mapped: 0 },
    },
  ]);
  const log = join(place.home, '.local/state/nearmount.log');
  t.match(readFileSync(log, 'utf8'), /"msg":"mounted"/, 'the log is in the user’s own directory');
  t.ok(existsSync(join(place.home, 'run/nearmount')), 'and so is the status socket');

  t.equal((await place.run('user', 'fusermount3', '-u', place.point)).status, 0);
  await place.until(async () => (await statusOf(place)).length === 0, 'the gateway ends');
  t.match(readFileSync(log, 'utf8'), /"msg":"unmounted"/);
});

t.test('a signal takes a user’s mount away', { skip: noUserMounts }, async (t) => {
  const { place, args } = await makeScene(t);
  const gateway = place.start('user', process.execPath, MAIN, ...args, '--foreground');
  await gateway.says('"msg":"mounted"');
  t.same(await gateway.kill('SIGTERM'), { status: 0, signal: null }, gateway.log());
  t.notOk(await place.isMounted());
  t.notMatch(gateway.log(), /"level":"(warn|error|fatal)"/);
});

const noFuseConf = !existsSync('/etc/fuse.conf') && 'needs /etc/fuse.conf: apt-get install fuse3';
t.test('others see the mount where fuse.conf allows it', { skip: noUserMounts || noFuseConf }, async (t) => {
  const { place, args } = await makeScene(t);
  const conf = join(place.home, 'fuse.conf');
  writeFileSync(conf, '# a comment\nuser_allow_other\n');
  t.equal((await place.run('root', 'mount', '--bind', conf, '/etc/fuse.conf')).status, 0);
  const mounted = await place.nearmount('user', ...args);
  t.equal(mounted.status, 0, mounted.stderr);
  const cat = (name: string) => place.run('root', 'cat', join(place.point, name));
  t.equal((await cat('file')).stdout.toString(), 'for everybody\n');
  t.match((await cat('secret')).stderr, /Permission denied/, 'the server answers the user, not who asks');
});

t.test('where a user cannot mount', { skip: noUserMounts }, async (t) => {
  const { place, args, server } = await makeScene(t);
  const elsewhere = join(place.home, '../tree');
  const mountThere = ['mount', 'tree', elsewhere, '--colocation', server.table];
  refused(t, 'in a directory of root’s', await place.nearmount('user', ...mountThere), /tree is not .*own/);

  const empty = join(place.home, 'empty');
  writeFileSync(empty, '');
  for (const name of ['fusermount3', 'fusermount']) {
    const found = (await place.run('root', 'sh', '-c', `command -v ${name}`)).stdout.toString().trim();
    if (found !== '') await place.run('root', 'mount', '--bind', empty, found);
  }
  refused(
    t,
    'without fusermount3',
    await place.nearmount('user', ...args),
    /needs fusermount3: install .*fuse3/,
  );

  t.equal((await place.run('root', 'chmod', '600', '/dev/fuse')).status, 0);
  for (const name of ['fusermount3', 'fusermount']) await place.run('root', 'umount', `/usr/bin/${name}`);
  refused(t, 'a closed device', await place.nearmount('user', ...args), /\/dev\/fuse .*EACCES.*0666/);
  t.notOk(await place.isMounted());
});

/** Runs a script as root of a new user namespace; `who` is who it is outside. */
function inUserNamespace(
  place: UserPlace,
  who: Who,
  flags: readonly string[],
  script: string,
): Promise<ToolResult> {
  return place.run(who, 'unshare', '-U', '-r', ...flags, 'sh', '-c', script);
}

function nearmountLine(...args: string[]): string {
  return [process.execPath, MAIN, ...args].join(' ');
}

t.test('root of a user namespace mounts', { skip: noUserMounts || noUserNamespaces }, async (t) => {
  for (const [who, id, level] of [
    ['user', USER_ID, 'records'],
    ['root', 0, 'grants'],
  ] as const) {
    const { place, args } = await makeScene(t);
    const own = join(place.home, '..', who);
    mkdirSync(own);
    chownSync(own, id, id);
    const result = await inUserNamespace(
      place,
      who,
      ['-m'],
      `export NEARMOUNT_RUNTIME_DIR=${own}
       ${nearmountLine(...args, '--log-file', join(own, 'log'))} && cat ${place.point}/file
       ${nearmountLine('status')} && umount ${place.point}`,
    );
    const text = result.stdout.toString();
    t.equal(result.status, 0, result.stderr);
    t.match(text, /^for everybody\n/);
    t.match(text, new RegExp(`route +near, level ${level}, `), who);
    t.match(text, /opened so far 0 passthrough/, 'passthrough is for the initial user namespace');
  }
});

t.test('a user namespace alone', { skip: noUserMounts || noUserNamespaces }, async (t) => {
  const { place, args } = await makeScene(t);
  const result = await inUserNamespace(place, 'user', [], nearmountLine(...args));
  refused(t, 'no mount namespace', result, /mount: EPERM.*unshare -U -r -m/);
});
