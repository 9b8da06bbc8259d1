import t from 'tap';
import { squashIdentity } from '../../src/store/squash.ts';

const anonymous = { anonymousUid: 65534, anonymousGid: 65533 };
const root = { uid: 0, gid: 0, groups: [0, 5] };
const user = { uid: 1000, gid: 100, groups: [5] };

t.test('root', async (t) => {
  const squash = (identity: typeof root) => squashIdentity({ squash: 'root', ...anonymous }, identity);
  t.same(squash(root), { uid: 65534, gid: 65533, groups: [65533, 5] });
  t.same(squash({ ...user, gid: 0 }), { uid: 1000, gid: 65533, groups: [5] });
  t.same(squash({ ...user, groups: [5, 0] }), { uid: 1000, gid: 100, groups: [5, 65533] });
  t.equal(squash(user), user);
});

t.test('all and none', async (t) => {
  t.same(squashIdentity({ squash: 'all', ...anonymous }, user), { uid: 65534, gid: 65533, groups: [] });
  t.equal(squashIdentity({ squash: 'none', ...anonymous }, root), root);
});
