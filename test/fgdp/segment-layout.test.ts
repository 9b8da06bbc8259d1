import t from 'tap';
import {
  PAGE_BYTES,
  SLOT,
  SlotTable,
  pageOfHandle,
  pagesOffset,
  segmentBytes,
} from '../../src/fgdp/segment-layout.ts';
import { SEGMENT_PAGES } from '../../src/fgdp/limits.ts';

t.test('sizes', async (t) => {
  t.equal(PAGE_BYTES, 4096);
  t.equal(SLOT.sizeBytes, 32);
  t.same(SLOT, { sizeBytes: 32, generation: 0, valid: 8, references: 12, length: 16 });
  t.equal(SEGMENT_PAGES * PAGE_BYTES, 16 * 1024 * 1024);
  t.equal(pagesOffset(SEGMENT_PAGES), 128 * 1024);
  t.equal(segmentBytes(SEGMENT_PAGES), 16 * 1024 * 1024 + 128 * 1024);
  t.equal(pagesOffset(1), 4096, 'pages begin on a page border');
  t.equal(segmentBytes(1), 8192);
});

t.test('the fields lie where the layout says', async (t) => {
  const memory = new ArrayBuffer(segmentBytes(256));
  const slots = new SlotTable(memory, 256);
  slots.publish(3, 77n, 4000);
  slots.setReferences(3, 2);
  const slot = Buffer.from(memory, 3 * SLOT.sizeBytes, SLOT.sizeBytes);
  t.equal(slot.readBigUInt64LE(SLOT.generation), 77n);
  t.equal(slot.readUInt32LE(SLOT.valid), 1);
  t.equal(slot.readUInt32LE(SLOT.references), 2);
  t.equal(slot.readUInt32LE(SLOT.length), 4000);
  t.ok(slots.isValid(3, 77n));
  t.notOk(slots.isValid(3, 76n));
  t.notOk(slots.isValid(2, 77n));
  slots.recall(3, 77n);
  t.notOk(slots.isValid(3, 77n));
  t.notOk(slots.isValid(3, 78n), 'not even the generation that stands for nothing');
  t.equal(slots.references(3), 0);
});

t.test('a handle leads to its slot, and a forged one nowhere', async (t) => {
  const pages = 256;
  const start = BigInt(pagesOffset(pages));
  const handle = (offset: bigint, length: bigint) => ({ shared_file: 1n, offset, length, generation: 1n });
  t.equal(pageOfHandle(handle(start, 1n), pages), 0);
  t.equal(pageOfHandle(handle(start + 4096n, 8192n), pages), 1);
  t.equal(pageOfHandle(handle(start, 4096n * 256n), pages), 0, 'all of it');
  const top = 2n ** 64n - 1n;
  const forged: [bigint, bigint][] = [
    [0n, 4096n],
    [start - 4096n, 4096n],
    [start + 1n, 10n],
    [start, 0n],
    [start, 4096n * 256n + 1n],
    [start + 4096n * 255n, 4097n],
    [start + 4096n * 256n, 1n],
    [top, 1n],
    [start, top],
    [top - 4095n, 4096n],
  ];
  for (const [offset, length] of forged) {
    t.equal(pageOfHandle(handle(offset, length), pages), undefined, `${offset}, ${length}`);
  }
});
