/** Calls that a killed server left in the middle, sent again to the next one: each change happens once. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { Test } from 'tap';
import { CREATEMODE3, type NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import { FTYPE3, TIME_HOW, type sattr3 } from '../../src/nfs3/types.ts';
import type { ArgsOf } from '../../src/rpc/program.ts';
import { decodeStartingPoint, encodeStartingPoint } from '../../src/server/starting-point.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import type { Identity } from '../../src/store/identity.ts';
import { Store } from '../../src/store/store.ts';
import { becomeServer } from '../../src/system/identity.ts';
import { makePlace, notPrivileged, type Place } from '../store/fixtures.ts';
import { NO_CHANGE, callProcedure, contextOf, statusText } from './procedure-call.ts';

const root: Identity = { uid: 0, gid: 0, groups: [] };
/** A server that starts is later than files made before by more than the kernel's clock is coarse (CONFIG_HZ=100). */
const RESTART_MS = 60;

type Procedures = typeof NFS_PROCEDURES;
interface Reply {
  readonly status: Parameters<typeof statusText>[0]['status'];
}

interface Call<K extends keyof Procedures = keyof Procedures> {
  readonly procedure: K;
  readonly args: ArgsOf<Procedures[K]>;
}

class Killed extends Error {}

/** The servers of one export, one after the other. */
class Servers {
  readonly place: Place;
  #store: Store;

