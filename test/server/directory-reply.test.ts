import { mkdirSync, readdirSync, renameSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { READDIR3res, READDIRPLUS3res } from '../../src/nfs3/nfs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { DIRECTORY_REPLY_BYTES_MAX } from '../../src/server/limits.ts';
import { encodeAll } from '../../src/xdr/codec.ts';
import { makeDirectory, makeNames, makeTree } from '../support/trees.ts';
import { TestClient, name, serve, statusOf } from './serving.ts';

const VERIFIER = Buffer.alloc(8);

async function prepare(t: Test) {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: 'x' });
  const { tcp } = await serve(t, directory, [`tree=${tree}`]);
  const client = await TestClient.connect(t, tcp);
  const root = await client.root('/tree');

  const readdir = async (data: Uint8Array, cookie: bigint, count: number) => {
    const reply = await client.nfs('READDIR', { dir: { data }, cookie, cookieverf: VERIFIER, count });
    if (reply.status !== NFS3_OK) return statusOf(reply);
    return { ...reply, bytes: Buffer.concat(encodeAll(READDIR3res, reply)).length };
  };
  const readdirplus = async (data: Uint8Array, cookie: bigint, dircount: number, maxcount: number) => {
    const args = { dir: { data }, cookie, cookieverf: VERIFIER, dircount, maxcount };
    const reply = await client.nfs('READDIRPLUS', args);
    if (reply.status !== NFS3_OK) return statusOf(reply);
    return { ...reply, bytes: Buffer.concat(encodeAll(READDIRPLUS3res, reply)).length };
  };
  /** All names, with what is done between two replies. */
  const readAll = async (data: Uint8Array, count: number, between: (reply: number) => void = () => {}) => {
    const names: string[] = [];
    let replies = 0;
    for (let cookie = 0n; ; replies += 1) {
      const reply = await readdir(data, cookie, count);
      if (typeof reply === 'string') throw new Error(reply);
      if (reply.bytes > count) throw new Error(`${reply.bytes} bytes where ${count} were asked`);
      names.push(...reply.entries.map((entry) => Buffer.from(entry.name).toString()));
      cookie = reply.entries.at(-1)?.cookie ?? cookie;
      if (reply.eof) return names;
      between(replies);
    }
  };
  return { tree, client, root, readdir, readdirplus, readAll };
}

t.test('READDIR gives every name once, whatever the size of the replies', async (t) => {
  const { tree, client, root, readAll } = await prepare(t);
  const names = makeNames(join(tree, 'many'), 500, 'a-name-of-some-length-');
  const many = await client.find(root, 'many');
  const expected = ['.', '..', ...names].sort();
  for (const count of [200, 512, 4096, 65_536, 0xffffffff])
    t.same((await readAll(many, count)).sort(), expected, `${count}`);
  mkdirSync(join(tree, 'none'));
  t.same((await readAll(await client.find(root, 'none'), 4096)).sort(), ['.', '..']);
});

t.test('file ids are those of the files, and the root is its own parent', async (t) => {
  const { tree, client, root, readdir } = await prepare(t);
  mkdirSync(join(tree, 'sub'));
  const ino = (path: string) => statSync(join(tree, path), { bigint: true }).ino;
  const idsOf = async (data: Uint8Array) => {
    const reply = await readdir(data, 0n, 4096);
    if (typeof reply === 'string') throw new Error(reply);
    return Object.fromEntries(
      reply.entries.map((entry) => [Buffer.from(entry.name).toString(), entry.fileid]),
    );
  };
  t.same(await idsOf(root), { '.': ino('.'), '..': ino('.'), file: ino('file'), sub: ino('sub') });
  t.same(await idsOf(await client.find(root, 'sub')), { '.': ino('sub'), '..': ino('.') });
});

t.test('a count without room for one entry is too small', async (t) => {
  const { client, root, readdir, readdirplus } = await prepare(t);
  const file = await client.find(root, 'file');
  for (const count of [0, 1, 100, 108, 120]) {
    t.equal(await readdir(root, 0n, count), 'NFS3ERR_TOOSMALL', `READDIR ${count}`);
    t.equal(await readdirplus(root, 0n, 4096, count), 'NFS3ERR_TOOSMALL', `READDIRPLUS ${count}`);
  }
  t.equal(await readdir(file, 0n, 4096), 'NFS3ERR_NOTDIR');
  t.equal(await readdirplus(file, 0n, 4096, 4096), 'NFS3ERR_NOTDIR');
});

