/** What surrounds the program; its mounts are in cli/mount-as-user.test.ts. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { escapeOption, findFusermount, mayAllowOther } from '../../src/fuse/fusermount.ts';

t.test('the program is found on the path, fusermount3 first', async (t) => {
  const directory = t.testdir({ fusermount: '', fusermount3: '' });
  writeFileSync(join(directory, 'fusermount'), '', { mode: 0o755 });
  chmodSync(join(directory, 'fusermount'), 0o755);
  chmodSync(join(directory, 'fusermount3'), 0o755);
  t.equal(findFusermount(`${directory}:/nowhere`), join(directory, 'fusermount3'));
  t.not(findFusermount('/nowhere'), join(directory, 'fusermount3'));
});

t.test('fuse.conf', async (t) => {
  t.ok(mayAllowOther('mount_max = 10\n  user_allow_other \n'));
  t.notOk(mayAllowOther('#user_allow_other\n'));
  t.notOk(mayAllowOther('user_allow_other_users\n'));
  t.notOk(mayAllowOther(''));
});

t.test('values in a list of options', async (t) => {
  t.equal(escapeOption('nfs://host/a,b\\c'), 'nfs://host/a\\,b\\\\c');
});
