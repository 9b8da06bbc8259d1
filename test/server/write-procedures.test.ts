/** WRITE and COMMIT of a server in this process. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import type { Test } from 'tap';
import {
  ACCESS3_DELETE,
  ACCESS3_EXTEND,
  ACCESS3_LOOKUP,
  ACCESS3_MODIFY,
  ACCESS3_READ,
  STABLE_HOW,
} from '../../src/nfs3/nfs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { TIME_HOW } from '../../src/nfs3/types.ts';
import { parseExportOption, type ExportOptions } from '../../src/store/export-options.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { TestClient, as, notPrivileged, serve, statusOf } from './serving.ts';

const { UNSTABLE, DATA_SYNC, FILE_SYNC } = STABLE_HOW;

interface Scene {
  readonly tree: string;
  readonly client: TestClient;
  readonly find: (path: string) => Promise<{ data: Uint8Array }>;
}

function writable(tree: string): ExportOptions {
  return { ...parseExportOption(`tree=${tree},squash=none`), readOnly: false };
}

/** Everybody is who they say: the tests run as root and speak for others. */
async function sceneIn(t: Test, tree: string, { readOnly = false } = {}): Promise<Scene> {
  const { socket } = await serve(t, makeDirectory(t), [{ ...writable(tree), readOnly }]);
  const client = await TestClient.connect(t, socket);
  const root = await client.root('/tree');
  return { tree, client, find: async (path) => ({ data: await client.find(root, path) }) };
}

async function prepare(t: Test, options: { readOnly?: boolean } = {}): Promise<Scene> {
  const tree = join(makeDirectory(t), 'tree');
  makeTree(tree, { file: 'contents\n', empty: '', 'sub/inner': 'inner' });
  for (const path of ['file', 'empty', 'sub', 'sub/inner']) chownSync(join(tree, path), 1000, 1000);
  return sceneIn(t, tree, options);
}

function writeArgs(
  file: { data: Uint8Array },
  offset: bigint | number,
  data: Uint8Array,
  stable: (typeof STABLE_HOW)[keyof typeof STABLE_HOW] = UNSTABLE,
) {
  return { file, offset: BigInt(offset), count: data.length, stable, data: [data] };
}

/** Writes and throws with the status where that fails. */
async function writeAll(
  client: TestClient,
  file: { data: Uint8Array },
  offset: number,
  data: Uint8Array,
  credential = client.credential,
) {
  const reply = await client.nfs('WRITE', writeArgs(file, offset, data), credential);
  if (reply.status !== NFS3_OK) throw new Error(`WRITE: ${statusOf(reply)}`);
  return reply;
}

const skip = notPrivileged;

t.test('bytes land where they belong, for each stable_how', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('empty');
  const data = patternBytes(1024 * 1024);
  const expected = Buffer.alloc(3 * data.length + 7);
  for (const [index, stable] of [UNSTABLE, DATA_SYNC, FILE_SYNC].entries()) {
    const offset = index * data.length + 7;
    const reply = await client.nfs('WRITE', writeArgs(file, offset, data, stable));
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    t.equal(reply.count, data.length);
    t.equal(reply.committed, stable);
    t.equal(reply.verf.length, 8);
    expected.set(data, offset);
    const { mtimeNs, ctimeNs } = statSync(join(tree, 'empty'), { bigint: true });
    const time = (ns: bigint) => ({ seconds: Number(ns / 10n ** 9n), nseconds: Number(ns % 10n ** 9n) });
    t.match(reply.wcc, {
      before: null,
      after: { size: BigInt(offset + data.length), mtime: time(mtimeNs), ctime: time(ctimeNs), uid: 1000 },
    });
  }
  t.ok(readFileSync(join(tree, 'empty')).equals(expected));
  await writeAll(client, file, 1_000_000, Buffer.from('small'));
  expected.write('small', 1_000_000);
  t.ok((await client.readAll(file.data)).equals(expected), 'READ sees it');
});

