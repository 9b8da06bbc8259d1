import { join } from 'node:path';
import t from 'tap';
import { MOUNT_PROGRAM } from '../../src/nfs3/mount.ts';
import { MOUNTSTAT3, mountStatusName } from '../../src/nfs3/status.ts';
import { AUTH_SYS } from '../../src/rpc/auth.ts';
import { MOUNT_LIST_MAX } from '../../src/server/limits.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, as, notPrivileged, serve, statusOf } from './serving.ts';

t.test('MNT gives exports and directories below them, and nothing else', async (t) => {
  const directory = makeDirectory(t);
  makeTree(directory, {
    'tree/sub/deep/file': 'x',
    'tree/file': 'x',
    'tree/out': { link: '../outside' },
    'tree/etc': { link: '/etc' },
    'outside/secret': 'x',
    'other/file': 'x',
  });
  const { tcp } = await serve(t, directory, [
    `tree=${join(directory, 'tree')}`,
    `other=${join(directory, 'other')}`,
  ]);
  const client = await TestClient.connect(t, tcp);
  const root = Buffer.from(await client.root('/tree'));
  const sub = Buffer.from(await client.find(root, 'sub'));

  const reply = await client.mnt('/tree');
  t.match(reply, { status: MOUNTSTAT3.MNT3_OK, auth_flavors: [AUTH_SYS] });
  for (const [path, handle] of [
    ['tree', root],
    ['/tree/', root],
    ['//tree//', root],
    ['/tree/.', root],
    ['/tree/..', root],
    ['/tree/../..', root],
    ['/tree/sub', sub],
    ['/tree/sub/deep/..', sub],
    ['/tree/../sub', sub],
  ] as const) {
    t.same(Buffer.from(await client.root(path)), handle, path);
  }
  t.notSame(Buffer.from(await client.root('/other')), root);

  const refused: [path: string | Uint8Array, status: string][] = [
    ['', 'MNT3ERR_NOENT'],
    ['/', 'MNT3ERR_NOENT'],
    ['/none', 'MNT3ERR_NOENT'],
    ['/tre', 'MNT3ERR_NOENT'],
    ['/..', 'MNT3ERR_NOENT'],
    ['/../tree', 'MNT3ERR_NOENT'],
    ['.', 'MNT3ERR_NOENT'],
    [join(directory, 'tree'), 'MNT3ERR_NOENT'],
    ['/tree/../outside', 'MNT3ERR_NOENT'],
    ['/tree/../../outside', 'MNT3ERR_NOENT'],
    ['/tree/../other', 'MNT3ERR_NOENT'],
    ['/tree/none', 'MNT3ERR_NOENT'],
    ['/tree/file', 'MNT3ERR_NOTDIR'],
    ['/tree/file/x', 'MNT3ERR_NOTDIR'],
    ['/tree/out', 'MNT3ERR_NOTDIR'],
    ['/tree/out/secret', 'MNT3ERR_NOTDIR'],
    ['/tree/etc', 'MNT3ERR_NOTDIR'],
    [Buffer.from('/tree\0'), 'MNT3ERR_NOENT'],
    [Buffer.from('/tree/sub\0'), 'MNT3ERR_ACCES'],
    [Buffer.from([0x2f, 0xff, 0xfe]), 'MNT3ERR_NOENT'],
    [`/tree/${'n'.repeat(256)}`, 'MNT3ERR_NAMETOOLONG'],
    [`/tree${'/sub/..'.repeat(144)}/no`, 'MNT3ERR_NOENT'],
  ];
  for (const [path, status] of refused)
    t.equal(mountStatusName((await client.mnt(path)).status), status, JSON.stringify(path.toString()));
  await t.rejects(client.mnt('/'.repeat(1025)), 'a path longer than MNTPATHLEN');
});

