import { constants } from 'node:fs';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { DirtyBytes } from '../../src/gateway/dirty-bytes.ts';
import { FAR_HOLE_BYTES, WRITE_RESENDS_MAX } from '../../src/gateway/limits.ts';
import type { Outcome } from '../../src/gateway/operations.ts';
import { STABLE_HOW } from '../../src/nfs3/nfs.ts';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import {
  context,
  keepRunning,
  mountBefore,
  writeData,
  WritingServer,
  type Mounted,
  type MountedOptions,
} from './writing-server.ts';

const { UNSTABLE, DATA_SYNC, FILE_SYNC } = STABLE_HOW;
/** How often to look whether what takes seconds is done, in milliseconds. */
const LOOK_MS = 50;
const EINTR = 4;
const EIO = 5;
const EACCES = 13;
const EFBIG = 27;
const ENOSPC = 28;
const ETIMEDOUT = 110;

interface Written extends Mounted {
  readonly server: WritingServer;
  readonly open: (flags?: number) => Promise<bigint>;
  readonly write: (
    file: bigint,
    offset: number,
    content: Uint8Array | string,
    flags?: number,
  ) => Promise<number>;
  readonly dirty: () => number;
}

function answered<T>(outcome: Outcome<T>): T {
  if (typeof outcome === 'number') throw new Error(`errno ${outcome}`);
  return outcome;
}

async function mounted(options: MountedOptions = {}, server = new WritingServer()): Promise<Written> {
  const mount = await mountBefore(server, options);
  const { gateway, nodeId } = mount;
  return {
    ...mount,
    server,
    open: async (flags = constants.O_RDWR) =>
      answered(await gateway.open(nodeId, flags, context())).fileHandle,
    write: async (file, offset, content, flags = 0) => {
      const data = writeData(Buffer.from(content));
      const answer = gateway.write(file, BigInt(offset), data, flags, context());
      data.reuse();
      const outcome = await answer;
      return typeof outcome === 'number' ? -outcome : outcome.writtenBytes;
    },
    dirty: () => gateway.status().dirtyBytes,
  };
}

t.before(() => {
  keepRunning(t);
});

t.test('small writes are gathered to one WRITE, and a small file is on disk with it', async (t) => {
  const { gateway, server, open, write, dirty } = await mounted({ wsizeBytes: 1 << 20 });
  const file = await open();
  for (let at = 0; at < 40; at += 1) await write(file, at * 100, Buffer.alloc(100, at + 1));
  t.same(server.writes, []);
  t.ok(dirty() >= 4000);
  t.equal(await gateway.flush(file, context()), 0);
  t.same(server.writes, [{ offset: 0, count: 4000, stable: FILE_SYNC }]);
  t.equal(server.disk[3999], 40);
  t.equal(dirty(), 0);
  const { calls } = gateway.status();
  t.equal(calls.COMMIT, undefined);
  t.equal(await gateway.fsync(file, false, context()), 0);
  t.equal(await gateway.flush(file, context()), 0);
  t.same(gateway.status().calls, calls, 'nothing dirty costs no call');
});

t.test('more than one WRITE is sent at once, several together, and committed', async (t) => {
  const { gateway, server, open, write, dirty } = await mounted({ wsizeBytes: 65_536 });
  let release = (): void => undefined;
  server.hold = new Promise((resolve) => {
    release = resolve;
  });
  const file = await open();
  for (let at = 0; at < 4; at += 1) await write(file, at * 65_536, Buffer.alloc(65_536, at + 1));
  while (server.calls.filter((name) => name === 'WRITE').length < 4) await turn();
  t.same(server.writes, [], 'all four are under way, none is answered');
  release();
  t.equal(await gateway.fsync(file, false, context()), 0);
  t.same(
    server.writes.map(({ stable }) => stable),
    [UNSTABLE, UNSTABLE, UNSTABLE, UNSTABLE],
  );
  t.equal(gateway.status().calls.COMMIT, 1);
  t.equal(server.disk.length, 4 * 65_536);
  t.equal(dirty(), 0);
  t.equal(gateway.status().wireWrittenBytes, 4n * 65_536n);
});