t.test('READDIRPLUS never answers more than maxcount, and the attributes are right', async (t) => {
  const { tree, client, root, readdirplus } = await prepare(t);
  const many = join(tree, 'many');
  mkdirSync(many);
  const names = Array.from({ length: 300 }, (_, index) => `${index}-`.padEnd(1 + ((index * 7) % 255), 'x'));
  for (const each of names) writeFileSync(join(many, each), each);
  const data = await client.find(root, 'many');
  for (const maxcount of [600, 1_000, 8_192, 32_768, 0xffffffff]) {
    const seen: string[] = [];
    for (let cookie = 0n, eof = false; !eof;) {
      const reply = await readdirplus(data, cookie, 0xffffffff, maxcount);
      if (typeof reply === 'string') throw new Error(reply);
      if (reply.bytes > maxcount) t.fail(`${reply.bytes} bytes of at most ${maxcount}`);
      for (const entry of reply.entries) {
        const text = Buffer.from(entry.name).toString();
        seen.push(text);
        if (text === '.' || text === '..') continue;
        if (entry.name_attributes?.size !== BigInt(text.length)) t.fail(`size of ${text}`);
        if (entry.name_attributes?.fileid !== entry.fileid) t.fail(`file id of ${text}`);
      }
      ({ eof } = reply);
      cookie = reply.entries.at(-1)?.cookie ?? cookie;
    }
    t.same(seen.sort(), ['.', '..', ...names].sort(), `maxcount ${maxcount}`);
  }
  const first = await readdirplus(data, 0n, 0xffffffff, 65_536);
  if (typeof first === 'string') throw new Error(first);
  const entry = first.entries.find((each) => each.name.length > 10);
  if (entry?.name_handle === null || entry === undefined) throw new Error('an entry without a handle');
  const text = Buffer.from(entry.name).toString();
  t.equal(
    (await client.readAll(Uint8Array.from(entry.name_handle.data))).toString(),
    text,
    'the handle is good',
  );
});

t.test('READDIRPLUS: dircount bounds the names, and one entry is always given', async (t) => {
  const { tree, client, root, readdirplus } = await prepare(t);
  makeNames(join(tree, 'many'), 100);
  const data = await client.find(root, 'many');
  for (const [dircount, most] of [
    [0, 1],
    [1, 1],
    [280, 11],
  ] as const) {
    const reply = await readdirplus(data, 0n, dircount, 65_536);
    if (typeof reply === 'string') throw new Error(reply);
    t.ok(
      reply.entries.length >= 1 && reply.entries.length <= most,
      `${reply.entries.length} for ${dircount}`,
    );
    t.notOk(reply.eof);
  }
});

t.test('one reply is bounded by the server too', async (t) => {
  const { tree, client, root, readdir, readdirplus } = await prepare(t);
  const many = join(tree, 'many');
  mkdirSync(many);
  for (let index = 0; index < 1_500; index += 1) writeFileSync(join(many, `${index}-`.padEnd(250, 'y')), '');
  const data = await client.find(root, 'many');
  for (const reply of [
    await readdir(data, 0n, 0xffffffff),
    await readdirplus(data, 0n, 0xffffffff, 0xffffffff),
  ]) {
    if (typeof reply === 'string') throw new Error(reply);
    t.ok(reply.bytes <= DIRECTORY_REPLY_BYTES_MAX && reply.bytes > DIRECTORY_REPLY_BYTES_MAX / 2);
    t.notOk(reply.eof);
  }
});

t.test('names that stay are given once while others come and go', async (t) => {
  const { tree, client, root, readAll } = await prepare(t);
  const many = join(tree, 'many');
  const names = makeNames(many, 600, 'stays-');
  makeNames(many, 200, 'goes-');
  const data = await client.find(root, 'many');
  const seen = await readAll(data, 1_024, (reply) => {
    for (let index = 0; index < 5; index += 1) {
      rmSync(join(many, `goes-${reply * 5 + index}`), { force: true });
      writeFileSync(join(many, `comes-${reply * 5 + index}`), '');
    }
    if (reply === 10) renameSync(join(many, 'goes-199'), join(many, 'renamed'));
  });
  t.same(seen.filter((each) => each.startsWith('stays-')).sort(), [...names].sort());
  const known = /^(stays-\d+|goes-\d+|comes-\d+|renamed|\.|\.\.)$/;
  t.same(
    seen.filter((each) => !known.test(each)),
    [],
  );
});

t.test('the entry of a cookie may be gone, and so may all that follow', async (t) => {
  const { tree, client, root, readdir } = await prepare(t);
  const many = join(tree, 'many');
  makeNames(many, 50);
  const data = await client.find(root, 'many');
  const first = await readdir(data, 0n, 400);
  if (typeof first === 'string') throw new Error(first);
  const cookie = first.entries.at(-1)?.cookie ?? 0n;
  for (const each of readdirSync(many)) unlinkSync(join(many, each));
  const rest = await readdir(data, cookie, 4096);
  if (typeof rest === 'string') throw new Error(rest);
  // ext4 gives `.` and `..` of a small directory in the order of their hashes.
  const names = rest.entries.map((entry) => Buffer.from(entry.name).toString());
  t.same(
    names.filter((each) => each !== '.' && each !== '..'),
    [],
  );
  t.ok(rest.eof);
  rmSync(many, { recursive: true });
  t.equal(await readdir(data, cookie, 4096), 'NFS3ERR_STALE');
});

t.test('cookies that nobody gave are survived', async (t) => {
  const { client, root, readdir, readdirplus } = await prepare(t);
  for (const cookie of [1n, 12_345n, 2n ** 31n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    for (const reply of [await readdir(root, cookie, 4096), await readdirplus(root, cookie, 4096, 4096)]) {
      t.ok(typeof reply !== 'string' || reply === 'NFS3ERR_BAD_COOKIE', `cookie ${cookie}`);
    }
  }
  const reply = await client.nfs('LOOKUP', { what: { dir: { data: root }, name: name('file') } });
  t.equal(statusOf(reply), 'NFS3_OK');
});
