import { execFileSync } from 'node:child_process';
import { lstatSync, statSync, statfsSync, truncateSync, unlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import {
  ACCESS3_DELETE,
  ACCESS3_EXECUTE,
  ACCESS3_EXTEND,
  ACCESS3_LOOKUP,
  ACCESS3_MODIFY,
  ACCESS3_READ,
  CREATEMODE3,
  STABLE_HOW,
} from '../../src/nfs3/nfs.ts';
import { TRANSFER_BYTES_MAX } from '../../src/nfs3/limits.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { FTYPE3, TIME_HOW, type sattr3 } from '../../src/nfs3/types.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { TestClient, name, serve, statusOf } from './serving.ts';

const LARGE = patternBytes(3_000_001);

async function prepare(t: Test, options = '') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(directory, { outside: 'outside' });
  makeTree(tree, {
    file: 'contents\n',
    empty: '',
    'sub/inner': 'inner',
    link: { link: 'file' },
    escape: { link: '../outside' },
    large: LARGE,
    program: { file: '#!/bin/sh\n', mode: 0o4755 },
  });
  execFileSync('mkfifo', [join(tree, 'pipe')]);
  const { tcp } = await serve(t, directory, [`tree=${tree}${options}`]);
  const client = await TestClient.connect(t, tcp);
  const root = await client.root('/tree');
  const find = async (path: string) => ({ data: await client.find(root, path) });
  return { tree, client, dir: { data: root }, find };
}

/** Never issued: what a client may make up. */
const FORGED: readonly Uint8Array[] = [
  Buffer.alloc(0),
  Buffer.alloc(1),
  Buffer.alloc(64),
  Buffer.alloc(64, 0xff),
  Buffer.alloc(26, 1),
  patternBytes(48, 7),
];
const NO_CHANGE: sattr3 = {
  mode: null,
  uid: null,
  gid: null,
  size: null,
  atime: { set_it: TIME_HOW.DONT_CHANGE },
  mtime: { set_it: TIME_HOW.DONT_CHANGE },
};

t.test('NULL answers', async (t) => {
  const { client } = await prepare(t);
  await t.resolves(client.nfs('NULL', undefined));
});

t.test('GETATTR tells what lstat tells, for every type', async (t) => {
  const { tree, client, dir, find } = await prepare(t);
  utimesSync(join(tree, 'file'), 1_700_000_000.25, 1_600_000_000.5);
  const types = {
    file: FTYPE3.NF3REG,
    sub: FTYPE3.NF3DIR,
    link: FTYPE3.NF3LNK,
    pipe: FTYPE3.NF3FIFO,
    program: FTYPE3.NF3REG,
  };
  for (const [path, type] of Object.entries(types)) {
    const reply = await client.nfs('GETATTR', { object: await find(path) });
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    const { obj_attributes: attributes } = reply;
    const real = lstatSync(join(tree, path), { bigint: true });
    const time = (ns: bigint) => ({
      seconds: Number(ns / 1_000_000_000n),
      nseconds: Number(ns % 1_000_000_000n),
    });
    t.match(
      attributes,
      {
        type,
        mode: Number(real.mode & 0o7777n),
        nlink: Number(real.nlink),
        uid: Number(real.uid),
        gid: Number(real.gid),
        size: real.size,
        used: real.blocks * 512n,
        fileid: real.ino,
        mtime: time(real.mtimeNs),
        ctime: time(real.ctimeNs),
      },
      path,
    );
  }
  t.equal(statusOf(await client.nfs('GETATTR', { object: dir })), 'NFS3_OK');
});

