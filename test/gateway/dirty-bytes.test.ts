import t from 'tap';
import { DirtyBytes, type DirtyFile } from '../../src/gateway/dirty-bytes.ts';
import { StatusError } from '../../src/gateway/status-error.ts';

const waiter = (signal = new AbortController().signal) => ({ signal });

/** A file that commits only when the test says so. */
class SlowFile implements DirtyFile {
  weight = 0;
  asked = 0;
  readonly #dirty: DirtyBytes;

  constructor(dirty: DirtyBytes) {
    this.#dirty = dirty;
  }

  take(bytes: number): void {
    this.weight += bytes;
    this.#dirty.changed(this, bytes);
  }

  async commit(): Promise<void> {
    this.take(-this.weight);
  }

  commitSoon(): void {
    this.asked += 1;
  }
}

t.test('above the background share the file that is dirty for longest is committed', async (t) => {
  const dirty = new DirtyBytes(1_000, 500);
  const [first, second] = [new SlowFile(dirty), new SlowFile(dirty)];
  first.take(300);
  second.take(200);
  t.same([first.asked, second.asked], [0, 0]);
  second.take(100);
  t.same([first.asked, second.asked], [1, 0]);
  t.equal(dirty.bytes, 600);
  await first.commit();
  t.same([...dirty.files], [second]);
});

t.test('writers are admitted in order, as there is room', async (t) => {
  const dirty = new DirtyBytes(1_000, 1_000);
  const file = new SlowFile(dirty);
  file.take(900);
  t.ok(dirty.admits(100));
  t.notOk(dirty.admits(101));
  const order: string[] = [];
  const admit = (name: string, bytes: number) =>
    dirty.admit(bytes, waiter(), () => {
      file.take(bytes);
      order.push(name);
    });
  const waiting = [admit('large', 700), admit('small', 50), admit('last', 600)];
  t.notOk(dirty.admits(1), 'nobody overtakes');
  t.equal(dirty.waiting, 3);
  t.ok(file.asked > 0);
  await file.commit();
  await Promise.all(waiting.slice(0, 2));
  t.same(order, ['large', 'small']);
  const { asked } = file;
  dirty.committed();
  await Promise.resolve();
  t.ok(file.asked > asked, 'what came in meanwhile is committed next');
  await file.commit();
  await Promise.all(waiting);
  t.same(order, ['large', 'small', 'last']);
});

t.test('one write alone is never too large', async (t) => {
  const dirty = new DirtyBytes(100, 100);
  t.ok(dirty.admits(1_000));
});

t.test('who gives up takes nothing and lets the next one go', async (t) => {
  const dirty = new DirtyBytes(1_000, 1_000);
  const file = new SlowFile(dirty);
  file.take(900);
  const interrupt = new AbortController();
  let written = 0;
  const first = dirty.admit(500, waiter(interrupt.signal), () => (written += 500));
  const second = dirty.admit(100, waiter(), () => (written += 100));
  interrupt.abort();
  await t.rejects(first, new StatusError(4));
  await second;
  t.equal(written, 100);
  await t.rejects(
    dirty.admit(1, waiter(interrupt.signal), () => undefined),
    new StatusError(4),
  );
});
