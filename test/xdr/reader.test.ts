import t from 'tap';
import { XdrReader } from '../../src/xdr/reader.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const oneByOne = (whole: Uint8Array): Uint8Array[] => Array.from(whole, (byte) => Uint8Array.of(byte));

t.test('integers, in one chunk and split at every place', async (t) => {
  const whole = bytes('80000001ffffffffffffffff0000000000000001fffffffe');
  const splits = Array.from(whole, (_, at) => [whole.subarray(0, at), whole.subarray(at)]);
  for (const chunks of [[whole], oneByOne(whole), ...splits]) {
    const reader = new XdrReader(chunks);
    t.equal(reader.u32(), 0x80000001);
    t.equal(reader.u64(), 0xffffffffffffffffn);
    t.equal(reader.u64(), 1n);
    t.equal(reader.remaining, 4);
    t.equal(reader.u32(), 0xfffffffe);
    reader.expectEnd();
    t.throws(() => reader.u32(), { code: 'TRUNCATED' });
  }
});

t.test('empty chunks are passed over', async (t) => {
  const reader = new XdrReader([bytes(''), bytes('0000'), bytes(''), bytes('0007'), bytes('')]);
  t.equal(reader.u32(), 7);
  t.equal(reader.remaining, 0);
  t.equal(reader.take(0).length, 0);
  t.same(reader.takeChunks(0), []);
  reader.expectEnd();
});

t.test('take gives a view of the chunk, and a copy only across a seam', async (t) => {
  const first = bytes('0102030405');
  const second = bytes('060708');
  const reader = new XdrReader([first, second]);
  const view = reader.take(4);
  t.equal(view.buffer, first.buffer);
  const joined = reader.take(2);
  t.same([...joined], [5, 6]);
  t.not(joined.buffer, first.buffer);
  t.not(joined.buffer, second.buffer);
  t.equal(reader.take(2).buffer, second.buffer);
});

t.test('takeChunks never copies', async (t) => {
  const chunks = [bytes('010203'), bytes('04'), bytes('0506')];
  const reader = new XdrReader(chunks);
  reader.take(1);
  const pieces = reader.takeChunks(4);
  t.same(
    pieces.map((piece) => [...piece]),
    [[2, 3], [4], [5]],
  );
  pieces.forEach((piece, index) => t.equal(piece.buffer, chunks[index]!.buffer));
  t.equal(reader.remaining, 1);
});

t.test('nothing is taken, and nothing allocated, when too little is left', async (t) => {
  const reader = new XdrReader([bytes('0102')]);
  // An allocation of this size would be a RangeError of its own.
  for (const length of [3, 0xffffffff, Number.MAX_SAFE_INTEGER]) {
    const wanted = { code: 'TRUNCATED', message: `needs ${length} bytes, 2 left` };
    t.throws(() => reader.require(length), wanted);
    t.throws(() => reader.take(length), wanted);
    t.throws(() => reader.takeChunks(length), wanted);
  }
  t.throws(() => reader.u32(), { code: 'TRUNCATED' });
  t.throws(() => reader.u64(), { code: 'TRUNCATED' });
  t.equal(reader.remaining, 2);
  t.throws(() => reader.expectEnd(), { code: 'LEFTOVER', message: '2 bytes after the last field' });
});

t.test('padding is skipped up to a multiple of four', async (t) => {
  for (const [length, padding] of [
    [0, 0],
    [1, 3],
    [2, 2],
    [3, 1],
    [4, 0],
    [5, 3],
  ] as const) {
    const reader = new XdrReader([new Uint8Array(8)]);
    reader.skipPadding(length);
    t.equal(reader.remaining, 8 - padding);
  }
  t.throws(() => new XdrReader([bytes('00')]).skipPadding(1), { code: 'TRUNCATED' });
});
