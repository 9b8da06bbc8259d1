/**
 * Our declarations of the kernel's structures: their sizes, and real requests and replies between the kernel and
 * another file system (fixtures/capture/README.md), decoded by a C program with the kernel's own header.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import * as abi from '../../src/fuse/abi.ts';
import { DirectoryBuffer } from '../../src/fuse/directory-buffer.ts';
import type { FixedStruct } from '../../src/xdr/fixed.ts';
import { plain } from '../wire/plain.ts';

/** sizeof() of each, from include/uapi/linux/fuse.h. */
const SIZES: Readonly<Record<string, number>> = {
  fuse_in_header: 40,
  fuse_out_header: 16,
  fuse_init_in: 64,
  fuse_init_out: 64,
  fuse_attr: 88,
  fuse_entry_out: 128,
  fuse_attr_out: 104,
  fuse_getattr_in: 16,
  fuse_setattr_in: 88,
  fuse_mknod_in: 16,
  fuse_mkdir_in: 8,
  fuse_rename_in: 8,
  fuse_rename2_in: 16,
  fuse_link_in: 8,
  fuse_create_in: 16,
  fuse_write_in: 40,
  fuse_write_out: 8,
  fuse_fsync_in: 16,
  fuse_fallocate_in: 32,
  fuse_forget_in: 8,
  fuse_batch_forget_in: 8,
  fuse_forget_one: 16,
  fuse_access_in: 8,
  fuse_open_in: 8,
  fuse_open_out: 16,
  fuse_read_in: 40,
  fuse_release_in: 24,
  fuse_flush_in: 24,
  fuse_lk_in: 48,
  fuse_lk_out: 24,
  fuse_lseek_in: 24,
  fuse_lseek_out: 8,
  fuse_statfs_out: 80,
  fuse_getxattr_in: 8,
  fuse_setxattr_in: 8,
  fuse_copy_file_range_in: 56,
  fuse_getxattr_out: 8,
  fuse_interrupt_in: 8,
  fuse_dirent: 24,
  fuse_notify_inval_entry_out: 16,
  fuse_notify_inval_inode_out: 24,
};

type Struct = FixedStruct<Record<string, unknown>>;
type Fields = Readonly<Record<string, unknown>>;

const structs = Object.entries(abi).filter(
  ([name, value]) => name.startsWith('fuse_') && typeof value === 'object',
);

t.test('every structure has the size the kernel gives it', async (t) => {
  t.same(structs.map(([name]) => name).sort(), Object.keys(SIZES).sort());
  for (const [name, struct] of structs) t.equal((struct as Struct).sizeBytes, SIZES[name], name);
});

interface Captured {
  readonly name: string;
  readonly opcode: number;
  readonly direction: 'request' | 'reply';
  readonly unique: string;
  readonly hex: string;
  readonly fields: Fields;
}

const captured = JSON.parse(
  readFileSync(new URL('../../fixtures/wire/fuse.json', import.meta.url), 'utf8'),
) as Captured[];

/** The structure at the start of a message's body, by operation; what follows it is names and data. */
const REQUESTS: Readonly<Record<string, unknown>> = {
  INIT: abi.fuse_init_in,
  LOOKUP: undefined,
  FORGET: abi.fuse_forget_in,
  BATCH_FORGET: abi.fuse_batch_forget_in,
  GETATTR: abi.fuse_getattr_in,
  SETATTR: abi.fuse_setattr_in,
  READLINK: undefined,
  SYMLINK: undefined,
  MKNOD: abi.fuse_mknod_in,
  MKDIR: abi.fuse_mkdir_in,
  UNLINK: undefined,
  RMDIR: undefined,
  RENAME: abi.fuse_rename_in,
  LINK: abi.fuse_link_in,
  CREATE: abi.fuse_create_in,
  WRITE: abi.fuse_write_in,
  FSYNC: abi.fuse_fsync_in,
  FSYNCDIR: abi.fuse_fsync_in,
  FALLOCATE: abi.fuse_fallocate_in,
  OPEN: abi.fuse_open_in,
  OPENDIR: abi.fuse_open_in,
  READ: abi.fuse_read_in,
  READDIR: abi.fuse_read_in,
  RELEASE: abi.fuse_release_in,
  RELEASEDIR: abi.fuse_release_in,
  FLUSH: abi.fuse_flush_in,
  STATFS: undefined,
  GETXATTR: abi.fuse_getxattr_in,
  LISTXATTR: abi.fuse_getxattr_in,
  SETXATTR: abi.fuse_setxattr_in,
  REMOVEXATTR: undefined,
  INTERRUPT: abi.fuse_interrupt_in,
  SETLK: abi.fuse_lk_in,
  SETLKW: abi.fuse_lk_in,
};
const REPLIES: Readonly<Record<string, unknown>> = {
  LOOKUP: abi.fuse_entry_out,
  MKNOD: abi.fuse_entry_out,
  MKDIR: abi.fuse_entry_out,
  SYMLINK: abi.fuse_entry_out,
  LINK: abi.fuse_entry_out,
  CREATE: abi.fuse_entry_out,
  GETATTR: abi.fuse_attr_out,
  SETATTR: abi.fuse_attr_out,
  WRITE: abi.fuse_write_out,
  OPEN: abi.fuse_open_out,
  OPENDIR: abi.fuse_open_out,
  STATFS: abi.fuse_statfs_out,
};

function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The decoder in C says where a structure within another begins: `lk.start`. */
function withoutPrefixes(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name.replace(/^lk\./, ''), value]),
  );
}