  constructor(t: Test) {
    this.place = makePlace(t);
    this.#store = this.#open();
    t.teardown(() => this.#store.close());
  }

  at(...names: string[]): string {
    return path.join(this.place.directory, ...names);
  }

  get root(): { data: Uint8Array } {
    return { data: this.#store.rootHandle('tree') };
  }

  #open(): Store {
    return Store.open({
      stateDirectory: this.place.stateDirectory,
      exports: [parseExportOption(`tree=${this.place.directory},squash=none`)],
    });
  }

  async restart(): Promise<void> {
    this.#store.close();
    await delay(RESTART_MS);
    this.#store = this.#open();
    await delay(RESTART_MS);
  }

  handle(text: string): { data: Uint8Array } {
    const what = { dir: this.root, name: Buffer.from(text) };
    const reply = callProcedure(this.#store, contextOf(root), 'LOOKUP', { what });
    if (reply.status !== 0) throw new Error(`${text}: ${statusText(reply)}`);
    return { data: Uint8Array.from(reply.object.data) };
  }

  run<K extends keyof Procedures>(
    call: Call<K>,
    begin?: (before: Uint8Array) => Uint8Array | undefined,
  ): string {
    try {
      const intent = begin === undefined ? undefined : { begin };
      const reply = callProcedure(this.#store, contextOf(root, intent), call.procedure, call.args);
      return statusText(reply as Reply);
    } finally {
      becomeServer();
    }
  }

  /** Executes a call of which the server dies before, or after, the change. What it kept. */
  async killed<K extends keyof Procedures>(call: Call<K>, when: 'before' | 'after'): Promise<Uint8Array> {
    let kept: Uint8Array | undefined;
    try {
      this.run(call, (before) => {
        kept = Uint8Array.from(before);
        if (when === 'before') throw new Killed();
        return undefined;
      });
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
    if (kept === undefined) throw new Error(`${call.procedure} kept nothing before it began`);
    await this.restart();
    return kept;
  }

  /** What can be seen of the tree, but for times. */
  listing(): string {
    return execFileSync('find', ['.', '-printf', '%P %y %m %U %G %n %l\n'], { cwd: this.place.directory })
      .toString()
      .split('\n')
      .sort()
      .join('\n');
  }
}

const call = <K extends keyof Procedures>(procedure: K, args: ArgsOf<Procedures[K]>): Call<K> => ({
  procedure,
  args,
});
const wanted = (more: Partial<sattr3>): sattr3 => ({ ...NO_CHANGE, ...more });
const clientTime = { set_it: TIME_HOW.SET_TO_CLIENT_TIME, time: { seconds: 5, nseconds: 6 } };

/** Every call, on a tree of `file`, `other`, `dir/` and `full/inner`; `verdict` is the answer of an undisturbed one. */
const CALLS: Readonly<Record<string, { readonly make: (s: Servers) => Call; readonly verdict: string }>> =
  (() => {
    const where = (s: Servers, text: string) => ({ dir: s.root, name: Buffer.from(text) });
    const any = (make: (s: Servers) => unknown, verdict = 'OK') => ({
      make: make as (s: Servers) => Call,
      verdict,
    });
    const how = (mode: 0 | 1, more: Partial<sattr3> = {}) => ({ mode, obj_attributes: wanted(more) });
    const owned = { uid: 1234, gid: 1235, mode: 0o6751 };
    return {
      'CREATE GUARDED': any((s) => call('CREATE', { where: where(s, 'new'), how: how(1, owned) })),
      'CREATE GUARDED of what is there': any(
        (s) => call('CREATE', { where: where(s, 'file'), how: how(1) }),
        'EXIST',
      ),
      'CREATE UNCHECKED': any((s) =>
        call('CREATE', { where: where(s, 'new'), how: how(0, { ...owned, size: 7n }) }),
      ),
      'CREATE UNCHECKED of what is there': any((s) =>
        call('CREATE', { where: where(s, 'file'), how: how(0, { size: 3n }) }),
      ),
      'CREATE EXCLUSIVE': any((s) =>
        call('CREATE', {
          where: where(s, 'new'),
          how: { mode: CREATEMODE3.EXCLUSIVE, verf: Buffer.alloc(8, 9) },
        }),
      ),
      MKDIR: any((s) =>
        call('MKDIR', { where: where(s, 'new'), attributes: wanted({ ...owned, mtime: clientTime }) }),
      ),
      'MKDIR of what is there': any(
        (s) => call('MKDIR', { where: where(s, 'dir'), attributes: NO_CHANGE }),
        'EXIST',
      ),
      SYMLINK: any((s) =>
        call('SYMLINK', {
          where: where(s, 'new'),
          symlink_attributes: wanted(owned),
          symlink_data: Buffer.from('x'),
        }),
      ),
      MKNOD: any((s) =>
        call('MKNOD', {
          where: where(s, 'new'),
          what: { type: FTYPE3.NF3FIFO, pipe_attributes: wanted(owned) },
        }),
      ),
      REMOVE: any((s) => call('REMOVE', { object: where(s, 'file') })),
      'REMOVE of nothing': any((s) => call('REMOVE', { object: where(s, 'none') }), 'NOENT'),
      'REMOVE of a directory': any((s) => call('REMOVE', { object: where(s, 'dir') }), 'ISDIR'),
      RMDIR: any((s) => call('RMDIR', { object: where(s, 'dir') })),
      'RMDIR of a full one': any((s) => call('RMDIR', { object: where(s, 'full') }), 'NOTEMPTY'),
      RENAME: any((s) => call('RENAME', { from: where(s, 'file'), to: where(s, 'new') })),
      'RENAME over another': any((s) => call('RENAME', { from: where(s, 'file'), to: where(s, 'other') })),
      'RENAME of a directory': any((s) => call('RENAME', { from: where(s, 'full'), to: where(s, 'dir') })),
      'RENAME of nothing': any(
        (s) => call('RENAME', { from: where(s, 'none'), to: where(s, 'other') }),
        'NOENT',
      ),
      LINK: any((s) => call('LINK', { file: s.handle('file'), link: where(s, 'new') })),
      'LINK to what is there': any(
        (s) => call('LINK', { file: s.handle('file'), link: where(s, 'other') }),
        'EXIST',
      ),
      SETATTR: any((s) =>
        call('SETATTR', {
          object: s.handle('file'),
          new_attributes: wanted({ ...owned, size: 2n }),
          guard: null,
        }),
      ),
    };
  })();

function fill(s: Servers): void {
  fs.writeFileSync(s.at('file'), 'contents');
  fs.writeFileSync(s.at('other'), 'other');
  fs.mkdirSync(s.at('dir'));
  fs.mkdirSync(s.at('full'));
  fs.writeFileSync(s.at('full', 'inner'), '');
}

for (const [what, { make, verdict }] of Object.entries(CALLS)) {
  t.test(what, { skip: notPrivileged }, async (t) => {
    const undisturbed = new Servers(t);
    fill(undisturbed);
    t.equal(
      undisturbed.run(make(undisturbed), () => undefined),
      verdict,
    );
    for (const when of ['before', 'after'] as const) {
      const s = new Servers(t);
      fill(s);
      const cut = make(s);
      let kept = await s.killed(cut, when);
      t.equal(
        s.run(cut, () => kept),
        verdict,
        `the server died ${when} the change`,
      );
      t.equal(s.listing(), undisturbed.listing(), when);
      // Its reply may be lost with the next server, too: what was kept first still counts.
      await s.restart();
      kept = Uint8Array.from(kept);
      t.equal(
        s.run(cut, () => kept),
        verdict,
        `${when}, and again`,
      );
      t.equal(s.listing(), undisturbed.listing(), when);
    }
  });
}

t.test('what others did meanwhile is theirs', { skip: notPrivileged }, async (t) => {
  const where = (s: Servers, text: string) => ({ dir: s.root, name: Buffer.from(text) });
  const scene = (): Servers => {
    const s = new Servers(t);
    fill(s);
    return s;
  };
  for (const when of ['before', 'after'] as const) {
    // A new file has the name that was removed.
    let s = scene();
    const remove = call('REMOVE', { object: where(s, 'file') });
    let kept = await s.killed(remove, when);
    fs.rmSync(s.at('file'), { force: true });
    fs.writeFileSync(s.at('file'), 'of another');
    t.equal(
      s.run(remove, () => kept),
      'OK',
    );
    t.equal(fs.readFileSync(s.at('file'), 'utf8'), 'of another', `REMOVE, ${when}`);

    s = scene();
    const rename = call('RENAME', { from: where(s, 'file'), to: where(s, 'new') });
    kept = await s.killed(rename, when);
    fs.rmSync(s.at('file'), { force: true });
    fs.writeFileSync(s.at('file'), 'of another');
    t.equal(
      s.run(rename, () => kept),
      'OK',
    );
    t.equal(fs.readFileSync(s.at('file'), 'utf8'), 'of another', `RENAME, ${when}`);

    // Written to after it was cut.
    s = scene();
    const cut = call('SETATTR', {
      object: s.handle('file'),
      new_attributes: wanted({ size: 0n }),
      guard: null,
    });
    kept = await s.killed(cut, when);
    fs.writeFileSync(s.at('file'), 'new contents of another');
    t.equal(
      s.run(cut, () => kept),
      'OK',
    );
    t.equal(fs.readFileSync(s.at('file'), 'utf8'), 'new contents of another', `SETATTR, ${when}`);

    s = scene();
    const truncate = call('CREATE', {
      where: where(s, 'file'),
      how: { mode: CREATEMODE3.UNCHECKED, obj_attributes: wanted({ size: 0n }) },
    });
    kept = await s.killed(truncate, when);
    fs.writeFileSync(s.at('file'), 'new contents of another');
    t.equal(
      s.run(truncate, () => kept),
      'OK',
    );
    t.equal(fs.readFileSync(s.at('file'), 'utf8'), 'new contents of another', `CREATE, ${when}`);
  }
  // The target that was to be replaced is still there, and the source went another way: nothing was renamed.
  const s = scene();
  const over = call('RENAME', { from: where(s, 'file'), to: where(s, 'other') });
  const kept = await s.killed(over, 'before');
  fs.unlinkSync(s.at('file'));
  t.equal(
    s.run(over, () => kept),
    'NOENT',
  );
  t.equal(fs.readFileSync(s.at('other'), 'utf8'), 'other');
});

t.test('a lock that another made first is not given to two', { skip: notPrivileged }, async (t) => {
  const s = new Servers(t);
  const where = { dir: s.root, name: Buffer.from('lock') };
  const locks = [
    call('MKDIR', { where, attributes: NO_CHANGE }),
    call('SYMLINK', { where, symlink_attributes: NO_CHANGE, symlink_data: Buffer.from('me') }),
    call('CREATE', { where, how: { mode: CREATEMODE3.GUARDED, obj_attributes: NO_CHANGE } }),
    call('CREATE', { where, how: { mode: CREATEMODE3.EXCLUSIVE, verf: Buffer.alloc(8, 1) } }),
  ] as const;
  const theirs = [
    locks[0],
    locks[1],
    locks[2],
    call('CREATE', { where, how: { mode: CREATEMODE3.EXCLUSIVE, verf: Buffer.alloc(8, 2) } }),
  ] as const;
  for (const [index, lock] of locks.entries()) {
    const kept = await s.killed(lock, 'before');
    t.equal(s.run(theirs[index] as Call), 'OK', 'another takes it');
    t.equal(
      s.run(lock as Call, () => kept),
      'EXIST',
    );
    fs.rmSync(s.at('lock'), { recursive: true });
    await s.restart();
  }
  // The same with names: LINK of a file of one's own.
  for (const text of ['mine', 'theirs']) fs.writeFileSync(s.at(text), '');
  const link = call('LINK', { file: s.handle('mine'), link: where });
  const kept = await s.killed(link, 'before');
  t.equal(s.run(call('LINK', { file: s.handle('theirs'), link: where })), 'OK');
  t.equal(
    s.run(link, () => kept),
    'EXIST',
  );
});

t.test('a guard that held holds again, one that did not does not', { skip: notPrivileged }, async (t) => {
  const s = new Servers(t);
  fs.writeFileSync(s.at('file'), '');
  const object = s.handle('file');
  const ctimeNs = fs.statSync(s.at('file'), { bigint: true }).ctimeNs;
  const ctime = { seconds: Number(ctimeNs / 10n ** 9n), nseconds: Number(ctimeNs % 10n ** 9n) };
  const good = call('SETATTR', { object, new_attributes: wanted({ mode: 0o600 }), guard: ctime });
  let kept = await s.killed(good, 'after');
  t.equal(
    s.run(good, () => kept),
    'OK',
  );
  const bad = call('SETATTR', { object, new_attributes: wanted({ mode: 0o777 }), guard: ctime });
  kept = await s.killed(bad, 'before');
  t.equal(
    s.run(bad, () => kept),
    'NOT_SYNC',
  );
  t.equal(fs.statSync(s.at('file')).mode & 0o777, 0o600);
});

t.test('a starting point comes back as it was, and nothing else is one', async (t) => {
  const points = [
    {
      beganNs: 2n ** 64n - 1n,
      isRefused: true,
      size: 2n ** 64n - 1n,
      file: Buffer.alloc(64, 1),
      target: undefined,
    },
    { beganNs: 0n, isRefused: false, size: 0n, file: undefined, target: Buffer.alloc(1) },
    { beganNs: 1n, isRefused: false, size: 5n, file: undefined, target: undefined },
  ];
  for (const point of points) {
    const bytes = encodeStartingPoint(point);
    const back = decodeStartingPoint(bytes);
    t.same(back, {
      ...point,
      file: point.file && Uint8Array.from(point.file),
      target: point.target && Uint8Array.from(point.target),
    });
    for (let length = 0; length < bytes.length; length += 1) {
      t.throws(() => decodeStartingPoint(bytes.subarray(0, length)), `${length} bytes`);
    }
    t.throws(() => decodeStartingPoint(Buffer.concat([bytes, Buffer.alloc(1)])));
  }
  t.throws(() => decodeStartingPoint(Buffer.alloc(20, 2)), { message: 'not a starting point' });
});
