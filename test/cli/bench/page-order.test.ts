import t from 'tap';
import { pageOrder } from '../../../src/cli/bench/page-order.ts';

t.test('each page once, in an order the seed decides', async (t) => {
  const order = [...pageOrder(1000, 5000, 7)];
  t.strictSame(
    order.toSorted((a, b) => a - b),
    Array.from({ length: 1000 }, (_none, index) => index),
  );
  t.notSame(
    order,
    order.toSorted((a, b) => a - b),
    'shuffled',
  );
  t.strictSame([...pageOrder(1000, 5000, 7)], order, 'the same again');
  t.notSame([...pageOrder(1000, 5000, 8)], order, 'another seed, another order');
});

t.test('no more than asked for, spread over everything', async (t) => {
  const order = [...pageOrder(100_000, 1000, 1)];
  t.equal(order.length, 1000);
  t.equal(new Set(order).size, 1000);
  t.ok(Math.max(...order) > 50_000 && Math.min(...order) < 50_000);
  t.equal(pageOrder(0, 10, 1).length, 0);
});
