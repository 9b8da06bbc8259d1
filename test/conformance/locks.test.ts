/** Locks between two guests, each a mount of its own, and between programs of one of them. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeScene, type Scene } from '../fault/scene.ts';
import { cannotMountHere, startLockWorker, type FileWorker, type RunningMount } from '../support/mounts.ts';

const hasPython = spawnSync('python3', ['-c', 'import fcntl']).status === 0;
const skip = hasPython ? cannotMountHere : 'needs python3: apt-get install python3-minimal';
if (skip !== false) console.error(`locks: skipped: ${skip}`);

const ROUTES = ['near', 'network'] as const;
/** Above what a server that was started anew makes everybody wait. */
const LIMIT_MS = 60_000;
const POLL_MS = 20;

interface Stage extends Scene {
  readonly mounts: readonly RunningMount[];
  /** A program in one of the two guests. */
  readonly program: (guest: 0 | 1) => Promise<FileWorker>;
  readonly server: Awaited<ReturnType<Scene['serve']>>;
}

async function makeStage(t: Test, options: string): Promise<Stage> {
  const scene = makeScene(t);
  const exports = [`tree=${scene.tree},squash=none,clients=127.0.0.0/8`];
  const serve: Scene['serve'] = (changed) => scene.serve({ exports, ...changed });
  const server = await serve();
  const mounts = [await scene.mount({ options }), await scene.mount({ options, point: `${scene.point}2` })];
  const points = [scene.point, `${scene.point}2`] as const;
  return { ...scene, serve, server, mounts, program: (guest) => startLockWorker(t, points[guest]) };
}

/** Waits until the server has answered BLOCKED, as far as that can be seen: LOCK was called once more, and nothing came back. */
async function blocked(mount: RunningMount, locksBefore: number): Promise<void> {
  await mount.until('asking for a lock', (status) => (status.calls.LOCK ?? 0) > locksBefore);
}

const locksAsked = async (mount: RunningMount): Promise<number> => (await mount.status()).calls.LOCK ?? 0;

/** Asks again until it is so: another guest is only gone when the server says so. */
async function eventually(t: Test, what: string, ask: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  let isSo = await ask();
  while (!isSo && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    isSo = await ask();
  }
  t.equal(isSo, true, what);
}

