import t from 'tap';
import { claimsOf, outsideIdentity } from '../../src/transport/peer.ts';

const MAP = [
  { inside: 0, outside: 100_000, count: 1000 },
  { inside: 1000, outside: 5000, count: 1 },
];
const process = { sharesUserNamespace: false, uidMap: MAP, gidMap: MAP, maySwitch: true };
const here = { ...process, sharesUserNamespace: true };

t.test('a peer speaks for those it could become', async (t) => {
  t.equal(claimsOf(0, here), 'any', 'root');
  t.equal(claimsOf(1000, here), 'itself', 'another user');
  t.equal(claimsOf(0, { ...here, maySwitch: false }), 'itself', 'root without the capabilities');
  t.strictSame(claimsOf(100_000, process), { uidMap: MAP, gidMap: MAP }, 'root of a container');
  t.equal(claimsOf(100_001, process), 'itself', 'another user of it');
  t.equal(claimsOf(0, process), 'itself', 'one that is root here, not there');
  t.equal(claimsOf(100_000, { ...process, maySwitch: false }), 'itself', 'setgroups denied');
  t.equal(claimsOf(0, 'gone'), 'itself');
  t.equal(claimsOf(0, 'unseen'), 'itself', 'one whose capabilities cannot be seen');
  t.equal(claimsOf(0, 'unknown'), 'any', 'an older kernel knows uid 0 only');
  t.equal(claimsOf(100_000, 'unknown'), 'itself');
});

t.test('ids of a container are ids here, and others are nobody’s', async (t) => {
  const maps = { uidMap: MAP, gidMap: MAP };
  t.strictSame(outsideIdentity(maps, { uid: 999, gid: 1000, groups: [0, 1001, 5] }), {
    uid: 100_999,
    gid: 5000,
    groups: [100_000, 100_005],
  });
  t.equal(outsideIdentity(maps, { uid: 1001, gid: 0, groups: [] }), undefined);
  t.equal(outsideIdentity(maps, { uid: 0, gid: 100_000, groups: [] }), undefined);
});
