/**
 * Requests that change names and attributes: those which a kernel sent to another file system, as our operations are told
 * them, and what no capture holds.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  FATTR,
  FUSE_OPCODE,
  fuse_attr_out,
  fuse_create_in,
  fuse_entry_out,
  fuse_in_header,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_open_out,
  fuse_rename2_in,
  fuse_rename_in,
  fuse_setattr_in,
  fuse_setxattr_in,
} from '../../src/fuse/abi.ts';
import { decodeDevice } from '../../src/fuse/change-requests.ts';
import { encodeDevice } from '../../src/fuse/encode.ts';
import { REQUEST_HANDLERS } from '../../src/fuse/requests.ts';
import type {
  AttributeChanges,
  AttributesReply,
  Created,
  Entry,
  Operations,
} from '../../src/gateway/operations.ts';
import { CONTEXT, fakeOperations } from './fake-operations.ts';

const EINVAL = 22;

const time = { seconds: 1, nanoseconds: 2 };
const reply: AttributesReply = {
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
  validMs: 3000,
};
const entry: Entry = { nodeId: 9n, entryValidMs: 1000, attributes: reply };
const created: Created = { entry, opened: { fileHandle: 4n, keepCache: true } };

const text = (value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;

/** Operations that write down what they were told, names as latin1. */
function recorder() {
  const told: unknown[][] = [];
  const record =
    <T>(name: string, answer: T) =>
    (...args: unknown[]): T => {
      t.equal(args.at(-1), CONTEXT);
      told.push([name, ...args.slice(0, -1).map(text)]);
      return answer;
    };
  const operations: Partial<Operations> = {
    setattr: record('setattr', reply),
    create: record('create', created),
    mknod: record('mknod', entry),
    mkdir: record('mkdir', Promise.resolve(entry)),
    symlink: record('symlink', entry),
    link: record('link', entry),
    unlink: record('unlink', 0),
    rmdir: record('rmdir', Promise.resolve(39)),
    rename: record('rename', 0),
  };
  return { told, operations };
}

const call = (opcode: number, some: Partial<Operations>, body: Uint8Array, nodeId = 1n) =>
  REQUEST_HANDLERS.get(opcode)!.handle(fakeOperations(some), {
    ...{ nodeId, body, context: CONTEXT },
    keepMemory: () => () => undefined,
  });

t.test('what a kernel asked for', async (t) => {
  const captured = JSON.parse(
    readFileSync(new URL('../../fixtures/wire/fuse.json', import.meta.url), 'utf8'),
  ) as { name: string; direction: string; hex: string }[];
  const { told, operations } = recorder();
  const names = 'SETATTR CREATE MKNOD MKDIR SYMLINK LINK UNLINK RMDIR RENAME'.split(' ');
  for (const { name, direction, hex } of captured) {
    if (direction !== 'request' || !names.includes(name)) continue;
    const request = Buffer.from(hex, 'hex');
    const { opcode, nodeid } = fuse_in_header.decode(request);
    const body = request.subarray(fuse_in_header.sizeBytes);
    await call(opcode, operations, body, nodeid);
    request.fill(0);
  }
  const seconds = Date.UTC(2001, 1, 3, 4, 5, 6) / 1000;
  const touched = { seconds, nanoseconds: 500_000_000 };
  const by = (name: string) => told.filter(([operation]) => operation === name).map(([, ...args]) => args);
  const [made] = by('mkdir');
  t.same(made, [1n, 'made', { masked: 0o750, asked: 0o750 }]);
  const [[directory, , , flags]] = by('create') as [[bigint, string, number, number]];
  t.same(by('create'), [[directory, 'file', { masked: 0o644, asked: 0o644 }, flags]]);
  t.equal(flags & 3, 1, 'O_WRONLY');
  const file = by('setattr')[0]![0];
  t.same(by('setattr'), [
    [file, { size: 5n, fileHandle: 5n }],
    [file, { mode: 0o604 }],
    [file, { uid: 1000, gid: 1001 }],
    [file, { atime: touched, mtime: touched }],
  ]);
  t.same(by('mknod'), [[directory, 'pipe', { masked: 0o10644, asked: 0o10644 }, { major: 0, minor: 0 }]]);
  t.same(by('link'), [[file, directory, 'also']]);
  t.same(by('symlink'), [[directory, 'sym', 'to nowhere']]);
  t.same(by('rename'), [[directory, 'also', directory, 'moved', 0]]);
  t.same(by('unlink').length, 1);
  t.same(by('rmdir')[0], [1n, 'names']);
});