t.test('beyond 4 GiB, holes, and nothing at all', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('file');
  const far = 5 * 2 ** 30 + 1;
  await writeAll(client, file, far, Buffer.from('far'));
  const { size, blocks } = statSync(join(tree, 'file'));
  t.equal(size, far + 3);
  t.ok(blocks < 1000, 'a hole is none on the disk');
  const fd = openSync(join(tree, 'file'), 'r');
  const tail = Buffer.alloc(5);
  readSync(fd, tail, 0, 5, far - 2);
  closeSync(fd);
  t.equal(tail.toString('latin1'), '\0\0far');
  for (const offset of [0n, 2n ** 63n, 2n ** 64n - 1n]) {
    const reply = await client.nfs('WRITE', writeArgs(file, offset, Buffer.alloc(0)));
    t.match(reply, { status: NFS3_OK, count: 0, wcc: { after: { size: BigInt(far + 3) } } }, `${offset}`);
  }
});

t.test('offsets up to 2^63 and past it', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('file');
  for (const offset of [
    2n ** 63n - 5n,
    2n ** 63n - 1n,
    2n ** 63n,
    2n ** 64n - 1n,
    2n ** 64n - 5n,
    2n ** 60n,
  ]) {
    const reply = await client.nfs('WRITE', writeArgs(file, offset, Buffer.from('12345')));
    t.equal(statusOf(reply), 'NFS3ERR_FBIG', `${offset}`);
    t.equal(reply.wcc.after?.size, 9n);
  }
  t.equal(readFileSync(join(tree, 'file'), 'latin1'), 'contents\n', 'nothing was written');
});

t.test('count and data that differ', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('file');
  const short = await client.nfs('WRITE', { ...writeArgs(file, 0, Buffer.from('12345')), count: 6 });
  t.equal(statusOf(short), 'NFS3ERR_INVAL');
  t.equal(short.wcc.after?.size, 9n);
  t.equal(readFileSync(join(tree, 'file'), 'latin1'), 'contents\n', 'nothing was written');
  const long = await client.nfs('WRITE', { ...writeArgs(file, 0, Buffer.from('12345')), count: 3 });
  t.match(long, { status: NFS3_OK, count: 3 });
  t.equal(readFileSync(join(tree, 'file'), 'latin1'), '123tents\n');
  const large = patternBytes(300_000, 5);
  t.match(await client.nfs('WRITE', { ...writeArgs(file, 0, large), count: 100_001 }), { count: 100_001 });
  t.ok(readFileSync(join(tree, 'file')).equals(large.subarray(0, 100_001)));
});

t.test('what overlaps lands in the order of sending', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('empty');
  const ROUNDS = 40;
  const sizes = [1, 4096, 70_000, 300_000];
  const expected = Buffer.alloc(300_000 + ROUNDS * 1000);
  const writes: Promise<unknown>[] = [];
  let end = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const data = Buffer.alloc(sizes[round % sizes.length]!, round + 1);
    const offset = (ROUNDS - round) * 1000;
    writes.push(writeAll(client, file, offset, data));
    expected.set(data, offset);
    end = Math.max(end, offset + data.length);
  }
  await Promise.all(writes);
  t.ok(readFileSync(join(tree, 'empty')).equals(expected.subarray(0, end)));
});

t.test('attributes are set behind the WRITEs that were sent before', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('empty');
  const data = patternBytes(1024 * 1024);
  const time = { set_it: TIME_HOW.SET_TO_CLIENT_TIME, time: { seconds: 1_000, nseconds: 5 } } as const;
  const send = async (name: string, call: Promise<{ readonly status: number }>): Promise<void> => {
    t.equal((await call).status, NFS3_OK, name);
  };
  for (let round = 0; round < 10; round += 1) {
    const new_attributes = { mode: 0o4755, uid: null, gid: null, size: null, atime: time, mtime: time };
    await Promise.all([
      send('first', client.nfs('WRITE', writeArgs(file, 0, data))),
      send('second', client.nfs('WRITE', writeArgs(file, data.length, data))),
      send('SETATTR', client.nfs('SETATTR', { object: file, new_attributes, guard: null })),
    ]);
    const { mode, mtimeNs } = statSync(join(tree, 'empty'), { bigint: true });
    t.equal(mtimeNs, 1_000_000_000_005n, 'no write has moved it since');
    t.equal(mode & 0o7777n, 0o4755n, 'nor taken set-user-id away');
  }
});

