/**
 * ping_pong of ctdb (https://wiki.samba.org/index.php/Ping_pong) in two guests at once, and while their server is killed and
 * started again: locks that go around, and what was written under each of them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeScene } from '../fault/scene.ts';
import { within } from '../support/mounts.ts';
import { MOUNT_LIMIT_MS, sized } from '../trees/size.ts';
import { skipWithoutPrograms } from './writable-mount.ts';
import { FULL_SIZE } from '../trees/size.ts';

const skip = skipWithoutPrograms({ ping_pong: 'ctdb' });
if (skip !== false) console.error(`ping_pong: skipped: ${skip}`);

/** It says how many locks a second it had, each second. */
const ROUNDS = sized(3, 60);
/** Above what a round takes on a busy machine, and above the time in which a new server gives out old locks only. */
const ROUND_LIMIT_MS = 60_000;
/** More than there are programs. */
const LOCKS = '3';

interface PingPong {
  /** What it has said but for its speed: how much the others have added since it looked last, and what failed. */
  readonly said: () => readonly string[];
  /** Waits until it has said its speed so often again, and had any lock meanwhile. */
  readonly rounds: (count: number) => Promise<void>;
  /** Waits until it has said this, as the last thing. */
  readonly says: (text: string) => Promise<void>;
  readonly end: () => Promise<void>;
}

function pingPong(t: Test, file: string, option: string): PingPong {
  const child = spawn('ping_pong', [option, file, LOCKS], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  let onText = (): void => undefined;
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
    onText();
  });
  const lines = (): string[] => text.split(/[\r\n]+/).filter((line) => line.trim() !== '');
  const said = (): string[] => lines().filter((line) => !line.includes('locks/sec'));
  const speeds = (): number => lines().filter((line) => Number.parseInt(line) > 0).length;
  const until = (isSo: () => boolean, what: string): Promise<void> => {
    const come = new Promise<void>((resolve) => {
      onText = () => {
        if (isSo()) resolve();
      };
      onText();
    });
    return within(come, ROUND_LIMIT_MS, () => `ping_pong in ${file} ${what}: ${text.slice(-1_000)}`);
  };
  return {
    said,
    rounds: async (count) => {
      for (let round = 0; round < count; round += 1) {
        const before = speeds();
        await until(() => speeds() > before, 'does not go on');
      }
    },
    says: (wanted) => until(() => said().at(-1) === wanted, `does not say '${wanted}'`),
    end: async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

for (const route of ['near', 'network']) {
  // -c takes a turn more for each round, and writes nothing.
  for (const option of FULL_SIZE ? ['-rw', '-c'] : ['-rw']) {
    t.test(`ping_pong ${option}, ${route}`, { skip }, async (t) => {
      t.setTimeout(MOUNT_LIMIT_MS);
      const scene = makeScene(t);
      const exports = [`tree=${scene.tree},squash=none,clients=127.0.0.0/8`];
      let server = await scene.serve({ exports });
      const options = `route=${route}`;
      const point = `${scene.point}2`;
      const mounts = [
        await scene.mount({ options, limitMs: MOUNT_LIMIT_MS }),
        await scene.mount({ options, limitMs: MOUNT_LIMIT_MS, point }),
      ];
      const one = pingPong(t, join(scene.point, 'f'), option);
      await one.rounds(1);
      const other = pingPong(t, join(point, 'f'), option);
      const both = [one, other];
      if (option === '-rw') {
        // Each finds that itself and the other have added one.
        for (const each of both) await each.says('data increment = 2');
      }
      const said = both.map((each) => each.said());
      const goOn = async (what: string): Promise<void> => {
        for (const each of both) await each.rounds(ROUNDS);
        t.same(
          both.map((each) => each.said()),
          said,
          `${what}: nothing failed, and every byte was what the other had written`,
        );
      };
      await goOn('two guests');
      await server.kill();
      server = await scene.serve({ exports, port: server.port });
      await goOn('a server that was killed');
      await server.stop();
      await scene.serve({ exports, port: server.port });
      await goOn('a server that was stopped');

      await other.end();
      await one.rounds(1);
      for (const mount of mounts) t.notMatch(mount.log(), /is lost/);
      await one.end();
      for (const mount of mounts) t.same(await mount.stop(), { status: 0, signal: null });
    });
  }
}