const asked: fuse_setattr_in = {
  ...{
    valid: 0,
    padding: 0,
    fh: 8n,
    size: 2n ** 62n,
    lock_owner: 0n,
    atime: -1n,
    mtime: -86_400n,
    ctime: 7n,
  },
  ...{ atimensec: 999_999_999, mtimensec: 1, ctimensec: 2, mode: 0o106755, unused4: 0, uid: 5, gid: 6 },
  unused5: 0,
};

t.test('SETATTR changes what is marked, and nothing else', async (t) => {
  const changes = (valid: number): AttributeChanges => {
    const { told, operations } = recorder();
    void call(FUSE_OPCODE.SETATTR, operations, fuse_setattr_in.encode({ ...asked, valid }), 12n);
    t.equal(told[0]![1], 12n);
    return told[0]![2] as AttributeChanges;
  };
  t.same(changes(0), { dropsSetIds: true }, 'what a kernel asks before a write');
  t.same(changes(FATTR.MODE), { mode: 0o6755 });
  t.same(changes(FATTR.UID), { uid: 5 });
  t.same(changes(FATTR.GID), { gid: 6 });
  t.same(changes(FATTR.SIZE | FATTR.KILL_SUIDGID), { size: 2n ** 62n, dropsSetIds: true });
  t.same(changes(FATTR.SIZE | FATTR.FH | FATTR.LOCKOWNER), { size: 2n ** 62n, fileHandle: 8n });
  t.same(changes(FATTR.ATIME), { atime: { seconds: -1, nanoseconds: 999_999_999 } }, 'before 1970');
  t.same(changes(FATTR.MTIME), { mtime: { seconds: -86_400, nanoseconds: 1 } }, 'the other is left alone');
  t.same(changes(FATTR.ATIME | FATTR.ATIME_NOW | FATTR.MTIME | FATTR.MTIME_NOW), {
    atime: 'now',
    mtime: 'now',
  });
  t.same(changes(FATTR.CTIME), {}, 'nobody sets the time of change');
});

t.test('replies', async (t) => {
  const { told, operations } = recorder();
  const [attributes] = (await call(
    FUSE_OPCODE.SETATTR,
    operations,
    fuse_setattr_in.encode(asked),
  )) as Uint8Array[];
  t.match(fuse_attr_out.decode(attributes!), { attr_valid: 3n, attr: { size: 5n } });

  const body = Buffer.concat([
    fuse_create_in.encode({ flags: 0o100302, mode: 0o100662, umask: 0o22, open_flags: 0 }),
    Buffer.from('new\0'),
  ]);
  const pieces = (await call(FUSE_OPCODE.CREATE, operations, body)) as Uint8Array[];
  const bytes = Buffer.concat(pieces);
  t.same(
    told.find(([name]) => name === 'create')?.[3],
    { masked: 0o640, asked: 0o662 },
    'what the umask leaves, and what was asked for',
  );
  t.equal(bytes.length, fuse_entry_out.sizeBytes + fuse_open_out.sizeBytes);
  t.match(fuse_entry_out.decode(bytes), { nodeid: 9n, entry_valid: 1n, attr: { ino: 3n } });
  t.match(fuse_open_out.decode(bytes.subarray(fuse_entry_out.sizeBytes)), { fh: 4n, open_flags: 2 });

  const [directory] = (await call(
    FUSE_OPCODE.MKDIR,
    operations,
    Buffer.concat([fuse_mkdir_in.encode({ mode: 0o755, umask: 0 }), Buffer.from('d\0')]),
  )) as Uint8Array[];
  t.equal(fuse_entry_out.decode(directory!).nodeid, 9n);
  t.equal(await call(FUSE_OPCODE.RMDIR, operations, Buffer.from('d\0')), 39, 'ENOTEMPTY');
  t.same(await call(FUSE_OPCODE.UNLINK, operations, Buffer.from('d\0')), []);
});