t.test('bytes over bytes that wait are sent once', async (t) => {
  const { gateway, server, open, write } = await mounted();
  const file = await open();
  await write(file, 0, 'aaaaaaaaaa');
  await write(file, 4, 'bbbbbbbbbb');
  await write(file, 2, 'c');
  t.equal(await gateway.fsync(file, false, context()), 0);
  t.same(server.writes, [{ offset: 0, count: 14, stable: FILE_SYNC }]);
  t.equal(server.disk.toString(), 'aacabbbbbbbbbb');
});

t.test('what nobody asks for is sent after a while, and committed', async (t) => {
  const { server, open, write, dirty } = await mounted();
  const file = await open();
  await write(file, 0, 'a line of a log');
  t.same(server.writes, []);
  while (dirty() > 0) await delay(LOOK_MS);
  t.equal(server.disk.toString(), 'a line of a log');
});

t.test('O_SYNC and O_DSYNC are as stable as they ask for before the answer', async (t) => {
  const { gateway, server, open, write, dirty } = await mounted();
  const file = await open();
  t.equal(await write(file, 0, 'sync', constants.O_SYNC), 4);
  t.equal(server.disk.toString(), 'sync');
  t.equal(await write(file, 4, 'data', constants.O_DSYNC), 4);
  t.equal(server.disk.toString(), 'syncdata');
  t.same(
    server.writes.map(({ stable }) => stable),
    [FILE_SYNC, DATA_SYNC],
  );
  server.committed = UNSTABLE;
  t.equal(await write(file, 8, 'less', constants.O_SYNC), 4);
  t.equal(server.disk.toString(), 'syncdataless', 'a server that does less than asked is made to commit');
  t.equal(gateway.status().calls.COMMIT, 1);
  t.equal(dirty(), 0);
});

t.test('O_DIRECT is at the server before the answer, and not gathered', async (t) => {
  const { server, open, write } = await mounted();
  const file = await open(constants.O_RDWR | constants.O_DIRECT);
  t.equal(await write(file, 0, 'direct', constants.O_DIRECT), 6);
  t.equal(server.memory.toString(), 'direct');
  t.same(server.writes, [{ offset: 0, count: 6, stable: UNSTABLE }]);
});

t.test('a failed WRITE is told once to every file that was open, and dropped', async (t) => {
  const { gateway, server, open, write, dirty, warnings } = await mounted();
  const [one, two, reader] = [await open(), await open(), await open(constants.O_RDONLY)];
  server.failWrites = [NFSSTAT3.NFS3ERR_NOSPC];
  await write(one, 0, 'too much');
  t.equal(await gateway.flush(one, context()), ENOSPC);
  t.equal(await gateway.flush(one, context()), 0);
  const later = await open();
  t.equal(await gateway.flush(later, context()), 0, 'who opened after it has nothing to do with it');
  t.equal(await gateway.flush(reader, context()), 0, 'a reader’s close does not tell');
  t.equal(await gateway.fsync(reader, false, context()), ENOSPC, 'its fsync does');
  t.equal(await write(two, 0, 'more'), -ENOSPC);
  t.equal(await write(two, 0, 'more'), 4);
  t.equal(await gateway.fsync(two, false, context()), 0);
  t.equal(server.disk.toString(), 'more');
  t.equal(dirty(), 0);
  t.same(warnings, ['bytes that were written are lost']);
});

t.test('a failed COMMIT is told, and what it was for is dropped', async (t) => {
  const { gateway, server, open, write, dirty } = await mounted({ wsizeBytes: 4096 });
  const file = await open();
  server.failCommits = [NFSSTAT3.NFS3ERR_IO];
  await write(file, 0, Buffer.alloc(10_000, 1));
  t.equal(await gateway.fsync(file, false, context()), EIO);
  t.equal(await gateway.fsync(file, false, context()), 0);
  t.equal(dirty(), 0);
});

