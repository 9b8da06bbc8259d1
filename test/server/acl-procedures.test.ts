import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { NFSACL_PROGRAM, type aclent } from '../../src/nfs3/nfsacl.ts';
import { xattrOfAcl } from '../../src/nfs3/posix-acl.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, as, name, notPrivileged, serve, statusOf } from './serving.ts';

const noAcls =
  notPrivileged ||
  (spawnSync('setfacl', ['--version']).status !== 0 && 'needs setfacl: install the package acl');
const CALL_TIMEOUT_MS = 10_000;
const EVERYTHING = 0xf;

t.test('GETACL', { skip: noAcls }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    plain: { file: 'x', mode: 0o640, uid: 7, gid: 8 },
    named: { file: 'x', mode: 0o640, uid: 7, gid: 8 },
    inheriting: { directory: true },
    link: { link: 'named' },
  });
  spawnSync('setfacl', ['-m', 'u:1000:rwx,m::r', join(tree, 'named')]);
  spawnSync('setfacl', ['-m', 'd:g:3000:rx', join(tree, 'inheriting')]);
  const { tcp } = await serve(t, directory, [`tree=${tree},clients=127.0.0.0/8`]);
  const client = await TestClient.connect(t, tcp);
  const root = await client.root('/tree');
  const options = { credential: client.credential, timeoutMs: CALL_TIMEOUT_MS };
  const getAcl = async (path: string, mask = EVERYTHING) => {
    const object = { data: await client.find(root, path) };
    const reply = await client.connection.call(NFSACL_PROGRAM, 'GETACL', { object, mask }, options);
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    return reply;
  };

  const plain = await getAcl('plain');
  t.strictSame(plain.access, {
    count: 4,
    entries: [
      { type: 1, id: 7, perm: 6 },
      { type: 4, id: 8, perm: 4 },
      { type: 16, id: 0, perm: 4 },
      { type: 32, id: 0, perm: 0 },
    ],
  });
  t.strictSame(plain.default, { count: 0, entries: [] });
  t.match(plain.obj_attributes, { mode: 0o640, uid: 7 }, 'with attributes');
  t.match(await getAcl('link'), { default: { count: 0 } }, 'of the link, which has none');

  const named = await getAcl('named');
  t.equal(named.access.count, 5);
  t.ok(named.access.entries.some(({ type, id, perm }) => type === 2 && id === 1000 && perm === 7));
  t.ok(Buffer.isBuffer(xattrOfAcl(named.access.entries, false)));
  const counted = await getAcl('named', 2);
  t.strictSame([counted.mask, counted.access, counted.default.count], [2, { count: 5, entries: [] }, 0]);
  const inheriting = await getAcl('inheriting', 4);
  t.equal(inheriting.access.count, 0, 'not asked for');
  t.ok(inheriting.default.entries.every(({ type }) => (type & 0x1000) !== 0));
  t.ok(inheriting.default.entries.some(({ type, id, perm }) => type === 0x1008 && id === 3000 && perm === 5));

  const object = { data: root };
  const wrong = await client.connection.call(NFSACL_PROGRAM, 'GETACL', { object, mask: 0x10 }, options);
  t.equal(statusOf(wrong), 'NFS3ERR_INVAL');
  const forged = { object: { data: name('forged') }, mask: 1 };
  const refused = await client.connection.call(NFSACL_PROGRAM, 'GETACL', forged, options);
  t.equal(statusOf(refused), 'NFS3ERR_BADHANDLE');
});

