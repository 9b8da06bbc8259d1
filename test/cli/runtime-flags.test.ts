/** The flags of the runtime: whoever starts the command by its name has those that the gateway behind is given. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { RUNTIME_FLAGS } from '../../src/cli/runtime-flags.ts';
import { MAIN } from '../support/mounts.ts';

t.test('the first line of the command has them', async (t) => {
  const [line] = readFileSync(MAIN, 'utf8').split('\n');
  t.equal(line, `#!/usr/bin/env -S node ${RUNTIME_FLAGS.join(' ')}`);
});

t.test('the runtime knows them', async (t) => {
  const { status, stderr } = spawnSync(process.execPath, [...RUNTIME_FLAGS, '-e', '']);
  t.equal(status, 0);
  t.equal(stderr.toString(), '');
});