t.test('answers that cannot be true are EIO', async (t) => {
  for (const claimedCount of [0, 5, 0xffff_ffff]) {
    const { gateway, server, open, write, dirty } = await mounted();
    server.claimedCount = claimedCount;
    const file = await open();
    await write(file, 0, 'four');
    t.equal(await gateway.fsync(file, false, context()), EIO, `${claimedCount} of 4 bytes written`);
    t.equal(dirty(), 0);
  }
});

t.test('short answers are followed up, without end they are EIO', async (t) => {
  const { gateway, server, open, write, dirty } = await mounted();
  const file = await open();
  server.writesAtMost = 3;
  await write(file, 0, 'ten bytes!');
  t.equal(await gateway.fsync(file, false, context()), 0);
  t.same(
    server.writes.map(({ offset, count }) => [offset, count]),
    [
      [0, 10],
      [3, 7],
      [6, 4],
      [9, 1],
    ],
  );
  t.equal(server.disk.toString(), 'ten bytes!');
  server.writesAtMost = 1;
  await write(file, 0, Buffer.alloc(4096));
  t.equal(await gateway.fsync(file, false, context()), EIO);
  t.equal(dirty(), 0);
});

t.test('a server with a new verifier in each answer is not asked for ever', async (t) => {
  const { gateway, server, open, write, dirty } = await mounted({ wsizeBytes: 4096 });
  const file = await open();
  server.isForgetful = true;
  server.committed = UNSTABLE;
  await write(file, 0, Buffer.alloc(8192, 1));
  t.equal(await gateway.fsync(file, false, context()), EIO);
  t.ok(server.writes.length <= 2 * (WRITE_RESENDS_MAX + 1), `${server.writes.length} WRITEs`);
  t.equal(dirty(), 0);
  server.committed = undefined;
  await write(file, 0, Buffer.alloc(8192, 2));
  t.equal(await gateway.fsync(file, false, context()), 0, 'FILE_SYNC gets through');
  t.ok(server.disk.equals(Buffer.alloc(8192, 2)));
});

t.test('beyond the bound write waits for room, in order, and goes on', async (t) => {
  const dirty = new DirtyBytes(20_000, 20_000);
  const { gateway, server, open, write } = await mounted({ wsizeBytes: 4096, dirty });
  let release = (): void => undefined;
  server.hold = new Promise((resolve) => {
    release = resolve;
  });
  const file = await open();
  const order: number[] = [];
  const writes = Array.from({ length: 20 }, (_, at) =>
    write(file, at * 4096, Buffer.alloc(4096, at + 1)).then((written) =>
      order.push(written === 4096 ? at : -1),
    ),
  );
  for (let turns = 0; turns < 50; turns += 1) await turn();
  t.same(order, [0, 1, 2, 3]);
  t.ok(dirty.bytes <= 20_000, `${dirty.bytes} bytes held`);
  t.equal(dirty.waiting, 16);
  release();
  await Promise.all(writes);
  t.same(order, [...writes.keys()]);
  t.equal(await gateway.flush(file, context()), 0);
  t.ok(server.disk.every((byte, at) => byte === (at >> 12) + 1));
  t.equal(dirty.bytes, 0);
});

t.test('whoever waits can be interrupted, and what was taken is written', async (t) => {
  const dirty = new DirtyBytes(10_000, 10_000);
  const { gateway, server, open, write } = await mounted({ wsizeBytes: 4096, dirty });
  let release = (): void => undefined;
  server.hold = new Promise((resolve) => {
    release = resolve;
  });
  const file = await open();
  await write(file, 0, Buffer.alloc(8000, 1));
  const interrupt = new AbortController();
  const waiting = [
    gateway.write(file, 8000n, writeData(Buffer.alloc(4000, 2)), 0, context(interrupt.signal)),
    gateway.flush(file, context(interrupt.signal)),
    gateway.getattr(2n, context(interrupt.signal)),
    gateway.read(file, 0n, 100, context(interrupt.signal)),
    gateway.setattr(2n, { size: 0n }, context(interrupt.signal)),
  ];
  await turn();
  interrupt.abort();
  const outcomes: unknown[] = [];
  for (const answer of waiting) outcomes.push(await answer);
  t.same(outcomes, [EINTR, EINTR, EINTR, EINTR, EINTR]);
  release();
  t.equal(await gateway.flush(file, context()), 0);
  t.ok(server.disk.equals(Buffer.alloc(8000, 1)), 'the interrupted write and truncation did not happen');
  t.equal(dirty.bytes, 0);
});