t.test('every procedure answers BADHANDLE to a handle that was made up', async (t) => {
  const { client, dir, find } = await prepare(t, ',ro');
  const real = (await find('file')).data;
  const tampered = Uint8Array.from(real);
  tampered[tampered.length - 1]! ^= 1;
  const otherInode = Uint8Array.from(real);
  otherInode[12]! ^= 1;
  for (const data of [...FORGED, tampered, otherInode, real.subarray(1), real.subarray(0, -1)]) {
    const object = { data };
    const where = { dir: object, name: name('x') };
    const replies = {
      GETATTR: await client.nfs('GETATTR', { object }),
      LOOKUP: await client.nfs('LOOKUP', { what: where }),
      ACCESS: await client.nfs('ACCESS', { object, access: 0x3f }),
      READLINK: await client.nfs('READLINK', { symlink: object }),
      READ: await client.nfs('READ', { file: object, offset: 0n, count: 100 }),
      READDIR: await client.nfs('READDIR', {
        dir: object,
        cookie: 0n,
        cookieverf: Buffer.alloc(8),
        count: 4096,
      }),
      READDIRPLUS: await client.nfs('READDIRPLUS', {
        dir: object,
        cookie: 0n,
        cookieverf: Buffer.alloc(8),
        dircount: 4096,
        maxcount: 4096,
      }),
      FSSTAT: await client.nfs('FSSTAT', { fsroot: object }),
      FSINFO: await client.nfs('FSINFO', { fsroot: object }),
      PATHCONF: await client.nfs('PATHCONF', { object }),
      ...(await writing(client, object, object)),
      // One good handle of two is not enough.
      RENAME_TO: await client.nfs('RENAME', { from: { dir, name: name('file') }, to: where }),
      LINK_TO: await client.nfs('LINK', { file: { data: real }, link: where }),
    };
    for (const [procedure, reply] of Object.entries(replies)) {
      t.equal(statusOf(reply), 'NFS3ERR_BADHANDLE', `${procedure} of ${data.length} bytes`);
    }
  }
});

/** All procedures that change something. */
async function writing(client: TestClient, dir: { data: Uint8Array }, file: { data: Uint8Array }) {
  const where = { dir, name: name('new') };
  const old = { dir, name: name('file') };
  return {
    SETATTR: await client.nfs('SETATTR', {
      object: file,
      new_attributes: { ...NO_CHANGE, mode: 0o777, size: 0n },
      guard: null,
    }),
    WRITE: await client.nfs('WRITE', {
      file,
      offset: 0n,
      count: 3,
      stable: STABLE_HOW.FILE_SYNC,
      data: [Buffer.from('new')],
    }),
    CREATE: await client.nfs('CREATE', {
      where,
      how: { mode: CREATEMODE3.UNCHECKED, obj_attributes: NO_CHANGE },
    }),
    CREATE_EXCLUSIVE: await client.nfs('CREATE', {
      where,
      how: { mode: CREATEMODE3.EXCLUSIVE, verf: Buffer.alloc(8, 1) },
    }),
    MKDIR: await client.nfs('MKDIR', { where, attributes: NO_CHANGE }),
    SYMLINK: await client.nfs('SYMLINK', {
      where,
      symlink_attributes: NO_CHANGE,
      symlink_data: name('target'),
    }),
    MKNOD: await client.nfs('MKNOD', { where, what: { type: FTYPE3.NF3FIFO, pipe_attributes: NO_CHANGE } }),
    REMOVE: await client.nfs('REMOVE', { object: old }),
    RMDIR: await client.nfs('RMDIR', { object: { dir, name: name('sub') } }),
    RENAME: await client.nfs('RENAME', { from: old, to: where }),
    LINK: await client.nfs('LINK', { file, link: where }),
    COMMIT: await client.nfs('COMMIT', { file, offset: 0n, count: 0 }),
  };
}

t.test(
  'every procedure that changes something answers ROFS in a read-only export, and changes nothing',
  async (t) => {
    const { tree, client, dir, find } = await prepare(t, ',ro');
    const listing = () => execFileSync('find', [tree, '-printf', '%p %m %s %T@ %C@ %l\n']).toString();
    const before = listing();
    const replies = await writing(client, dir, await find('file'));
    for (const [procedure, reply] of Object.entries(replies))
      t.equal(statusOf(reply), 'NFS3ERR_ROFS', procedure);
    t.equal(listing(), before);
  },
);

