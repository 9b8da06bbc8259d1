import t from 'tap';
import { MOUNT_PROGRAM, mountres3 } from '../../src/nfs3/mount.ts';
import { decodeAll, encodeAll } from '../../src/xdr/codec.ts';

t.test('the table has the six procedures of RFC 1813 section 5.2, each repeatable', async (t) => {
  t.match(MOUNT_PROGRAM, { name: 'MOUNT', number: 100005, version: 3 });
  t.strictSame(
    Object.entries(MOUNT_PROGRAM.procedures).map(([name, { number, idempotent }]) => [
      number,
      name,
      idempotent,
    ]),
    ['NULL', 'MNT', 'DUMP', 'UMNT', 'UMNTALL', 'EXPORT'].map((name, number) => [number, name, true]),
  );
});

t.test('mountres3 has a handle only when it is MNT3_OK', async (t) => {
  const good = { status: 0, fhandle: Uint8Array.of(1, 2, 3), auth_flavors: [1, 0] } as const;
  const wire = Buffer.concat(encodeAll(mountres3, good));
  t.equal(wire.toString('hex'), '00000000' + '0000000301020300' + '000000020000000100000000');
  t.strictSame(decodeAll(mountres3, [Uint8Array.from(wire)]), good);
  t.strictSame(decodeAll(mountres3, encodeAll(mountres3, { status: 13 })), { status: 13 });
});

t.test('paths have at most 1024 bytes, names in lists 255', async (t) => {
  const { MNT, EXPORT, DUMP } = MOUNT_PROGRAM.procedures;
  t.equal(decodeAll(MNT.args, encodeAll(MNT.args, Buffer.alloc(1024))).length, 1024);
  t.throws(() => encodeAll(MNT.args, Buffer.alloc(1025)), { code: 'TOO_LONG', field: 'dirpath' });
  t.throws(() => encodeAll(EXPORT.result, [{ ex_dir: Buffer.alloc(1), ex_groups: [Buffer.alloc(256)] }]), {
    code: 'TOO_LONG',
  });
  t.throws(
    () => encodeAll(DUMP.result, [{ ml_hostname: Buffer.alloc(256), ml_directory: Buffer.alloc(1) }]),
    {
      code: 'TOO_LONG',
    },
  );
});
