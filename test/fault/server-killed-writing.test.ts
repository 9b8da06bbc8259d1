/**
 * The server dies at random moments under programs that write and change names: every byte it acknowledged is on its
 * disk, every change of a name took effect exactly once, and no program sees an error, because the mounts are hard.
 * `NEARMOUNT_SERVER_DEATHS=200 npx tap --timeout=3600 test/fault/server-killed-writing.test.ts` runs it at length;
 * NEARMOUNT_WRITERS_SEED repeats what the writers did (not the moments).
 */
import { mkdirSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { cannotMountHere, runTool, type RunningMount } from '../support/mounts.ts';
import type { ServerProcess } from '../support/server.ts';
import { NameLedger } from './name-ledger.ts';
import { RecordLedger } from './record-ledger.ts';
import { makeScene } from './scene.ts';
import { WriterProcess } from './writer-process.ts';

type Milliseconds = number;

const DEATHS = Number(process.env.NEARMOUNT_SERVER_DEATHS ?? 5);
const SEED = Number(process.env.NEARMOUNT_WRITERS_SEED ?? randomInt(2 ** 31));
/** Mounts that live together, each by its name: route and export. `near` has files granted to it, `near-records` nothing. */
const WAYS = {
  network: { route: 'network', source: 'tree' },
  'near-records': { route: 'near', source: 'tree' },
  near: { route: 'near', source: 'granted' },
} as const;
const COMPANIES: readonly (readonly (keyof typeof WAYS)[])[] = [['network', 'near-records'], ['near']];
const WRITERS = [
  { script: 'record-writer.mjs', makeLedger: () => new RecordLedger() },
  { script: 'record-writer.mjs', makeLedger: () => new RecordLedger() },
  { script: 'name-changer.mjs', makeLedger: () => new NameLedger() },
  { script: 'name-changer.mjs', makeLedger: () => new NameLedger() },
];
/** The moment of death, counted from the start or from the progress of all: long enough for some hundred calls. */
const DEATH_AFTER_MAX: Milliseconds = 300;
/** One death in so many comes without waiting for progress: while gateways and sessions come back. */
const EARLY_DEATH_EVERY = 4;
/** One death in so many is followed by a comparison through the mounts, for which the writers pause. */
const COMPARE_EVERY = 20;
/** Lines that were written before the server died have been read when none came for so long. */
const QUIET: Milliseconds = 50;
/** Far above what a death takes with all that follows, on a busy machine. */
const DEATH_LIMIT: Milliseconds = 30_000;
const LIMIT: Milliseconds = 120_000 + DEATHS * DEATH_LIMIT;

t.setTimeout(COMPANIES.length * LIMIT);

/** Names, kinds, sizes, modes, owners, link counts, targets and contents of a tree; read by other processes. */
async function describeTree(directory: string): Promise<string> {
  const script = `find . -printf '%P %y %m %n %U %G %l ' \\( -type f -printf '%s' -o -true \\) -printf '\\n' | sort
    find . -type f -print0 | sort -z | xargs -0 -r sha256sum`;
  const { status, stdout, stderr } = await runTool('sh', ['-e', '-c', script], { cwd: directory });
  if (status !== 0) throw new Error(`${directory}: ${stderr}`);
  return stdout.toString();
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

for (const ways of COMPANIES) {
  const title = `${DEATHS} deaths of the server of ${ways.join(' and ')}, seed ${SEED}`;
  t.test(title, { skip: cannotMountHere }, (t) => deathsOfServer(t, ways));
}

async function deathsOfServer(t: Test, ways: readonly (keyof typeof WAYS)[]): Promise<void> {
  const scene = makeScene(t);
  const trusted = `${scene.tree},squash=none,clients=127.0.0.0/8`;
  const exports = [`tree=${trusted},grants=none`, `granted=${trusted}`];
  let server: ServerProcess = await scene.serve({ exports });
  const mountAll = async (suffix: string): Promise<RunningMount[]> => {
    const mounts = [];
    for (const way of ways) {
      const { route, source } = WAYS[way];
      const point = `${scene.point}-${way}${suffix}`;
      mounts.push(await scene.mount({ source, point, options: `route=${route},hard`, limitMs: LIMIT }));
    }
    return mounts;
  };
  const mounts = await mountAll('');
  const writers = mounts.flatMap(({ point }, way) =>
    WRITERS.map(({ script, makeLedger }, index) => {
      const name = `${ways[way]}-${index}`;
      const disk = join(scene.tree, name);
      for (const directory of ['a', 'b']) mkdirSync(join(disk, directory), { recursive: true });
      const seed = (SEED + way * WRITERS.length + index) >>> 0;
      return new WriterProcess<never>(t, {
        script,
        point: join(point, name),
        disk,
        seed,
        ledger: makeLedger(),
      });
    }),
  );
  t.comment(`seed ${SEED}`);

  /** Nobody changes the disk when the server is dead. */
  const settled = async () => {
    const lines = () => writers.reduce((sum, { linesRead }) => sum + linesRead, 0);
    for (let before = -1; before !== lines();) {
      before = lines();
      await delay(QUIET);
    }
  };
  const compare = async (moment: string) => {
    await Promise.all(writers.map((writer) => writer.pause()));
    t.same(
      writers.flatMap((writer) => writer.complaints()),
      [],
      `${moment}: all is as it was acknowledged`,
    );
    const truth = await describeTree(scene.tree);
    // One that has seen nothing, and the one that has seen everything.
    const fresh = await mountAll('-fresh');
    for (const mount of [...mounts, ...fresh]) {
      t.equal(await describeTree(mount.point), truth, `${moment}: ${mount.point}`);
    }
    for (const mount of fresh) t.same(await mount.stop(), { status: 0, signal: null });
  };

  for (let death = 1; death <= DEATHS; death += 1) {
    if (randomInt(EARLY_DEATH_EVERY) > 0) await Promise.all(writers.map((writer) => writer.progress(1)));
    await delay(randomInt(DEATH_AFTER_MAX));
    await server.kill();
    await settled();
    const complaints = writers.flatMap((writer) => writer.complaints());
    if (complaints.length > 0) t.fail(`death ${death}`, { complaints });
    server = await scene.serve({ exports, port: server.port });
    if (complaints.length > 0) break;
    if (death % COMPARE_EVERY === 0 && death < DEATHS) {
      await compare(`death ${death}`);
      for (const writer of writers) writer.resume();
    }
  }
  await Promise.all(writers.map((writer) => writer.progress(1)));
  await compare('the end');
  const steps = writers.map(({ stepsDone }) => stepsDone);
  t.ok(
    steps.every((count) => count > 0),
    `${DEATHS} deaths; steps acknowledged: ${steps.join(', ')}`,
  );
  for (const writer of writers) await writer.end();
  for (const mount of mounts) {
    // Whatever is held for a call, a write or an open file has been given back.
    const { openFiles } = await mount.until(
      'idle',
      (status) => status.dirtyBytes === 0 && status.requestsPending === 0 && sumOf(status.openFiles) === 0,
    );
    t.equal(sumOf(openFiles), 0, `${mount.point} holds nothing`);
    t.same(await mount.stop(), { status: 0, signal: null });
  }
}