t.test('a client that sends faster than it is written waits in its socket', { skip }, async (t) => {
  const tree = join(makeDirectory(t), 'tree');
  makeTree(tree, { file: '' });
  const MIB = 1024 * 1024;
  const limits = { connectionCallBytesMax: 3 * MIB, allCallBytesMax: 4 * MIB };
  const { server, socket } = await serve(t, makeDirectory(t), [writable(tree)], limits);
  const clients = await Promise.all([1, 2, 3].map(() => TestClient.connect(t, socket, as(0))));
  const root = await clients[0]!.root('/tree');
  const file = { data: await clients[0]!.find(root, 'file') };
  const data = patternBytes(MIB);
  const COUNT = 60;
  const writes = clients.flatMap((client, lane) =>
    Array.from({ length: COUNT }, (_, index) => writeAll(client, file, (lane * COUNT + index) * MIB, data)),
  );
  const state = { isDone: false, mostBytes: 0 };
  const watching = (async () => {
    while (!state.isDone) {
      state.mostBytes = Math.max(state.mostBytes, server.callBytes);
      await nextTurn();
    }
  })();
  await Promise.all(writes);
  state.isDone = true;
  await watching;
  t.ok(state.mostBytes > MIB && state.mostBytes < 12 * MIB, `at most ${state.mostBytes} bytes held`);
  t.equal(server.callBytes, 0);
  t.equal(statSync(join(tree, 'file')).size, 3 * COUNT * MIB);
  t.ok((await clients[0]!.readAll(file.data, MIB)).subarray(-MIB).equals(data));
});

t.test('who may write', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const path = join(tree, 'file');
  const file = await find('file');
  const write = async (credential: ReturnType<typeof as>, data = 'x') =>
    statusOf(await client.nfs('WRITE', writeArgs(file, 0, Buffer.from(data)), credential));
  for (const pass of ['opened', 'open already']) {
    chmodSync(path, 0o644);
    t.equal(await write(as(1001)), 'NFS3ERR_ACCES', pass);
    t.equal(await write(as(1000)), 'NFS3_OK', pass);
    chmodSync(path, 0o666);
    t.equal(await write(as(1001)), 'NFS3_OK', pass);
    chmodSync(path, 0o664);
    t.equal(await write(as(1001)), 'NFS3ERR_ACCES', pass);
    t.equal(await write(as(1001, 1000)), 'NFS3_OK', pass);
    t.equal(await write(as(1001, 1001, [5, 1000])), 'NFS3_OK', pass);
    chmodSync(path, 0o444);
    t.equal(await write(as(1000)), 'NFS3_OK', `the owner, whatever the mode says: ${pass}`);
    t.equal(await write(as(1001, 1000)), 'NFS3ERR_ACCES', pass);
    t.equal(await write(as(0)), 'NFS3_OK', pass);
  }
  chmodSync(path, 0o666);
  if (spawnSync('chattr', ['+i', path]).status === 0) {
    t.teardown(() => spawnSync('chattr', ['-i', path]));
    for (const uid of [0, 1000, 1001]) t.equal(await write(as(uid)), 'NFS3ERR_PERM', 'immutable');
  }
});

t.test('what is no regular file is never opened', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  execFileSync('mkfifo', ['-m', '666', join(tree, 'pipe')]);
  execFileSync('mknod', ['-m', '666', join(tree, 'null'), 'c', '1', '3']);
  execFileSync('ln', ['-s', 'file', join(tree, 'link')]);
  const data = Buffer.from('x');
  for (const [path, status] of [
    ['pipe', 'NFS3ERR_INVAL'],
    ['null', 'NFS3ERR_INVAL'],
    ['link', 'NFS3ERR_INVAL'],
    ['sub', 'NFS3ERR_ISDIR'],
  ] as const) {
    t.equal(statusOf(await client.nfs('WRITE', writeArgs(await find(path), 0, data))), status, path);
  }
  for (const path of ['pipe', 'null', 'link']) {
    const reply = await client.nfs('COMMIT', { file: await find(path), offset: 0n, count: 0 });
    t.equal(statusOf(reply), 'NFS3ERR_INVAL', path);
  }
});

