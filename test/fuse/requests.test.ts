import t from 'tap';
import {
  FOPEN_NOFLUSH,
  FUSE_OPCODE,
  fuse_access_in,
  fuse_entry_out,
  fuse_getxattr_in,
  fuse_getxattr_out,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_open_out,
  fuse_read_in,
} from '../../src/fuse/abi.ts';
import { encodeEntry, encodeOpened } from '../../src/fuse/encode.ts';
import { REQUEST_HANDLERS, discard } from '../../src/fuse/requests.ts';
import type { Operations } from '../../src/gateway/operations.ts';
import { CONTEXT, fakeOperations } from './fake-operations.ts';

const call = (opcode: number, some: Partial<Operations>, body: Uint8Array, nodeId = 1n) =>
  REQUEST_HANDLERS.get(opcode)!.handle(fakeOperations(some), {
    ...{ nodeId, body, context: CONTEXT },
    keepMemory: () => {
      throw new Error('only WRITE keeps memory');
    },
  });
const read = (size: number, offset = 0n) =>
  fuse_read_in.encode({ fh: 3n, offset, size, read_flags: 0, lock_owner: 0n, flags: 0, padding: 0 });
const named = (name: string, before: Uint8Array = Buffer.alloc(0)) =>
  Buffer.concat([before, Buffer.from(`${name}\0`)]);

t.test('every opcode is handled, by the driver itself or by a handler of its name', async (t) => {
  const byDriver = ['INIT', 'FORGET', 'BATCH_FORGET', 'INTERRUPT', 'DESTROY'];
  for (const [name, opcode] of Object.entries(FUSE_OPCODE)) {
    const handler = REQUEST_HANDLERS.get(opcode);
    t.equal(handler?.name, byDriver.includes(name) ? undefined : name);
  }
});

t.test('an errno passes through, now or later', async (t) => {
  t.equal(call(FUSE_OPCODE.LOOKUP, { lookup: () => 116 }, named('a')), 116);
  t.equal(await call(FUSE_OPCODE.LOOKUP, { lookup: () => Promise.resolve(13) }, named('a')), 13);
  t.equal(call(FUSE_OPCODE.READDIR, { readdir: () => 9 }, read(100)), 9);
  t.equal(await call(FUSE_OPCODE.READDIR, { readdir: () => Promise.resolve(9) }, read(100)), 9);
});

t.test('a hole is looked for where the kernel says', async (t) => {
  const body = fuse_lseek_in.encode({ fh: 3n, offset: 2n ** 40n, whence: 4, padding: 0 });
  const lseek: Operations['lseek'] = (fileHandle, offset, whence) => {
    t.same([fileHandle, offset, whence], [3n, 2n ** 40n, 4]);
    return { offset: 2n ** 41n };
  };
  t.same(call(FUSE_OPCODE.LSEEK, { lseek }, body), [fuse_lseek_out.encode({ offset: 2n ** 41n })]);
  t.equal(call(FUSE_OPCODE.LSEEK, { lseek: () => 6 }, body), 6);
});

t.test('0 is an empty reply', async (t) => {
  const mask = fuse_access_in.encode({ mask: 4, padding: 0 });
  t.same(call(FUSE_OPCODE.ACCESS, { access: (_id, asked) => (asked === 4 ? 0 : 22) }, mask), []);
});

t.test('a name is copied, because the request buffer is used again', async (t) => {
  const seen: Uint8Array[] = [];
  const body = named('\xff\x80name');
  const raw = Buffer.from('ff806e616d6500', 'hex');
  raw.copy(body);
  const lookup: Operations['lookup'] = (parent, name) => {
    t.equal(parent, 12n);
    seen.push(name);
    return 2;
  };
  void call(FUSE_OPCODE.LOOKUP, { lookup }, raw, 12n);
  raw.fill(0);
  t.equal(Buffer.from(seen[0]!).toString('hex'), 'ff806e616d65');
  t.equal(
    call(FUSE_OPCODE.LOOKUP, { lookup }, Buffer.from('no end')),
    22,
    'a name without its NUL is EINVAL',
  );
});

t.test('a request that is cut throws, which the driver turns into EIO', async (t) => {
  t.throws(() => call(FUSE_OPCODE.READ, {}, Buffer.alloc(39)), { code: 'TRUNCATED' });
});

t.test('READ hands the pieces on uncopied', async (t) => {
  const pieces = [Buffer.from('a'), Buffer.from('bc')];
  const answer = await call(
    FUSE_OPCODE.READ,
    { read: (fh, offset, size) => (fh === 3n && offset === 5n && size === 10 ? Promise.resolve(pieces) : 5) },
    read(10, 5n),
  );
  t.equal(answer, pieces);
});

t.test('READDIR never overflows its size', async (t) => {
  for (const plus of [false, true]) {
    for (const size of [0, 24, 32, 160, 4096, 20_000]) {
      let refused = 0;
      const answer = call(
        plus ? FUSE_OPCODE.READDIRPLUS : FUSE_OPCODE.READDIR,
        {
          readdir: (_fh, _cookie, sink) => {
            t.equal(sink.wantsEntries, plus);
            for (let index = 0; index < 1000; index += 1) {
              if (!sink.add(Buffer.from(`name-${index}`), BigInt(index + 1), 5n, 0)) refused += 1;
            }
            return 0;
          },
        },
        read(size),
      );
      const [body] = answer as Uint8Array[];
      t.ok(body!.length <= size, `${body!.length} of ${size}`);
      t.ok(refused > 0);
    }
  }
});

