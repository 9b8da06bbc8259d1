/** A call that comes again after its server was killed under it takes effect once: real processes, real SIGKILL. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { skipWithoutBuild } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

/** Without what tap has every process of a test load. */
const PLAIN = { ...process.env, NODE_OPTIONS: '' };
const CHILD = fileURLToPath(new URL('once.child.mjs', import.meta.url));

function runServer(directory: string, killedAt: string): { signal: string | null; said: unknown } {
  const args = [CHILD, directory, killedAt];
  const { signal, stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: PLAIN,
  });
  if (signal === null && status !== 0) throw new Error(stderr);
  return { signal, said: stdout === '' ? undefined : JSON.parse(stdout) };
}

/** Where each of the servers that take the call one after the other is killed. */
const DEATHS: readonly (readonly string[])[] = [
  ['called'],
  ['begun'],
  ['changed'],
  ['answered'],
  ['called', 'begun', 'begun', 'changed', 'changed', 'answered', 'answered'],
];

for (const deaths of DEATHS) {
  t.test(`killed when ${deaths.join(', ')}`, { skip: skipWithoutBuild() }, async (t) => {
    const directory = makeDirectory(t);
    mkdirSync(join(directory, 'tree'));
    for (const death of deaths) {
      t.same(runServer(directory, death), { signal: 'SIGKILL', said: undefined });
    }
    const said = { answer: 'directory 1', effects: 1 };
    t.same(runServer(directory, ''), { signal: null, said });
    t.same(runServer(directory, ''), { signal: null, said }, 'and as often as it is asked');
  });
}
