import t from 'tap';
import {
  array,
  bool,
  decodeAll,
  encodeAll,
  enumeration,
  i32,
  i64,
  list,
  nothing,
  opaque,
  opaqueFixed,
  opaquePieces,
  optional,
  struct,
  u32,
  u64,
  union,
  type Codec,
} from '../../src/xdr/codec.ts';
import { XdrError } from '../../src/xdr/error.ts';

const color = enumeration('color', { RED: 0, GREEN: 1, BLUE: -5 });
const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value));
const point = struct('point', { x: u32, y: i32 });
const named = struct('named', { name: opaque('name', 8), at: point, shade: color });
const shape = union(
  'shape',
  'kind',
  color,
  { [0]: struct('circle', { radius: u64 }), [1]: nothing },
  struct('other', { points: array(point, 3) }),
);

/** One sample for each combinator: its value and its bytes by hand. */
const SAMPLES: readonly { codec: Codec<unknown>; value: unknown; hex: string }[] = [
  { codec: u32, value: 0xfffffffe, hex: 'fffffffe' },
  { codec: i32, value: -2, hex: 'fffffffe' },
  { codec: u64, value: 0xfffffffffffffffdn, hex: 'fffffffffffffffd' },
  { codec: i64, value: -3n, hex: 'fffffffffffffffd' },
  { codec: bool, value: true, hex: '00000001' },
  { codec: bool, value: false, hex: '00000000' },
  { codec: color, value: -5, hex: 'fffffffb' },
  { codec: opaqueFixed('three', 3), value: text('abc'), hex: '61626300' },
  { codec: opaqueFixed('eight', 8), value: text('abcdefgh'), hex: '6162636465666768' },
  { codec: opaque('bytes', 8), value: text('abcde'), hex: '000000056162636465000000' },
  { codec: point, value: { x: 1, y: -1 }, hex: '00000001ffffffff' },
  {
    codec: named,
    value: { name: text('ab'), at: { x: 1, y: 2 }, shade: 1 },
    hex: '0000000261620000' + '0000000100000002' + '00000001',
  },
  { codec: optional(u32), value: 9, hex: '0000000100000009' },
  { codec: optional(u32), value: null, hex: '00000000' },
  { codec: array(u32, 4), value: [1, 2, 3], hex: '00000003000000010000000200000003' },
  { codec: list(u32, 4), value: [7, 8], hex: '0000000100000007000000010000000800000000' },
  { codec: shape, value: { kind: 0, radius: 1n << 63n }, hex: '000000008000000000000000' },
  { codec: shape, value: { kind: 1 }, hex: '00000001' },
  {
    codec: shape,
    value: { kind: -5, points: [{ x: 1, y: 2 }] },
    hex: 'fffffffb00000001' + '0000000100000002',
  },
];

const wire = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const oneByOne = (whole: Uint8Array): Uint8Array[] => Array.from(whole, (byte) => Uint8Array.of(byte));
/** Bytes as hex: a value that crossed a seam is a Buffer where the other is a Uint8Array. */
const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
};

for (const { codec, value, hex } of SAMPLES) {
  t.test(`${codec.name}: ${hex}`, async (t) => {
    const whole = wire(hex);
    t.equal(Buffer.concat(encodeAll(codec, value)).toString('hex'), hex, 'encodes to these bytes');
    t.strictSame(plain(decodeAll(codec, [whole])), plain(value), 'decodes from them');
    t.strictSame(plain(decodeAll(codec, oneByOne(whole))), plain(value), 'one byte at a time');
    for (let at = 1; at < whole.length; at += 1) {
      const split = [whole.subarray(0, at), whole.subarray(at)];
      t.strictSame(plain(decodeAll(codec, split)), plain(value), `split at ${at}`);
    }
    for (let length = 0; length < whole.length; length += 1) {
      const cut = whole.subarray(0, length);
      t.throws(() => decodeAll(codec, [cut]), { name: 'XdrError', code: 'TRUNCATED' }, `${length} bytes`);
      t.throws(() => decodeAll(codec, oneByOne(cut)), { name: 'XdrError', code: 'TRUNCATED' });
    }
    t.throws(() => decodeAll(codec, [whole, Uint8Array.of(0)]), { code: 'LEFTOVER', field: codec.name });
  });
}

