/**
 * The gateway of a near mount is killed at random moments under programs that write and have each step acknowledged by
 * fsync, fdatasync, close or O_SYNC: every byte that was acknowledged is on the server's disk, whoever was writing gets an
 * error, and the next mount at the same place works on with the same files.
 * `NEARMOUNT_GATEWAY_DEATHS=200 npx tap --timeout=3600 test/fault/gateway-killed-writing.test.ts` runs it at length;
 * NEARMOUNT_WRITERS_SEED repeats what the writers did (not the moments).
 */
import { randomInt } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { cannotMountHere, runTool } from '../support/mounts.ts';
import { RecordLedger } from './record-ledger.ts';
import { makeScene } from './scene.ts';
import { WriterProcess } from './writer-process.ts';

type Milliseconds = number;

const DEATHS = Number(process.env.NEARMOUNT_GATEWAY_DEATHS ?? 4);
const SEED = Number(process.env.NEARMOUNT_WRITERS_SEED ?? randomInt(2 ** 31));
const WRITERS = 3;
/** The moment of death, counted from the progress of all. */
const DEATH_AFTER_MAX: Milliseconds = 300;
/** Far above what a death takes with all that follows, on a busy machine. */
const DEATH_LIMIT: Milliseconds = 30_000;
const LIMIT: Milliseconds = 120_000 + DEATHS * DEATH_LIMIT;
/** What a program may be told when nobody answers for its file any more. */
const ENDS = /^(ENOTCONN|ECONNABORTED|EIO)$/;

t.setTimeout(LIMIT);

t.test(`${DEATHS} deaths of a near gateway, seed ${SEED}`, { skip: cannotMountHere }, async (t) => {
  const scene = makeScene(t);
  const server = await scene.serve({ exports: [`tree=${scene.tree},squash=none,clients=127.0.0.0/8`] });
  const mountIt = () => scene.mount({ options: 'route=near,hard', limitMs: LIMIT });
  let mount = await mountIt();
  let steps = 0;
  for (let death = 1; death <= DEATHS; death += 1) {
    const writers = Array.from({ length: WRITERS }, (_, index) => {
      // A new writer knows nothing of the files of one before it.
      const name = `${death}-${index}`;
      const disk = join(scene.tree, name);
      mkdirSync(disk);
      const seed = (SEED + death * WRITERS + index) >>> 0;
      return new WriterProcess<never>(t, {
        script: 'record-writer.mjs',
        point: join(scene.point, name),
        disk,
        seed,
        ledger: new RecordLedger(),
      });
    });
    await Promise.all(writers.map((writer) => writer.progress(1)));
    await delay(randomInt(DEATH_AFTER_MAX));
    t.same(await mount.kill('SIGKILL'), { status: null, signal: 'SIGKILL' });
    for (const writer of writers) t.match(await writer.failed(), ENDS, 'who writes is told');
    const atDeath = writers.flatMap((writer) => writer.diskComplaints());
    t.same(atDeath, [], `death ${death}: what was acknowledged is on the server's disk`);
    steps += writers.reduce((sum, { stepsDone }) => sum + stepsDone, 0);

    t.equal((await runTool('umount', ['-l', scene.point])).status, 0);
    mount = await mountIt();
    t.equal((await mount.status()).route, 'near');
    const digests = ['-c', 'find . -type f -print0 | sort -z | xargs -0 -r sha256sum'];
    const [seen, truth] = await Promise.all(
      [scene.point, scene.tree].map((cwd) => runTool('sh', digests, { cwd })),
    );
    t.ok(truth!.stdout.length > 0, 'something was written');
    t.equal(seen!.stdout.toString(), truth!.stdout.toString(), 'the next mount sees the same');
    t.same(
      writers.flatMap((writer) => writer.diskComplaints()),
      [],
      `death ${death}: and still is`,
    );
    for (let index = 0; index < WRITERS; index += 1) {
      rmSync(join(scene.tree, `${death}-${index}`), { recursive: true });
    }
  }
  t.comment(`${steps} steps were acknowledged`);
  t.same(await mount.stop(), { status: 0, signal: null });
  t.notMatch(server.log(), /"level":"(error|fatal)"/, 'no fault was logged by the server');
});
