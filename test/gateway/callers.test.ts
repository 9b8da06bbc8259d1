import t from 'tap';
import { Callers, type CallerProcess } from '../../src/gateway/callers.ts';
import { CALLER_CACHE_MS } from '../../src/gateway/limits.ts';
import { authsys_parms } from '../../src/rpc/auth.ts';
import { decodeAll } from '../../src/xdr/codec.ts';

const USER: CallerProcess = {
  uids: [1000, 1000],
  gids: [1000, 1000],
  groups: [4, 5],
  passesModes: false,
  maySetGroups: false,
};
const context = (pid: number, uid = 1000, gid = 1000) => ({
  pid,
  uid,
  gid,
  signal: new AbortController().signal,
});

function callersOf(processes: Map<number, CallerProcess>) {
  let looks = 0;
  let nowMs = 0;
  const callers = new Callers(
    (pid) => {
      looks += 1;
      const found = processes.get(pid);
      if (found === undefined) throw new Error('gone');
      return found;
    },
    () => nowMs,
  );
  const gidsOf = (pid: number, uid?: number, gid?: number, hints?: readonly number[]) => {
    const { credential } = callers.caller(context(pid, uid, gid), hints);
    return decodeAll(authsys_parms, [credential.body]).gids;
  };
  const wait = (ms: number): void => void (nowMs += ms);
  return { callers, gidsOf, looks: () => looks, wait };
}

t.test('groups are those of the process, once for several requests', async (t) => {
  const { callers, gidsOf, looks, wait } = callersOf(new Map([[7, USER]]));
  t.strictSame(gidsOf(7), [4, 5]);
  wait(CALLER_CACHE_MS - 1);
  t.strictSame(gidsOf(7), [4, 5]);
  t.equal(looks(), 1);
  wait(1);
  t.strictSame(gidsOf(7), [4, 5]);
  t.equal(looks(), 2, 'and looked at again after a while');
  t.equal(callers.caller(context(7)).key, '1000:1000:4,5');
});

t.test('who cannot be seen has no groups, and is not remembered', async (t) => {
  const processes = new Map<number, CallerProcess>();
  const { callers, gidsOf, looks } = callersOf(processes);
  t.strictSame(gidsOf(0), [], 'a foreign pid namespace');
  t.equal(looks(), 0, 'there is nobody to look at');
  t.ok(callers.caller(context(0)).passesModes, 'only the server’s word counts');
  t.strictSame(gidsOf(7), [], 'gone');
  processes.set(7, USER);
  t.strictSame(gidsOf(7), [4, 5], 'another process with its number');
});

t.test('a request in another name does not get the groups of the process', async (t) => {
  const { gidsOf } = callersOf(new Map([[7, { ...USER, uids: [1000, 1001], gids: [1000, 1002] }]]));
  t.strictSame(gidsOf(7, 1001, 1002), [4, 5], 'file-system ids, as in open');
  t.strictSame(gidsOf(7, 1000, 1000), [4, 5], 'real ids, as in access(2)');
  t.strictSame(gidsOf(7, 0, 0), [], 'those of the mounter of an overlay');
  t.strictSame(gidsOf(7, 1001, 0), []);
});

t.test('one that may change its groups is looked at each time', async (t) => {
  const processes = new Map([[7, { ...USER, maySetGroups: true }]]);
  const { gidsOf } = callersOf(processes);
  t.strictSame(gidsOf(7), [4, 5]);
  processes.set(7, { ...USER, maySetGroups: true, groups: [6] });
  t.strictSame(gidsOf(7), [6]);
});

t.test('of more than 16 groups those of the files come first, then the lowest', async (t) => {
  const groups = Array.from({ length: 40 }, (_, index) => 2040 - index);
  const { callers, gidsOf } = callersOf(new Map([[7, { ...USER, groups: [...groups, 1000] }]]));
  t.strictSame(
    gidsOf(7),
    Array.from({ length: 16 }, (_, index) => 2001 + index),
  );
  t.strictSame(gidsOf(7, 1000, 1000, [2040]), [
    2040,
    ...Array.from({ length: 15 }, (_, index) => 2001 + index),
  ]);
  t.strictSame(gidsOf(7, 1000, 1000, [99, 1000]), gidsOf(7), 'a group it is not in changes nothing');
  const { wide, key } = callers.caller(context(7), [2040]);
  t.strictSame(wide, { uid: 1000, gid: 1000, groups, key });
  t.equal(callers.caller(context(7)).key, key, 'it is the same caller');
});
