import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { NFSACL_PROGRAM } from '../../src/nfs3/nfsacl.ts';
import { xattrOfAcl } from '../../src/nfs3/posix-acl.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, name, notPrivileged, serve, statusOf } from './serving.ts';

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
  const none = { count: 0, entries: [] };
  const change = { object, mask: 1, access: none, default: none };
  const set = await client.connection.call(NFSACL_PROGRAM, 'SETACL', change, options);
  t.equal(statusOf(set), 'NFS3ERR_ROFS');
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
