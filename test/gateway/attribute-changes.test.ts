import t from 'tap';
import { sattr3Of } from '../../src/gateway/attribute-changes.ts';
import { TIME_HOW } from '../../src/nfs3/types.ts';

const { DONT_CHANGE, SET_TO_CLIENT_TIME, SET_TO_SERVER_TIME } = TIME_HOW;
const NOTHING = {
  mode: null,
  uid: null,
  gid: null,
  size: null,
  atime: { set_it: DONT_CHANGE },
  mtime: { set_it: DONT_CHANGE },
};

t.test('only what is there is changed', async (t) => {
  t.same(sattr3Of({}), NOTHING);
  t.same(sattr3Of({ mode: 0o100_4755, uid: 0, gid: 4_294_967_294, size: 0n }), {
    ...NOTHING,
    mode: 0o4755,
    uid: 0,
    gid: 4_294_967_294,
    size: 0n,
  });
});

t.test('times are the server’s present one, or exact to the nanosecond', async (t) => {
  const mtime = { seconds: 1_234_567_890, nanoseconds: 987_654_321 };
  t.same(sattr3Of({ atime: 'now', mtime }), {
    ...NOTHING,
    atime: { set_it: SET_TO_SERVER_TIME },
    mtime: { set_it: SET_TO_CLIENT_TIME, time: { seconds: 1_234_567_890, nseconds: 987_654_321 } },
  });
});

t.test('times that NFSv3 does not know become the nearest it does', async (t) => {
  const time = (seconds: number) => {
    const { mtime } = sattr3Of({ mtime: { seconds, nanoseconds: 5 } });
    return mtime.set_it === SET_TO_CLIENT_TIME ? mtime.time : undefined;
  };
  t.same(time(-1), { seconds: 0, nseconds: 0 });
  t.same(time(0xffff_ffff), { seconds: 0xffff_ffff, nseconds: 5 });
  t.same(time(0x1_0000_0000), { seconds: 0xffff_ffff, nseconds: 5 });
});
