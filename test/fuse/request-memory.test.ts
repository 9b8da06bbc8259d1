/** The memory of requests: what is kept is never written over, what is given back is used again. */
import t from 'tap';
import { REQUEST_BUFFER_BYTES, REQUEST_SLAB_BYTES, REQUEST_SLABS_SPARE_MAX } from '../../src/fuse/limits.ts';
import { RequestMemory, type GiveBack } from '../../src/fuse/request-memory.ts';

const MIB = 1024 * 1024;

t.test('what is not kept is used for the next request', async (t) => {
  const memory = new RequestMemory();
  const first = memory.room;
  t.equal(first.length, REQUEST_BUFFER_BYTES, 'the kernel gives nothing to a smaller buffer');
  t.equal(memory.room, first);
});

t.test('what is kept is not written over', async (t) => {
  const memory = new RequestMemory();
  const kept: Buffer[] = [];
  for (let request = 0; request < 40; request += 1) {
    const { room } = memory;
    t.equal(room.length, REQUEST_BUFFER_BYTES);
    room.fill(request);
    const bytes = room.subarray(0, 40_000 * (1 + (request % 5)));
    kept.push(bytes);
    memory.keep(bytes.length);
  }
  memory.room.fill(255);
  for (const [request, bytes] of kept.entries()) {
    t.ok(
      bytes.every((byte) => byte === request),
      `request ${request}`,
    );
  }
});

t.test('memory that is given back is used again', async (t) => {
  const memory = new RequestMemory();
  const first = memory.room.buffer;
  const back: GiveBack[] = [];
  while (memory.room.buffer === first) back.push(memory.keep(MIB));
  const second = memory.room.buffer;
  for (const giveBack of back.slice(1)) giveBack();
  back[1]!();
  t.equal(memory.spareSlabs, 0, 'one of its requests is still kept');
  back[0]!();
  t.equal(memory.spareSlabs, 1);
  while (memory.room.buffer === second) memory.keep(MIB);
  t.equal(memory.room.buffer, first);
  t.equal(memory.spareSlabs, 0);
});

t.test('one request that comes and goes stays in one place', async (t) => {
  const memory = new RequestMemory();
  const { room } = memory;
  for (let request = 0; request < 100; request += 1) memory.keep(MIB)();
  t.equal(memory.room.buffer, room.buffer);
  t.equal(memory.room.byteOffset, room.byteOffset);
});

t.test('after a burst no more than the limit is held', async (t) => {
  const memory = new RequestMemory();
  const back: GiveBack[] = [];
  const perSlab = Math.floor(REQUEST_SLAB_BYTES / REQUEST_BUFFER_BYTES);
  for (let request = 0; request < perSlab * (REQUEST_SLABS_SPARE_MAX + 5); request += 1) {
    back.push(memory.keep(REQUEST_BUFFER_BYTES));
  }
  for (const giveBack of back) giveBack();
  t.equal(memory.spareSlabs, REQUEST_SLABS_SPARE_MAX);
});
