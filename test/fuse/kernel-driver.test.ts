/** The driver over a packet socket instead of /dev/fuse: read and write take one message each on both. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import {
  FUSE_INIT_FLAG,
  FUSE_OPCODE,
  fuse_batch_forget_in,
  fuse_create_in,
  fuse_flush_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_fsync_in,
  fuse_in_header,
  fuse_init_in,
  fuse_init_out,
  fuse_interrupt_in,
  fuse_notify_inval_inode_out,
  fuse_out_header,
  fuse_release_in,
  fuse_rename2_in,
  fuse_write_in,
  fuse_write_out,
} from '../../src/fuse/abi.ts';
import { KernelDriver } from '../../src/fuse/kernel-driver.ts';
import type { Created, Entry, Operations, Outcome } from '../../src/gateway/operations.ts';
import {
  acceptChannel,
  connectChannel,
  listenChannel,
  receivePacket,
  sendPacket,
} from '../../src/system/channel.ts';
import { closeFd } from '../../src/system/files.ts';
import { makeDirectory } from '../support/trees.ts';
import { fakeOperations } from './fake-operations.ts';

const ENOENT = 2;
const REPLY_BYTES_MAX = 64 * 1024;
/** How often, and how many times, a reply is looked for: 10 s in all. */
const POLL_MS = 5;
const POLLS = 2000;

interface Reply {
  readonly unique: bigint;
  readonly error: number;
  readonly body: Buffer;
}

interface Kernel {
  readonly driver: KernelDriver;
  readonly faults: string[];
  readonly send: (opcode: number, unique: bigint, body?: Uint8Array, nodeid?: bigint) => void;
  readonly reply: () => Promise<Reply>;
  /** Whether a reply waits. */
  readonly isQuiet: () => boolean;
  readonly ended: Promise<void>;
}

function startDriver(t: Test, some: Partial<Operations>): Kernel {
  const path = join(makeDirectory(t), 'device');
  const listener = listenChannel(path, 0o600);
  const kernel = connectChannel(path);
  const device = acceptChannel(listener);
  closeFd(listener);
  if (device === undefined) throw new Error('the channel is not there');
  const faults: string[] = [];
  const driver = new KernelDriver(device, fakeOperations(some), {
    onFault: (message) => faults.push(message),
    onWarning: (message) => faults.push(message),
  });
  const ended = driver.run();
  t.teardown(async () => {
    driver.stop();
    await ended;
    closeFd(kernel);
  });
  const replies: Reply[] = [];
  const drain = (): void => {
    for (;;) {
      const packet = receivePacket(kernel, REPLY_BYTES_MAX);
      if (packet === 'empty' || packet === 'closed') return;
      const bytes = Buffer.from(packet.bytes);
      const { len, error, unique } = fuse_out_header.decode(bytes);
      if (len !== bytes.length) throw new Error(`a reply of ${bytes.length} bytes says ${len}`);
      replies.push({ unique, error, body: bytes.subarray(fuse_out_header.sizeBytes) });
    }
  };
  return {
    driver,
    faults,
    ended,
    send: (opcode, unique, body = Buffer.alloc(0), nodeid = 1n) => {
      const len = fuse_in_header.sizeBytes + body.length;
      const caller = { uid: 7, gid: 8, pid: 9, total_extlen: 0, padding: 0 };
      const header = fuse_in_header.encode({ len, opcode, unique, nodeid, ...caller });
      if (sendPacket(kernel, Buffer.concat([header, body])) !== 'sent') throw new Error('not sent');
    },
    reply: async () => {
      for (let polls = 0; polls < POLLS; polls += 1) {
        drain();
        const first = replies.shift();
        if (first !== undefined) return first;
        await delay(POLL_MS);
      }
      throw new Error('no reply');
    },
    isQuiet: () => {
      drain();
      return replies.length === 0;
    },
  };
}

const init = (minor: number, flags: bigint) =>
  fuse_init_in.encode({
    major: 7,
    minor,
    max_readahead: 131_072,
    flags: Number(flags & 0xffffffffn),
    flags2: Number(flags >> 32n),
    unused: new Uint8Array(44),
  });
const name = Buffer.from('name\0');
const entry: Entry = { nodeId: 5n, entryValidMs: 0, attributes: undefined };

