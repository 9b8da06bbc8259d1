import { chmodSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import type { Test } from 'tap';
import { ACCESS3_READ } from '../../src/nfs3/nfs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { AUTH_SYS, NO_AUTH, type opaque_auth } from '../../src/rpc/auth.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, as, notPrivileged, serve, statusOf } from './serving.ts';
import type { UnixPeer } from './unix-peer.child.ts';

const run = promisify(execFile);
const CHILD_LIMIT_MS = 30_000;

/** @param clients without it, AUTH_SYS counts from root on this machine only */
async function prepare(t: Test, options = '', clients = ',clients=127.0.0.0/8') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    public: { file: 'public', mode: 0o644 },
    roots: { file: 'roots', mode: 0o600 },
    'root-group': { file: 'root-group', mode: 0o640 },
    alices: { file: 'alices', mode: 0o600, uid: 1000, gid: 1000 },
    team: { file: 'team', mode: 0o640, uid: 2000, gid: 3000 },
    'not-the-team': { file: 'not-the-team', mode: 0o604, uid: 2000, gid: 3000 },
    anonymous: { file: 'anonymous', mode: 0o600, uid: 65534, gid: 65534 },
    program: { file: 'program', mode: 0o711, uid: 2000, gid: 2000 },
    locked: { file: 'locked', mode: 0o000, uid: 1000, gid: 1000 },
    'private/file': 'in private',
    private: { directory: true, mode: 0o700, uid: 1000, gid: 1000 },
  });
  const { tcp, socket } = await serve(t, directory, [`tree=${tree}${options}${clients}`]);
  const client = await TestClient.connect(t, tcp);
  const root = await client.root('/tree');
  const reader = (endpoint: typeof tcp | typeof socket) => async (file: string, who: opaque_auth) => {
    const caller = await TestClient.connect(t, endpoint, who);
    const data = await caller.find(root, file);
    const reply = await caller.nfs('READ', { file: { data }, offset: 0n, count: 100 });
    const access = await caller.nfs('ACCESS', { object: { data }, access: ACCESS3_READ });
    if (reply.status !== NFS3_OK) return statusOf(reply);
    if (access.status !== NFS3_OK) throw new Error(statusOf(access));
    return Buffer.concat(reply.data).toString();
  };
  return { directory, tree, tcp, socket, client, root, read: reader(tcp), readNear: reader(socket) };
}

const DENIED = 'NFS3ERR_ACCES';

t.test('the kernel decides by uid, gid and groups', { skip: notPrivileged }, async (t) => {
  const { read } = await prepare(t);
  const cases: [file: string, who: opaque_auth, result: string, why: string][] = [
    ['public', as(1000), 'public', 'anybody'],
    ['roots', as(65534), DENIED, '0600 of root'],
    ['alices', as(65534), DENIED, '0600 of another'],
    ['alices', as(1001), DENIED, '0600 of another'],
    ['alices', as(1000), 'alices', 'the owner'],
    ['team', as(1000), DENIED, 'not in the group'],
    ['team', as(1000, 3000), 'team', 'by gid'],
    ['team', as(1000, 1000, [4000, 3000]), 'team', 'by a supplementary group'],
    [
      'team',
      as(
        1000,
        1000,
        Array.from({ length: 16 }, (_, index) => 2985 + index),
      ),
      'team',
      'by the 16th group',
    ],
    ['not-the-team', as(1000), 'not-the-team', 'others may'],
    ['not-the-team', as(1000, 1000, [3000]), DENIED, 'the group may not, whatever others may'],
    ['program', as(1000), 'program', 'who may execute may read (RFC 1813 section 4.4)'],
    ['locked', as(1000), 'locked', 'the owner may always read (RFC 1813 section 4.4)'],
    ['locked', as(1001), DENIED, 'others not'],
    ['public', NO_AUTH, 'public', 'AUTH_NONE is somebody'],
    ['alices', NO_AUTH, DENIED, 'AUTH_NONE is nobody in particular'],
    ['anonymous', NO_AUTH, 'anonymous', 'AUTH_NONE is the anonymous user'],
  ];
  for (const [file, who, result, why] of cases) t.equal(await read(file, who), result, `${file}: ${why}`);
});

t.test('root is the anonymous user, unless squash=none', { skip: notPrivileged }, async (t) => {
  const squashed = await prepare(t);
  t.equal(await squashed.read('roots', as(0)), DENIED);
  t.equal(await squashed.readNear('roots', as(0)), DENIED, 'near as well');
  t.equal(await squashed.read('root-group', as(1000, 0)), DENIED, 'the group of root too');
  t.equal(await squashed.read('root-group', as(1000, 1000, [0])), DENIED, 'and among the groups');
  t.equal(await squashed.read('anonymous', as(0)), 'anonymous');
  const trusted = await prepare(t, ',squash=none');
  t.equal(await trusted.read('roots', as(0)), 'roots');
  t.equal(await trusted.read('alices', as(0)), 'alices');
  t.equal(await trusted.read('alices', as(65534)), DENIED);
  const nobody = await prepare(t, ',squash=all');
  t.equal(await nobody.read('public', as(1000)), 'public');
  t.equal(await nobody.read('alices', as(1000)), DENIED);
  t.equal(await nobody.read('anonymous', as(1000)), 'anonymous');
});

