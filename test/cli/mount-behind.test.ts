/** What the command in front makes of its gateway: one that is up stays, and one that hangs does not keep the command. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { expectAnswer, firstWord } from '../../src/cli/mount-behind.ts';
import { cannotMountHere, runTool } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';
import { isRunning, makeStage } from './unmount-stage.ts';

function forkScript(t: Test, text: string) {
  const script = join(makeDirectory(t), 'gateway.cjs');
  writeFileSync(script, text);
  const child = fork(script, { execArgv: [], env: { ...process.env, NODE_OPTIONS: '' } });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

t.test('a gateway that is up is not ended later', async (t) => {
  const child = forkScript(
    t,
    `process.on('message', () => process.send('lives')); process.send({ ready: true });`,
  );
  const limitMs = 2_000;
  t.same(await firstWord(child, '/log', limitMs), { ready: true });
  // A timer set later for longer goes off later, however slow the machine is.
  await delay(limitMs + 100);
  const answer = Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([, signal]) => [`ended by ${signal}`]),
  ]);
  child.send('do you live?');
  t.same((await answer)[0], 'lives');
});

t.test('one that says nothing is ended', async (t) => {
  const child = forkScript(t, 'setInterval(() => undefined, 1000);');
  const ended = once(child, 'exit');
  t.match(await firstWord(child, '/log', 200), { failed: /did not come up within 0\.2 s: see \/log$/ });
  t.equal((await ended)[1], 'SIGTERM');
  t.match(await firstWord(forkScript(t, 'process.exit(3)'), '/log'), { failed: /ended \(status 3\)/ });
});

t.test('a mount that does not answer, or no longer', { skip: cannotMountHere }, async (t) => {
  const { mount } = await makeStage(t);
  const [stopped, dead] = [await mount('stopped'), await mount('dead')];
  await expectAnswer(dead.point, '/log');
  process.kill(dead.pid, 'SIGKILL');
  while (isRunning(dead.pid)) await runTool('sleep', ['0.05']);
  const error = { name: 'CliError', message: /does not answer: see \/log$/ };
  await t.rejects(expectAnswer(dead.point, '/log'), error);
  process.kill(stopped.pid, 'SIGSTOP');
  await t.rejects(expectAnswer(stopped.point, '/log', 500), error);
  process.kill(stopped.pid, 'SIGCONT');
});