t.test('INIT takes of what the kernel offers only what is spoken', async (t) => {
  let started = 0;
  const kernel = startDriver(t, { init: () => void (started += 1) });
  const WRITEBACK_CACHE = 1n << 16n;
  const offered =
    FUSE_INIT_FLAG.INIT_EXT | FUSE_INIT_FLAG.PASSTHROUGH | FUSE_INIT_FLAG.MAX_PAGES | WRITEBACK_CACHE;
  kernel.send(FUSE_OPCODE.INIT, 2n, init(45, offered));
  const { unique, error, body } = await kernel.reply();
  t.same([unique, error], [2n, 0]);
  const answer = fuse_init_out.decode(body);
  const flags = BigInt(answer.flags) | (BigInt(answer.flags2) << 32n);
  t.equal(flags, offered & ~WRITEBACK_CACHE);
  t.match(answer, { major: 7, max_stack_depth: 1, max_pages: 256 });
  t.equal(started, 1);
});

t.test(
  'INIT asks for large WRITEs and O_TRUNC, and not for what would have the kernel hold bytes back',
  async (t) => {
    const kernel = startDriver(t, {});
    const everything = (1n << 42n) - 1n;
    kernel.send(FUSE_OPCODE.INIT, 2n, init(45, everything));
    const answer = fuse_init_out.decode((await kernel.reply()).body);
    const flags = BigInt(answer.flags) | (BigInt(answer.flags2) << 32n);
    for (const name of [
      'ATOMIC_O_TRUNC',
      'BIG_WRITES',
      'DONT_MASK',
      'HANDLE_KILLPRIV_V2',
      'AUTO_INVAL_DATA',
    ] as const) {
      t.not(flags & FUSE_INIT_FLAG[name], 0n, name);
    }
    const refused = {
      POSIX_LOCKS: 1n << 1n,
      FLOCK_LOCKS: 1n << 10n,
      WRITEBACK_CACHE: 1n << 16n,
      SECURITY_CTX: 1n << 32n,
      CREATE_SUPP_GROUP: 1n << 34n,
    };
    for (const [name, bit] of Object.entries(refused)) t.equal(flags & bit, 0n, name);
    t.equal(answer.max_write, 1024 * 1024);
  },
);

t.test('bytes of a WRITE that were taken outlive the requests after it', async (t) => {
  const taken: Uint8Array[] = [];
  const kernel = startDriver(t, {
    write: (_fh, _offset, data) => {
      taken.push(data.take());
      return { writtenBytes: data.bytes.length };
    },
  });
  // As much as a packet socket takes in one message.
  const BYTES = 100_000;
  const COUNT = 60;
  for (let round = 1; round <= COUNT; round += 1) {
    const bytes = Buffer.alloc(round % 3 === 0 ? 1000 : BYTES, round);
    const head = {
      fh: 1n,
      offset: 0n,
      size: bytes.length,
      write_flags: 0,
      lock_owner: 0n,
      flags: 1,
      padding: 0,
    };
    kernel.send(FUSE_OPCODE.WRITE, BigInt(2 * round), Buffer.concat([fuse_write_in.encode(head), bytes]));
    const { error, body } = await kernel.reply();
    t.same([error, fuse_write_out.decode(body).size], [0, bytes.length]);
  }
  for (const [index, bytes] of taken.entries()) {
    t.ok(
      bytes.every((byte) => byte === index + 1),
      `WRITE ${index + 1}`,
    );
  }
});

t.test('RELEASE, which nobody waits for, is answered after what came with it', async (t) => {
  const released: bigint[] = [];
  const release = (fileHandle: bigint): void => void released.push(fileHandle);
  const getattr = (): number => ENOENT;
  const kernel = startDriver(t, { release, releasedir: release, getattr });
  const body = fuse_release_in.encode({ fh: 5n, flags: 0, release_flags: 0, lock_owner: 0n });
  kernel.send(FUSE_OPCODE.RELEASE, 2n, body);
  kernel.send(FUSE_OPCODE.GETATTR, 4n, Buffer.alloc(16));
  kernel.send(FUSE_OPCODE.RELEASEDIR, 6n, body);
  const replies = [await kernel.reply(), await kernel.reply(), await kernel.reply()];
  t.same(
    replies.map(({ unique }) => unique),
    [4n, 2n, 6n],
  );
  t.same(
    replies.map(({ error }) => error),
    [-ENOENT, 0, 0],
  );
  t.same(released, [5n, 5n]);
});