for (const route of ROUTES) {
  t.test(`${route}: programs exclude each other`, { skip }, async (t) => {
    const stage = await makeStage(t, `route=${route}`);
    writeFileSync(join(stage.tree, 'f'), 'content');
    t.equal((await stage.mounts[0]?.status())?.locks, 'shared with other guests');
    const [one, here, there] = [await stage.program(0), await stage.program(0), await stage.program(1)];
    const others = [here, there];
    for (const each of [one, ...others]) t.same(await each.ask({ op: 'open', name: 'f' }), { value: null });

    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'w', start: 10, length: 10 }), { value: null });
    for (const other of others) {
      t.same(await other.ask({ op: 'setlk', name: 'f', type: 'r', start: 19, length: 1 }), {
        error: 'EAGAIN',
      });
      t.same(await other.ask({ op: 'setlk', name: 'f', type: 'w', start: 20, length: 1 }), { value: null });
      t.same(await other.ask({ op: 'setlk', name: 'f', type: 'u' }), { value: null });
    }
    t.same(await here.ask({ op: 'getlk', name: 'f', type: 'r' }), { value: ['w', 10, 10, one.pid] });
    t.same(await there.ask({ op: 'getlk', name: 'f', type: 'r' }), { value: ['w', 10, 10, 0] });
    t.same(await there.ask({ op: 'getlk', name: 'f', type: 'w', start: 20 }), { value: 'u' });

    t.comment('close(2) of any descriptor of the file gives up what its process has');
    await one.ask({ op: 'open', name: 'f', as: 'again', writes: false });
    await one.ask({ op: 'close', name: 'again' });
    t.same(await there.ask({ op: 'setlk', name: 'f', type: 'w' }), { value: null });
    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'r' }), { error: 'EAGAIN' });
    t.same(await there.ask({ op: 'setlk', name: 'f', type: 'r' }), { value: null }, 'less than before');
    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'r' }), { value: null });
    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'u' }), { value: null });
    t.same(await there.ask({ op: 'setlk', name: 'f', type: 'u' }), { value: null });

    t.comment('flock(2) is of the open file, and has nothing to do with fcntl(2)');
    t.same(await one.ask({ op: 'flock', name: 'f', type: 'w' }), { value: null });
    for (const other of others) {
      t.same(await other.ask({ op: 'flock', name: 'f', type: 'r' }), { error: 'EAGAIN' });
      t.same(await other.ask({ op: 'setlk', name: 'f', type: 'w' }), { value: null });
      t.same(await other.ask({ op: 'setlk', name: 'f', type: 'u' }), { value: null });
    }
    await one.ask({ op: 'open', name: 'f', as: 'again' });
    await one.ask({ op: 'close', name: 'again' });
    t.same(await there.ask({ op: 'flock', name: 'f', type: 'r' }), { error: 'EAGAIN' }, 'another open file');
    await one.ask({ op: 'close', name: 'f' });
    await eventually(
      t,
      'its own close ends it',
      async () => (await there.ask({ op: 'flock', name: 'f', type: 'r' })).error === undefined,
    );
    t.same(await here.ask({ op: 'flock', name: 'f', type: 'r' }), { value: null }, 'shared');

    t.comment('locks of an open file: F_OFD_SETLK');
    await one.ask({ op: 'open', name: 'f' });
    t.same(await one.ask({ op: 'ofd_setlk', name: 'f', type: 'w' }), { value: null });
    t.same(await there.ask({ op: 'setlk', name: 'f', type: 'r' }), { error: 'EAGAIN' });
    await one.ask({ op: 'close', name: 'f' });
    await eventually(
      t,
      'the close ends them',
      async () => (await there.ask({ op: 'setlk', name: 'f', type: 'r' })).error === undefined,
    );
  });

  t.test(`${route}: who waits is woken, interrupted, or told of a deadlock`, { skip }, async (t) => {
    const stage = await makeStage(t, `route=${route}`);
    const [mountHere, mountThere] = stage.mounts;
    if (mountHere === undefined || mountThere === undefined) throw new Error('two mounts');
    const [one, here, there] = [await stage.program(0), await stage.program(0), await stage.program(1)];
    for (const each of [one, here, there]) {
      await each.ask({ op: 'open', name: 'f' });
      await each.ask({ op: 'open', name: 'g' });
    }
    for (const [other, mount] of [
      [here, mountHere],
      [there, mountThere],
    ] as const) {
      for (const [take, wait, give] of [
        [{ op: 'setlk' }, { op: 'setlkw' }, { op: 'setlk' }],
        [{ op: 'flock' }, { op: 'flock', waits: true }, { op: 'flock' }],
      ] as const) {
        t.same(await one.ask({ ...take, name: 'f', type: 'w' }), { value: null });
        const before = await locksAsked(mount);
        let isWoken = false;
        const waiting = other.ask({ ...wait, name: 'f', type: 'w' }).finally(() => (isWoken = true));
        await blocked(mount, before);
        t.notOk(isWoken);
        await one.ask({ ...give, name: 'f', type: 'u' });
        t.same(await waiting, { value: null }, `${wait.op}: woken`);
        t.same(await one.ask({ ...take, name: 'f', type: 'r' }), { error: 'EAGAIN' });

        const askedHere = await locksAsked(mountHere);
        const interrupted = one.ask({ ...wait, name: 'f', type: 'w' });
        await blocked(mountHere, askedHere);
        process.kill(one.pid, 'SIGUSR1');
        t.same(await interrupted, { error: 'EINTR' }, `${wait.op}: interrupted`);
        await other.ask({ ...give, name: 'f', type: 'u' });
        t.same(
          await other.ask({ ...take, name: 'f', type: 'w' }),
          { value: null },
          'it was not granted since',
        );
        await other.ask({ ...give, name: 'f', type: 'u' });
      }
    }

    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'w' }), { value: null });
    t.same(await there.ask({ op: 'setlk', name: 'g', type: 'w' }), { value: null });
    const before = await locksAsked(mountThere);
    const waits = there.ask({ op: 'setlkw', name: 'f', type: 'w' });
    await blocked(mountThere, before);
    t.same(await one.ask({ op: 'setlkw', name: 'g', type: 'w' }), { error: 'EDEADLK' });
    await one.ask({ op: 'setlk', name: 'f', type: 'u' });
    t.same(await waits, { value: null });

    t.comment('a program that is killed while it waits, or has what others wait for');
    const asked = await locksAsked(mountHere);
    const dying = here.ask({ op: 'setlkw', name: 'f', type: 'w' });
    await blocked(mountHere, asked);
    t.equal(await here.kill('SIGKILL'), 'SIGKILL');
    t.match(await dying, { error: /ended/ });
    const askedAgain = await locksAsked(mountHere);
    const heir = one.ask({ op: 'setlkw', name: 'f', type: 'w' });
    await blocked(mountHere, askedAgain);
    await there.kill('SIGKILL');
    t.same(await heir, { value: null });
  });

  t.test(`${route}: what is written under a lock is seen under the next one`, { skip }, async (t) => {
    const stage = await makeStage(t, `route=${route}`);
    const TIMES = 100;
    for (const by of ['posix', 'flock']) {
      const programs = [
        await stage.program(0),
        await stage.program(0),
        await stage.program(1),
        await stage.program(1),
      ];
      for (const each of programs) await each.ask({ op: 'open', name: by });
      const counted = programs.map((each) => each.ask({ op: 'count', name: by, by, times: TIMES }, LIMIT_MS));
      for (const answer of await Promise.all(counted)) t.same(answer, { value: null });
      for (const each of programs) {
        await each.ask({ op: 'setlk', name: by, type: 'r' });
        t.same(await each.ask({ op: 'read', name: by }), { value: String(programs.length * TIMES) }, by);
      }
    }
  });

  t.test(`${route}: a gateway that is killed leaves no locks`, { skip }, async (t) => {
    const stage = await makeStage(t, `route=${route}`);
    const [one, there] = [await stage.program(0), await stage.program(1)];
    for (const each of [one, there]) await each.ask({ op: 'open', name: 'f' });
    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'w' }), { value: null });
    t.same(await one.ask({ op: 'flock', name: 'f', type: 'w' }), { value: null });
    const waits = there.ask({ op: 'setlkw', name: 'f', type: 'w' }, LIMIT_MS);
    await stage.mounts[0]?.kill('SIGKILL');
    t.same(await waits, { value: null });
    t.same(await there.ask({ op: 'flock', name: 'f', type: 'w', waits: true }, LIMIT_MS), { value: null });
  });

  t.test(`${route}: a server that is killed and started again knows the locks`, { skip }, async (t) => {
    const stage = await makeStage(t, `route=${route}`);
    const [mountHere, mountThere] = stage.mounts;
    if (mountHere === undefined || mountThere === undefined) throw new Error('two mounts');
    const [one, two, there] = [await stage.program(0), await stage.program(0), await stage.program(1)];
    for (const each of [one, two, there]) await each.ask({ op: 'open', name: 'f' });
    t.same(await one.ask({ op: 'setlk', name: 'f', type: 'w', start: 5, length: 5 }), { value: null });
    t.same(await two.ask({ op: 'setlk', name: 'f', type: 'r', start: 100 }), { value: null });
    t.same(await two.ask({ op: 'flock', name: 'f', type: 'w' }), { value: null });
    t.same(await there.ask({ op: 'setlk', name: 'f', type: 'r', start: 100 }), { value: null });
    const before = await locksAsked(mountThere);
    const waits = there.ask({ op: 'setlkw', name: 'f', type: 'w', start: 0, length: 10 }, LIMIT_MS);
    await blocked(mountThere, before);
    let { server } = stage;
    for (const way of ['kill', 'stop'] as const) {
      await server[way]();
      server = await stage.serve({ port: server.port });
      for (const mount of stage.mounts) await mount.until('connected', (status) => status.connected);
      t.same(
        await one.ask({ op: 'setlk', name: 'f', type: 'w', start: 100 }, LIMIT_MS),
        { error: 'EAGAIN' },
        way,
      );
      t.same(await two.ask({ op: 'getlk', name: 'f', type: 'r', length: 50 }), {
        value: ['w', 5, 5, one.pid],
      });
      t.same(await one.ask({ op: 'flock', name: 'f', type: 'w' }), { error: 'EAGAIN' });
    }
    await one.ask({ op: 'setlk', name: 'f', type: 'u' });
    t.same(await waits, { value: null }, 'who waited goes on waiting');
    t.same(await one.ask({ op: 'getlk', name: 'f', type: 'r', length: 50 }), { value: ['w', 0, 10, 0] });
    t.notMatch(mountHere.log() + mountThere.log(), /is lost/);
  });
}