t.test('64-bit extremes are exact', async (t) => {
  for (const value of [0n, 1n, 2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    t.equal(decodeAll(u64, encodeAll(u64, value)), value);
    t.strictSame(decodeAll(struct('one', { value: u64 }), encodeAll(u64, value)), { value });
  }
  for (const value of [-(2n ** 63n), -(2n ** 53n) - 1n, -1n, 0n, 2n ** 53n + 1n, 2n ** 63n - 1n]) {
    t.equal(decodeAll(i64, encodeAll(i64, value)), value);
    t.strictSame(decodeAll(struct('one', { value: i64 }), encodeAll(i64, value)), { value });
  }
  for (const value of [-(2 ** 31), -1, 0, 2 ** 31 - 1]) t.equal(decodeAll(i32, encodeAll(i32, value)), value);
});

t.test('values out of range are not encoded', async (t) => {
  t.throws(() => encodeAll(u32, -1), { code: 'RANGE', field: 'u32' });
  t.throws(() => encodeAll(u32, 2 ** 32), { code: 'RANGE' });
  t.throws(() => encodeAll(i32, 2 ** 31), { code: 'RANGE' });
  t.throws(() => encodeAll(u64, 2n ** 64n), { code: 'RANGE' });
  t.throws(() => encodeAll(u64, -1n), { code: 'RANGE' });
  t.throws(() => encodeAll(i64, 2n ** 63n), { code: 'RANGE' });
  t.throws(() => encodeAll(opaqueFixed('two', 2), text('abc')), { code: 'RANGE' });
  t.throws(() => encodeAll(opaqueFixed('four', 4), text('abc')), { code: 'RANGE' });
  t.throws(() => encodeAll(opaque('bytes', 2), text('abc')), { code: 'TOO_LONG' });
  t.throws(() => encodeAll(opaquePieces('bytes', 3), [text('ab'), text('cd')]), { code: 'TOO_LONG' });
  t.throws(() => encodeAll(array(u32, 2), [1, 2, 3]), { code: 'TOO_LONG' });
  t.throws(() => encodeAll(list(u32, 2), [1, 2, 3]), { code: 'TOO_LONG' });
  t.throws(() => encodeAll<number>(color, 2), {
    code: 'BAD_VALUE',
    message: /2 is not a color/,
  });
  const incomplete = union('incomplete', 'tag', u32, { [0]: nothing });
  t.throws(() => encodeAll(incomplete as Codec<unknown>, { tag: 7 }), {
    code: 'BAD_VALUE',
    field: 'incomplete.tag',
  });
});

t.test('bool and enum hold only their values', async (t) => {
  for (const word of ['00000002', '80000000', 'ffffffff', '01000000']) {
    t.throws(() => decodeAll(bool, [wire(word)]), { code: 'BAD_VALUE', field: 'bool' });
    t.throws(() => decodeAll(color, [wire(word)]), { code: 'BAD_VALUE', field: 'color' });
    t.throws(() => decodeAll(optional(u32), [wire(word)]), { code: 'BAD_VALUE' });
    t.throws(() => decodeAll(list(u32, 2), [wire(word)]), { code: 'BAD_VALUE' });
  }
});

t.test('a union without a default arm holds only its values', async (t) => {
  const choice = union('choice', 'tag', u32, { [3]: point });
  t.strictSame(decodeAll(choice, [wire('000000030000000100000002')]), { tag: 3, x: 1, y: 2 });
  t.throws(() => decodeAll(choice, [wire('00000004')]), {
    code: 'BAD_VALUE',
    field: 'choice.tag',
    message: /4 has no arm in choice/,
  });
});

t.test('a length is checked before anything is allocated', async (t) => {
  const HUGE = 0xffffffff;
  const huge = wire('ffffffff00000000');
  const overLimit = { code: 'TOO_LONG' };
  const overRecord = { code: 'TRUNCATED', detail: `needs ${HUGE} bytes, 4 left` };
  for (const codec of [opaque('b', 8), opaquePieces('b', 8), array(u32, 8)] as Codec<unknown>[]) {
    t.throws(() => decodeAll(codec, [huge]), overLimit, codec.name);
  }
  // The limit lets it pass, the bytes that are left do not: nothing of this size may be asked of the allocator.
  for (const codec of [opaque('b', HUGE), opaquePieces('b', HUGE)] as Codec<unknown>[]) {
    const before = process.memoryUsage().arrayBuffers;
    t.throws(() => decodeAll(codec, [huge]), overRecord, codec.name);
    t.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024);
  }
  let decoded = 0;
  const counting: Codec<number> = {
    ...u32,
    decode: (reader) => {
      decoded += 1;
      return reader.u32();
    },
  };
  t.throws(() => decodeAll(array(counting, HUGE), [wire('0000000300000001')]), {
    code: 'TRUNCATED',
    detail: 'needs 12 bytes, 4 left',
  });
  t.throws(() => decodeAll(array(counting, HUGE, 8), [wire('0000000100000001')]), {
    code: 'TRUNCATED',
    detail: 'needs 8 bytes, 4 left',
  });
  t.equal(decoded, 0, 'no item was begun');
});