/** Fields that hold nothing; the decoder in C does not print them. */
const isNamed = ([name]: [string, unknown]): boolean =>
  !/^(unused[45]?|padding|dummy|spare|backing_id|total_extlen)$/.test(name);

function structOf(message: Captured): Struct | undefined {
  const { name, direction, fields } = message;
  if (direction === 'request') return REQUESTS[name] as Struct | undefined;
  if (fields.error !== 0) return undefined;
  if (name.endsWith('XATTR') && 'size' in fields) return abi.fuse_getxattr_out;
  return REPLIES[name] as Struct | undefined;
}

interface Decoded {
  /** Of the header: INTERRUPT has another one in its body. */
  readonly unique: string;
  readonly fields: Record<string, unknown>;
  readonly bytes: Buffer;
  readonly rest: Buffer;
}

function decodeMessage(message: Captured): Decoded {
  const bytes = Buffer.from(message.hex, 'hex');
  const header = (message.direction === 'request'
    ? abi.fuse_in_header
    : abi.fuse_out_header) as unknown as Struct;
  const head = header.decode(bytes);
  const body = bytes.subarray(header.sizeBytes);
  const struct = structOf(message);
  const value = struct?.decode(body) ?? {};
  const parts = [header.encode(head), ...(struct === undefined ? [] : [struct.encode(value)])];
  const rest = body.subarray(struct?.sizeBytes ?? 0);
  const named = Object.fromEntries([...Object.entries(head), ...Object.entries(value)].filter(isNamed));
  return {
    unique: String(head.unique),
    fields: plain(named) as Record<string, unknown>,
    bytes: Buffer.concat([...parts, rest]),
    rest,
  };
}

const ours = captured.filter(({ name }) => name in abi.FUSE_OPCODE);

t.test('every operation of ours that an old library can be made to use was captured', async (t) => {
  const missing = Object.keys(abi.FUSE_OPCODE).filter((name) => !ours.some((each) => each.name === name));
  // README.md of the capture: why these are not in it.
  t.same(missing.sort(), [
    'ACCESS',
    'COPY_FILE_RANGE',
    'DESTROY',
    'GETLK',
    'LSEEK',
    'READDIRPLUS',
    'RENAME2',
  ]);
});

for (const [index, message] of ours.entries()) {
  const { name, direction, opcode, unique, hex, fields } = message;
  // libfuse 2.9 answers INIT with the 24 bytes of protocol 7.19.
  if (name === 'INIT' && direction === 'reply') continue;
  t.test(`${name} ${direction} ${index}`, async (t) => {
    const decoded = decodeMessage(message);
    const { name: text, value, data, entries, forgets, ...others } = withoutPrefixes(fields);
    const { oldname, newname, target, fh, open_flags, ...behind } = others;
    // The file that CREATE opens is told in a second structure.
    const isCreated = name === 'CREATE' && direction === 'reply' && fields.error === 0;
    const numbers = isCreated ? behind : { ...behind, ...defined({ fh, open_flags }) };
    t.match(decoded.fields, numbers, 'the fields hold what the decoder in C says');
    t.equal(decoded.unique, unique);
    if (direction === 'request') t.equal(decoded.fields.opcode, opcode);
    t.equal(abi.FUSE_OPCODE[name as keyof typeof abi.FUSE_OPCODE], opcode);
    t.equal(decoded.bytes.toString('hex'), hex, 'encodes to the same bytes');

    const rest = decoded.rest.toString('hex');
    const names = [text, target, oldname, newname].filter((each) => each !== undefined);
    if (names.length > 0)
      t.equal(
        rest,
        names.map((each) => `${each as string}00`).join('') + ((value as string | undefined) ?? ''),
        'NUL ends a name',
      );
    else if (isCreated) {
      const opened = plain(abi.fuse_open_out.decode(decoded.rest));
      t.match(opened, { fh, open_flags });
    } else if (value !== undefined || data !== undefined) t.equal(rest, value ?? data);
    else if (forgets !== undefined) {
      const one = abi.fuse_forget_one;
      const decodedForgets = Array.from({ length: numbers.count as number }, (_, at) =>
        plain(one.decode(decoded.rest.subarray(at * one.sizeBytes))),
      );
      t.same(decodedForgets, forgets);
      t.equal(decoded.rest.length, decodedForgets.length * one.sizeBytes);
    } else if (entries !== undefined) {
      const buffer = new DirectoryBuffer(decoded.rest.length, false);
      for (const entry of entries as { ino: string; off: string; type: number; name: string }[]) {
        const entryName = Buffer.from(entry.name, 'hex');
        t.ok(
          buffer.add(entryName, BigInt(entry.off), BigInt(entry.ino), entry.type << 12),
          entryName.toString(),
        );
      }
      t.equal(
        Buffer.from(buffer.finish()).toString('hex'),
        rest,
        'our directory buffer writes the same bytes',
      );
    } else if (name !== 'LISTXATTR') t.equal(rest, '', 'nothing follows');
  });
}

t.test('the INIT reply of an older protocol is the start of ours', async (t) => {
  const message = ours.find(({ name, direction }) => name === 'INIT' && direction === 'reply')!;
  const body = Buffer.from(message.hex, 'hex').subarray(16);
  const padded = Buffer.concat([body, Buffer.alloc(abi.fuse_init_out.sizeBytes - body.length)]);
  const value = abi.fuse_init_out.decode(padded);
  const { len, error, ...numbers } = message.fields;
  t.same([len, error], [16 + body.length, 0]);
  t.match(plain(value), numbers);
  t.same(abi.fuse_init_out.encode(value), padded);
});
