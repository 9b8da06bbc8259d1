import fs from 'node:fs';
import t from 'tap';
import { bootId, processGroups } from '../../src/system/process.ts';

t.test('the boot id is a UUID that stays', async (t) => {
  t.match(bootId(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  t.equal(bootId(), bootId());
});

t.test('groups of a process', async (t) => {
  const known = new Set([...(process.getgroups?.() ?? []), process.getegid?.()]);
  for (const group of processGroups(process.pid)) t.ok(known.has(group));
  t.same(processGroups('thread-self'), processGroups(process.pid));
  const largest = Number(fs.readFileSync('/proc/sys/kernel/pid_max', 'latin1'));
  t.throws(() => processGroups(largest + 1), { code: 'ESRCH' });
});