t.test('a soft mount tells that the server is away, and drops what it held', async (t) => {
  const { gateway, server, open, write, dirty, warnings } = await mounted({
    hard: false,
    timedOutErrno: ETIMEDOUT,
  });
  const file = await open();
  await write(file, 0, 'lost');
  server.isDown = true;
  server.restart();
  t.equal(await gateway.flush(file, context()), ETIMEDOUT);
  t.equal(dirty(), 0);
  t.same(
    warnings.filter((warning) => warning.includes('written')),
    ['bytes that were written are lost'],
  );
});

t.test(
  'bytes of an interrupted close are written after the last release, and then the inode is closed',
  async (t) => {
    const { gateway, server, open, write, dirty } = await mounted();
    let release = (): void => undefined;
    server.hold = new Promise((resolve) => {
      release = resolve;
    });
    const file = await open();
    await write(file, 0, 'kept');
    const interrupt = new AbortController();
    const closing = gateway.flush(file, context(interrupt.signal));
    interrupt.abort();
    t.equal(await closing, EINTR);
    gateway.release(file);
    gateway.forget(2n, 1n);
    await turn();
    t.equal(gateway.status().inodes, 2, 'the inode waits for its bytes');
    release();
    while (dirty() > 0) await turn();
    for (let turns = 0; turns < 5; turns += 1) await turn();
    t.equal(server.disk.toString(), 'kept');
    t.equal(gateway.status().inodes, 1);
  },
);

t.test('the end of a mount waits for what is held', async (t) => {
  const { gateway, server, open, write } = await mounted();
  await write(await open(), 0, 'before the end');
  gateway.destroy();
  t.equal(await gateway.drain(), 0);
  t.equal(server.disk.toString(), 'before the end');
});

t.test('nothing read before a write is handed out after it, also within one tick of the clock', async (t) => {
  const server = new WritingServer();
  server.hasFineClock = false;
  server.replace(Buffer.alloc(200_000, 1));
  const { gateway, open, write } = await mounted({}, server);
  const [reader, writer] = [await open(constants.O_RDONLY), await open(constants.O_WRONLY)];
  const read = async (at: number): Promise<Buffer> =>
    Buffer.concat(answered(await gateway.read(reader, BigInt(at), 4096, context())));
  for (let at = 0; at < 40_960; at += 4096) t.ok((await read(at)).equals(Buffer.alloc(4096, 1)));
  await write(writer, 40_960, Buffer.alloc(4096, 2));
  t.ok((await read(40_960)).equals(Buffer.alloc(4096, 2)), 'what was read ahead is dropped');
  t.ok((await read(45_056)).equals(Buffer.alloc(4096, 1)));
});

t.test('the pages of the kernel are kept only while nothing was written', async (t) => {
  const { gateway, nodeId, open, write } = await mounted();
  const keeps = async (): Promise<boolean> => {
    const { fileHandle, keepCache } = answered(await gateway.open(nodeId, constants.O_RDONLY, context()));
    gateway.release(fileHandle);
    return keepCache;
  };
  await keeps();
  t.ok(await keeps());
  const file = await open();
  await write(file, 0, 'new');
  t.equal(await gateway.flush(file, context()), 0);
  t.notOk(await keeps());
  t.ok(await keeps());
});

