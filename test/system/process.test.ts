import fs from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { bootId, processEnded, processGroups } from '../../src/system/process.ts';

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

t.test('the end of a process', async (t) => {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  t.equal(await processEnded(child.pid!, 1), false, 'it runs');
  const ended = processEnded(child.pid!, 60_000);
  child.kill('SIGKILL');
  t.equal(await ended, true);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  t.equal(await processEnded(child.pid!, 60_000), true, 'one that is gone has ended');
});
