import fc from 'fast-check';
import t from 'tap';
import { READ_AHEAD_BYTES } from '../../src/gateway/limits.ts';
import { WireReader, slicePieces, type FetchRange } from '../../src/gateway/wire-reader.ts';

const join = (pieces: readonly Uint8Array[]): Buffer => Buffer.concat(pieces);
const content = (bytes: number, seed = 1): Buffer =>
  Buffer.from(
    Uint8Array.from({ length: bytes }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 0xff),
  );

/** A file and a server that reads it in replies of at most `most()` bytes, in pieces, later. */
function fileServer(file: { bytes: Buffer }, most: () => number, eofEarly = true) {
  const fetches: [offset: number, count: number][] = [];
  const fetch: FetchRange = async (offset, count) => {
    fetches.push([Number(offset), count]);
    const at = Number(offset);
    const length = Math.max(0, Math.min(count, most(), file.bytes.length - at));
    // As it was when the server read it.
    const data = Buffer.from(file.bytes.subarray(at, at + length));
    const isEnd = at + length >= file.bytes.length;
    await new Promise(setImmediate);
    const cut = length >> 1;
    const pieces = cut === 0 ? [data] : [data.subarray(0, cut), data.subarray(cut)];
    return { pieces, lengthBytes: length, eof: (isEnd && eofEarly) || length === 0 };
  };
  return { fetch, fetches };
}

t.test('any reads of any server give the bytes of the file', async (t) => {
  const operation = fc.record({
    jump: fc.boolean(),
    offset: fc.integer({ min: 0, max: 70_000 }),
    size: fc.integer({ min: 1, max: 20_000 }),
    together: fc.boolean(),
  });
  await t.resolves(
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60_000 }),
        fc.constantFrom(4096, 8192, 65_536),
        fc.integer({ min: 1, max: 9000 }),
        fc.boolean(),
        fc.array(operation, { maxLength: 25 }),
        async (fileBytes, rsize, most, eofEarly, operations) => {
          const file = { bytes: content(fileBytes) };
          const reader = new WireReader(fileServer(file, () => most, eofEarly).fetch, rsize);
          let position = 0;
          let waiting: Promise<void>[] = [];
          for (const { jump, offset, size, together } of operations) {
            const at = jump ? offset : position;
            position = at + size;
            const check = reader.read(BigInt(at), size, 0).then((pieces) => {
              const expected = file.bytes.subarray(at, at + size);
              if (!join(pieces).equals(expected)) throw new Error(`wrong bytes at ${at}, ${size}`);
            });
            waiting.push(check);
            if (together) continue;
            await Promise.all(waiting);
            waiting = [];
          }
          await Promise.all(waiting);
        },
      ),
      { numRuns: 150 },
    ),
  );
});

t.test('a sequential reader is read ahead of, in READs of rsize', async (t) => {
  const file = { bytes: content(40 * 65_536) };
  const { fetch, fetches } = fileServer(file, () => Infinity);
  const reader = new WireReader(fetch, 65_536);
  for (let at = 0; at < 8 * 65_536; at += 32_768) {
    t.ok(join(await reader.read(BigInt(at), 32_768, 0)).equals(file.bytes.subarray(at, at + 32_768)));
  }
  const ahead = Math.max(...fetches.map(([offset]) => offset));
  t.ok(ahead >= 8 * 65_536, `asked ahead, up to ${ahead}`);
  const aligned = fetches.filter(([offset, count]) => offset % 65_536 === 0 && count === 65_536);
  t.equal(new Set(aligned.map(([offset]) => offset)).size, aligned.length, 'no block is asked for twice');
});

t.test('a random reader is not', async (t) => {
  const file = { bytes: content(4_000_000) };
  const { fetch, fetches } = fileServer(file, () => Infinity);
  const reader = new WireReader(fetch, 4096);
  // Farther apart than a window, so that none passes for a neighbour of the last.
  const far = BigInt(READ_AHEAD_BYTES) * 2n;
  for (const offset of [0n, far, 0n, far, 0n]) await reader.read(offset, 100, 0);
  t.same(fetches, [
    [0, 100],
    [Number(far), 100],
    [0, 100],
    [Number(far), 100],
    [0, 100],
  ]);
});

t.test('a random reader of a small file is not, either', async (t) => {
  const file = { bytes: content(500_000) };
  const { fetch, fetches } = fileServer(file, () => Infinity);
  const reader = new WireReader(fetch, 1024 * 1024);
  const offsets = [0, 409_600, 4_096, 204_800, 311_296, 81_920];
  for (const offset of offsets) await reader.read(BigInt(offset), 4096, 0);
  t.same(
    fetches,
    offsets.map((offset) => [offset, 4096]),
  );
});

t.test('nothing is read ahead between writes', async (t) => {
  const file = { bytes: content(500_000) };
  const { fetch, fetches } = fileServer(file, () => Infinity);
  const reader = new WireReader(fetch, 65_536);
  for (let number = 0; number < 6; number += 1) await reader.read(BigInt(number * 4096), 4096, number + 1);
  t.same(
    fetches,
    fetches.map((_fetch, number) => [number * 4096, 4096]),
  );
  t.equal(fetches.length, 6);
});

t.test('another version drops what was read ahead', async (t) => {
  const file = { bytes: content(300_000, 1) };
  const reader = new WireReader(fileServer(file, () => Infinity).fetch, 4096);
  for (let at = 0; at < 40_960; at += 4096) await reader.read(BigInt(at), 4096, 0);
  file.bytes = content(300_000, 2);
  for (let at = 40_960; at < 90_000; at += 4096) {
    t.ok(join(await reader.read(BigInt(at), 4096, 1)).equals(file.bytes.subarray(at, at + 4096)));
  }
});

t.test('a file that grows is read on', async (t) => {
  const file = { bytes: content(10_000) };
  const reader = new WireReader(fileServer(file, () => Infinity).fetch, 4096);
  let at = 0;
  const readOn = async (): Promise<void> => {
    for (;;) {
      const got = join(await reader.read(BigInt(at), 3000, 0));
      if (!got.equals(file.bytes.subarray(at, at + 3000))) t.fail(`wrong bytes at ${at}`);
      at += got.length;
      if (got.length < 3000) return;
    }
  };
  for (const bytes of [10_000, 10_001, 30_000, 30_000, 100_000]) {
    // READs that are under way still tell of the old end.
    for (let turns = 0; turns < 5; turns += 1) await new Promise(setImmediate);
    file.bytes = content(bytes);
    await readOn();
    t.equal(at, bytes);
  }
});

t.test('a failed READ fails its readers, and the next try asks again', async (t) => {
  const file = { bytes: content(100_000) };
  const { fetch } = fileServer(file, () => Infinity);
  let broken = false;
  const reader = new WireReader(
    (offset, count) => (broken ? Promise.reject(new Error('lost')) : fetch(offset, count)),
    4096,
  );
  for (let at = 0; at < 12_288; at += 4096) await reader.read(BigInt(at), 4096, 0);
  broken = true;
  await t.rejects(reader.read(60_000n, 4096, 0), /lost/);
  broken = false;
  t.ok(join(await reader.read(60_000n, 4096, 0)).equals(file.bytes.subarray(60_000, 64_096)));
});

t.test('slices of pieces', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 20 })),
      fc.nat(100),
      fc.nat(100),
      (pieces, start, length) => {
        const whole = join(pieces);
        t.same(join(slicePieces(pieces, start, start + length)), whole.subarray(start, start + length));
      },
    ),
    { numRuns: 100 },
  );
});
