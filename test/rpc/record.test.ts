import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { RECORD_BYTES_MAX, RECORD_EMPTY_FRAGMENTS_MAX } from '../../src/rpc/limits.ts';
import { RecordDecoder, frameInto, frameRecord } from '../../src/rpc/record.ts';

const LAST = 0x80000000;

function fragment(data: Uint8Array, last: boolean): Buffer {
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE((data.length | (last ? LAST : 0)) >>> 0);
  return Buffer.concat([mark, data]);
}

function collect(maxBytes?: number): { records: Buffer[]; chunks: Uint8Array[][]; decoder: RecordDecoder } {
  const records: Buffer[] = [];
  const chunks: Uint8Array[][] = [];
  const decoder = new RecordDecoder((pieces) => {
    chunks.push(pieces);
    records.push(Buffer.concat(pieces));
  }, maxBytes);
  return { records, chunks, decoder };
}

t.test('one record is one last fragment', async (t) => {
  const framed = frameRecord([Buffer.from('ab'), Buffer.from(''), Buffer.from('cde')]);
  t.equal(framed.length, 1, 'a small record is one write');
  t.equal(Buffer.concat(framed).toString('hex'), '800000056162636465');
  t.equal(Buffer.concat(frameRecord([])).toString('hex'), '80000000');
});

t.test('a record is put into memory that is there, where it fits', async (t) => {
  const chunks = [Buffer.from('ab'), Buffer.from('cde')];
  const target = Buffer.alloc(12, 'x');
  t.equal(frameInto(target, chunks), 9);
  t.same(target.subarray(0, 9), Buffer.concat(frameRecord(chunks)));
  t.equal(target.toString('latin1', 9), 'xxx', 'what follows is left alone');
  t.equal(frameInto(Buffer.alloc(9), chunks), 9);
  t.equal(frameInto(Buffer.alloc(8), chunks), 0);
});

t.test('a large record keeps its chunks by reference', async (t) => {
  const chunks = [Buffer.alloc(4000, 1), Buffer.alloc(97, 2)];
  const [mark, ...rest] = frameRecord(chunks);
  t.equal(Buffer.from(mark!).readUInt32BE(), (4097 | LAST) >>> 0);
  t.equal(rest.length, 2);
  rest.forEach((chunk, index) => t.equal(chunk, chunks[index]));
  t.equal(frameRecord([Buffer.alloc(4096)]).length, 1);
});

t.test('fragments of every size, split everywhere', async (t) => {
  const data = Buffer.from(Array.from({ length: 40 }, (_, index) => index));
  const wrong: string[] = [];
  for (let size = 1; size <= data.length; size += 1) {
    const fragments: Buffer[] = [];
    for (let at = 0; at < data.length; at += size) {
      fragments.push(fragment(data.subarray(at, at + size), at + size >= data.length));
    }
    const stream = Buffer.concat([...fragments, ...fragments]);
    for (let step = 1; step <= stream.length; step += step < 9 ? 1 : 17) {
      const { records, decoder } = collect();
      for (let at = 0; at < stream.length; at += step) decoder.push(stream.subarray(at, at + step));
      if (records.length !== 2 || !records.every((record) => record.equals(data))) {
        wrong.push(`fragments of ${size} read ${step} at a time`);
      }
    }
  }
  t.strictSame(wrong, [], 'every combination gives both records');
});

t.test('a header split at each of its bytes', async (t) => {
  const stream = Buffer.concat([fragment(Buffer.from('one'), true), fragment(Buffer.from('two!'), true)]);
  for (let at = 0; at <= stream.length; at += 1) {
    const { records, decoder } = collect();
    decoder.push(stream.subarray(0, at));
    decoder.push(new Uint8Array(0));
    decoder.push(stream.subarray(at));
    t.same(
      records.map((record) => record.toString()),
      ['one', 'two!'],
    );
  }
});

t.test('a record is delivered as soon as its last byte is there', async (t) => {
  const { records, decoder } = collect();
  const stream = fragment(Buffer.from('abc'), true);
  decoder.push(stream.subarray(0, 6));
  t.equal(records.length, 0);
  decoder.push(stream.subarray(6));
  t.equal(records.length, 1);
  decoder.push(fragment(Buffer.alloc(0), true));
  t.equal(records[1]!.length, 0, 'an empty record is a record');
});

