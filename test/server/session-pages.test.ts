import t from 'tap';
import type { Test } from 'tap';
import { GuestSegments } from '../../src/fgdp/guest-segments.ts';
import { PAGE_BYTES } from '../../src/fgdp/segment-layout.ts';
import { SegmentPool } from '../../src/fgdp/segment-pool.ts';
import type { page_handle } from '../../src/fgdp/program.ts';
import { SessionPages, type MapOutcome } from '../../src/server/session-pages.ts';
import { duplicateFd } from '../../src/system/files.ts';
import { FakePageFile, fakeContent } from './fake-page-file.ts';

const SEGMENT_PAGES = 256;
const SEGMENT_BYTES = SEGMENT_PAGES * PAGE_BYTES;

function session(t: Test, segments = 2, pool = new SegmentPool(8 * SEGMENT_BYTES)) {
  const guest = new GuestSegments();
  const pages = new SessionPages({
    pool,
    send: (id, count, fd) => guest.adopt(id, count, duplicateFd(fd)),
    segmentPages: SEGMENT_PAGES,
    quotaBytes: segments * SEGMENT_BYTES,
  });
  t.teardown(() => {
    pages.close();
    guest.close();
  });
  const read = (handle: page_handle): Buffer | undefined => {
    const found = guest.find(handle);
    if (found === undefined) return undefined;
    const target = Buffer.alloc(found.lengthBytes);
    found.copyTo(target, 0, 0, found.lengthBytes);
    return found.isCurrent() ? target : undefined;
  };
  return { pages, guest, pool, read };
}

function mapped(outcome: MapOutcome): Extract<MapOutcome, { kind: 'mapped' }> {
  if (outcome.kind !== 'mapped') throw new Error(outcome.reason);
  return outcome;
}

t.test('the handles of a file lead to its bytes, without a gap', async (t) => {
  const { pages, read } = session(t);
  for (const size of [1, 4095, 4096, 4097, 70_000, 300_000]) {
    const file = new FakePageFile(size % 1000, size);
    const { handles, offset, eof } = mapped(await pages.map(file, 0n, 1_000_000));
    t.equal(offset, 0n);
    t.ok(eof);
    const bytes = Buffer.concat(handles.map((handle) => read(handle) ?? Buffer.alloc(0)));
    t.ok(bytes.equals(fakeContent(file.id, 1, 0, size)), `${size} bytes in ${handles.length} runs`);
    t.same(mapped(await pages.map(file, BigInt(size), 10)), {
      kind: 'mapped',
      offset: BigInt(size),
      handles: [],
      eof: true,
      status: file.status(),
    });
  }
  const file = new FakePageFile(7, 600_000);
  const middle = mapped(await pages.map(file, 100_000n, 50_000));
  t.ok(middle.offset <= 100_000n);
  t.notOk(middle.eof);
  const bytes = Buffer.concat(middle.handles.map((handle) => read(handle) ?? Buffer.alloc(0)));
  t.ok(middle.offset + BigInt(bytes.length) >= 150_000n);
  t.ok(bytes.equals(fakeContent(7, 1, Number(middle.offset), bytes.length)));
  t.same(mapped(await pages.map(file, 0n, 0)).handles, []);
});

t.test('what is mapped already is not read again', async (t) => {
  const { pages } = session(t);
  const file = new FakePageFile(1, 100_000);
  let reads = 0;
  const read = file.read.bind(file);
  file.read = (offset, target) => {
    reads += 1;
    return read(offset, target);
  };
  const [first, second] = await Promise.all([pages.map(file, 0n, 100_000), pages.map(file, 0n, 100_000)]);
  t.same(mapped(first).handles, mapped(second).handles);
  t.equal(reads, mapped(first).handles.length);
  t.equal(pages.inUse.references, 2 * mapped(first).handles.length);
});

t.test('a change recalls all pages of a file', async (t) => {
  const { pages, read } = session(t);
  const file = new FakePageFile(1, 10_000);
  const other = new FakePageFile(2, 10_000);
  const old = mapped(await pages.map(file, 0n, 10_000)).handles;
  const kept = mapped(await pages.map(other, 0n, 10_000)).handles;
  file.change();
  t.ok(old.every(read), 'until somebody is told');
  file.tell();
  t.notOk(old.some(read));
  t.ok(kept.every(read), 'others are left alone');
  t.equal(file.watches, 0);
  // Not told, but seen.
  const now = mapped(await pages.map(file, 0n, 10_000)).handles;
  file.change(8_000);
  const later = mapped(await pages.map(file, 0n, 10_000));
  t.notOk(now.some(read));
  t.ok(
    Buffer.concat(later.handles.map((each) => read(each) ?? Buffer.alloc(0))).equals(
      fakeContent(1, 3, 0, 8_000),
    ),
  );
});