t.test('ENOSYS of an operation is not said to the kernel, which would never ask again', async (t) => {
  const kernel = startDriver(t, { fsync: () => 38, rename: () => Promise.resolve(38) });
  const fsync = fuse_fsync_in.encode({ fh: 1n, fsync_flags: 0, padding: 0 });
  kernel.send(FUSE_OPCODE.FSYNC, 2n, fsync);
  t.match(await kernel.reply(), { unique: 2n, error: -95 });
  const rename2 = fuse_rename2_in.encode({ newdir: 1n, flags: 2, padding: 0 });
  kernel.send(FUSE_OPCODE.RENAME2, 4n, Buffer.concat([rename2, Buffer.from('a\0b\0')]));
  t.match(await kernel.reply(), { unique: 4n, error: -95 });
});

t.test('a file whose CREATE was interrupted is closed and forgotten', async (t) => {
  let finish: (outcome: Outcome<Created>) => void = () => undefined;
  const undone: unknown[] = [];
  const kernel = startDriver(t, {
    create: () => new Promise((resolve) => (finish = resolve)),
    forget: (id, lookups) => void undone.push(['forget', id, lookups]),
    release: (fh) => void undone.push(['release', fh]),
  });
  const head = fuse_create_in.encode({ flags: 0o102, mode: 0o644, umask: 0, open_flags: 0 });
  kernel.send(FUSE_OPCODE.CREATE, 20n, Buffer.concat([head, name]));
  kernel.send(FUSE_OPCODE.INTERRUPT, 21n, fuse_interrupt_in.encode({ unique: 20n }));
  t.match(await kernel.reply(), { unique: 20n, error: -4 });
  finish({ entry, opened: { fileHandle: 3n, keepCache: false } });
  kernel.send(4095, 22n);
  t.equal((await kernel.reply()).unique, 22n, 'no second answer');
  t.same(undone, [
    ['release', 3n],
    ['forget', 5n, 1n],
  ]);
});

t.test('a write, flush or fsync that hangs can be interrupted', async (t) => {
  const never = (): Promise<never> => new Promise(() => undefined);
  const kernel = startDriver(t, { write: never, flush: never, fsync: never });
  const write = { fh: 1n, offset: 0n, size: 5, write_flags: 0, lock_owner: 0n, flags: 1, padding: 0 };
  const requests = [
    [FUSE_OPCODE.WRITE, Buffer.concat([fuse_write_in.encode(write), Buffer.from('bytes')])],
    [FUSE_OPCODE.FLUSH, fuse_flush_in.encode({ fh: 1n, unused: 0, padding: 0, lock_owner: 0n })],
    [FUSE_OPCODE.FSYNC, fuse_fsync_in.encode({ fh: 1n, fsync_flags: 0, padding: 0 })],
  ] as const;
  for (const [index, [opcode, body]] of requests.entries()) {
    const unique = BigInt(2 * index + 2);
    kernel.send(opcode, unique, body);
    kernel.send(FUSE_OPCODE.INTERRUPT, unique | 1n, fuse_interrupt_in.encode({ unique }));
    t.match(await kernel.reply(), { unique, error: -4 });
  }
});

t.test('a kernel without passthrough is told nothing of it', async (t) => {
  const kernel = startDriver(t, {});
  kernel.send(FUSE_OPCODE.INIT, 2n, init(38, FUSE_INIT_FLAG.INIT_EXT));
  const answer = fuse_init_out.decode((await kernel.reply()).body);
  t.match(answer, { flags2: 0, max_stack_depth: 0 });
  t.equal(kernel.driver.openBacking(0), 95, 'EOPNOTSUPP');
});

t.test('a kernel that is too old is refused', async (t) => {
  const kernel = startDriver(t, {});
  kernel.send(FUSE_OPCODE.INIT, 2n, init(30, 0n));
  t.equal((await kernel.reply()).error, -71);
  await kernel.ended;
  t.match(kernel.faults, [/7\.30/]);
});

t.test('an unknown opcode is ENOSYS, and the next request is served', async (t) => {
  const kernel = startDriver(t, { lookup: () => 2 });
  kernel.send(4095, 10n);
  t.match(await kernel.reply(), { unique: 10n, error: -38 });
  kernel.send(FUSE_OPCODE.LOOKUP, 12n, name);
  t.match(await kernel.reply(), { unique: 12n, error: -2 });
  t.same(kernel.faults, []);
});

