import { ftruncateSync, openSync, readdirSync } from 'node:fs';
import t from 'tap';
import { GuestSegments } from '../../src/fgdp/guest-segments.ts';
import { SEGMENTS_PER_SESSION_MAX } from '../../src/fgdp/limits.ts';
import { OwnSegment } from '../../src/fgdp/own-segment.ts';
import { PAGE_BYTES, pagesOffset } from '../../src/fgdp/segment-layout.ts';
import { SegmentPool } from '../../src/fgdp/segment-pool.ts';
import { duplicateFd } from '../../src/system/files.ts';
import { createMemory } from '../../src/system/memory.ts';

const PAGES = 256;
const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** A server's segment, as a guest gets it. */
function shared(guest: GuestSegments, id = 1n): OwnSegment {
  const own = new OwnSegment(id, PAGES, 8);
  if (!own.handOver((fd) => guest.adopt(id, PAGES, duplicateFd(fd)))) throw new Error('refused');
  return own;
}

t.test('pages are good from publishing to recall', async (t) => {
  const before = descriptors();
  const guest = new GuestSegments();
  const own = shared(guest);
  t.equal(descriptors(), before, 'no descriptor stays open');
  const page = own.allocator.allocate(1) ?? -1;
  const handle = own.handle(page, 5000, 10n);
  const pages = guest.find(handle);
  if (pages === undefined) throw new Error('not found');
  t.notOk(pages.isCurrent(), 'not published yet');
  own.memory(page, 5000).fill('ab');
  own.slots.publish(page, 10n, 5000);
  t.ok(pages.isCurrent());
  const target = Buffer.alloc(10, '.');
  pages.copyTo(target, 2, 4_996, 4);
  t.equal(target.toString(), '..abab....');
  t.ok(pages.isCurrent(), 'so the copy is good');
  t.throws(() => pages.copyTo(target, 0, 4_998, 4), RangeError);
  t.throws(() => pages.copyTo(target, 0, -1, 4), RangeError);
  own.slots.recall(page, 10n);
  t.notOk(pages.isCurrent());
  own.slots.publish(page, 12n, 5000);
  t.notOk(pages.isCurrent(), 'what lies there now is something else');
  const later = guest.find(own.handle(page, 5000, 12n));
  t.ok(later?.isCurrent());
  guest.close();
  t.notOk(later?.isCurrent(), 'nor after the end');
  t.equal(guest.find(handle), undefined);
  own.close();
});

t.test('a guest outlives a server that is gone', async (t) => {
  const guest = new GuestSegments();
  const own = shared(guest);
  own.memory(0, 4).write('good');
  own.slots.publish(0, 2n, 4);
  const pages = guest.find(own.handle(0, 4, 2n));
  own.close();
  const target = Buffer.alloc(4);
  pages?.copyTo(target, 0, 0, 4);
  t.equal(target.toString(), 'good', 'the memory stays as long as anybody maps it');
  guest.close();
});

t.test('what a hostile server sends is refused, and closed', async (t) => {
  const before = descriptors();
  const guest = new GuestSegments();
  const hole = createMemory('test');
  ftruncateSync(hole, 2 * PAGE_BYTES);
  t.notOk(guest.adopt(1n, 1, hole), 'not sealed');
  t.notOk(guest.adopt(1n, 1, openSync('/dev/null', 'r')), 'a device');
  t.notOk(guest.adopt(1n, 0, openSync('/dev/null', 'r')), 'no pages');
  t.notOk(guest.adopt(1n, 2 ** 31, openSync('/dev/null', 'r')), 'pages without number');
  const own = new OwnSegment(1n, PAGES, 8);
  own.handOver((fd) => {
    t.notOk(guest.adopt(1n, PAGES + 256, duplicateFd(fd)), 'larger than it is');
    t.ok(guest.adopt(1n, PAGES, duplicateFd(fd)));
    t.notOk(guest.adopt(1n, PAGES, duplicateFd(fd)), 'the same id again');
    for (let id = 2n; id <= SEGMENTS_PER_SESSION_MAX; id += 1n) guest.adopt(id, PAGES, duplicateFd(fd));
    t.equal(guest.size, SEGMENTS_PER_SESSION_MAX);
    t.notOk(guest.adopt(9_999n, PAGES, duplicateFd(fd)), 'more than a session has');
    return true;
  });
  t.equal(descriptors(), before);
  const good = own.handle(0, 4096, 1n);
  t.ok(guest.find(good));
  const offset = BigInt(pagesOffset(PAGES));
  for (const forged of [
    { ...good, shared_file: 70_000n },
    { ...good, offset: 0n },
    { ...good, offset: offset + 1n },
    { ...good, length: BigInt(PAGES * PAGE_BYTES) + 1n },
    { ...good, offset: 2n ** 64n - 4096n },
  ])
    t.equal(guest.find(forged), undefined, String(forged.offset));
  guest.close();
  own.close();
});

t.test('the pool gives no more than its budget', async (t) => {
  const pool = new SegmentPool(100);
  t.ok(pool.reserve(60));
  t.notOk(pool.reserve(41));
  t.ok(pool.reserve(40));
  pool.release(60);
  t.equal(pool.usedBytes, 40);
});