t.test('a file that is gone, and one being executed', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('file');
  await writeAll(client, file, 0, Buffer.from('x'));
  unlinkSync(join(tree, 'file'));
  const reply = await client.nfs('WRITE', writeArgs(file, 0, Buffer.from('y')));
  t.equal(statusOf(reply), 'NFS3ERR_STALE');
  t.equal(reply.wcc.after, null);
  t.equal(statusOf(await client.nfs('COMMIT', { file, offset: 0n, count: 0 })), 'NFS3ERR_STALE');
  const bad = { data: Buffer.alloc(40, 1) };
  t.equal(statusOf(await client.nfs('WRITE', writeArgs(bad, 0, Buffer.from('y')))), 'NFS3ERR_BADHANDLE');
  t.equal(statusOf(await client.nfs('COMMIT', { file: bad, offset: 0n, count: 0 })), 'NFS3ERR_BADHANDLE');
});

t.test('a removed file is closed, and its blocks are free', { skip }, async (t) => {
  const { client, find } = await prepare(t);
  const dir = await find('sub');
  const file = await find('sub/inner');
  const replaced = await find('file');
  for (const each of [file, replaced]) await writeAll(client, each, 0, patternBytes(8_192));
  const openBelow = (): string[] =>
    readdirSync('/proc/self/fd')
      .map((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`);
        } catch {
          // Of the listing itself, which is closed by now.
          return '';
        }
      })
      .filter((path) => /\/(inner|file)( \(deleted\))?$/.test(path));
  t.ok(openBelow().length > 0, 'what is written stays open for a moment');
  const top = await find('.');
  const from = { dir: top, name: Buffer.from('empty') };
  const renamed = await client.nfs('RENAME', { from, to: { dir: top, name: Buffer.from('file') } }, as(0));
  t.equal(renamed.status, NFS3_OK);
  const removed = await client.nfs('REMOVE', { object: { dir, name: Buffer.from('inner') } });
  t.equal(removed.status, NFS3_OK);
  t.strictSame(
    openBelow().filter((path) => path.endsWith(' (deleted)')),
    [],
  );
});

t.test('a read-only export', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t, { readOnly: true });
  const file = await find('file');
  const reply = await client.nfs('WRITE', writeArgs(file, 0, Buffer.from('x')));
  t.equal(statusOf(reply), 'NFS3ERR_ROFS');
  t.equal(reply.wcc.after?.size, 9n);
  t.equal(statusOf(await client.nfs('WRITE', writeArgs(file, 0, Buffer.alloc(0)))), 'NFS3ERR_ROFS');
  t.equal(statusOf(await client.nfs('COMMIT', { file, offset: 0n, count: 0 })), 'NFS3ERR_ROFS');
  t.equal(readFileSync(join(tree, 'file'), 'latin1'), 'contents\n');
  const access = ACCESS3_READ | ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_LOOKUP | ACCESS3_DELETE;
  t.match(await client.nfs('ACCESS', { object: file, access }), { access: ACCESS3_READ });
  t.match(await client.nfs('ACCESS', { object: await find('sub'), access }), {
    access: ACCESS3_READ | ACCESS3_LOOKUP,
  });
});

t.test('ACCESS says what the kernel says', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const access = ACCESS3_READ | ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_LOOKUP | ACCESS3_DELETE;
  const change = ACCESS3_MODIFY | ACCESS3_EXTEND;
  const ask = async (path: string, credential = as(1000)) => {
    const reply = await client.nfs('ACCESS', { object: await find(path), access }, credential);
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    return reply.access;
  };
  t.equal(await ask('file'), ACCESS3_READ | change);
  t.equal(await ask('file', as(1001)), ACCESS3_READ);
  t.equal(await ask('sub'), access);
  t.equal(await ask('sub', as(1001)), ACCESS3_READ | ACCESS3_LOOKUP);
  chmodSync(join(tree, 'sub'), 0o600);
  t.equal(await ask('sub'), ACCESS3_READ, 'names are not changed without the right to search');
  chmodSync(join(tree, 'file'), 0o444);
  t.equal(await ask('file'), ACCESS3_READ, 'the owner of a read-only file, too');
});

t.test('set-user-id bits end with a write, but not by root', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const path = join(tree, 'file');
  const file = await find('file');
  const mode = () => statSync(path).mode & 0o7777;
  const large = Buffer.alloc(200_000, 1);
  for (const data of [Buffer.from('x'), large]) {
    for (const [before, uid, gid, after] of [
      [0o6777, 1000, 1000, 0o777],
      [0o6777, 1001, 1001, 0o777],
      [0o4666, 1000, 1000, 0o666],
      [0o2676, 1000, 1000, 0o676],
      // Without execution by the group the bit means mandatory locking: it stays for a member of the group.
      [0o2666, 1000, 1000, 0o2666],
      [0o2666, 1001, 1001, 0o666],
      [0o6777, 0, 0, 0o6777],
    ] as const) {
      chmodSync(path, before);
      await writeAll(client, file, 0, data, as(uid, gid));
      t.equal(mode().toString(8), after.toString(8), `${before.toString(8)} by ${uid}`);
    }
  }
  if (spawnSync('setcap', ['cap_net_raw+ep', path]).status === 0) {
    await writeAll(client, file, 0, large, as(0));
    t.equal(spawnSync('getcap', [path], { encoding: 'utf8' }).stdout, '', 'capabilities end with any write');
  }
});

/** Mounts a file system of its own; it goes away with the test. */
function mountAt(t: Test, args: readonly string[]): string {
  const at = join(makeDirectory(t), 'mounted');
  mkdirSync(at);
  execFileSync('mount', [...args, at]);
  t.teardown(() => execFileSync('umount', ['-l', at]));
  const tree = join(at, 'tree');
  mkdirSync(tree);
  chmodSync(tree, 0o777);
  return tree;
}

/** Writes until it fails; how many bytes were taken, and the status of the end. */
async function fill(client: TestClient, file: { data: Uint8Array }, piece: Buffer, credential = as(1000)) {
  for (let taken = 0; ;) {
    const reply = await client.nfs('WRITE', writeArgs(file, taken, piece), credential);
    if (reply.status !== NFS3_OK) return { taken, status: statusOf(reply) };
    if (reply.count === 0) throw new Error('a WRITE wrote nothing, and no error');
    taken += reply.count;
  }
}

t.test('a full file system', { skip }, async (t) => {
  for (const [kind, piece] of [
    ['by large writes', patternBytes(700_000)],
    ['by small ones', patternBytes(30_000)],
  ] as const) {
    const tree = mountAt(t, ['-t', 'tmpfs', '-o', 'size=3m', 'full']);
    writeFileSync(join(tree, 'file'), '');
    chownSync(join(tree, 'file'), 1000, 1000);
    const { client, find } = await sceneIn(t, tree);
    const { taken, status } = await fill(client, await find('file'), piece);
    t.equal(status, 'NFS3ERR_NOSPC', kind);
    t.ok(taken > 2_000_000, kind);
    t.equal(statSync(join(tree, 'file')).size, taken, 'what was acknowledged is there, and no more');
    truncateSync(join(tree, 'file'));
    t.equal((await writeAll(client, await find('file'), 0, piece)).count, piece.length, 'room again');
  }
});

t.test('a quota', { skip }, async (t) => {
  const image = join(makeDirectory(t), 'image');
  writeFileSync(image, '');
  truncateSync(image, 200 * 1024 * 1024);
  execFileSync('mkfs.btrfs', ['-q', image]);
  const top = mountAt(t, ['-o', 'loop', image]);
  const tree = join(top, 'limited');
  execFileSync('btrfs', ['quota', 'enable', top]);
  execFileSync('btrfs', ['subvolume', 'create', tree], { stdio: 'ignore' });
  execFileSync('btrfs', ['qgroup', 'limit', '4M', tree]);
  writeFileSync(join(tree, 'mine'), '');
  chownSync(join(tree, 'mine'), 1000, 1000);
  const { client, find } = await sceneIn(t, tree);
  const { taken, status } = await fill(client, await find('mine'), patternBytes(300_000));
  t.equal(status, 'NFS3ERR_DQUOT');
  t.ok(taken > 1024 * 1024 && taken <= 4 * 1024 * 1024, `${taken}`);
});

t.test('the reserve of ext4 is for root', { skip }, async (t) => {
  const image = join(makeDirectory(t), 'image');
  writeFileSync(image, '');
  truncateSync(image, 64 * 1024 * 1024);
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '50', '-O', '^has_journal', image]);
  const tree = mountAt(t, ['-o', 'loop', image]);
  for (const name of ['mine', 'roots']) writeFileSync(join(tree, name), '');
  chownSync(join(tree, 'mine'), 1000, 1000);
  const { client, find } = await sceneIn(t, tree);
  const piece = patternBytes(1024 * 1024);
  const { taken, status } = await fill(client, await find('mine'), piece);
  t.equal(status, 'NFS3ERR_NOSPC');
  t.ok(taken < 40 * 1024 * 1024, `${taken} bytes taken of 64 MiB`);
  const roots = await fill(client, await find('roots'), piece, as(0));
  t.ok(roots.taken > 15 * 1024 * 1024, `root had another ${roots.taken}`);
});

t.test('COMMIT, and the verifier', { skip }, async (t) => {
  const { tree, client, find } = await prepare(t);
  const file = await find('file');
  const written = await writeAll(client, file, 0, Buffer.from('x'));
  const commits = await Promise.all(
    [0n, 5n, 2n ** 64n - 1n].map((offset) => client.nfs('COMMIT', { file, offset, count: 0xffffffff })),
  );
  for (const reply of commits) {
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    t.same(reply.verf, written.verf);
    t.match(reply.wcc, { before: null, after: { size: 9n } });
  }
  for (const path of ['sub', 'sub/inner']) {
    const reply = await client.nfs('COMMIT', { file: await find(path), offset: 0n, count: 0 });
    t.match(reply, { status: NFS3_OK, verf: written.verf }, `${path}, which nobody wrote`);
  }
  const again = await sceneIn(t, tree);
  const other = await writeAll(again.client, await again.find('file'), 0, Buffer.from('x'));
  t.notSame(other.verf, written.verf, 'another server, another verifier');
});

/** Takes all that is left of a file system; returns what gives it back. */
function takeTheRest(directory: string): () => void {
  const path = join(directory, 'filler');
  const fd = openSync(path, 'w');
  try {
    for (const piece = Buffer.alloc(64 * 1024); ;) writeSync(fd, piece);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(fd);
  }
  return () => {
    unlinkSync(path);
  };
}

t.test('a disk that fails is told by COMMIT, and changes the verifier', { skip }, async (t) => {
  // The disk is a sparse file that has no room to grow: what is written back to new blocks is lost.
  const below = mountAt(t, ['-t', 'tmpfs', '-o', 'size=24m', 'disk']);
  const image = join(below, 'image');
  writeFileSync(image, '');
  truncateSync(image, 48 * 1024 * 1024);
  execFileSync('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=0', image]);
  const tree = mountAt(t, ['-o', 'loop,errors=continue', image]);
  for (const name of ['file', 'other']) {
    writeFileSync(join(tree, name), '');
    chownSync(join(tree, name), 1000, 1000);
  }
  execFileSync('sync', ['-f', tree]);
  const { client, find } = await sceneIn(t, tree);
  const [file, other] = [await find('file'), await find('other')];
  const first = await writeAll(client, file, 0, Buffer.alloc(1_000_000, 1));
  const second = await writeAll(client, other, 0, Buffer.alloc(1000, 1));
  t.same(first.verf, second.verf);
  const giveBack = takeTheRest(below);
  const replies = await Promise.all(
    [0n, 1n].map((offset) => client.nfs('COMMIT', { file, offset, count: 0 })),
  );
  t.equal(statusOf(replies[0]!), 'NFS3ERR_NOSPC');
  for (const reply of replies) {
    // The kernel says it once: who asks later learns it from the verifier.
    if (reply.status === NFS3_OK) t.notSame(reply.verf, first.verf);
    else t.equal(statusOf(reply), 'NFS3ERR_NOSPC');
  }
  const stable = await client.nfs('WRITE', writeArgs(other, 0, Buffer.alloc(1_000_000, 2), FILE_SYNC));
  t.equal(statusOf(stable), 'NFS3ERR_NOSPC');
  giveBack();
  const again = await writeAll(client, file, 0, Buffer.alloc(1_000_000, 3));
  const commit = await client.nfs('COMMIT', { file, offset: 0n, count: 0 });
  if (commit.status !== NFS3_OK) throw new Error(statusOf(commit));
  t.notSame(commit.verf, first.verf, 'who wrote before writes again');
  t.same(commit.verf, again.verf);
});
