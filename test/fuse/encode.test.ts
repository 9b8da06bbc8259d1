import t from 'tap';
import {
  FOPEN_KEEP_CACHE,
  FOPEN_NOFLUSH,
  FOPEN_PASSTHROUGH,
  fuse_attr_out,
  fuse_entry_out,
  fuse_open_out,
  fuse_statfs_out,
} from '../../src/fuse/abi.ts';
import {
  NO_ENTRY,
  encodeAttributes,
  encodeEntry,
  encodeOpened,
  encodeStatistics,
} from '../../src/fuse/encode.ts';

const attributes = {
  ino: 0xffffffffffffffffn,
  mode: 0o100644,
  nlink: 2,
  uid: 1,
  gid: 0xffffffff,
  rdevMajor: 259,
  rdevMinor: 70_000,
  size: 5n * 1024n ** 3n,
  used: 1025n,
  atime: { seconds: 0xffffffff, nanoseconds: 999_999_999 },
  mtime: { seconds: 1, nanoseconds: 2 },
  ctime: { seconds: 3, nanoseconds: 4 },
};

t.test('attributes', async (t) => {
  const reply = fuse_attr_out.decode(encodeAttributes({ attributes, validMs: 2500 }));
  t.match(reply, { attr_valid: 2n, attr_valid_nsec: 500_000_000 });
  t.match(reply.attr, { ino: attributes.ino, size: attributes.size, blocks: 3n, gid: 0xffffffff, nlink: 2 });
  t.match(reply.attr, {
    atime: 0xffffffffn,
    atimensec: 999_999_999,
    mtime: 1n,
    mtimensec: 2,
    ctime: 3n,
    ctimensec: 4,
  });
  // new_encode_dev: minor's low byte, 12 bits of major, the rest of minor.
  t.equal(reply.attr.rdev, (70_000 & 0xff) | (259 << 8) | ((70_000 & ~0xff) << 12));
});

t.test(
  'times of validity never exceed what was given, and never hold a whole second of nanoseconds',
  async (t) => {
    for (const validMs of [0, 0.0004, 0.9999, 999.9999, 1000, 29_999.123456, 60_000]) {
      const { attr_valid, attr_valid_nsec } = fuse_attr_out.decode(encodeAttributes({ attributes, validMs }));
      t.ok(attr_valid_nsec < 1e9);
      const ms = Number(attr_valid) * 1000 + attr_valid_nsec / 1e6;
      t.ok(ms <= validMs + 1e-6 && ms > validMs - 1e-3, `${validMs}: ${ms}`);
    }
  },
);

t.test('times before 1970', async (t) => {
  const early = { seconds: -86_400, nanoseconds: 5 };
  const reply = encodeAttributes({ attributes: { ...attributes, mtime: early }, validMs: 0 });
  t.match(fuse_attr_out.decode(reply).attr, { mtime: -86_400n, mtimensec: 5 });
});

t.test('entries', async (t) => {
  const entry = { nodeId: 77n, entryValidMs: 30_000, attributes: { attributes, validMs: 3000 } };
  t.match(fuse_entry_out.decode(encodeEntry(entry)), {
    nodeid: 77n,
    entry_valid: 30n,
    attr_valid: 3n,
    attr: { size: attributes.size },
  });
  t.match(fuse_entry_out.decode(encodeEntry(NO_ENTRY)), { nodeid: 0n, entry_valid: 0n, attr_valid: 0n });
});

t.test('opened files: a backing goes without KEEP_CACHE, which the kernel would refuse', async (t) => {
  const open = (more: { keepCache: boolean; backingId?: number }, mayWrite = false) =>
    fuse_open_out.decode(encodeOpened({ fileHandle: 5n, ...more }, mayWrite));
  t.match(open({ keepCache: false }), { fh: 5n, open_flags: FOPEN_NOFLUSH, backing_id: 0 });
  t.match(open({ keepCache: true }), { open_flags: FOPEN_NOFLUSH | FOPEN_KEEP_CACHE });
  t.match(open({ keepCache: false, backingId: 3 }), {
    open_flags: FOPEN_NOFLUSH | FOPEN_PASSTHROUGH,
    backing_id: 3,
  });
  t.match(open({ keepCache: true }, true), { open_flags: FOPEN_KEEP_CACHE }, 'closing a written file asks');
});

t.test('statistics', async (t) => {
  const value = {
    blockSizeBytes: 4096,
    blocks: 1n,
    blocksFree: 2n,
    blocksAvailable: 3n,
    files: 4n,
    filesFree: 5n,
    nameBytesMax: 255,
  };
  t.match(fuse_statfs_out.decode(encodeStatistics(value)), {
    blocks: 1n,
    bfree: 2n,
    bavail: 3n,
    files: 4n,
    ffree: 5n,
    bsize: 4096,
    frsize: 4096,
    namelen: 255,
  });
});
