import { setFlagsFromString } from 'node:v8';
import t from 'tap';
import {
  checked,
  fixedBytes,
  fixedI32,
  fixedI64,
  fixedStruct,
  fixedU16,
  fixedU32,
  fixedU64,
  type Endianness,
} from '../../src/xdr/fixed.ts';
import { XdrError } from '../../src/xdr/error.ts';

const odd = checked(fixedU32, (value) => {
  if (value % 2 === 0) throw new XdrError('BAD_VALUE', `${value} is even`);
  return value;
});

const declare = (endianness: Endianness) =>
  fixedStruct('sample', endianness, {
    short: fixedU16,
    pair: fixedBytes(2),
    word: fixedU32,
    signed: fixedI32,
    long: fixedU64,
    signedLong: fixedI64,
    inner: fixedStruct('inner', endianness, { odd, deep: fixedStruct('deep', endianness, { odd }) }),
  });

const value = {
  short: 0xfffe,
  pair: Uint8Array.of(0xaa, 0xbb),
  word: 0xfffffffd,
  signed: -2,
  long: 0xfffffffffffffffen,
  signedLong: -0x8000000000000000n,
  inner: { odd: 0x01020305, deep: { odd: 7 } },
};
const HEX = {
  big: 'fffe aabb fffffffd fffffffe fffffffffffffffe 8000000000000000 01020305 00000007',
  little: 'feff aabb fdffffff feffffff feffffffffffffff 0000000000000080 05030201 07000000',
};

for (const endianness of ['big', 'little'] as const) {
  t.test(`${endianness}-endian round trip`, async (t) => {
    const sample = declare(endianness);
    const hex = HEX[endianness].replaceAll(' ', '');
    t.equal(sample.sizeBytes, 36);
    t.equal(sample.encode(value).toString('hex'), hex);
    const input = Buffer.from(hex, 'hex');
    t.strictSame(sample.decode(Uint8Array.from(input)), value);
    t.strictSame(sample.decode(Uint8Array.from([...input, 1, 2, 3])), value, 'what follows is left alone');
  });

  t.test(`${endianness}-endian truncation at every byte`, async (t) => {
    const sample = declare(endianness);
    const whole = sample.encode(value);
    for (let length = 0; length < whole.length; length += 1) {
      const wanted = { code: 'TRUNCATED', field: 'sample' };
      t.throws(() => sample.decode(whole.subarray(0, length)), wanted, `${length} bytes`);
    }
  });
}

t.test('a view in the middle of a larger buffer', async (t) => {
  const sample = declare('big');
  const buffer = new Uint8Array(100).fill(0xee);
  sample.encodeInto(buffer, 10, value);
  t.strictSame(sample.decode(buffer.subarray(10, 46)), value);
  t.ok(buffer.subarray(0, 10).every((byte) => byte === 0xee));
  t.ok(buffer.subarray(46).every((byte) => byte === 0xee));
  t.equal(sample.decode(buffer.subarray(10)).pair.buffer, buffer.buffer, 'bytes are a view');
});

t.test('64-bit values stay exact', async (t) => {
  const pair = fixedStruct('pair', 'big', { u: fixedU64, i: fixedI64 });
  for (const u of [0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    for (const i of [-(2n ** 63n), -(2n ** 53n) - 1n, -1n, 0n, 2n ** 63n - 1n]) {
      t.strictSame(pair.decode(pair.encode({ u, i })), { u, i });
    }
  }
});

t.test('values that do not fit are refused, naming the field', async (t) => {
  const sample = declare('little');
  const refuse = (change: Partial<typeof value>, code: string, field: string): void => {
    t.throws(() => sample.encode({ ...value, ...change }), { name: 'XdrError', code, field });
  };
  refuse({ short: 0x10000 }, 'RANGE', 'sample.short');
  refuse({ short: -1 }, 'RANGE', 'sample.short');
  refuse({ word: 1.5 }, 'RANGE', 'sample.word');
  refuse({ word: 2 ** 32 }, 'RANGE', 'sample.word');
  refuse({ signed: 2 ** 31 }, 'RANGE', 'sample.signed');
  refuse({ signed: -(2 ** 31) - 1 }, 'RANGE', 'sample.signed');
  refuse({ long: -1n }, 'RANGE', 'sample.long');
  refuse({ long: 2n ** 64n }, 'RANGE', 'sample.long');
  refuse({ signedLong: 2n ** 63n }, 'RANGE', 'sample.signedLong');
  refuse({ pair: new Uint8Array(3) }, 'RANGE', 'sample.pair');
  refuse({ inner: { odd: 2, deep: { odd: 1 } } }, 'BAD_VALUE', 'sample.inner.odd');
  refuse({ inner: { odd: 1, deep: { odd: 2 } } }, 'BAD_VALUE', 'sample.inner.deep.odd');
});

t.test('a value that fails its check while decoding names the whole path', async (t) => {
  const sample = declare('big');
  const outer = sample.encode(value);
  outer[31] = 2;
  t.throws(() => sample.decode(outer), { code: 'BAD_VALUE', field: 'sample.inner.odd' });
  const deep = sample.encode(value);
  deep[35] = 4;
  t.throws(() => sample.decode(deep), { code: 'BAD_VALUE', field: 'sample.inner.deep.odd' });
  t.throws(() => sample.decodeFields(deep), { code: 'BAD_VALUE', field: 'inner.deep.odd' });
});

t.test('a structure of no fields has no bytes', async (t) => {
  const empty = fixedStruct('empty', 'big', {});
  t.equal(empty.sizeBytes, 0);
  t.strictSame(empty.decode(new Uint8Array(0)), {});
  t.equal(empty.encode({}).length, 0);
});

t.test('what is decoded is no hash table', async (t) => {
  setFlagsFromString('--allow-natives-syntax');
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- V8 has no other way to tell
  const isFast = new Function('object', 'return %HasFastProperties(object)') as (object: object) => boolean;
  const decoded = declare('big').decode(Buffer.from(HEX.big.replaceAll(' ', ''), 'hex'));
  for (const object of [decoded, decoded.inner, decoded.inner.deep]) t.ok(isFast(object));
  const { short, ...others } = decoded;
  const table: Record<string, unknown> = { short, ...others };
  delete table.short;
  t.notOk(isFast(table), 'as what had something deleted is');
});
