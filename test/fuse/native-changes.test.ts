/** Changes as fuse-native asks for them: what the operations are told, and that names are known anew after them. */
import t from 'tap';
import { nativeOperations } from '../../src/fuse/native-file-system.ts';
import { NativeRequests } from '../../src/fuse/native-requests.ts';
import type { AttributesReply, Operations } from '../../src/gateway/operations.ts';
import { fakeOperations } from './fake-operations.ts';

const ENOENT = 2;
const EBADF = 9;
const EEXIST = 17;
const ENOSPC = 28;
const EILSEQ = 84;
const EOPNOTSUPP = 95;
const ESTALE = 116;
const LOSSY = '/dir/\ufffd';

const time = { seconds: 1, nanoseconds: 2 };
const attributes: AttributesReply = {
  attributes: {
    ...{
      ino: 3n,
      mode: 0o100644,
      nlink: 1,
      uid: 0,
      gid: 0,
      rdevMajor: 0,
      rdevMinor: 0,
      size: 5n,
      used: 512n,
    },
    ...{ atime: time, mtime: time, ctime: time },
  },
  validMs: 0,
};

/** A tree by keys of parent and name; `held` counts the lookups that were not given back. */
function setUp(some: Partial<Operations>) {
  const tree = new Map([
    ['1/dir', 2n],
    ['2/file', 3n],
  ]);
  const held = new Map<bigint, number>();
  const hold = (nodeId: bigint, count: number): void =>
    void held.set(nodeId, (held.get(nodeId) ?? 0) + count);
  const entry = (nodeId: bigint) => {
    if (nodeId !== 0n) hold(nodeId, 1);
    return { nodeId, entryValidMs: 1e9, attributes: undefined };
  };
  const asked: string[] = [];
  const requests = new NativeRequests(
    fakeOperations({
      lookup: (parent, name) => {
        const key = `${parent}/${Buffer.from(name).toString()}`;
        asked.push(key);
        return entry(tree.get(key) ?? 0n);
      },
      forget: (nodeId, lookups) => hold(nodeId, -Number(lookups)),
      getattr: () => attributes,
      release: () => undefined,
      ...some,
    }),
    {
      onFault: (message, error) => {
        throw new Error(message, { cause: error });
      },
      onWarning: () => undefined,
    },
  );
  return { files: nativeOperations(requests), requests, tree, asked, held, entry };
}

/** What an operation replies: its error, or its value. */
function replyOf<T>(
  call: (reply: (error: number, value?: T) => void) => void,
): Promise<number | T | undefined> {
  return new Promise((resolve) => {
    call((error, value) => {
      resolve(error === 0 ? value : error);
    });
  });
}

t.test('attributes', async (t) => {
  const told: unknown[] = [];
  const { files } = setUp({
    setattr: (nodeId, changes) => {
      told.push([nodeId, changes]);
      return attributes;
    },
    open: () => ({ fileHandle: 8n, keepCache: false }),
  });
  await replyOf((reply) => files.truncate('/dir/file', 2 ** 33, reply));
  await replyOf((reply) => files.chmod('/dir/file', 0o104755, reply));
  await replyOf((reply) => files.chown('/dir/file', 5, 0xffff_ffff, reply));
  await replyOf((reply) => files.chown('/dir/file', 0xffff_ffff, 6, reply));
  await replyOf((reply) => files.utimens('/dir/file', -1, 1_700_000_000_001, reply));
  const fd = await replyOf<number>((reply) => files.open('/dir/file', 2, reply));
  await replyOf((reply) => files.ftruncate('/dir/file', fd!, 7, reply));
  t.same(told, [
    [3n, { size: 2n ** 33n }],
    [3n, { mode: 0o4755 }],
    [3n, { uid: 5 }],
    [3n, { gid: 6 }],
    [
      3n,
      {
        atime: { seconds: -1, nanoseconds: 999_000_000 },
        mtime: { seconds: 1_700_000_000, nanoseconds: 1_000_000 },
      },
    ],
    [3n, { size: 7n, fileHandle: 8n }],
  ]);
  t.equal(await replyOf((reply) => files.utimens('/dir/file', NaN, NaN, reply)), -EOPNOTSUPP);
  t.equal(await replyOf((reply) => files.ftruncate('/dir/file', fd! + 1, 7, reply)), -EBADF);
  t.equal(await replyOf((reply) => files.truncate('/dir/none', 7, reply)), -ENOENT);
  t.equal(told.length, 6);
});