t.test('over the network nobody is believed without clients=', { skip: notPrivileged }, async (t) => {
  const { read, readNear } = await prepare(t, ',squash=none', '');
  t.equal(await read('roots', as(0)), DENIED, 'not root');
  t.equal(await read('alices', as(1000)), DENIED, 'nor anybody else');
  t.equal(await read('team', as(1000, 3000, [3000])), DENIED, 'nor a group');
  t.equal(await read('anonymous', as(1000)), 'anonymous', 'everybody is the anonymous user');
  t.equal(await read('public', as(1000)), 'public');
  t.equal(await readNear('alices', as(1000)), 'alices', 'root on this machine is believed');
});

t.test('ids that mean "no change" to the kernel are nobody', { skip: notPrivileged }, async (t) => {
  const { tcp, root } = await prepare(t, ',squash=none');
  for (const who of [as(0xffffffff), as(1000, 0xffffffff), as(1000, 1000, [0xffffffff])]) {
    const caller = await TestClient.connect(t, tcp, who);
    const what = { dir: { data: root }, name: Buffer.from('public') };
    t.equal(statusOf(await caller.nfs('LOOKUP', { what })), 'NFS3ERR_INVAL');
    t.equal(statusOf(await caller.nfs('LOOKUP', { what }, as(1000))), 'NFS3_OK', 'the next caller is served');
  }
});

t.test('a change of mode or owner counts at once', { skip: notPrivileged }, async (t) => {
  const { tree, read } = await prepare(t);
  t.equal(await read('public', as(1000)), 'public');
  chmodSync(join(tree, 'public'), 0o600);
  t.equal(await read('public', as(1000)), DENIED);
  chownSync(join(tree, 'public'), 1000, 1000);
  t.equal(await read('public', as(1000)), 'public');
});

t.test('what may not be searched is not looked into', { skip: notPrivileged }, async (t) => {
  const { client, root } = await prepare(t);
  const dir = { data: await client.find(root, 'private') };
  const what = { dir, name: Buffer.from('file') };
  const readdir = { dir, cookie: 0n, cookieverf: Buffer.alloc(8), count: 4096 };
  t.equal(statusOf(await client.nfs('LOOKUP', { what }, as(1001))), DENIED);
  t.equal(statusOf(await client.nfs('READDIR', readdir, as(1001))), DENIED);
  t.equal(statusOf(await client.nfs('LOOKUP', { what }, as(1000))), 'NFS3_OK');
  t.equal(statusOf(await client.nfs('READDIR', readdir, as(1000))), 'NFS3_OK');
});

t.test('calls of many callers on one connection do not mix', { skip: notPrivileged }, async (t) => {
  const { client, root } = await prepare(t);
  const data = await client.find(root, 'alices');
  const replies = await Promise.all(
    Array.from({ length: 300 }, (_, index) =>
      client.nfs('READ', { file: { data }, offset: 0n, count: 10 }, as(index % 3 === 0 ? 1000 : 1001)),
    ),
  );
  replies.forEach((reply, index) => {
    if (statusOf(reply) !== (index % 3 === 0 ? 'NFS3_OK' : DENIED))
      t.fail(`call ${index}: ${statusOf(reply)}`);
  });
  t.equal(replies.filter((reply) => reply.status === NFS3_OK).length, 100);
});

t.test('a credential that does not decode is refused, and the connection lives', async (t) => {
  const { client, root } = await prepare(t);
  for (const bad of [
    { flavor: AUTH_SYS, body: Buffer.alloc(3) },
    { flavor: AUTH_SYS, body: Buffer.alloc(400, 0xff) },
    { flavor: 6, body: Buffer.alloc(20) },
    { flavor: 0xffffffff, body: Buffer.alloc(0) },
  ]) {
    await t.rejects(client.nfs('GETATTR', { object: { data: root } }, bad), { code: 'AUTH_ERROR' });
  }
  t.equal(statusOf(await client.nfs('GETATTR', { object: { data: root } })), 'NFS3_OK');
});

t.test('a Unix peer that is not root is itself, whatever it claims', { skip: notPrivileged }, async (t) => {
  const { socket, root, readNear } = await prepare(t, ',squash=none');
  t.equal(await readNear('roots', as(0)), 'roots', 'root may say who it is');
  t.equal(await readNear('alices', as(1000)), 'alices');
  t.equal(await readNear('alices', as(1001)), DENIED);

  const cases: [peer: UnixPeer, result: string, why: string][] = [
    [{ uid: 1000, gid: 1000, groups: [], claim: 0, file: 'roots' }, DENIED, 'claims to be root'],
    [{ uid: 1000, gid: 1000, groups: [], claim: 1001, file: 'alices' }, 'alices', 'is what it is'],
    [{ uid: 1001, gid: 1001, groups: [], claim: 1000, file: 'alices' }, DENIED, 'claims to be the owner'],
    [
      { uid: 1001, gid: 1001, groups: [3000], claim: 1001, file: 'team' },
      'team',
      'its groups are the kernel’s',
    ],
    [{ uid: 1001, gid: 1001, groups: [], claim: 2000, file: 'team' }, DENIED, 'claims owner and group'],
    [{ uid: 0, gid: 0, groups: [], claim: 1000, file: 'alices' }, 'alices', 'root is believed'],
  ];
  const child = fileURLToPath(new URL('unix-peer.child.ts', import.meta.url));
  const asked = { socket: socket.path, root: [...root], peers: cases.map(([peer]) => peer) };
  const { stdout } = await run(process.execPath, [...process.execArgv, child, JSON.stringify(asked)], {
    timeout: CHILD_LIMIT_MS,
  });
  const results = JSON.parse(stdout) as string[];
  cases.forEach(([, result, why], index) => t.equal(results[index], result, why));
});
