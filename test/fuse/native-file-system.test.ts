/** The operations as fuse-native asks for them, over operations that answer what a test says. */
import t from 'tap';
import { nativeOperations, openFileName } from '../../src/fuse/native-file-system.ts';
import { NativeRequests } from '../../src/fuse/native-requests.ts';
import type { Attributes, DirectorySink, Operations } from '../../src/gateway/operations.ts';
import { fakeOperations } from './fake-operations.ts';

const ENOENT = 2;
const EIO = 5;
const EBADF = 9;
const EILSEQ = 84;
const ESTALE = 116;
const time = { seconds: 1, nanoseconds: 0 };
const attributes: Attributes = {
  ...{ ino: 3n, mode: 0o100644, nlink: 1, uid: 0, gid: 0, rdevMajor: 0, rdevMinor: 0, size: 5n, used: 512n },
  ...{ atime: time, mtime: time, ctime: time },
};

function setUp(some: Partial<Operations>) {
  const faults: string[] = [];
  const requests = new NativeRequests(
    fakeOperations({
      lookup: (_parent, name) => ({
        nodeId: Buffer.from(name).toString() === 'missing' ? 0n : 3n,
        entryValidMs: 1e9,
        attributes: undefined,
      }),
      forget: () => undefined,
      ...some,
    }),
    {
      onFault: (message) => faults.push(message),
      onWarning: (message) => faults.push(message),
    },
  );
  return { files: nativeOperations(requests), requests, faults };
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

t.test('attributes by path and by open file', async (t) => {
  const asked: bigint[] = [];
  const { files } = setUp({
    getattr: (nodeId) => {
      asked.push(nodeId);
      return { attributes, validMs: 0 };
    },
    open: () => ({ fileHandle: 2n ** 40n, keepCache: false }),
    release: () => undefined,
  });
  t.match(await replyOf((reply) => files.getattr('/file', reply)), { ino: 3, size: 5, mtime: 1000 });
  t.equal(await replyOf((reply) => files.getattr('/missing', reply)), -ENOENT);
  t.equal(await replyOf((reply) => files.getattr('/\ufffd', reply)), -EILSEQ);
  const fd = await replyOf<number>((reply) => files.open('/file', 0, reply));
  t.match(await replyOf((reply) => files.getattr(openFileName(fd!), reply)), { ino: 3 });
  t.same(asked, [3n, 3n]);
});

t.test('open files have numbers of 31 bits, and their own handles', async (t) => {
  const released: bigint[] = [];
  let next = 2n ** 40n;
  const { files } = setUp({
    open: () => ({ fileHandle: next++, keepCache: false }),
    read: (fileHandle, offset, bytes) => [Buffer.from(`${fileHandle} `), Buffer.from(`${offset} ${bytes}`)],
    release: (fileHandle) => void released.push(fileHandle),
  });
  const [a, b] = await Promise.all(
    [1, 2].map(() => replyOf<number>((reply) => files.open('/file', 0, reply))),
  );
  t.not(a, b);
  const room = Buffer.alloc(64);
  const count = await new Promise<number>((resolve) => {
    files.read('/file', b!, room, 64, 2 ** 33, resolve);
  });
  t.equal(room.toString('latin1', 0, count), `${2n ** 40n + 1n} ${2 ** 33} 64`);
  t.equal(await replyOf((reply) => files.release('/file', a!, reply)), undefined);
  t.same(released, [2n ** 40n]);
  const failed = await new Promise<number>((resolve) => {
    files.read('/file', a!, room, 64, 0, resolve);
  });
  t.equal(failed, -EBADF, 'it is closed');
});

t.test('a stale name is looked up again, once', async (t) => {
  let lookups = 0;
  let stale = 1;
  const { files } = setUp({
    lookup: () => {
      lookups += 1;
      return { nodeId: BigInt(lookups + 2), entryValidMs: 1e9, attributes: undefined };
    },
    readlink: (nodeId) => (stale-- > 0 ? ESTALE : { target: Buffer.from(`of ${nodeId}`) }),
  });
  t.equal(await replyOf((reply) => files.readlink('/link', reply)), 'of 4');
  t.equal(lookups, 2);
  stale = 2;
  t.equal(await replyOf((reply) => files.readlink('/link', reply)), -ESTALE);
  t.equal(lookups, 3, 'and no more often than that');
});

t.test('a link to a name that is not UTF-8', async (t) => {
  const { files } = setUp({ readlink: () => ({ target: Buffer.from([0x61, 0xff]) }) });
  t.equal(await replyOf((reply) => files.readlink('/link', reply)), -EILSEQ);
});

t.test('a listing comes whole, without names that cannot be said', async (t) => {
  const pages = [['.', '..', 'a'], [Buffer.from([0xff]), 'b'], []];
  const closed: bigint[] = [];
  const { files } = setUp({
    opendir: () => ({ fileHandle: 8n, keepCache: false }),
    releasedir: (fileHandle) => void closed.push(fileHandle),
    readdir: async (_fileHandle: bigint, cookie: bigint, sink: DirectorySink) => {
      for (const name of pages[Number(cookie)]!) {
        t.ok(sink.add(Buffer.from(name), cookie + 1n, 7n, 0o100000));
      }
      return 0;
    },
  });
  const listing = await new Promise<unknown[]>((resolve) => {
    files.readdir('/dir', (...reply) => resolve(reply));
  });
  t.match(listing, [0, ['.', '..', 'a', 'b'], { length: 4 }]);
  t.match(listing[2], [{ ino: 7, mode: 0o100000 }]);
  t.equal(await replyOf((reply) => files.opendir('/dir', 0, reply)), 0);
  t.same(closed, [8n, 8n]);
});

t.test('what throws is EIO and a line in the log', async (t) => {
  const { files, requests, faults } = setUp({
    statfs: () => {
      throw new Error('broken');
    },
    getxattr: () => Promise.reject(new Error('broken later')),
  });
  t.equal(await replyOf((reply) => files.statfs('/', reply)), -EIO);
  t.equal(await replyOf((reply) => files.getxattr('/', 'user.a', 0, reply)), -EIO);
  t.same(faults, ['statfs failed', 'getxattr failed']);
  t.equal(requests.pending, 0);
});