t.test('a file that changes while it is copied gives no torn pages', async (t) => {
  const { pages, read } = session(t);
  const file = new FakePageFile(1, 20_000);
  file.delayed = true;
  const once = pages.map(file, 0n, 20_000);
  file.change();
  file.delayed = false;
  file.reads.splice(0).forEach((go) => {
    go();
  });
  const { handles } = mapped(await once);
  t.ok(
    Buffer.concat(handles.map((each) => read(each) ?? Buffer.alloc(0))).equals(fakeContent(1, 2, 0, 20_000)),
    'it is copied once more',
  );
  const restless = new FakePageFile(2, 20_000);
  const status = restless.status.bind(restless);
  restless.status = () => {
    restless.version += 1;
    return status();
  };
  t.same(await pages.map(restless, 0n, 20_000), {
    kind: 'bytes',
    reason: 'the file changes while it is read',
  });
  restless.status = status;
  const writing = new FakePageFile(3, 20_000);
  writing.isOpenForWriting = true;
  t.match(await pages.map(writing, 0n, 10), { kind: 'bytes', reason: /open for writing/ });
  const broken = new FakePageFile(4, 20_000);
  broken.broken = true;
  await t.rejects(pages.map(broken, 0n, 20_000), { code: 'EIO' });
  t.equal(pages.inUse.files, 1, 'what could not be mapped leaves nothing');
  t.equal(writing.watches + broken.watches + restless.watches, 0);
});

t.test('room is made by recalling what was not used for longest, idle pages first', async (t) => {
  const { pages, read } = session(t, 1);
  const files = Array.from({ length: 5 }, (_, id) => new FakePageFile(id, SEGMENT_BYTES / 4));
  const [a, b, c, d, e] = files as [FakePageFile, FakePageFile, FakePageFile, FakePageFile, FakePageFile];
  const map = async (file: FakePageFile): Promise<page_handle> => {
    const [handle, ...more] = mapped(await pages.map(file, 0n, SEGMENT_BYTES)).handles;
    if (handle === undefined || more.length > 0) throw new Error('not one run');
    return handle;
  };
  const first = [await map(a), await map(b), await map(c), await map(d)];
  t.equal(pages.inUse.pages, SEGMENT_PAGES);
  const [ofA, ofB, ofC, ofD] = first as [page_handle, page_handle, page_handle, page_handle];
  pages.unmap(ofC);
  const ofE = await map(e);
  t.notOk(read(ofC), 'the idle one');
  t.ok([ofA, ofB, ofD, ofE].every(read));
  await map(c);
  t.notOk(read(ofA), 'then the oldest, although the guest has a handle');
  t.ok([ofB, ofD, ofE].every(read));
  pages.unmap(ofA);
  t.equal(pages.inUse.references, 4, 'a handle of what was recalled is not counted twice');
});

t.test('UNMAP of what one does not have changes nothing', async (t) => {
  const { pages, read } = session(t);
  const file = new FakePageFile(1, 4096);
  const [handle] = mapped(await pages.map(file, 0n, 4096)).handles;
  if (handle === undefined) throw new Error('nothing mapped');
  for (const forged of [
    { ...handle, shared_file: 99n },
    { ...handle, offset: handle.offset + 4096n },
    { ...handle, offset: 0n },
    { ...handle, generation: handle.generation + 1n },
    { ...handle, offset: 2n ** 64n - 1n, length: 2n ** 64n - 1n },
  ])
    pages.unmap(forged, true);
  t.equal(pages.inUse.references, 1);
  t.ok(read(handle));
  pages.unmap(handle);
  pages.unmap(handle);
  pages.unmap(handle);
  t.equal(pages.inUse.references, 0, 'never negative');
  t.ok(read(handle), 'idle pages stay until they are needed');
  await pages.map(file, 0n, 4096);
  pages.unmap(handle, true);
  t.notOk(read(handle), 'unless they are discarded');
  t.same(pages.inUse, { pages: 0, references: 0, files: 0 });
  t.equal(file.watches, 0);
});

t.test('an exhausted pool, a full quota and a full channel mean bytes', async (t) => {
  const pool = new SegmentPool(SEGMENT_BYTES);
  const one = session(t, 4, pool);
  const two = session(t, 4, pool);
  const file = new FakePageFile(1, 4096);
  mapped(await one.pages.map(file, 0n, 4096));
  t.match(await two.pages.map(file, 0n, 4096), { kind: 'bytes', reason: /page pool/ });
  one.pages.close();
  t.equal(pool.usedBytes, 0);
  mapped(await two.pages.map(file, 0n, 4096));
  t.match(await one.pages.map(file, 0n, 4096), { kind: 'bytes', reason: /ended/ });

  const small = session(t, 0);
  t.match(await small.pages.map(file, 0n, 4096), { kind: 'bytes', reason: /share of the page pool/ });
  const deaf = new SessionPages({ pool: new SegmentPool(2 ** 40), send: () => false });
  t.match(await deaf.map(file, 0n, 4096), { kind: 'bytes', reason: /channel/ });
  t.equal(deaf.bytesTaken, 0);
  const unwatched = new FakePageFile(2, 4096);
  Object.defineProperty(unwatched, 'watch', { value: () => undefined });
  t.match(await two.pages.map(unwatched, 0n, 4096), { kind: 'bytes', reason: /watched/ });
});

t.test('a session that ends under a copy frees its memory when the copy is done', async (t) => {
  const { pages, pool, guest } = session(t);
  const file = new FakePageFile(1, 100_000);
  file.delayed = true;
  const waiting = pages.map(file, 0n, 100_000);
  t.equal(pool.usedBytes, SEGMENT_BYTES);
  pages.close();
  t.equal(pool.usedBytes, 0);
  t.equal(file.watches, 0);
  guest.close();
  file.broken = true;
  file.reads.splice(0).forEach((go) => {
    go();
  });
  t.match(await waiting.catch((error: unknown) => ({ failed: error })), { kind: 'bytes' });
});
