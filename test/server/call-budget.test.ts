import t from 'tap';
import { CallAccount, CallBudget } from '../../src/server/call-budget.ts';

function scene(limits: { all: number; each: number }) {
  const budget = new CallBudget({ allCallBytesMax: limits.all, connectionCallBytesMax: limits.each });
  const told: string[] = [];
  const account = (name: string): CallAccount => {
    const made = new CallAccount(budget);
    made.onRoom = () => told.push(name);
    return made;
  };
  return { budget, told, account };
}

t.test('a connection has its limit', (t) => {
  const { budget, account } = scene({ all: 1000, each: 100 });
  const [one, other] = [account('one'), account('other')];
  one.take(99);
  t.notOk(one.isFull);
  one.take(50);
  t.ok(one.isFull);
  t.notOk(other.isFull);
  one.give(50);
  t.notOk(one.isFull);
  one.give(99);
  t.equal(budget.usedBytes, 0);
  t.end();
});

t.test('all together have theirs, and who holds nothing may send', (t) => {
  const { budget, told, account } = scene({ all: 200, each: 150 });
  const [one, two, three] = [account('one'), account('two'), account('three')];
  one.take(100);
  two.take(100);
  t.ok(budget.isFull);
  t.ok(two.isFull && one.isFull);
  t.notOk(three.isFull, 'it holds nothing');
  three.receivesLong(true);
  t.same(told, ['three'], 'no long record is read to its end');
  t.ok(three.isFull);
  two.give(100);
  t.same(told, ['three', 'two', 'one', 'three'], 'in the order in which they came to wait');
  t.notOk(three.isFull || one.isFull);
  three.receivesLong(false);
  one.give(100);
  t.same(told.length, 4, 'nobody waits');
  t.end();
});

t.test('room goes to the first only as far as it lasts', (t) => {
  const { told, account } = scene({ all: 200, each: 1000 });
  const [one, two, three] = [account('one'), account('two'), account('three')];
  one.take(100);
  two.take(100);
  three.take(100);
  t.ok(one.isFull && two.isFull && three.isFull);
  // Whoever goes on takes what is there at once.
  one.onRoom = () => {
    told.push('one');
    one.take(100);
  };
  three.give(50);
  t.same(told, []);
  three.give(50);
  t.same(told, []);
  two.give(50);
  t.same(told, ['one'], 'and it is full again');
  two.close();
  one.give(100);
  t.same(told, ['one', 'three'], 'an ended connection is not told');
  t.end();
});
