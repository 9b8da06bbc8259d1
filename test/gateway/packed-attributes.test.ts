import fc from 'fast-check';
import t from 'tap';
import { packAttributes, unpackAttributes } from '../../src/gateway/packed-attributes.ts';

const u32 = fc.nat({ max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });
const time = fc.record({ seconds: u32, nanoseconds: u32 }, { noNullPrototype: true });

t.test('what is packed comes back, all 32 and 64 bits of it', async (t) => {
  fc.assert(
    fc.property(
      fc.record(
        {
          ino: u64,
          size: u64,
          used: u64,
          // Type and permissions; what lies above is lacksAcl's.
          mode: fc.nat({ max: 0xffff }),
          lacksAcl: fc.boolean(),
          nlink: u32,
          uid: u32,
          gid: u32,
          rdevMajor: u32,
          rdevMinor: u32,
          atime: time,
          mtime: time,
          ctime: time,
        },
        { noNullPrototype: true },
      ),
      (attributes) => {
        t.strictSame(unpackAttributes(packAttributes(attributes)), attributes);
      },
    ),
    { numRuns: 200 },
  );
});