t.test('lengths at their limit pass', async (t) => {
  t.equal(decodeAll(opaque('b', 5), [wire('000000056162636465000000')]).length, 5);
  t.throws(() => decodeAll(opaque('b', 4), [wire('000000056162636465000000')]), { code: 'TOO_LONG' });
  t.strictSame(decodeAll(array(u32, 2), encodeAll(array(u32, 2), [1, 2])), [1, 2]);
  t.throws(() => decodeAll(array(u32, 1), encodeAll(array(u32, 2), [1, 2])), { code: 'TOO_LONG' });
  t.strictSame(decodeAll(list(u32, 2), encodeAll(list(u32, 2), [1, 2])), [1, 2]);
  t.throws(() => decodeAll(list(u32, 1), encodeAll(list(u32, 2), [1, 2])), { code: 'TOO_LONG' });
});

t.test('a long list is decoded by a loop, not by recursion', async (t) => {
  const many = list(u32, 200_000);
  const items = Array.from({ length: 200_000 }, (_, index) => index);
  t.equal(decodeAll(many, encodeAll(many, items)).length, 200_000);
});

t.test('opaquePieces never copies', async (t) => {
  const codec = struct('reply', { count: u32, data: opaquePieces('data', 1 << 20) });
  const chunks = [wire('0000000500000009ab'), wire('cdef'), wire('010203'), wire('040506000000')];
  const { count, data } = decodeAll(codec, chunks);
  t.equal(count, 5);
  t.equal(Buffer.concat(data).toString('hex'), 'abcdef010203040506');
  t.equal(data.length, 4);
  data.forEach((piece, index) => {
    t.equal(piece.buffer, chunks[index]!.buffer, `piece ${index} is a view of chunk ${index}`);
  });

  const bulk = [Buffer.alloc(4096, 1), Buffer.alloc(5000, 2)];
  const encoded = encodeAll(codec, { count: 9096, data: bulk });
  for (const piece of bulk) t.ok(encoded.includes(piece), 'bulk is encoded by reference');
  const back = decodeAll(codec, encoded).data;
  t.strictSame(
    back.map((piece) => piece.buffer),
    bulk.map((piece) => piece.buffer),
  );
  t.strictSame(decodeAll(codec, [wire('0000000000000000')]).data, []);
  for (let cut = 0; cut < 4; cut += 1) {
    const short = [...chunks.slice(0, 3), chunks[3]!.subarray(0, 6 - 1 - cut)];
    t.throws(() => decodeAll(codec, short), { code: 'TRUNCATED', field: /^reply\.data/ });
  }
});