t.test('a size beyond all sense is not allocated', async (t) => {
  let room = 0;
  const readdir: Operations['readdir'] = (_fh, _cookie, sink) => {
    while (sink.add(Buffer.alloc(200, 'x'), 1n, 1n, 0)) room += 224;
    return 0;
  };
  void call(FUSE_OPCODE.READDIR, { readdir }, read(0xffffffff));
  t.ok(room <= 1024 * 1024);
});

t.test('extended attributes', async (t) => {
  const get = (size: number, value: string) =>
    call(
      FUSE_OPCODE.GETXATTR,
      { getxattr: (_id, name) => (name === 'user.a' ? { value: Buffer.from(value) } : 61) },
      named('user.a', fuse_getxattr_in.encode({ size, padding: 0 })),
    );
  const [length] = get(0, 'value') as Uint8Array[];
  t.equal(fuse_getxattr_out.decode(length!).size, 5, 'size 0 asks for the length');
  t.equal(get(4, 'value'), 34, 'ERANGE');
  t.same(get(5, 'value'), [Buffer.from('value')]);
  const list = (size: number, ...names: string[]) =>
    call(
      FUSE_OPCODE.LISTXATTR,
      { listxattr: () => ({ names }) },
      fuse_getxattr_in.encode({ size, padding: 0 }),
    );
  t.equal(fuse_getxattr_out.decode((list(0) as Uint8Array[])[0]!).size, 0);
  t.same(list(10), [new Uint8Array(0)]);
  t.equal(fuse_getxattr_out.decode((list(0, 'user.a', 'user.\xff') as Uint8Array[])[0]!).size, 14);
  t.equal(list(13, 'user.a', 'user.\xff'), 34, 'ERANGE');
  t.same(list(14, 'user.a', 'user.\xff'), [Buffer.from('user.a\0user.\xff\0', 'latin1')]);
});

t.test('OPEN takes the flags of open(2)', async (t) => {
  const body = fuse_open_in.encode({ flags: 0o100002, open_flags: 0 });
  t.equal(call(FUSE_OPCODE.OPEN, { open: (_id, flags) => ((flags & 3) === 2 ? 30 : 0) }, body), 30);
});

t.test('who cannot write is not asked to flush', async (t) => {
  const open = (flags: number) => {
    const body = fuse_open_in.encode({ flags, open_flags: 0 });
    const some = { open: () => ({ fileHandle: 3n, keepCache: false }) };
    const [reply] = call(FUSE_OPCODE.OPEN, some, body) as Uint8Array[];
    return fuse_open_out.decode(reply!).open_flags & FOPEN_NOFLUSH;
  };
  t.equal(open(0o100000), FOPEN_NOFLUSH, 'O_RDONLY');
  t.same([open(0o100001), open(0o100002)], [0, 0], 'O_WRONLY, O_RDWR');
});

t.test('what nobody takes is undone', async (t) => {
  const undone: [string, bigint, bigint?][] = [];
  const operations = fakeOperations({
    forget: (id, lookups) => undone.push(['forget', id, lookups]),
    release: (fh) => undone.push(['release', fh]),
    releasedir: (fh) => undone.push(['releasedir', fh]),
  });
  const entry = [encodeEntry({ nodeId: 77n, entryValidMs: 0, attributes: undefined })];
  const opened = [encodeOpened({ fileHandle: 5n, keepCache: false }, false)];
  t.equal(fuse_entry_out.decode(entry[0]!).nodeid, 77n);
  t.equal(fuse_open_out.decode(opened[0]!).fh, 5n);
  discard(operations, FUSE_OPCODE.LOOKUP, entry);
  discard(operations, FUSE_OPCODE.OPEN, opened);
  discard(operations, FUSE_OPCODE.OPENDIR, opened);
  discard(operations, FUSE_OPCODE.LOOKUP, [
    encodeEntry({ nodeId: 0n, entryValidMs: 0, attributes: undefined }),
  ]);
  discard(operations, FUSE_OPCODE.GETATTR, [Buffer.alloc(104)]);
  discard(operations, FUSE_OPCODE.ACCESS, []);
  t.same(undone.splice(0), [
    ['forget', 77n, 1n],
    ['release', 5n],
    ['releasedir', 5n],
  ]);
  for (const opcode of [FUSE_OPCODE.MKNOD, FUSE_OPCODE.MKDIR, FUSE_OPCODE.SYMLINK, FUSE_OPCODE.LINK]) {
    discard(operations, opcode, entry);
    t.same(undone.splice(0), [['forget', 77n, 1n]]);
  }
  discard(operations, FUSE_OPCODE.CREATE, [...entry, ...opened]);
  t.same(undone.splice(0), [
    ['release', 5n],
    ['forget', 77n, 1n],
  ]);
  discard(operations, FUSE_OPCODE.SETATTR, [Buffer.alloc(104)]);
  discard(operations, FUSE_OPCODE.WRITE, [Buffer.alloc(8, 1)]);
  t.same(undone, []);
});