t.test('an empty last fragment ends the record before it', async (t) => {
  const { records, decoder } = collect();
  decoder.push(fragment(Buffer.from('abc'), false));
  t.equal(records.length, 0);
  decoder.push(fragment(Buffer.alloc(0), true));
  t.same(records.map(String), ['abc']);
});

t.test('empty fragments have a limit, counted for each record', async (t) => {
  const empty = fragment(Buffer.alloc(0), false);
  const { records, decoder } = collect();
  for (let round = 0; round < 2; round += 1) {
    for (let count = 0; count < RECORD_EMPTY_FRAGMENTS_MAX; count += 1) decoder.push(empty);
    decoder.push(fragment(Buffer.from('x'), true));
  }
  t.equal(records.length, 2);
  for (let count = 0; count < RECORD_EMPTY_FRAGMENTS_MAX; count += 1) decoder.push(empty);
  t.throws(() => decoder.push(empty), { name: 'RpcError', code: 'BAD_RECORD' });
});

t.test('a record over its limit is refused at its header', async (t) => {
  const header = Buffer.alloc(4);
  header.writeUInt32BE((101 | LAST) >>> 0);
  const single = collect(100);
  single.decoder.push(header.subarray(0, 3));
  t.throws(() => single.decoder.push(header.subarray(3)), {
    code: 'BAD_RECORD',
    message: /101 bytes, at most 100/,
  });

  const several = collect(100);
  several.decoder.push(fragment(Buffer.alloc(60), false));
  several.decoder.push(fragment(Buffer.alloc(40), false));
  t.throws(() => several.decoder.push(fragment(Buffer.alloc(1), true)), { code: 'BAD_RECORD' });
  t.equal(several.records.length, 0);

  const exact = collect(100);
  exact.decoder.push(fragment(Buffer.alloc(60), false));
  exact.decoder.push(fragment(Buffer.alloc(40), true));
  t.equal(exact.records[0]!.length, 100);
  exact.decoder.push(fragment(Buffer.alloc(100), true));
  t.equal(exact.records.length, 2, 'the count starts again');

  for (const word of [(RECORD_BYTES_MAX + 1) | LAST, 0x7fffffff, 0xffffffff]) {
    header.writeUInt32BE(word >>> 0);
    t.throws(() => collect().decoder.push(header), { code: 'BAD_RECORD' });
  }
});

t.test('one-byte fragments of a large record do not keep a buffer each', async (t) => {
  const { chunks, records, decoder } = collect();
  const size = 64 * 1024;
  for (let at = 0; at < size; at += 1) decoder.push(fragment(Buffer.of(at & 0xff), at === size - 1));
  t.equal(records[0]!.length, size);
  t.ok(records[0]!.every((byte, at) => byte === (at & 0xff)));
  t.ok(chunks[0]!.length <= size / 4096 + 1, `${chunks[0]!.length} pieces`);
});

t.test('large pieces stay views of what was pushed', async (t) => {
  const { chunks, decoder } = collect();
  const stream = fragment(Buffer.alloc(10_000, 7), true);
  decoder.push(stream.subarray(0, 5000));
  decoder.push(stream.subarray(5000));
  t.equal(chunks[0]!.length, 2);
  for (const piece of chunks[0]!) t.equal(piece.buffer, stream.buffer);
});

t.test('pieces delivered are not written to again', async (t) => {
  const { chunks, decoder } = collect();
  for (const text of ['first', 'other']) {
    for (const byte of Buffer.from(text)) decoder.push(fragment(Buffer.of(byte), false));
    decoder.push(fragment(Buffer.alloc(0), true));
  }
  t.same(
    chunks.map((pieces) => Buffer.concat(pieces).toString()),
    ['first', 'other'],
  );
});

t.test('frameRecord and RecordDecoder are inverse, whatever the seams', async (t) => {
  const record = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.integer({ min: 1000, max: 5000 }).map((size) => new Uint8Array(size).fill(size)),
    ),
    { maxLength: 4 },
  );
  t.doesNotThrow(() => {
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 8 }),
        (sent, steps) => {
          const stream = Buffer.concat(sent.flatMap((chunks) => frameRecord(chunks)));
          const { records, decoder } = collect();
          for (let at = 0, turn = 0; at < stream.length; turn += 1) {
            const step = steps[turn % steps.length] ?? 1;
            decoder.push(stream.subarray(at, at + step));
            at += step;
          }
          deepStrictEqual(
            records.map((received) => received.toString('hex')),
            sent.map((chunks) => Buffer.concat(chunks).toString('hex')),
          );
        },
      ),
      { numRuns: 150 },
    );
  });
});
