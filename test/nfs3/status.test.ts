import t from 'tap';
import {
  MOUNTSTAT3,
  NFSSTAT3,
  mountStatusName,
  mountstat3,
  nfsstat3,
  statusName,
  type nfsstat3 as Status,
} from '../../src/nfs3/status.ts';
import { decodeAll, encodeAll } from '../../src/xdr/codec.ts';

t.test('every status has its number on the wire and its name', async (t) => {
  for (const [name, status] of Object.entries(NFSSTAT3)) {
    const wire = encodeAll(nfsstat3, status);
    t.equal(Buffer.concat(wire).readUInt32BE(), status);
    t.equal(decodeAll(nfsstat3, wire), status);
    t.equal(statusName(status), name);
  }
  for (const [name, status] of Object.entries(MOUNTSTAT3)) {
    t.equal(decodeAll(mountstat3, encodeAll(mountstat3, status)), status);
    t.equal(mountStatusName(status), name);
  }
});

t.test('numbers RFC 1813 does not know are refused', async (t) => {
  for (const number of [3, 4, 11, 10000, 10009, 0xffffffff]) {
    const wire = Buffer.alloc(4);
    wire.writeUInt32BE(number);
    t.throws(() => decodeAll(nfsstat3, [wire]), { code: 'BAD_VALUE', field: 'nfsstat3' });
    t.throws(() => decodeAll(mountstat3, [wire]), { code: 'BAD_VALUE', field: 'mountstat3' });
  }
  t.equal(statusName(12345 as Status), '12345');
});
