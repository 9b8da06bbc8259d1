import fc from 'fast-check';
import t from 'tap';
import { DEFAULT_ATTRIBUTE_TIMES, NO_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { InodeTable } from '../../src/gateway/inodes.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';

const attributes = attributesOfFattr3(ATTRIBUTES);
const handle = (index: number): Buffer => Buffer.from(`handle ${index}`);
const table = (times = DEFAULT_ATTRIBUTE_TIMES) => new InodeTable(Buffer.from('root'), attributes, times);

t.test('a handle has one inode while anybody refers to it, and a node id is never used twice', async (t) => {
  const inodes = table();
  const first = inodes.intern(handle(1), attributes);
  first.lookups += 1n;
  t.equal(inodes.intern(handle(1), attributes), first);
  t.equal(inodes.get(first.nodeId), first);
  inodes.forget(first.nodeId, 1n);
  t.equal(inodes.get(first.nodeId), undefined);
  t.not(inodes.intern(handle(1), attributes).nodeId, first.nodeId);
});

t.test('the handle is copied', async (t) => {
  const inodes = table();
  const bytes = Buffer.from('a handle');
  const inode = inodes.intern(bytes, attributes);
  bytes.fill(0);
  t.equal(Buffer.from(inode.handle).toString(), 'a handle');
});

t.test('an open inode outlives its last lookup', async (t) => {
  const inodes = table();
  const inode = inodes.intern(handle(1), attributes);
  inode.lookups = 1n;
  inode.open = { files: 1, writers: 0, held: undefined, pages: undefined, why: 'test' };
  inodes.forget(inode.nodeId, 1n);
  t.equal(inodes.get(inode.nodeId), inode);
  inode.open = undefined;
  inodes.drop(inode);
  t.equal(inodes.get(inode.nodeId), undefined);
});

t.test('rights are forgotten with permissions, also within one tick of the server’s clock', async (t) => {
  const inode = table().intern(handle(1), attributes);
  inode.accessOf.set('caller', 1);
  inode.update({ ...attributes, atime: { seconds: 9, nanoseconds: 0 } }, DEFAULT_ATTRIBUTE_TIMES);
  t.equal(inode.accessOf.size, 1);
  inode.update({ ...attributes, mode: attributes.mode ^ 0o040 }, DEFAULT_ATTRIBUTE_TIMES);
  t.equal(inode.accessOf.size, 0);
});

t.test('the root stays', async (t) => {
  const inodes = table();
  inodes.forget(1n, 1n);
  t.ok(inodes.get(1n));
  inodes.forget(99n, 1n);
});

t.test('whatever is looked up and forgotten, nothing is left', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 3 })), { maxLength: 60 }),
      (lookups) => {
        const inodes = table();
        const counts = new Map<bigint, bigint>();
        for (const [index, times] of lookups) {
          const inode = inodes.intern(handle(index), attributes);
          inode.lookups += BigInt(times);
          counts.set(inode.nodeId, (counts.get(inode.nodeId) ?? 0n) + BigInt(times));
          // Some are given back at once, as the kernel does.
          if (times === 2) {
            inodes.forget(inode.nodeId, 1n);
            counts.set(inode.nodeId, counts.get(inode.nodeId)! - 1n);
          }
        }
        t.equal(inodes.size, counts.size + 1);
        for (const [nodeId, count] of counts) inodes.forget(nodeId, count);
        t.equal(inodes.size, 1);
      },
    ),
    { numRuns: 50 },
  );
});

t.test('attributes that change make a new version', async (t) => {
  const inodes = table();
  const inode = inodes.intern(handle(1), attributes);
  inode.accessOf.set('caller', 1);
  t.equal(
    inode.update({ ...attributes, atime: { seconds: 9, nanoseconds: 9 } }, DEFAULT_ATTRIBUTE_TIMES),
    false,
  );
  t.equal(inode.version, 0, 'reading is no change');
  for (const changed of [
    { size: 11n },
    { mtime: { seconds: 2, nanoseconds: 1 } },
    { ctime: { seconds: 4, nanoseconds: 0 } },
  ]) {
    const before = inode.version;
    t.ok(inode.update({ ...inode.attributes, ...changed }, DEFAULT_ATTRIBUTE_TIMES));
    t.equal(inode.version, before + 1);
  }
  t.equal(inode.accessOf.size, 0, 'rights are asked for again');
});

t.test('times of validity', async (t) => {
  const inode = table().intern(handle(1), attributes);
  t.ok(inode.remainingMs > 0 && inode.remainingMs <= 3_000);
  inode.expire();
  t.equal(inode.remainingMs, 0);
  t.equal(table(NO_ATTRIBUTE_TIMES).intern(handle(1), attributes).remainingMs, 0);
});

t.test('opens and closes of one inode run one after the other', async (t) => {
  const inode = table().intern(handle(1), attributes);
  const order: string[] = [];
  const step = (name: string, fails = false) =>
    inode.inTurn(async () => {
      order.push(`${name} begins`);
      await new Promise(setImmediate);
      order.push(`${name} ends`);
      if (fails) throw new Error(name);
    });
  const failing = step('a', true);
  const next = step('b');
  await t.rejects(failing, /a/);
  await next;
  t.same(order, ['a begins', 'a ends', 'b begins', 'b ends']);
});
