import t from 'tap';
import { ReplyAccount, ReplyBudget } from '../../src/server/reply-budget.ts';
import { READ_BYTES_MAX, SMALL_READ_BYTES_MAX } from '../../src/store/limits.ts';

const MIB = READ_BYTES_MAX;

t.test('one connection waits for its own replies only', async (t) => {
  const budget = new ReplyBudget({ allBytesMax: 10 * MIB, connectionBytesMax: 2 * MIB });
  const greedy = new ReplyAccount(budget);
  const honest = new ReplyAccount(budget);
  t.equal(greedy.take(MIB), MIB);
  t.equal(greedy.take(20_000), 20_000, 'what is not small takes a whole buffer');
  t.equal(budget.usedBytes, 2 * MIB);
  const third = greedy.take(MIB);
  const small = greedy.take(1);
  t.ok(third instanceof Promise && small instanceof Promise, 'in order');
  t.equal(honest.take(MIB), MIB, 'others do not wait');
  greedy.give(20_000);
  t.equal(await third, MIB);
  greedy.give(MIB);
  t.equal(await small, 1);
  greedy.give(MIB);
  greedy.give(1);
  honest.give(MIB);
  t.equal(budget.usedBytes, 0);
});

t.test('whoever holds nothing gets some', async (t) => {
  const budget = new ReplyBudget({ allBytesMax: 2 * MIB, connectionBytesMax: 2 * MIB });
  const greedy = new ReplyAccount(budget);
  t.equal(greedy.take(MIB), MIB);
  t.equal(greedy.take(MIB), MIB);
  const honest = new ReplyAccount(budget);
  t.equal(honest.take(MIB), SMALL_READ_BYTES_MAX, 'a small piece');
  const second = honest.take(MIB);
  t.ok(second instanceof Promise, 'one at a time');
  honest.give(SMALL_READ_BYTES_MAX);
  t.equal(await second, SMALL_READ_BYTES_MAX);
  const third = honest.take(MIB);
  greedy.give(MIB);
  greedy.give(MIB);
  t.equal(await third, MIB, 'and more once there is room in the whole');
  const left = honest.take(MIB);
  honest.close();
  t.equal(await left, 0, 'who has left waits no more');
  t.equal(honest.take(1), 0);
});