t.test('LOOKUP finds names, also those with a meaning', async (t) => {
  const { tree, client, dir, find } = await prepare(t);
  const lookup = (text: string | Uint8Array, from = dir) =>
    client.nfs('LOOKUP', { what: { dir: from, name: typeof text === 'string' ? name(text) : text } });
  const reply = await lookup('file');
  if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
  t.equal(reply.obj_attributes?.fileid, statSync(join(tree, 'file'), { bigint: true }).ino);
  t.equal(reply.dir_attributes?.fileid, statSync(tree, { bigint: true }).ino);

  const sub = await find('sub');
  const same: [why: string, text: string, from: typeof dir, is: Uint8Array][] = [
    ['. of the root', '.', dir, dir.data],
    ['.. of the root is the root', '..', dir, dir.data],
    ['. below', '.', sub, sub.data],
    ['.. below', '..', sub, dir.data],
  ];
  for (const [why, text, from, is] of same) {
    const reply = await lookup(text, from);
    if (reply.status !== NFS3_OK) throw new Error(`${why}: ${statusOf(reply)}`);
    t.same(Buffer.from(reply.object.data), Buffer.from(is), why);
  }

  const refused: [why: string, text: string | Uint8Array, from: typeof dir, status: string][] = [
    ['none', 'nothing', dir, 'NFS3ERR_NOENT'],
    ['empty', '', dir, 'NFS3ERR_ACCES'],
    ['a slash', '/', dir, 'NFS3ERR_ACCES'],
    ['a path', 'sub/inner', dir, 'NFS3ERR_ACCES'],
    ['a path upwards', '../outside', dir, 'NFS3ERR_ACCES'],
    ['a path upwards, below', '../../outside', sub, 'NFS3ERR_ACCES'],
    ['absolute', '/etc/passwd', dir, 'NFS3ERR_ACCES'],
    ['NUL', 'file\0', dir, 'NFS3ERR_ACCES'],
    ['.. and NUL', '..\0', sub, 'NFS3ERR_ACCES'],
    ['255 bytes', Buffer.alloc(255, 'n'), dir, 'NFS3ERR_NOENT'],
    ['256 bytes', Buffer.alloc(256, 'n'), dir, 'NFS3ERR_NAMETOOLONG'],
    ['4096 bytes', Buffer.alloc(4096, 'n'), dir, 'NFS3ERR_NAMETOOLONG'],
    ['not UTF-8', Buffer.from([0xff, 0xfe]), dir, 'NFS3ERR_NOENT'],
    ['in a file', 'x', await find('file'), 'NFS3ERR_NOTDIR'],
    ['.. of a file', '..', await find('file'), 'NFS3ERR_NOTDIR'],
    ['in a link', 'x', await find('escape'), 'NFS3ERR_NOTDIR'],
    ['a name only outside', 'outside', dir, 'NFS3ERR_NOENT'],
  ];
  for (const [why, text, from, status] of refused) t.equal(statusOf(await lookup(text, from)), status, why);
  await t.rejects(lookup(Buffer.alloc(4097, 'n')), 'more than a file name may have');
});

t.test('ACCESS gives what was asked and is granted, and no change', async (t) => {
  const { client, dir, find } = await prepare(t);
  const all = 0x3f;
  const ask = async (object: typeof dir, access: number) => {
    const reply = await client.nfs('ACCESS', { object, access });
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    return reply.access;
  };
  t.equal(await ask(await find('file'), all), ACCESS3_READ);
  t.equal(await ask(await find('program'), all), ACCESS3_READ | ACCESS3_EXECUTE);
  t.equal(await ask(dir, all), ACCESS3_READ | ACCESS3_LOOKUP);
  t.equal(await ask(dir, ACCESS3_LOOKUP), ACCESS3_LOOKUP, 'only what was asked');
  t.equal(await ask(dir, 0), 0);
  t.equal(await ask(dir, ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE), 0);
});

t.test('READLINK gives the target as it is stored', async (t) => {
  const { client, find } = await prepare(t);
  for (const [path, target] of [
    ['link', 'file'],
    ['escape', '../outside'],
  ] as const) {
    const reply = await client.nfs('READLINK', { symlink: await find(path) });
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    t.equal(Buffer.from(reply.data).toString(), target);
  }
  t.equal(statusOf(await client.nfs('READLINK', { symlink: await find('file') })), 'NFS3ERR_INVAL');
  t.equal(statusOf(await client.nfs('READLINK', { symlink: await find('sub') })), 'NFS3ERR_INVAL');
});

