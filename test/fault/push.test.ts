/** Changes on the server's disk show on a mount that keeps attributes for an hour, and cost nothing while there are none. */
import { appendFileSync, chmodSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  cannotMountHere,
  runTool,
  startWorker,
  within,
  type FileWorker,
  type RunningMount,
} from '../support/mounts.ts';
import { makeScene } from './scene.ts';

const skip = cannotMountHere;
/** Far above what a change takes to show, and far below the hour for which attributes are kept. */
const SHOWS_WITHIN_MS = 20_000;
/** How often a mount is looked at for a change to show: each look takes less. */
const LOOK_INTERVAL_MS = 1;
const FOR_AN_HOUR = 'actimeo=3600';

async function scene(t: Test, options: string) {
  const made = makeScene(t);
  writeFileSync(join(made.tree, 'f'), 'one\n');
  mkdirSync(join(made.tree, 'd'));
  const server = await made.serve();
  const mount = await made.mount({
    options: options.includes('push') ? options : options === '' ? 'push' : `push,${options}`,
  });
  const worker = await startWorker(t, made.point);
  return { ...made, server, mount, worker };
}

/** False where the file system of the tests cannot be watched: that is said, and shows nothing. */
async function isPushing(t: Test, mount: RunningMount): Promise<boolean> {
  const { push } = await mount.until('subscribed', ({ push }) => push.on || push.why !== 'not asked for yet');
  if (!push.on) t.comment(`changes cannot be watched here (${push.why}): try another TMPDIR`);
  return push.on;
}

