import t from 'tap';
import { XdrWriter } from '../../src/xdr/writer.ts';

t.test('integers at their ends', async (t) => {
  const writer = new XdrWriter();
  writer.u32(0);
  writer.u32(0xffffffff);
  writer.i32(-0x80000000);
  writer.i32(0x7fffffff);
  writer.u64(0n);
  writer.u64(0xffffffffffffffffn);
  writer.i64(-0x8000000000000000n);
  writer.i64(0x7fffffffffffffffn);
  t.equal(writer.length, 48);
  t.equal(
    Buffer.concat(writer.finish()).toString('hex'),
    '00000000ffffffff800000007fffffff' + '0000000000000000ffffffffffffffff80000000000000007fffffffffffffff',
  );
});

t.test('a value that does not fit is refused and leaves nothing behind', async (t) => {
  const writer = new XdrWriter();
  for (const value of [-1, 0x100000000, 1.5, NaN, Infinity]) {
    t.throws(() => writer.u32(value), { code: 'RANGE', message: `${value} does not fit u32` });
  }
  for (const value of [-0x80000001, 0x80000000, 0.5, NaN])
    t.throws(() => writer.i32(value), { code: 'RANGE' });
  for (const value of [-1n, 1n << 64n]) t.throws(() => writer.u64(value), { code: 'RANGE' });
  for (const value of [-(1n << 63n) - 1n, 1n << 63n]) t.throws(() => writer.i64(value), { code: 'RANGE' });
  t.equal(writer.length, 0);
  t.same(writer.finish(), []);
});

t.test('small bytes are copied, bulk is kept by reference', async (t) => {
  const small = Buffer.alloc(2047, 1);
  const bulk = Buffer.alloc(2048, 2);
  const writer = new XdrWriter();
  writer.u32(1);
  writer.bytes(small);
  writer.pad(small.length);
  writer.bytes(bulk);
  writer.u32(2);
  t.equal(writer.length, 4 + 2048 + 2048 + 4);
  const chunks = writer.finish();
  t.equal(
    chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    4 + 2048 + 2048 + 4,
  );
  t.notOk(chunks.some((chunk) => chunk.buffer === small.buffer && chunk.byteOffset === small.byteOffset));
  t.equal(chunks.filter((chunk) => chunk === bulk).length, 1);
  small.fill(9);
  t.equal(Buffer.concat(chunks)[4], 1);
});

t.test('many fields grow over several buffers in order', async (t) => {
  const writer = new XdrWriter();
  for (let index = 0; index < 3000; index += 1) writer.u32(index);
  t.equal(writer.length, 12000);
  const whole = Buffer.concat(writer.finish());
  t.equal(whole.length, 12000);
  for (let index = 0; index < 3000; index += 1) {
    if (whole.readUInt32BE(index * 4) !== index) t.fail(`word ${index}`);
  }
});

t.test('pad fills with zeros', async (t) => {
  for (let length = 0; length < 9; length += 1) {
    const writer = new XdrWriter();
    writer.bytes(new Uint8Array(length).fill(0xff));
    writer.pad(length);
    const whole = Buffer.concat(writer.finish());
    t.equal(whole.length % 4, 0);
    t.ok(whole.length - length < 4);
    t.same([...whole.subarray(length)], new Array(whole.length - length).fill(0));
  }
});

t.test('room is written through its view', async (t) => {
  const writer = new XdrWriter();
  writer.u32(7);
  const { buffer, offset } = writer.room(8);
  buffer.writeBigUInt64BE(0x0102030405060708n, offset);
  const large = writer.room(10_000);
  large.buffer.fill(3, large.offset, large.offset + 10_000);
  const whole = Buffer.concat(writer.finish());
  t.equal(whole.subarray(0, 12).toString('hex'), '000000070102030405060708');
  t.equal(whole.length, 12 + 10_000);
  t.ok(whole.subarray(12).every((byte) => byte === 3));
});

t.test('a finished writer is empty and can be used again', async (t) => {
  const writer = new XdrWriter();
  writer.u32(1);
  const first = writer.finish();
  t.equal(writer.length, 0);
  writer.u32(2);
  t.equal(Buffer.concat(first).toString('hex'), '00000001');
  t.equal(Buffer.concat(writer.finish()).toString('hex'), '00000002');
});