t.test('an opaque value in one chunk is a view', async (t) => {
  const whole = wire('00000004616263640000000561626364650000000102030405060708');
  const codec = struct('views', { a: opaque('a', 9), b: opaque('b', 9), c: opaqueFixed('c', 8) });
  const value = decodeAll(codec, [whole]);
  for (const field of [value.a, value.b, value.c]) t.equal(field.buffer, whole.buffer);
});

t.test('errors name the way to the field', async (t) => {
  const entry = struct('entry', {
    id: u32,
    name: opaque('name', 4),
    where: struct('where', { at: point, shade: color }),
  });
  const reply = struct('reply', {
    head: optional(point),
    entries: list(entry, 9),
    grid: array(array(color, 9), 9),
  });
  const good = {
    head: { x: 1, y: 2 },
    entries: [0, 1].map((id) => ({
      id,
      name: text('abcd'),
      where: { at: { x: 3, y: 4 }, shade: 1 as const },
    })),
    grid: [[], [0, 1, 1] as const],
  };
  const whole = Buffer.concat(encodeAll(reply, good));
  const failing = (offset: number, value: number): XdrError => {
    const bytes = Buffer.from(whole);
    bytes.writeUInt32BE(value, offset);
    try {
      decodeAll(reply, [bytes]);
    } catch (error) {
      if (error instanceof XdrError) return error;
      throw error;
    }
    throw new Error('decoded');
  };
  const entryBytes = 4 + 4 + 8 + 12;
  const second = 12 + entryBytes;
  t.match(failing(0, 2), { field: 'reply.head', code: 'BAD_VALUE' });
  t.match(failing(second, 7), { field: 'reply.entries', code: 'BAD_VALUE' });
  t.match(failing(second + 8, 5), { field: 'reply.entries[1].name', code: 'TOO_LONG' });
  t.match(failing(second + 24, 9), { field: 'reply.entries[1].where.shade', code: 'BAD_VALUE' });
  t.match(failing(whole.length - 4, 9), { field: 'reply.grid[1][2]', code: 'BAD_VALUE' });
  t.match(failing(whole.length - 16, 10), { field: 'reply.grid[1]', code: 'TOO_LONG' });

  const short = whole.subarray(0, second + 20);
  t.throws(() => decodeAll(reply, [short]), { field: 'reply.entries[1].where', code: 'TRUNCATED' });
  t.throws(() => encodeAll(reply, { ...good, entries: [{ ...good.entries[0]!, name: text('abcde') }] }), {
    field: 'reply.entries.name',
    code: 'TOO_LONG',
  });
});

t.test('a structure of fixed size inside another names the whole path', async (t) => {
  const inner = struct('inner', { pad: u32, shade: color });
  const middle = struct('middle', { inner });
  const outer = struct('outer', { first: middle, second: middle });
  t.ok(outer.fixed, 'compiled');
  const bytes = Buffer.concat(
    encodeAll(outer, { first: { inner: { pad: 1, shade: 1 } }, second: { inner: { pad: 2, shade: -5 } } }),
  );
  bytes.writeInt32BE(3, 12);
  t.throws(() => decodeAll(outer, [bytes]), { code: 'BAD_VALUE', field: 'outer.second.inner.shade' });
});

t.test('nothing takes nothing', async (t) => {
  t.strictSame(encodeAll(nothing, undefined), []);
  decodeAll(nothing, []);
  t.throws(() => decodeAll(nothing, [Uint8Array.of(1)]), { code: 'LEFTOVER', field: 'void' });
});