/** How long it took until the mount showed what is on the disk, in milliseconds. */
async function shows(worker: FileWorker, ask: Record<string, unknown>, wanted: (answer: string) => boolean) {
  const startedMs = performance.now();
  for (;;) {
    const answer = JSON.stringify(await worker.ask(ask));
    const tookMs = performance.now() - startedMs;
    if (wanted(answer)) return tookMs;
    if (tookMs > SHOWS_WITHIN_MS) throw new Error(`${JSON.stringify(ask)} goes on to be ${answer}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
  }
}

for (const route of ['near', 'network'] as const) {
  t.test(`${route}: what changes on the disk shows, and what does not costs no call`, { skip }, async (t) => {
    const { tree, mount, worker } = await scene(t, `route=${route},${FOR_AN_HOUR}`);
    if (!(await isPushing(t, mount))) return;
    const times: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      const f = join(tree, 'f');
      const [missing, moved] = [`missing-${round}`, `moved-${round}`];
      // The mount has seen it all, and that nothing else is there.
      await worker.ask({ op: 'attributes', name: 'f' });
      await worker.ask({ op: 'attributes', name: 'd' });
      t.equal((await worker.ask({ op: 'attributes', name: missing })).error, 'ENOENT');
      t.equal((await worker.ask({ op: 'attributes', name: moved })).error, 'ENOENT');

      const { calls: before } = await mount.status();
      t.same(await worker.ask({ op: 'stats', names: ['f', 'd', missing, moved], times: 250 }), {
        value: 1_000,
      });
      const { calls: after } = await mount.status();
      t.same(after, before, '1,000 stats, and no call');

      appendFileSync(f, 'more\n');
      const { size } = statSync(f);
      times.push(
        await shows(worker, { op: 'attributes', name: 'f' }, (answer) => answer.includes(`"size":${size}`)),
      );
      const mode = 0o600 + (round % 8);
      chmodSync(f, mode);
      times.push(
        await shows(worker, { op: 'attributes', name: 'f' }, (answer) =>
          answer.includes(`"mode":${0o100000 + mode}`),
        ),
      );
      writeFileSync(join(tree, missing), 'here\n');
      times.push(
        await shows(worker, { op: 'attributes', name: missing }, (answer) => answer.includes('"size":5')),
      );
      renameSync(join(tree, missing), join(tree, moved));
      times.push(
        await shows(worker, { op: 'attributes', name: moved }, (answer) => answer.includes('"size":5')),
      );
      times.push(
        await shows(worker, { op: 'attributes', name: missing }, (answer) => answer.includes('ENOENT')),
      );
      rmSync(join(tree, moved));
      times.push(
        await shows(worker, { op: 'attributes', name: moved }, (answer) => answer.includes('ENOENT')),
      );
    }
    times.sort((a, b) => a - b);
    t.comment(`median ${times[times.length >> 1]?.toFixed(1)} ms, slowest ${times.at(-1)?.toFixed(1)} ms`);
    const { push } = await mount.status();
    t.ok(push.invalidations > 0);
    t.equal(push.overflows, 0);
  });
}

t.test('names that change in a busy directory never stop the mount', { skip }, async (t) => {
  const { tree, mount, point } = await scene(t, FOR_AN_HOUR);
  if (!(await isPushing(t, mount))) return;
  const directory = join(tree, 'd');
  // Root of the guest is nobody there.
  chmodSync(directory, 0o777);
  const churn = `
    const fs = require('node:fs');
    const end = Date.now() + 4000;
    let i = 0;
    while (Date.now() < end) {
      const name = process.argv[1] + '/n' + (i++ % 50);
      fs.writeFileSync(name, 'x');
      fs.renameSync(name, name + 'm');
      fs.rmSync(name + 'm');
    }
    console.log(i);`;
  const look = `
    const fs = require('node:fs');
    const end = Date.now() + 4000;
    let i = 0;
    while (Date.now() < end) {
      const name = process.argv[1] + '/n' + (i++ % 50);
      for (const each of [name, name + 'm']) { try { fs.statSync(each); } catch {} }
      if (i % 20 === 0) fs.readdirSync(process.argv[1]);
      const own = process.argv[1] + '/own-' + process.pid + '-' + i;
      fs.writeFileSync(own, 'y');
      fs.rmSync(own);
    }
    console.log(i);`;
  const run = (program: string, where: string) =>
    runTool('env', ['-u', 'NODE_OPTIONS', process.execPath, '-e', program, where]);
  const results = await Promise.all([
    run(churn, directory),
    run(look, join(point, 'd')),
    run(look, join(point, 'd')),
    run(look, join(point, 'd')),
  ]);
  for (const { status, stderr, stdout } of results) {
    t.equal(status, 0, stderr);
    t.comment(`${stdout.toString().trim()} rounds`);
  }
  const { push, requestsPending } = await mount.until('idle', (status) => status.requestsPending === 0);
  t.equal(requestsPending, 0);
  t.comment(`${push.invalidations} told, ${push.overflows} overflows`);
  const ending = await within(mount.stop(), SHOWS_WITHIN_MS, () => 'the mount does not end');
  t.equal(ending.status, 0);
});

t.test(
  'while the server is away, and after changes were missed, attributes are believed for their time',
  { skip },
  async (t) => {
    const { tree, mount, worker, server, serve } = await scene(
      t,
      'acregmin=1,acregmax=3,acdirmin=1,acdirmax=3',
    );
    if (!(await isPushing(t, mount))) return;
    await worker.ask({ op: 'attributes', name: 'f' });
    await server.kill();
    await mount.until('lost', ({ push }) => !push.on);
    appendFileSync(join(tree, 'f'), 'while it was away\n');
    const next = await serve();
    await mount.until('subscribed again', ({ push }) => push.on);
    const wanted = `"size":${statSync(join(tree, 'f')).size}`;
    await shows(worker, { op: 'attributes', name: 'f' }, (answer) => answer.includes(wanted));

    // More than the kernel keeps, for a server that does not look: fs.fanotify.max_queued_events, 16,384 by default.
    process.kill(next.pid, 'SIGSTOP');
    const program = `
    const fs = require('node:fs');
    for (let i = 0; i < 20000; i++) fs.writeFileSync(process.argv[1] + '/' + i, '');`;
    mkdirSync(join(tree, 'many'));
    await runTool('env', ['-u', 'NODE_OPTIONS', process.execPath, '-e', program, join(tree, 'many')]);
    appendFileSync(join(tree, 'f'), 'this may be missed\n');
    process.kill(next.pid, 'SIGCONT');
    await mount.until('told that changes were missed', ({ push }) => push.overflows > 0);
    await mount.until('subscribed again', ({ push }) => push.on);
    const now = `"size":${statSync(join(tree, 'f')).size}`;
    await shows(worker, { op: 'attributes', name: 'f' }, (answer) => answer.includes(now));
  },
);

t.test('nopush does without', { skip }, async (t) => {
  const { mount } = await scene(t, 'nopush');
  t.match((await mount.status()).push, { on: false, why: 'the mount has nopush' });
});
