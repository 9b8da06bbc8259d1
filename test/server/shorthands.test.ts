import t from 'tap';
import { SHORTHANDS_PER_SESSION_MAX, SHORTHAND_GROUPS_PER_SESSION_MAX } from '../../src/server/limits.ts';
import { Shorthands } from '../../src/server/shorthands.ts';

const credential = (uid: number, groups: number) => ({
  flavor: 'sys' as const,
  uid,
  gid: uid,
  groups: Array.from({ length: groups }, (_, index) => index),
});

t.test('a name stands for its caller', async (t) => {
  const shorthands = new Shorthands();
  const first = shorthands.add(credential(1, 20));
  const second = shorthands.add(credential(2, 20));
  t.equal(shorthands.find(first)?.uid, 1);
  t.equal(shorthands.find(second)?.uid, 2);
  for (const unknown of [
    Buffer.alloc(0),
    Buffer.alloc(8),
    Buffer.alloc(8, 0xff),
    Buffer.alloc(9),
    second.subarray(1),
  ]) {
    t.equal(shorthands.find(unknown), undefined);
  }
});

t.test('the caller not heard of longest is forgotten first', async (t) => {
  const shorthands = new Shorthands();
  const first = shorthands.add(credential(1, 17));
  const second = shorthands.add(credential(2, 17));
  for (let uid = 3; uid <= SHORTHANDS_PER_SESSION_MAX; uid += 1) shorthands.add(credential(uid, 17));
  t.ok(shorthands.find(first), 'there is room for all');
  shorthands.add(credential(5000, 17));
  t.equal(shorthands.size, SHORTHANDS_PER_SESSION_MAX);
  t.ok(shorthands.find(first), 'heard of just now');
  t.equal(shorthands.find(second), undefined);
});

t.test('all their groups are limited too', async (t) => {
  const shorthands = new Shorthands();
  const half = SHORTHAND_GROUPS_PER_SESSION_MAX / 2;
  const names = [1, 2, 3].map((uid) => shorthands.add(credential(uid, half)));
  t.strictSame(
    names.map((each) => shorthands.find(each)?.uid),
    [undefined, 2, 3],
  );
});