t.test('SETACL', { skip: noAcls }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  const [uid, gid] = [7, 8];
  makeTree(tree, {
    file: { file: 'x', mode: 0o4640, uid, gid },
    theirs: { file: 'x', mode: 0o640 },
    directory: { directory: true, mode: 0o755, uid, gid },
    link: { link: 'file' },
  });
  const { tcp } = await serve(t, directory, [
    `tree=${tree},clients=127.0.0.0/8`,
    `read-only=${tree},ro,clients=127.0.0.0/8`,
  ]);
  const client = await TestClient.connect(t, tcp, as(uid, gid));
  const root = await client.root('/tree');
  const options = { credential: client.credential, timeoutMs: CALL_TIMEOUT_MS };
  const none: readonly aclent[] = [];
  const set = async (path: string, mask: number, access = none, byDefault = none, from = root) => {
    const object = { data: await client.find(from, path) };
    const list = (entries: readonly aclent[]) => ({ count: entries.length, entries: [...entries] });
    const args = { object, mask, access: list(access), default: list(byDefault) };
    const reply = await client.connection.call(NFSACL_PROGRAM, 'SETACL', args, options);
    return statusOf(reply);
  };
  const facl = (path: string) =>
    spawnSync('getfacl', ['-cnEp', join(tree, path)], { encoding: 'utf8' })
      .stdout.trim()
      .split('\n')
      .filter((line) => line !== '');
  const entries = (flag: number, ...list: [type: number, id: number, perm: number][]): aclent[] =>
    list.map(([type, id, perm]) => ({ type: type | flag, id, perm }));
  const minimal = entries(0, [1, uid, 6], [4, gid, 5], [16, 0, 5], [32, 0, 4]);
  const named = entries(0, [1, uid, 7], [2, 1000, 6], [4, gid, 4], [16, 0, 6], [32, 0, 0]);
  const inherited = entries(0x1000, [1, uid, 7], [4, gid, 5], [8, 3000, 5], [16, 0, 5], [32, 0, 1]);
  const modeOf = (path: string) => (statSync(join(tree, path)).mode & 0o7777).toString(8);

  t.equal(await set('file', 1, named), 'NFS3_OK');
  const set1 = ['user::rwx', 'user:1000:rw-', 'group::r--', 'mask::rw-', 'other::---'];
  t.strictSame(facl('file'), set1);
  t.equal(modeOf('file'), '4760', 'the mode shows the mask');
  t.equal(await set('file', 2, minimal), 'NFS3_OK', 'a count only');
  t.strictSame(facl('file'), set1, 'sets nothing');
  t.equal(await set('file', 1, minimal), 'NFS3_OK');
  t.strictSame(facl('file'), ['user::rw-', 'group::r-x', 'other::r--'], 'which is a mode');
  t.equal(modeOf('file'), '4654');
  t.equal(await set('file', 1, named), 'NFS3_OK');
  t.equal(await set('file', 1), 'NFS3_OK', 'nothing is no ACL');
  t.equal(facl('file').length, 3);

  t.equal(await set('directory', 5, named, inherited), 'NFS3_OK');
  t.ok(facl('directory').includes('default:group:3000:r-x') && facl('directory').includes('user:1000:rw-'));
  t.equal(await set('directory', 4), 'NFS3_OK');
  t.equal(await set('directory', 4), 'NFS3_OK', 'also where it is gone already');
  t.notOk(facl('directory').some((line) => line.startsWith('default:')));
  t.ok(facl('directory').includes('user:1000:rw-'), 'the other one stays');

  const before = facl('directory');
  const cases: [got: string, wanted: string][] = [
    [await set('theirs', 1, named), 'NFS3ERR_PERM'],
    [await set('file', 4, none, inherited), 'NFS3ERR_ACCES'],
    [await set('file', 4), 'NFS3_OK'],
    [await set('link', 1, named), 'NFS3ERR_NOTSUPP'],
    [await set('directory', 5, minimal, inherited.slice(1)), 'NFS3ERR_INVAL'],
    [await set('directory', 0x11, minimal), 'NFS3ERR_INVAL'],
    [await set('file', 1, named, none, await client.root('/read-only')), 'NFS3ERR_ROFS'],
  ];
  for (const [got, wanted] of cases) t.equal(got, wanted);
  t.strictSame(facl('directory'), before, 'nothing is half done');
});

t.test('an export shows ACLs to its clients only', { skip: noAcls }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: 'x' });
  const { tcp, socket } = await serve(t, directory, [`tree=${tree},clients=192.0.2.0/24`]);
  const near = await TestClient.connect(t, socket);
  const object = { data: await near.root('/tree') };
  const far = await TestClient.connect(t, tcp);
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  const reply = await far.connection.call(NFSACL_PROGRAM, 'GETACL', { object, mask: 1 }, options);
  t.equal(statusOf(reply), 'NFS3ERR_ACCES');
});