t.test('what is made is known from then on, and was not before', async (t) => {
  const told: unknown[] = [];
  const { files, asked, held, entry } = setUp({
    mkdir: (...args) => (told.push(['mkdir', ...args.slice(0, 3)]), entry(9n)),
    mknod: (...args) => (told.push(['mknod', ...args.slice(0, 4)]), entry(9n)),
    symlink: (...args) => (told.push(['symlink', ...args.slice(0, 3)]), entry(9n)),
    link: (...args) => (told.push(['link', ...args.slice(0, 3)]), entry(3n)),
    unlink: () => 0,
  });
  const name = Buffer.from('new');
  const makers: [Parameters<typeof replyOf>[0], unknown[]][] = [
    [(reply) => files.mkdir('/dir/new', 0o40755, reply), ['mkdir', 2n, name, 0o755]],
    [
      (reply) => files.mknod('/dir/new', 0o20644, 0x1203, reply),
      ['mknod', 2n, name, 0o20644, { major: 0x12, minor: 3 }],
    ],
    [(reply) => files.symlink('to', '/dir/new', reply), ['symlink', 2n, name, Buffer.from('to')]],
    [(reply) => files.link('/dir/file', '/dir/new', reply), ['link', 3n, 2n, name]],
  ];
  for (const [make, expected] of makers) {
    t.equal(await replyOf((reply) => files.getattr('/dir/new', reply)), -ENOENT);
    asked.length = 0;
    t.equal(await replyOf(make), undefined);
    t.same(told.pop(), expected);
    t.match(await replyOf((reply) => files.getattr('/dir/new', reply)), { ino: 3 });
    t.notOk(asked.includes('2/new'), 'without a lookup');
    await replyOf((reply) => files.unlink('/dir/new', reply));
  }
  t.equal(held.get(9n), 0, 'their lookups were given back');
});

t.test('a renamed directory takes what lies below along; old names are gone', async (t) => {
  const { files, tree, asked } = setUp({
    rename: (parent, name, newParent, newName, flags) => {
      t.same([parent, newParent, flags], [1n, 1n, 0]);
      tree.delete(`1/${Buffer.from(name).toString()}`);
      tree.set(`1/${Buffer.from(newName).toString()}`, 2n);
      return 0;
    },
  });
  t.match(await replyOf((reply) => files.getattr('/dir/file', reply)), { ino: 3 });
  t.equal(await replyOf((reply) => files.getattr('/other/file', reply)), -ENOENT);
  asked.length = 0;
  t.equal(await replyOf((reply) => files.rename('/dir', '/other', reply)), undefined);
  t.equal(await replyOf((reply) => files.getattr('/dir/file', reply)), -ENOENT);
  t.match(await replyOf((reply) => files.getattr('/other/file', reply)), { ino: 3 });
  t.same(asked, ['1/dir', '1/other'], 'the file below is still known');
});

t.test('what is gone is not known any more, nor after a failure', async (t) => {
  let outcome = 0;
  const { files, asked } = setUp({ unlink: () => outcome, rmdir: () => outcome });
  for (outcome of [0, 39]) {
    for (const remove of ['unlink', 'rmdir'] as const) {
      await replyOf((reply) => files.getattr('/dir/file', reply));
      asked.length = 0;
      t.equal(
        await replyOf((reply) => files[remove]('/dir/file', reply)),
        outcome === 0 ? undefined : -outcome,
      );
      await replyOf((reply) => files.getattr('/dir/file', reply));
      t.same(asked, ['2/file']);
    }
  }
});

t.test('names that are not UTF-8 are EILSEQ, before anything is done', async (t) => {
  const { files } = setUp({});
  const all: Parameters<typeof replyOf>[0][] = [
    (reply) => files.mkdir(LOSSY, 0o755, reply),
    (reply) => files.mknod(LOSSY, 0o100644, 0, reply),
    (reply) => files.create(LOSSY, 0o644, reply),
    (reply) => files.symlink('to', LOSSY, reply),
    (reply) => files.symlink('to\ufffd', '/dir/new', reply),
    (reply) => files.link(LOSSY, '/dir/new', reply),
    (reply) => files.link('/dir/file', LOSSY, reply),
    (reply) => files.rename(LOSSY, '/dir/new', reply),
    (reply) => files.rename('/dir/file', LOSSY, reply),
    (reply) => files.unlink(LOSSY, reply),
    (reply) => files.rmdir(LOSSY, reply),
    (reply) => files.truncate(LOSSY, 0, reply),
  ];
  for (const call of all) t.equal(await replyOf(call), -EILSEQ);
});