t.test('what throws is EIO and a line in the log', async (t) => {
  const kernel = startDriver(t, {
    lookup: () => {
      throw new Error('broken');
    },
    readlink: () => Promise.reject(new Error('broken later')),
  });
  kernel.send(FUSE_OPCODE.LOOKUP, 2n, name);
  t.match(await kernel.reply(), { unique: 2n, error: -5 });
  kernel.send(FUSE_OPCODE.READLINK, 4n);
  t.match(await kernel.reply(), { unique: 4n, error: -5 });
  kernel.send(FUSE_OPCODE.READ, 6n, Buffer.alloc(10));
  t.match(await kernel.reply(), { unique: 6n, error: -5 }, 'a request that is cut');
  t.equal(kernel.faults.length, 3);
  t.equal(kernel.driver.requestsPending, 0);
});

t.test('FORGET and BATCH_FORGET have no reply', async (t) => {
  const forgotten: [bigint, bigint][] = [];
  const kernel = startDriver(t, { forget: (id, count) => void forgotten.push([id, count]), lookup: () => 2 });
  kernel.send(FUSE_OPCODE.FORGET, 2n, fuse_forget_in.encode({ nlookup: 3n }), 7n);
  const list = [8n, 9n].map((nodeid) => fuse_forget_one.encode({ nodeid, nlookup: 1n }));
  kernel.send(
    FUSE_OPCODE.BATCH_FORGET,
    4n,
    Buffer.concat([fuse_batch_forget_in.encode({ count: 2, dummy: 0 }), ...list]),
  );
  kernel.send(FUSE_OPCODE.LOOKUP, 6n, name);
  t.equal((await kernel.reply()).unique, 6n);
  t.same(forgotten, [
    [7n, 3n],
    [8n, 1n],
    [9n, 1n],
  ]);
});

t.test('an interrupted request is answered EINTR, and its late answer undone', async (t) => {
  let finish: (outcome: Outcome<Entry>) => void = () => undefined;
  let aborted = false;
  const forgotten: bigint[] = [];
  const kernel = startDriver(t, {
    lookup: (_parent, _name, { signal }) =>
      new Promise((resolve) => {
        finish = resolve;
        signal.addEventListener('abort', () => (aborted = true));
      }),
    forget: (id) => void forgotten.push(id),
  });
  kernel.send(FUSE_OPCODE.LOOKUP, 20n, name);
  kernel.send(FUSE_OPCODE.INTERRUPT, 21n, fuse_interrupt_in.encode({ unique: 20n }));
  t.match(await kernel.reply(), { unique: 20n, error: -4 });
  t.ok(aborted, 'the operation is told');
  finish(entry);
  kernel.send(4095, 22n);
  t.equal((await kernel.reply()).unique, 22n, 'no second answer');
  t.same(forgotten, [5n], 'the lookup nobody took is given back');
  t.equal(kernel.driver.requestsPending, 0);
});

t.test('an interrupted request that ends in time keeps its answer', async (t) => {
  let finish: (outcome: Outcome<Entry>) => void = () => undefined;
  const kernel = startDriver(t, { lookup: () => new Promise((resolve) => (finish = resolve)) });
  kernel.send(FUSE_OPCODE.LOOKUP, 20n, name);
  kernel.send(FUSE_OPCODE.INTERRUPT, 21n, fuse_interrupt_in.encode({ unique: 20n }));
  kernel.send(4095, 22n);
  t.equal((await kernel.reply()).unique, 22n);
  finish(entry);
  t.match(await kernel.reply(), { unique: 20n, error: 0 });
  kernel.send(FUSE_OPCODE.INTERRUPT, 23n, fuse_interrupt_in.encode({ unique: 1234n }));
  kernel.send(4095, 24n);
  t.equal((await kernel.reply()).unique, 24n, 'an interrupt of nothing is nothing');
});

t.test('invalidation', async (t) => {
  const kernel = startDriver(t, {});
  kernel.driver.invalidateAttributes(77n);
  const { unique, error, body } = await kernel.reply();
  t.same([unique, error], [0n, 2]);
  t.match(fuse_notify_inval_inode_out.decode(body), { ino: 77n, off: 0xffffffffffffffffn });
});

t.test('DESTROY is answered and ends the session', async (t) => {
  let destroyed = 0;
  const kernel = startDriver(t, { destroy: () => void (destroyed += 1) });
  kernel.send(FUSE_OPCODE.DESTROY, 2n);
  t.match(await kernel.reply(), { unique: 2n, error: 0 });
  await kernel.ended;
  t.equal(destroyed, 1);
  t.ok(kernel.isQuiet());
});