t.test('READ at every place of a file', async (t) => {
  const { tree, client, find } = await prepare(t);
  const large = await find('large');
  const size = BigInt(LARGE.length);
  const read = async (offset: bigint, count: number, file = large) => {
    const reply = await client.nfs('READ', { file, offset, count });
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    const data = Buffer.concat(reply.data);
    if (data.length !== reply.count) throw new Error(`count ${reply.count} with ${data.length} bytes`);
    return { data, eof: reply.eof };
  };
  const expect = (offset: number, count: number, eof: boolean) => ({
    data: LARGE.subarray(offset, offset + count),
    eof,
  });
  t.same(await read(0n, 1), expect(0, 1, false));
  t.same(await read(4095n, 4098), expect(4095, 4098, false), 'over page borders');
  t.same(await read(size - 1n, 1), expect(LARGE.length - 1, 1, true), 'the last byte');
  t.same(await read(size - 1n, 100), expect(LARGE.length - 1, 1, true), 'over the end');
  t.same(await read(size, 100), { data: Buffer.alloc(0), eof: true }, 'at the end');
  t.same(await read(size + 5n, 100), { data: Buffer.alloc(0), eof: true }, 'after the end');
  t.same(await read(2n ** 64n - 1n, 100), { data: Buffer.alloc(0), eof: true }, 'the last offset there is');
  t.same(await read(2n ** 63n, 2 ** 31), { data: Buffer.alloc(0), eof: true }, 'no offset of a file');
  t.same(await read(0n, 0), { data: Buffer.alloc(0), eof: false }, 'nothing asked');
  t.same(await read(size, 0), { data: Buffer.alloc(0), eof: true }, 'nothing asked at the end');
  t.same(await read(0n, 0xffffffff), expect(0, TRANSFER_BYTES_MAX, false), 'too much asked');
  t.same(await read(0n, 100, await find('empty')), { data: Buffer.alloc(0), eof: true }, 'an empty file');
  t.ok((await client.readAll(large.data, 100_000)).equals(LARGE), 'in pieces');
  const many = await Promise.all(
    Array.from({ length: 60 }, (_, index) => read(BigInt(index * 50_000), 50_000)),
  );
  t.ok(Buffer.concat(many.map(({ data }) => data)).equals(LARGE.subarray(0, 3_000_000)), 'in parallel');

  truncateSync(join(tree, 'large'), 10);
  t.same(await read(0n, 100), { data: LARGE.subarray(0, 10), eof: true }, 'a file cut meanwhile');
});

t.test('READ of what is no file, and of what is gone', async (t) => {
  const { tree, client, dir, find } = await prepare(t);
  const read = async (file: { data: Uint8Array }) =>
    statusOf(await client.nfs('READ', { file, offset: 0n, count: 100 }));
  t.equal(await read(dir), 'NFS3ERR_ISDIR');
  t.equal(await read(await find('link')), 'NFS3ERR_INVAL');
  t.equal(await read(await find('pipe')), 'NFS3ERR_INVAL', 'which would wait for a writer');
  const file = await find('file');
  unlinkSync(join(tree, 'file'));
  t.equal(await read(file), 'NFS3ERR_STALE');
  t.equal(statusOf(await client.nfs('GETATTR', { object: file })), 'NFS3ERR_STALE');
});

t.test('FSSTAT, FSINFO and PATHCONF', async (t) => {
  const { tree, client, dir, find } = await prepare(t);
  const real = statfsSync(tree, { bigint: true });
  const fsstat = await client.nfs('FSSTAT', { fsroot: dir });
  if (fsstat.status !== NFS3_OK) throw new Error(statusOf(fsstat));
  t.equal(fsstat.tbytes, real.blocks * real.bsize);
  t.equal(fsstat.tfiles, real.files);
  t.ok(fsstat.abytes <= fsstat.fbytes && fsstat.fbytes <= fsstat.tbytes);
  const fsinfo = await client.nfs('FSINFO', { fsroot: dir });
  if (fsinfo.status !== NFS3_OK) throw new Error(statusOf(fsinfo));
  t.equal(fsinfo.rtmax, TRANSFER_BYTES_MAX);
  t.equal(fsinfo.time_delta.nseconds, 1);
  const pathconf = await client.nfs('PATHCONF', { object: await find('file') });
  t.match(pathconf, { status: NFS3_OK, name_max: 255, no_trunc: true, case_insensitive: false });
});