t.test('a created file is open, and closed once', async (t) => {
  const released: bigint[] = [];
  let flags = 0;
  const { files, held, entry } = setUp({
    create: (parent, name, mode, asked) => {
      t.same([parent, Buffer.from(name).toString(), mode], [2n, 'new', 0o644]);
      flags = asked;
      return { entry: entry(9n), opened: { fileHandle: 8n, keepCache: false } };
    },
    release: (fileHandle) => void released.push(fileHandle),
    unlink: () => 0,
  });
  const fd = await replyOf<number>((reply) => files.create('/dir/new', 0o100644, reply));
  t.equal(flags, 0o302, 'O_CREAT, O_EXCL, O_RDWR');
  await replyOf((reply) => files.unlink('/dir/new', reply));
  t.equal(held.get(9n), 1, 'it is open');
  await replyOf((reply) => files.release('/dir/new', fd!, reply));
  await replyOf((reply) => files.release('/dir/new', fd!, reply));
  t.same(released, [8n]);
  t.equal(held.get(9n), 0);
});

t.test('a file that somebody made meanwhile has the kernel look again', async (t) => {
  const { files, tree } = setUp({ create: () => EEXIST });
  t.equal(await replyOf((reply) => files.getattr('/dir/new', reply)), -ENOENT);
  t.equal(await replyOf((reply) => files.create('/dir/new', 0o644, reply)), -ESTALE);
  tree.set('2/new', 9n);
  t.match(await replyOf((reply) => files.getattr('/dir/new', reply)), { ino: 3 }, 'and it finds it');
});

t.test('bytes to write are good until they are taken', async (t) => {
  const taken: Uint8Array[] = [];
  const { files } = setUp({
    open: () => ({ fileHandle: 8n, keepCache: false }),
    write: async (fileHandle, offset, data, flags) => {
      t.same([fileHandle, offset, flags], [8n, 2n ** 33n, 0o102001], 'the flags are those of its open');
      taken.push(data.take());
      return data.bytes.length === 5 ? { writtenBytes: 5 } : ENOSPC;
    },
  });
  const fd = await replyOf<number>((reply) => files.open('/dir/file', 0o102001, reply));
  const write = (handle: number, buffer: Buffer, bytes: number): Promise<number> =>
    new Promise((resolve) => {
      files.write('/dir/file', handle, buffer, bytes, 2 ** 33, resolve);
    });
  const room = Buffer.from('bytes, and what was there');
  t.equal(await write(fd!, room, 5), 5);
  room.fill(0);
  t.equal(Buffer.from(taken[0]!).toString(), 'bytes');
  t.equal(await write(fd!, room, 6), -ENOSPC);
  t.equal(await write(fd! + 1, room, 5), -EBADF);
});

t.test('what makes writes last', async (t) => {
  const told: unknown[] = [];
  const { files } = setUp({
    open: () => ({ fileHandle: 8n, keepCache: false }),
    opendir: () => ({ fileHandle: 10n, keepCache: false }),
    releasedir: (fileHandle) => void told.push(['releasedir', fileHandle]),
    flush: (fileHandle) => (told.push(['flush', fileHandle]), ENOSPC),
    fsync: (fileHandle, dataOnly) => (told.push(['fsync', fileHandle, dataOnly]), 0),
    fsyncdir: (fileHandle, dataOnly) => (told.push(['fsyncdir', fileHandle, dataOnly]), 0),
  });
  const fd = await replyOf<number>((reply) => files.open('/dir/file', 2, reply));
  t.equal(await replyOf((reply) => files.flush('/dir/file', fd!, reply)), -ENOSPC);
  t.equal(await replyOf((reply) => files.fsync('/dir/file', 1, fd!, reply)), undefined);
  t.equal(await replyOf((reply) => files.fsyncdir('/dir', 0, 0, reply)), undefined);
  t.equal(await replyOf((reply) => files.fsync('/dir/file', 0, fd! + 1, reply)), -EBADF);
  t.same(told, [
    ['flush', 8n],
    ['fsync', 8n, true],
    ['fsyncdir', 10n, false],
    ['releasedir', 10n],
  ]);
});