t.test('a directory the caller may not search is not mounted', { skip: notPrivileged }, async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), {
    private: { directory: true, mode: 0o700, uid: 2000 },
    'private/inner': { directory: true },
  });
  const { tcp } = await serve(t, directory, [`tree=${join(directory, 'tree')},clients=127.0.0.1`]);
  const inner = async (uid: number) =>
    mountStatusName((await (await TestClient.connect(t, tcp, as(uid))).mnt('/tree/private/inner')).status);
  t.equal(await inner(1000), 'MNT3ERR_ACCES');
  t.equal(await inner(0), 'MNT3ERR_ACCES', 'root is squashed');
  t.equal(await inner(2000), 'MNT3_OK');
});

t.test('clients= keeps others out of MNT and out of handles they know', async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), { file: 'x' });
  const tree = join(directory, 'tree');
  const { tcp, socket } = await serve(t, directory, [
    `none=${tree},clients=192.0.2.0/24`,
    `some=${tree},clients=192.0.2.0/24+127.0.0.0/8`,
    `one=${tree},clients=127.0.0.1`,
  ]);
  const network = await TestClient.connect(t, tcp);
  t.equal(mountStatusName((await network.mnt('/none')).status), 'MNT3ERR_ACCES');
  t.equal(mountStatusName((await network.mnt('/some')).status), 'MNT3_OK');
  t.equal(mountStatusName((await network.mnt('/one')).status), 'MNT3_OK');

  const near = await TestClient.connect(t, socket);
  const object = { data: await near.root('/none') };
  t.equal(statusOf(await near.nfs('GETATTR', { object })), 'NFS3_OK', 'a peer on this machine may');
  t.equal(
    statusOf(await network.nfs('GETATTR', { object })),
    'NFS3ERR_ACCES',
    'the same handle from elsewhere',
  );
  const readdir = { dir: object, cookie: 0n, cookieverf: Buffer.alloc(8), count: 4096 };
  t.equal(statusOf(await network.nfs('READDIR', readdir)), 'NFS3ERR_ACCES');
  const lookup = { what: { dir: object, name: Buffer.from('file') } };
  t.equal(statusOf(await network.nfs('LOOKUP', lookup)), 'NFS3ERR_ACCES');
  const file = { data: await near.find(object.data, 'file') };
  t.equal(statusOf(await network.nfs('READ', { file, offset: 0n, count: 1 })), 'NFS3ERR_ACCES');
});

t.test('EXPORT, DUMP and UMNT', async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), { 'sub/file': 'x' });
  const tree = join(directory, 'tree');
  const { tcp } = await serve(t, directory, [`tree=${tree}`, `net=${tree},clients=127.0.0.0/8+::1`]);
  const client = await TestClient.connect(t, tcp);
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
  const call = client.connection.call.bind(client.connection);

  await t.resolves(call(MOUNT_PROGRAM, 'NULL', undefined));
  const exports = await call(MOUNT_PROGRAM, 'EXPORT', undefined);
  t.same(
    exports.map(({ ex_dir, ex_groups }) => [text(ex_dir), ex_groups.map(text)]),
    [
      ['/tree', []],
      ['/net', ['127.0.0.0/8', '::1']],
    ],
  );
  const dump = async () =>
    (await call(MOUNT_PROGRAM, 'DUMP', undefined)).map((each) => text(each.ml_directory));
  await client.mnt('/tree');
  await client.mnt('/tree/sub');
  await client.mnt('/tree');
  await client.mnt('/none');
  t.same((await dump()).sort(), ['/tree', '/tree/sub']);
  await call(MOUNT_PROGRAM, 'UMNT', Buffer.from('/tree'));
  t.same(await dump(), ['/tree/sub']);
  await call(MOUNT_PROGRAM, 'UMNTALL', undefined);
  t.same(await dump(), []);

  for (let index = 0; index <= MOUNT_LIST_MAX; index += 1)
    await client.mnt(`${'/'.repeat(index % 1000)}/tree${'/'.repeat(Math.floor(index / 1000))}`);
  t.ok((await dump()).length <= MOUNT_LIST_MAX, 'the list is bounded');
});
