import t from 'tap';
import {
  aclOfMode,
  aclOfXattr,
  modeOfXattr,
  modeSent,
  modeToSend,
  xattrOfAcl,
  xattrToSet,
} from '../../src/nfs3/posix-acl.ts';

const OWNER = { uid: 10, gid: 20 };
const NONE = 0xffffffff;

/** Version 2, then tag and permissions in 16 bits each and the id in 32, little-endian: acl(5), posix_acl_xattr.h. */
function xattr(...entries: readonly (readonly [tag: number, perm: number, id: number])[]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, perm, id], index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(perm, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  });
  return bytes;
}

const EXTENDED = xattr(
  [1, 6, NONE],
  [2, 4, 1000],
  [2, 0, 1001],
  [4, 4, NONE],
  [8, 5, 3000],
  [16, 5, NONE],
  [32, 0, NONE],
);

t.test('an ACL goes over and comes back', async (t) => {
  const sent = aclOfXattr(EXTENDED, OWNER, false);
  t.strictSame(sent, [
    { type: 1, id: 10, perm: 6 },
    { type: 2, id: 1000, perm: 4 },
    { type: 2, id: 1001, perm: 0 },
    { type: 4, id: 20, perm: 4 },
    { type: 8, id: 3000, perm: 5 },
    { type: 16, id: 0, perm: 5 },
    { type: 32, id: 0, perm: 0 },
  ]);
  t.strictSame(xattrOfAcl(sent ?? [], false), EXTENDED);
  t.strictSame(xattrOfAcl([...(sent ?? [])].reverse(), false), EXTENDED, 'in whatever order it comes');
});

t.test('a default ACL has its flag on the wire only, and may be minimal', async (t) => {
  const minimal = xattr([1, 7, NONE], [4, 5, NONE], [32, 5, NONE]);
  const sent = aclOfXattr(minimal, OWNER, true) ?? [];
  t.strictSame(
    sent.map(({ type }) => type),
    [0x1001, 0x1004, 0x1010, 0x1020],
    'with a mask',
  );
  t.strictSame(xattrOfAcl(sent, true), minimal);
});

t.test('what the mode says already is no ACL', async (t) => {
  const sent = aclOfMode(0o100640, OWNER);
  t.strictSame(
    sent.map(({ type, perm }) => [type, perm]),
    [
      [1, 6],
      [4, 4],
      [16, 4],
      [32, 0],
    ],
  );
  t.equal(xattrOfAcl(sent, false), null);
  t.equal(xattrOfAcl([], false), null);
  t.equal(xattrOfAcl([], true), null);
  const masked = sent.map((entry) => (entry.type === 16 ? { ...entry, perm: 0 } : entry));
  t.ok(Buffer.isBuffer(xattrOfAcl(masked, false)), 'a mask of its own is one');
});

t.test('what is no ACL is told', async (t) => {
  t.equal(aclOfXattr(Buffer.alloc(0), OWNER, false), undefined);
  t.equal(aclOfXattr(EXTENDED.subarray(0, -1), OWNER, false), undefined, 'cut');
  t.equal(aclOfXattr(Buffer.from([3, 0, 0, 0]), OWNER, false), undefined, 'another version');
  const good = aclOfXattr(EXTENDED, OWNER, false) ?? [];
  const without = (tag: number) => good.filter(({ type }) => type !== tag);
  for (const tag of [1, 4, 16, 32]) t.equal(xattrOfAcl(without(tag), false), undefined, `without ${tag}`);
  t.equal(xattrOfAcl([...good, { type: 1, id: 0, perm: 7 }], false), undefined, 'two owners');
  t.equal(xattrOfAcl([...good, { type: 64, id: 0, perm: 7 }], false), undefined, 'an unknown tag');
  t.equal(xattrOfAcl([...without(2), { type: 2, id: 1, perm: 8 }], false), undefined, 'unknown permissions');
});

t.test('what is to be set may be a mode', async (t) => {
  const mode = xattr([1, 6, NONE], [4, 4, NONE], [32, 0, NONE]);
  t.strictSame(xattrToSet(aclOfMode(0o100640, OWNER)), mode, 'without the mask');
  t.strictSame(xattrToSet(aclOfXattr(EXTENDED, OWNER, true) ?? []), EXTENDED);
  t.equal(xattrToSet([]), null);
  t.equal(xattrToSet([{ type: 1, id: 0, perm: 7 }]), undefined);
});

t.test('an ACL that says no more than a mode is one', async (t) => {
  t.equal(modeOfXattr(xattr([1, 6, NONE], [4, 4, NONE], [32, 1, NONE])), 0o641);
  t.equal(modeOfXattr(xattr([1, 0, NONE], [4, 0, NONE], [32, 0, NONE])), 0);
  t.equal(modeOfXattr(EXTENDED), undefined);
  t.equal(modeOfXattr(xattr([1, 6, NONE], [4, 4, NONE], [4, 1, NONE])), undefined, 'nothing about others');
  t.equal(modeOfXattr(xattr([1, 6, NONE], [4, 8, NONE], [32, 1, NONE])), undefined, 'unknown permissions');
  t.equal(modeOfXattr(Buffer.alloc(3)), undefined);
});

t.test('a mode goes with what the umask has taken off', async (t) => {
  const sent = modeToSend(0o2640, 0o2666);
  t.equal(sent & 0o7777, 0o2640, 'who does not know of it takes what is left');
  t.same(modeSent(sent), { mode: 0o2666, umask: 0o026 });
  t.same(modeSent(modeToSend(0, 0o777)), { mode: 0o777, umask: 0o777 });
  t.same(modeSent(0o100644), { mode: 0o644, umask: 0 }, 'a mode alone');
});
