import t from 'tap';
import { NFS_PROGRAM, READ3args, READ3res, READDIRPLUS3res, WRITE3args } from '../../src/nfs3/nfs.ts';
import { DIRECTORY_ENTRIES_MAX, TRANSFER_BYTES_MAX } from '../../src/nfs3/limits.ts';
import { decodeAll, encodeAll } from '../../src/xdr/codec.ts';

t.test('the table has the 22 procedures of RFC 1813 section 3.3 in order', async (t) => {
  t.match(NFS_PROGRAM, { name: 'NFS', number: 100003, version: 3 });
  t.strictSame(
    Object.entries(NFS_PROGRAM.procedures).map(([name, { number }]) => `${number} ${name}`),
    [
      ...['0 NULL', '1 GETATTR', '2 SETATTR', '3 LOOKUP', '4 ACCESS', '5 READLINK', '6 READ', '7 WRITE'],
      ...['8 CREATE', '9 MKDIR', '10 SYMLINK', '11 MKNOD', '12 REMOVE', '13 RMDIR', '14 RENAME', '15 LINK'],
      ...['16 READDIR', '17 READDIRPLUS', '18 FSSTAT', '19 FSINFO', '20 PATHCONF', '21 COMMIT'],
    ],
  );
});

t.test('what must not be executed twice', async (t) => {
  const once = Object.entries(NFS_PROGRAM.procedures).filter(([, { idempotent }]) => !idempotent);
  t.strictSame(
    once.map(([name]) => name),
    ['SETATTR', 'CREATE', 'MKDIR', 'SYMLINK', 'MKNOD', 'REMOVE', 'RMDIR', 'RENAME', 'LINK'],
  );
});

t.test('a READ by hand', async (t) => {
  const wire = '00000002' + 'abcd0000' + '8000000000000001' + '00100000';
  const value = { file: { data: Uint8Array.of(0xab, 0xcd) }, offset: 2n ** 63n + 1n, count: 1 << 20 };
  t.equal(Buffer.concat(encodeAll(READ3args, value)).toString('hex'), wire);
  t.strictSame(decodeAll(READ3args, [Uint8Array.from(Buffer.from(wire, 'hex'))]), value);
});

t.test('bulk data passes through by reference, up to 1 MiB', async (t) => {
  const data = [Buffer.alloc(TRANSFER_BYTES_MAX / 2, 1), Buffer.alloc(TRANSFER_BYTES_MAX / 2, 2)];
  const reply = { status: 0, file_attributes: null, count: TRANSFER_BYTES_MAX, eof: true, data } as const;
  const chunks = encodeAll(READ3res, reply);
  for (const piece of data) t.ok(chunks.includes(piece));
  const back = decodeAll(READ3res, chunks);
  if (back.status !== 0) throw new Error(`status ${back.status}`);
  t.strictSame(
    back.data.map((piece) => piece.buffer),
    data.map((piece) => piece.buffer),
  );

  const args = { file: { data: Buffer.alloc(0) }, offset: 0n, count: 1, stable: 2, data } as const;
  t.ok(encodeAll(WRITE3args, args).includes(data[0]!));
  t.throws(() => encodeAll(WRITE3args, { ...args, data: [...data, Buffer.alloc(1)] }), {
    code: 'TOO_LONG',
    field: 'WRITE3args.data',
  });
});

t.test('an error in a directory entry names the entry', async (t) => {
  const entry = { fileid: 1n, name: Buffer.from('a'), cookie: 2n, name_attributes: null, name_handle: null };
  const reply = {
    status: 0,
    dir_attributes: null,
    cookieverf: Buffer.alloc(8),
    entries: [entry, entry],
    eof: true,
  } as const;
  const wire = Buffer.concat(encodeAll(READDIRPLUS3res, reply));
  const entryBytes = 4 + 8 + 8 + 8 + 4 + 4;
  wire.writeUInt32BE(5000, 16 + entryBytes + 12);
  t.throws(() => decodeAll(READDIRPLUS3res, [wire]), {
    code: 'TOO_LONG',
    field: 'READDIRPLUS3res.entries[1].name',
  });
  const many = { ...reply, entries: new Array<typeof entry>(DIRECTORY_ENTRIES_MAX + 1).fill(entry) };
  t.throws(() => encodeAll(READDIRPLUS3res, many), { code: 'TOO_LONG', field: 'READDIRPLUS3res.entries' });
});