t.test('names of any bytes, in the order of the kernel', async (t) => {
  const { told, operations } = recorder();
  const names = Buffer.from('a\xff\0b\xfe c\0', 'latin1');
  const flagged = fuse_rename2_in.encode({ newdir: 7n, flags: 1, padding: 0 });
  void call(FUSE_OPCODE.RENAME2, operations, Buffer.concat([flagged, names]), 6n);
  void call(FUSE_OPCODE.SYMLINK, operations, names, 6n);
  t.same(told, [
    ['rename', 6n, 'a\xff', 7n, 'b\xfe c', 1],
    ['symlink', 6n, 'a\xff', 'b\xfe c'],
  ]);
});

t.test('a request whose names do not end is EINVAL', async (t) => {
  const heads: Readonly<Record<string, Uint8Array>> = {
    UNLINK: Buffer.alloc(0),
    RMDIR: Buffer.alloc(0),
    SYMLINK: Buffer.from('name\0'),
    LINK: fuse_link_in.encode({ oldnodeid: 3n }),
    RENAME: Buffer.concat([fuse_rename_in.encode({ newdir: 3n }), Buffer.from('old\0')]),
    RENAME2: fuse_rename2_in.encode({ newdir: 3n, flags: 0, padding: 0 }),
    MKDIR: fuse_mkdir_in.encode({ mode: 0, umask: 0 }),
    MKNOD: fuse_mknod_in.encode({ mode: 0, rdev: 0, umask: 0, padding: 0 }),
    CREATE: fuse_create_in.encode({ flags: 0, mode: 0, umask: 0, open_flags: 0 }),
  };
  for (const [name, head] of Object.entries(heads)) {
    const opcode = FUSE_OPCODE[name as keyof typeof FUSE_OPCODE];
    t.equal(call(opcode, {}, Buffer.concat([head, Buffer.from('no end')])), EINVAL, name);
    if (head.length > 0) t.equal(call(opcode, {}, head), EINVAL, `${name} without a name`);
  }
});

t.test('device numbers keep all their bits', async (t) => {
  for (const [major, minor] of [
    [0, 0],
    [8, 1],
    [0xfff, 0xfffff],
    [259, 0x12345],
  ] as const) {
    t.same(decodeDevice(encodeDevice(major, minor)), { major, minor });
  }
});

t.test('extended attributes are set and removed', async (t) => {
  const told: unknown[] = [];
  const operations: Partial<Operations> = {
    setxattr: (_id, name, value, flags) => (told.push([name, Buffer.from(value).toString(), flags]), 0),
    removexattr: (_id, name) => (told.push(name), 61),
  };
  const asked = (size: number, text: string): Buffer =>
    Buffer.concat([fuse_setxattr_in.encode({ size, flags: 2 }), Buffer.from(text, 'latin1')]);
  t.same(call(FUSE_OPCODE.SETXATTR, operations, asked(5, 'user.a\0va\0ue')), []);
  t.same(call(FUSE_OPCODE.SETXATTR, operations, asked(0, 'user.\xff\0')), []);
  t.equal(call(FUSE_OPCODE.SETXATTR, operations, asked(4, 'user.a\0value')), EINVAL);
  t.equal(call(FUSE_OPCODE.SETXATTR, operations, asked(0, 'user.a')), EINVAL);
  t.equal(call(FUSE_OPCODE.REMOVEXATTR, operations, Buffer.from('user.a\0')), 61);
  t.equal(call(FUSE_OPCODE.REMOVEXATTR, operations, Buffer.from('user.a')), EINVAL);
  t.same(told, [['user.a', 'va\0ue', 2], ['user.\xff', '', 2], 'user.a']);
});
