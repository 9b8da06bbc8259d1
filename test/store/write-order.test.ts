import t from 'tap';
import fc from 'fast-check';
import { DiskWork } from '../../src/store/disk-work.ts';
import { WRITES_AT_ONCE_PER_FILE } from '../../src/store/limits.ts';
import { WriteOrder } from '../../src/store/write-order.ts';

/** Work that ends when it is told. */
class Work {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();

  run(name: string): Promise<void> {
    this.begun.push(name);
    return new Promise((resolve, reject) => {
      this.#ends.set(name, { resolve, reject });
    });
  }

  async end(name: string, error?: Error): Promise<void> {
    const end = this.#ends.get(name);
    if (end === undefined) throw new Error(`${name} has not begun`);
    this.#ends.delete(name);
    if (error === undefined) end.resolve();
    else end.reject(error);
    await settled();
  }

  get running(): string[] {
    return [...this.#ends.keys()];
  }
}

/** Every promise job that is due has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function scene() {
  const work = new Work();
  let syncs = 0;
  const order = new WriteOrder((dataOnly) => {
    syncs += 1;
    return work.run(`sync ${syncs}${dataOnly ? ' of data' : ''}`);
  });
  const write = (name: string, offset: number, length: number) =>
    order.write(BigInt(offset), length, () => work.run(name));
  return { work, order, write };
}

t.test('what overlaps is done in the order of arrival', async (t) => {
  const { work, order, write } = scene();
  t.ok(order.isFree(0n, 10));
  const all = [write('old', 0, 10), write('new', 5, 10), write('elsewhere', 100, 1)];
  t.notOk(order.isFree(0n, 1), 'somebody waits');
  await settled();
  t.same(work.begun, ['old'], 'nobody passes one who waits');
  await work.end('old');
  t.same(work.begun, ['old', 'new', 'elsewhere']);
  t.notOk(order.isFree(14n, 1));
  t.ok(order.isFree(15n, 85), 'beside both');
  await work.end('elsewhere');
  await work.end('new');
  await Promise.all(all);
  t.ok(order.isFree(0n, 1000));
});

t.test('a write that fails lets the next one begin', async (t) => {
  const { work, write } = scene();
  const first = write('first', 0, 10);
  const second = write('second', 0, 10);
  const failed = t.rejects(first, { message: 'no' });
  await settled();
  await work.end('first', new Error('no'));
  await failed;
  t.same(work.begun, ['first', 'second']);
  await work.end('second');
  await second;
});

t.test('a sync begins after what arrived before it, and does not wait for what comes later', async (t) => {
  const { work, order, write } = scene();
  const writes = [write('a', 0, 10), write('b', 10, 10)];
  const synced = order.sync(false);
  writes.push(write('c', 20, 10));
  await settled();
  await work.end('b');
  t.same(work.running, ['a', 'c']);
  await work.end('a');
  t.same(work.running, ['c', 'sync 1']);
  await work.end('sync 1');
  await synced;
  await work.end('c');
  await Promise.all(writes);
});

t.test('who waits for what arrived before does not wait for what comes later', async (t) => {
  const { work, order, write } = scene();
  t.equal(order.settled(), undefined, 'nothing arrived');
  const writes = [write('a', 0, 10), write('b', 5, 10)];
  const ends: string[] = [];
  const early = order.settled()?.then(() => ends.push('early'));
  writes.push(write('c', 20, 10));
  const late = order.settled()?.then(() => ends.push('late'));
  await settled();
  await work.end('a');
  t.strictSame(ends, [], 'one still waits for its turn');
  const failed = t.rejects(writes[1]!, { message: 'ENOSPC' });
  await work.end('b', new Error('ENOSPC'));
  await failed;
  t.strictSame(ends, ['early'], 'a write that failed has ended, too');
  await work.end('c');
  await Promise.all([early, late, writes[0], writes[2]]);
  t.strictSame(ends, ['early', 'late']);
  t.equal(order.settled(), undefined);
});

t.test('syncs that are due together are one; later ones are another', async (t) => {
  const { work, order, write } = scene();
  const first = order.sync(true);
  t.same(work.begun, ['sync 1 of data']);
  const second = [order.sync(true), order.sync(false), order.sync(true)];
  t.same(work.running, ['sync 1 of data'], 'one at a time');
  await work.end('sync 1 of data');
  await first;
  t.same(work.running, ['sync 2']);
  const written = write('a', 0, 1);
  const third = [order.sync(true), order.sync(true)];
  const rejected = second.map((each) => t.rejects(each, { message: 'EIO' }));
  await work.end('sync 2', new Error('EIO'));
  await Promise.all(rejected);
  t.same(work.running, ['a']);
  await work.end('a');
  await written;
  await work.end('sync 3 of data');
  await Promise.all(third);
});

t.test('whatever arrives, in whatever order it ends', async (t) => {
  const step = fc.record({
    offset: fc.nat(20),
    length: fc.integer({ min: 1, max: 8 }),
    isSync: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30 }),
      fc.infiniteStream(fc.nat(10)),
      async (steps, choices) => {
        const { work, order, write } = scene();
        const ended: number[] = [];
        const pending = steps.map(async ({ offset, length, isSync }, index) => {
          const before = steps.flatMap((earlier, at) => (at < index && !earlier.isSync ? [at] : []));
          if (!isSync) {
            await write(`${index}`, offset, length);
            ended.push(index);
            return;
          }
          await order.sync(false);
          for (const at of before)
            if (!ended.includes(at)) throw new Error(`sync ${index} before write ${at}`);
        });
        await settled();
        while (work.running.length > 0) {
          const writes = work.running.filter((name) => !name.startsWith('sync')).map(Number);
          if (writes.length > WRITES_AT_ONCE_PER_FILE) throw new Error('too many at once');
          for (const index of writes) {
            const { offset, length } = steps[index]!;
            for (const [at, other] of steps.slice(0, index).entries()) {
              const overlaps = other.offset < offset + length && offset < other.offset + other.length;
              if (!other.isSync && overlaps && !ended.includes(at)) throw new Error(`${index} passed ${at}`);
            }
          }
          const [choice = 0] = choices.take(1);
          await work.end(work.running[choice % work.running.length]!);
        }
        await Promise.all(pending);
      },
    ),
    { numRuns: 60 },
  );
  t.ok(new WriteOrder(() => Promise.resolve()).isFree(0n, 1));
});

t.test('one thread is left for others', async (t) => {
  const work = new Work();
  const disk = new DiskWork(2);
  const all = ['a', 'b', 'c', 'd'].map((name) => disk.run(() => work.run(name)));
  t.same(work.begun, ['a', 'b']);
  t.equal(disk.busy, 2);
  const failed = t.rejects(all[1]!, { message: 'EIO' });
  await work.end('b', new Error('EIO'));
  await failed;
  t.same(work.begun, ['a', 'b', 'c']);
  await work.end('a');
  await work.end('d');
  await work.end('c');
  await Promise.all([all[0], all[2], all[3]]);
  t.equal(disk.busy, 0);
});
