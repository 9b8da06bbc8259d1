import t from 'tap';
import { GETACL3args, GETACL3res, NFSACL_PROGRAM } from '../../src/nfs3/nfsacl.ts';
import { decodeAll, encodeAll } from '../../src/xdr/codec.ts';

t.test('the table is that of include/uapi/linux/nfsacl.h', async (t) => {
  t.match(NFSACL_PROGRAM, { name: 'NFSACL', number: 100227, version: 3 });
  t.strictSame(
    Object.entries(NFSACL_PROGRAM.procedures).map(([name, { number }]) => [number, name]),
    [
      [0, 'NULL'],
      [1, 'GETACL'],
      [2, 'SETACL'],
    ],
  );
});

t.test('a list is its count, then the entries behind a count of their own', async (t) => {
  const args = Buffer.concat(
    encodeAll(GETACL3args, { object: { data: Uint8Array.of(1, 2, 3, 4) }, mask: 5 }),
  );
  t.equal(args.toString('hex'), '00000004' + '01020304' + '00000005');
  const result = {
    status: 0,
    obj_attributes: null,
    mask: 1,
    access: { count: 1, entries: [{ type: 0x1002, id: 1000, perm: 4 }] },
    default: { count: 0, entries: [] },
  } as const;
  const wire = Buffer.concat(encodeAll(GETACL3res, result));
  t.equal(
    wire.toString('hex'),
    '000000000000000000000001' + '0000000100000001' + '00001002000003e800000004' + '0000000000000000',
  );
  t.strictSame(decodeAll(GETACL3res, [Uint8Array.from(wire)]), result);
});

t.test('more than 1024 entries are refused', async (t) => {
  const entries = Array.from({ length: 1025 }, (_, id) => ({ type: 2, id, perm: 4 }));
  const list = { count: entries.length, entries };
  const result = { status: 0, obj_attributes: null, mask: 1, access: list, default: list } as const;
  t.throws(() => encodeAll(GETACL3res, result), { code: 'TOO_LONG' });
});
