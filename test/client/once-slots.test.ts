import t from 'tap';
import { OnceSlots } from '../../src/client/once-slots.ts';

const waiter = (signal = new AbortController().signal): { signal: AbortSignal } => ({ signal });

t.test('calls above the limit wait their turn', async (t) => {
  const slots = new OnceSlots(2);
  const began: number[] = [];
  const ends: (() => void)[] = [];
  const calls = [0, 1, 2, 3].map((index) =>
    slots.run(waiter(), async () => {
      began.push(index);
      await new Promise<void>((resolve) => ends.push(resolve));
      return index;
    }),
  );
  await new Promise(setImmediate);
  t.same([began, slots.taken], [[0, 1], 2]);
  ends[1]?.();
  t.equal(await calls[1], 1);
  t.same([began, slots.taken], [[0, 1, 2], 2]);
  ends[0]?.();
  ends[2]?.();
  await Promise.all([calls[0], calls[2]]);
  ends[3]?.();
  t.equal(await calls[3], 3);
  t.equal(slots.taken, 0);
});

t.test('a call that fails leaves its slot', async (t) => {
  const slots = new OnceSlots(1);
  await t.rejects(
    slots.run(waiter(), () => Promise.reject(new Error('lost'))),
    { message: 'lost' },
  );
  t.equal(await slots.run(waiter(), () => Promise.resolve('next')), 'next');
  t.equal(slots.taken, 0);
});

t.test('who gives up while waiting is let go, and nobody is passed over', async (t) => {
  const slots = new OnceSlots(1);
  let end = (): void => undefined;
  const first = slots.run(waiter(), () => new Promise<void>((resolve) => (end = resolve)));
  const controller = new AbortController();
  const given = slots.run(waiter(controller.signal), () => Promise.reject(new Error('it runs')));
  const last = slots.run(waiter(), () => Promise.resolve('last'));
  controller.abort();
  await t.rejects(given, { code: 'ABORTED' });
  await t.rejects(
    slots.run(waiter(controller.signal), () => Promise.reject(new Error('it runs'))),
    { code: 'ABORTED' },
    'at once',
  );
  end();
  await first;
  t.equal(await last, 'last');
  t.equal(slots.taken, 0);
});
