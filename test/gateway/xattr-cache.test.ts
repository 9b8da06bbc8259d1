import t from 'tap';
import { DEFAULT_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { Inode } from '../../src/gateway/inodes.ts';
import { XATTR_FILES_MAX, XATTR_KEPT_BYTES_MAX } from '../../src/gateway/limits.ts';
import { XattrCache } from '../../src/gateway/xattr-cache.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';

const inode = (nodeId = 7n): Inode =>
  new Inode(nodeId, Buffer.from('file'), attributesOfFattr3(ATTRIBUTES), DEFAULT_ATTRIBUTE_TIMES);
const VALUE = Buffer.from('value');

t.test('an answer holds for its caller and its version', async (t) => {
  const cache = new XattrCache();
  const file = inode();
  t.equal(cache.value(file, 'a', 'user.x'), undefined);
  cache.keepValue(file, 'a', 'user.x', VALUE);
  cache.keepValue(file, 'a', 'user.none', undefined);
  t.same(cache.value(file, 'a', 'user.x'), { value: VALUE });
  t.same(cache.value(file, 'a', 'user.none'), { value: undefined });
  t.equal(cache.value(file, 'b', 'user.x'), undefined, 'another may not read the file');
  t.equal(cache.names(file, 'a'), undefined);
  file.changedHere();
  t.equal(cache.value(file, 'a', 'user.x'), undefined);
});

t.test('a list says what there is not', async (t) => {
  const cache = new XattrCache();
  const file = inode();
  cache.keepNames(file, 'a', ['user.x']);
  t.same(cache.names(file, 'a'), ['user.x']);
  t.equal(cache.value(file, 'a', 'user.x'), undefined, 'the value is not known');
  t.same(cache.value(file, 'a', 'user.y'), { value: undefined });
  const { changes } = cache;
  cache.changed(file);
  t.equal(cache.names(file, 'a'), undefined);
  t.not(cache.changes, changes);
});

t.test('nothing is kept that is not believed any more', async (t) => {
  const cache = new XattrCache();
  const file = inode();
  cache.keepValue(file, 'a', 'user.x', VALUE);
  file.expire();
  t.equal(cache.value(file, 'a', 'user.x'), undefined);
});

t.test('memory is bounded', async (t) => {
  const cache = new XattrCache();
  const file = inode(1n);
  cache.keepValue(file, 'a', 'user.x', Buffer.alloc(XATTR_KEPT_BYTES_MAX + 1));
  t.equal(cache.value(file, 'a', 'user.x'), undefined, 'large values are asked for each time');
  cache.keepValue(file, 'a', 'user.x', VALUE);
  const { bytes } = cache;
  cache.keepValue(file, 'a', 'user.x', VALUE);
  t.equal(cache.bytes, bytes, 'what is kept again weighs once');
  const second = inode(2n);
  cache.keepValue(second, 'a', 'user.x', VALUE);
  for (let nodeId = 3n; nodeId <= BigInt(XATTR_FILES_MAX); nodeId += 1n)
    cache.keepValue(inode(nodeId), 'a', 'user.x', VALUE);
  t.ok(cache.value(file, 'a', 'user.x'), 'which makes it the last to go');
  cache.keepValue(inode(1_000_000n), 'a', 'user.x', VALUE);
  t.equal(cache.value(second, 'a', 'user.x'), undefined, 'the one not asked about for longest is gone');
  t.ok(cache.value(file, 'a', 'user.x'));
  t.equal(cache.bytes, bytes * XATTR_FILES_MAX);
});
