import t from 'tap';
import {
  FTYPE3,
  diropargs3,
  fattr3,
  nfs_fh3,
  nfstime3,
  post_op_attr,
  sattr3,
  specdata3,
  wcc_attr,
  wcc_data,
} from '../../src/nfs3/types.ts';
import { decodeAll, encodeAll, type Codec } from '../../src/xdr/codec.ts';

const time = { seconds: 1, nseconds: 2 };
const attributes: fattr3 = {
  type: FTYPE3.NF3REG,
  mode: 0o644,
  nlink: 1,
  uid: 1000,
  gid: 100,
  size: 2n ** 63n,
  used: 4096n,
  rdev: { specdata1: 8, specdata2: 1 },
  fsid: 2n ** 64n - 1n,
  fileid: 9n,
  atime: time,
  mtime: time,
  ctime: time,
};
const size = <T>(codec: Codec<T>, value: T): number => Buffer.concat(encodeAll(codec, value)).length;

t.test('sizes on the wire, from RFC 1813 section 2.6', async (t) => {
  t.equal(size(fattr3, attributes), 84);
  t.equal(fattr3.fixed?.sizeBytes, 84);
  t.equal(nfstime3.fixed?.sizeBytes, 8);
  t.equal(specdata3.fixed?.sizeBytes, 8);
  t.equal(wcc_attr.fixed?.sizeBytes, 24);
  t.equal(size(post_op_attr, null), 4);
  t.equal(size(post_op_attr, attributes), 88);
  t.equal(size(wcc_data, { before: null, after: null }), 8);
  const unset: sattr3 = {
    mode: null,
    uid: null,
    gid: null,
    size: null,
    atime: { set_it: 0 },
    mtime: { set_it: 1 },
  };
  t.equal(size(sattr3, unset), 24);
  t.equal(size(sattr3, { ...unset, size: 1n, mtime: { set_it: 2, time } }), 40);
});

t.test('attributes come back as they were, whole numbers and all', async (t) => {
  t.strictSame(decodeAll(fattr3, encodeAll(fattr3, attributes)), attributes);
});

t.test('a file type outside its set is named by its path', async (t) => {
  const wire = Buffer.concat(encodeAll(wcc_data, { before: null, after: attributes }));
  for (const type of [0, 8, 0x80000001]) {
    wire.writeUInt32BE(type, 8);
    t.throws(() => decodeAll(wcc_data, [wire]), { code: 'BAD_VALUE', field: 'wcc_data.after.type' });
  }
});

t.test('a handle has at most 64 bytes, a name 4096', async (t) => {
  t.equal(size(nfs_fh3, { data: Buffer.alloc(64) }), 68);
  t.throws(() => encodeAll(nfs_fh3, { data: Buffer.alloc(65) }), { code: 'TOO_LONG', field: 'nfs_fh3.data' });
  const wire = Buffer.alloc(72);
  wire.writeUInt32BE(65);
  t.throws(() => decodeAll(nfs_fh3, [wire]), { code: 'TOO_LONG', field: 'nfs_fh3.data' });
  const dir = { data: Buffer.alloc(1) };
  t.equal(size(diropargs3, { dir, name: Buffer.alloc(4096) }), 8 + 4 + 4096);
  t.throws(() => encodeAll(diropargs3, { dir, name: Buffer.alloc(4097) }), {
    code: 'TOO_LONG',
    field: 'diropargs3.name',
  });
});

t.test('names are bytes: no encoding is assumed', async (t) => {
  const name = Uint8Array.of(0xff, 0xfe, 0x00, 0x2f, 0x80);
  const { name: back } = decodeAll(diropargs3, encodeAll(diropargs3, { dir: { data: name }, name }));
  t.strictSame([...back], [...name]);
});
