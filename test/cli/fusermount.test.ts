/** What is asked of fusermount3(1), and how its answers are read: a script stands in for it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CliError } from '../../src/cli/errors.ts';
import { unmountOwn } from '../../src/cli/fusermount.ts';
import { findFusermount } from '../../src/fuse/fusermount.ts';
import type { MountEntry } from '../../src/system/mount-table.ts';
import { makeDirectory } from '../support/trees.ts';

const entry = (owner: number): MountEntry => ({
  id: 1,
  parentId: 1,
  device: '0:1',
  mountPoint: '/mnt/a b',
  options: [],
  type: 'fuse.nearmount',
  source: 'data',
  superOptions: ['ro', `user_id=${owner}`],
});
const own = entry(process.getuid?.() ?? 0);

t.test('answers of fusermount3', async (t) => {
  const bin = makeDirectory(t);
  const path = process.env.PATH ?? '';
  t.teardown(() => {
    process.env.PATH = path;
  });
  process.env.PATH = bin;
  // Not on the path: it may still be where the system has it.
  const message =
    findFusermount() === undefined
      ? /cannot be unmounted: fusermount3 is not installed, install fuse3$/
      : /cannot be unmounted: (?!.*cannot be run)/;
  await t.rejects(unmountOwn(own, false), { message });
  const answer = (text: string, status: number): void => {
    writeFileSync(
      join(bin, 'fusermount3'),
      `#!/bin/sh\n[ "$2" = -- ] && [ "$3" = '/mnt/a b' ] || exit 9\n${text}\nexit ${status}\n`,
      { mode: 0o755 },
    );
  };
  answer('[ "$1" = -u ] || exit 8', 0);
  t.equal(await unmountOwn(own, false), true);
  answer('[ "$1" = -uz ] || exit 8', 0);
  t.equal(await unmountOwn(own, true), true);
  answer('echo "fusermount3: failed to unmount /mnt/a b: Device or resource busy" >&2', 1);
  t.equal(await unmountOwn(own, false), false);
  await t.rejects(unmountOwn(own, true), { message: /cannot be unmounted: .*busy$/ });
  answer('echo "fusermount3: entry for /mnt/a b not found in /etc/mtab" >&2', 1);
  await t.rejects(unmountOwn(own, false), { message: /cannot be unmounted: .*not found in/ });
  writeFileSync(join(bin, 'fusermount3'), '#!/nowhere/sh\n', { mode: 0o755 });
  await t.rejects(
    unmountOwn(own, false),
    new CliError(`/mnt/a b cannot be unmounted: ${bin}/fusermount3 cannot be run (ENOENT)`),
  );
});

t.test("another user's mount", async (t) => {
  await t.rejects(unmountOwn(entry(54321), false), { message: /user with id 54321: that user or root/ });
});