t.test('opens for writing ask for the right to change, O_TRUNC cuts', async (t) => {
  const server = new WritingServer();
  server.replace(Buffer.from('content'));
  const { gateway, nodeId, open, write } = await mounted({}, server);
  server.rights = 0x21;
  for (const flags of [constants.O_WRONLY, constants.O_RDWR, constants.O_RDONLY | constants.O_TRUNC]) {
    t.equal(await gateway.open(nodeId, flags, context()), EACCES);
  }
  t.equal(server.disk.toString(), 'content');
  server.rights = 0x0c;
  t.equal(await gateway.open(nodeId, constants.O_RDWR, context()), EACCES, 'who may not read');
  const file = await open(constants.O_WRONLY | constants.O_TRUNC);
  t.equal(server.disk.length, 0);
  t.equal(await write(file, 0, 'new'), 3);
  t.equal(await gateway.flush(file, context()), 0);
  server.rights = 0x09;
  t.equal(typeof (await gateway.open(nodeId, constants.O_WRONLY | constants.O_APPEND, context())), 'object');
  t.equal(await gateway.open(nodeId, constants.O_WRONLY, context()), EACCES);
});

t.test('files opened for reading, and places no file has, are not written', async (t) => {
  const { gateway, open, write } = await mounted();
  const reader = await open(constants.O_RDONLY);
  t.equal(await write(reader, 0, 'no'), -9);
  t.equal(await write(99n, 0, 'no'), -9);
  const writer = await open();
  for (const offset of [(1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n]) {
    t.equal(gateway.write(writer, offset, writeData(Buffer.from('x')), 0, context()), EFBIG);
  }
  t.same(answered(await gateway.write(writer, 0n, writeData(Buffer.alloc(0)), 0, context())), {
    writtenBytes: 0,
  });
});

t.test('where a file may be too large for its file system, the write itself is told', async (t) => {
  const { gateway, server, open, write } = await mounted();
  const file = await open();
  const far = Number(FAR_HOLE_BYTES);
  server.failWrites = [NFSSTAT3.NFS3ERR_FBIG];
  t.equal(await write(file, far, 'x'), -EFBIG);
  t.equal(await write(file, 0, 'near'), 4, 'told once');
  t.equal(await gateway.flush(file, context()), 0);
  t.equal(server.disk.toString(), 'near');
  server.failWrites = [NFSSTAT3.NFS3ERR_FBIG];
  t.equal(await write(file, far - 1, 'x'), 1, 'nearer by, writes are behind');
  t.equal(await gateway.flush(file, context()), EFBIG);
});

t.test('set-id bits go in the name of who opened the file, as far as the server left them', async (t) => {
  const { gateway, server, open } = await mounted();
  const drop = async (mode: number): Promise<number> => {
    server.replace(Buffer.alloc(0));
    server.mode = mode;
    const file = await open();
    server.calls = [];
    const { attributes } = answered(await gateway.setattr(2n, { dropsSetIds: true }, context()));
    t.equal(attributes.mode & 0o7777, server.mode, 'the kernel is told');
    gateway.release(file);
    await turn();
    return server.mode;
  };
  t.equal(await drop(0o4755), 0o755);
  t.equal(server.calls.filter((call) => call === 'SETATTR').length, 1);
  t.equal(await drop(0o6711), 0o711);
  t.equal(await drop(0o2644), 0o2644, 'set-group-id without group execution is none');
  t.notOk(server.calls.includes('SETATTR'), 'nothing to do, nothing asked');
  t.equal(await drop(0o1755), 0o1755, 'the sticky bit stays');
});

t.test('who opened the file for reading only does not change its mode: whoever asks does', async (t) => {
  const { gateway, server } = await mounted();
  server.replace(Buffer.alloc(0));
  server.mode = 0o4755;
  answered(await gateway.open(2n, constants.O_RDONLY, { ...context(), uid: 0, gid: 0 }));
  answered(await gateway.setattr(2n, { dropsSetIds: true }, context()));
  t.equal(server.calls.filter((call) => call === 'SETATTR').length, 1);
  t.equal(server.mode, 0o755);
});
