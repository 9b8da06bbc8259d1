/** Attributes cut to what fuse-native has room for, without making different things equal. */
import t from 'tap';
import { InodeNumbers, nativeStat, nativeStatfs } from '../../src/fuse/native-attributes.ts';

t.test('inode numbers', async (t) => {
  const numbers = new InodeNumbers(2);
  t.equal(numbers.of(5n), 5);
  t.equal(numbers.of(0x7fff_ffffn), 0x7fff_ffff);
  const large = [0x1_0000_0005n, 0x2_0000_0005n].map((ino) => numbers.of(ino));
  t.equal(new Set([5, ...large]).size, 3, 'all apart');
  t.ok(large.every((number) => number >= 0x8000_0000 && number <= 0xffff_ffff));
  t.same(
    [0x1_0000_0005n, 0x2_0000_0005n].map((ino) => numbers.of(ino)),
    large,
    'and the same again',
  );
  numbers.of(0x3_0000_0005n);
  t.not(numbers.of(0x1_0000_0005n), large[0], 'the oldest was forgotten');
});

t.test('a file', async (t) => {
  const time = { seconds: 4_000_000_000, nanoseconds: 123_999_999 };
  const stat = nativeStat(
    {
      ...{ ino: 9n, mode: 0o100644, nlink: 2, uid: 1, gid: 2, rdevMajor: 259, rdevMinor: 70_000 },
      ...{ size: 6n * 2n ** 30n, used: 513n, atime: time, mtime: time, ctime: time },
    },
    new InodeNumbers(1),
  );
  t.match(stat, { ino: 9, mode: 0o100644, nlink: 2, uid: 1, gid: 2, size: 6_442_450_944, blocks: 2 });
  t.same([stat.atime, stat.mtime, stat.ctime], Array(3).fill(4_000_000_000_123));
});

t.test('the size of a file system', async (t) => {
  const statistics = {
    ...{ blockSizeBytes: 4096, blocks: 2n ** 34n, blocksFree: 2n ** 33n, blocksAvailable: 2n ** 32n },
    ...{ files: 2n ** 40n, filesFree: 7n, nameBytesMax: 255 },
  };
  const { frsize, blocks, bfree, bavail, files, ffree, namemax } = nativeStatfs(statistics);
  t.same(
    [blocks, bfree, bavail].map((count) => count * frsize),
    [2 ** 46, 2 ** 45, 2 ** 44],
  );
  t.ok(blocks <= 0xffff_ffff);
  t.same([files, ffree, namemax], [0xffff_ffff, 7, 255]);
  t.equal(nativeStatfs({ ...statistics, blocks: 100n }).frsize, 4096, 'unchanged where it fits');
});
