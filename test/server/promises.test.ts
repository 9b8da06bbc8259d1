/** What guests are told of changes, over sockets: two guests, a stranger, and programs on the server's disk. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  FGDP_CALLBACK_PROGRAM,
  INVALID,
  INVALIDATE_KIND,
  type invalidation,
} from '../../src/fgdp/callback.ts';
import { FGDP_PROGRAM, SUBSCRIBE_STAT } from '../../src/fgdp/program.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { STABLE_HOW } from '../../src/nfs3/nfs.ts';
import { TIME_HOW, type sattr3 } from '../../src/nfs3/types.ts';
import type { opaque_auth } from '../../src/rpc/auth.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { Dispatcher } from '../../src/rpc/dispatcher.ts';
import { connect } from '../../src/transport/connect.ts';
import { within } from '../support/mounts.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { NFS_PROGRAM, type NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import type { ArgsOf, ResultOf } from '../../src/rpc/program.ts';
import { as, name, notPrivileged, serve, TestClient, type Serving } from './serving.ts';
import type { ConnectionLimits } from '../../src/server/data-access-server.ts';

const skip = notPrivileged;
const WATCHDOG_MS = 20_000;
const UNCHANGED = { set_it: TIME_HOW.DONT_CHANGE } as const;

function setting(values: Partial<sattr3>): sattr3 {
  return { mode: null, uid: null, gid: null, size: null, atime: UNCHANGED, mtime: UNCHANGED, ...values };
}

interface Told {
  readonly what: number;
  readonly names: readonly string[];
}

/** A guest that has subscribed, and keeps what it is told by handle. */
class Guest {
  readonly told = new Map<string, Told[]>();
  readonly everything: string[] = [];
  calls = 0;
  /** While set, INVALIDATE is not answered. */
  holding: Promise<void> | undefined;
  connection!: RpcConnection;
  root!: Uint8Array;
  readonly credential: opaque_auth;
  #onTold: (() => void)[] = [];

  constructor(credential: opaque_auth) {
    this.credential = credential;
  }

  static async join(
    t: { teardown: (action: () => unknown) => unknown },
    { socket }: Serving,
    path = '/tree',
    credential = as(0),
  ): Promise<Guest> {
    const guest = new Guest(credential);
    const dispatcher = new Dispatcher<undefined>({
      onFailure: (_call, error) => {
        throw error;
      },
    });
    dispatcher.register(FGDP_CALLBACK_PROGRAM, {
      NULL: () => undefined,
      LOCK_GRANTED: () => undefined,
      INVALIDATE: async (args) => {
        guest.calls += 1;
        if (args.kind === INVALIDATE_KIND.EVERYTHING)
          guest.everything.push(Buffer.from(args.reason).toString());
        else for (const each of args.objects) guest.#take(each);
        for (const tell of guest.#onTold.splice(0)) tell();
        await guest.holding;
      },
    });
    guest.connection = new RpcConnection(await connect(socket), { dispatcher, makeContext: () => undefined });
    t.teardown(() => {
      guest.connection.close();
    });
    guest.root = await guest.client.root(path);
    await guest.subscribe();
    return guest;
  }

  get client(): TestClient {
    return TestClient.over(this.connection, this.credential);
  }

  async subscribe(): Promise<void> {
    const reply = await this.connection.call(
      FGDP_PROGRAM,
      'SUBSCRIBE',
      { root: { data: this.root } },
      { credential: this.credential },
    );
    if (reply.status !== NFS3_OK) throw new Error('not subscribed');
    const { body } = reply;
    if (body.subscription !== SUBSCRIBE_STAT.SUBSCRIBED)
      throw new Error(`not watched: ${Buffer.from(body.reason).toString()}`);
  }

  nfs<K extends keyof typeof NFS_PROCEDURES>(
    procedure: K,
    args: ArgsOf<(typeof NFS_PROCEDURES)[K]>,
  ): Promise<ResultOf<(typeof NFS_PROCEDURES)[K]>> {
    return this.connection.call(NFS_PROGRAM, procedure, args, { credential: this.credential });
  }

  async find(directory: Uint8Array, path: string): Promise<Uint8Array> {
    return this.client.find(directory, path);
  }

  async look(handle: Uint8Array): Promise<void> {
    const reply = await this.nfs('GETATTR', { object: { data: handle } });
    if (reply.status !== NFS3_OK) throw new Error('GETATTR failed');
  }

  /** What was told of a file since the last time. */
  of(handle: Uint8Array): Told[] {
    const key = Buffer.from(handle).toString('latin1');
    const told = this.told.get(key) ?? [];
    this.told.delete(key);
    return told;
  }

  /** Waits until it was told of a file, and takes that. */
  async until(handle: Uint8Array, isEnough: (told: readonly Told[]) => boolean = (told) => told.length > 0) {
    const key = Buffer.from(handle).toString('latin1');
    await this.untilSo(() => isEnough(this.told.get(key) ?? []));
    return this.of(handle);
  }

  async untilSo(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await within(
        new Promise<void>((resolve) => this.#onTold.push(resolve)),
        WATCHDOG_MS,
        () => 'nothing is told',
      );
    }
  }

  /** A round trip: what the server had begun to tell before has come. */
  async caughtUp(): Promise<void> {
    await this.connection.call(FGDP_PROGRAM, 'NULL', undefined);
    await new Promise((resolve) => setImmediate(resolve));
    await this.connection.call(FGDP_PROGRAM, 'NULL', undefined);
  }

  #take({ object, what, names }: invalidation): void {
    const key = Buffer.from(object.data).toString('latin1');
    const told = this.told.get(key) ?? [];
    told.push({ what, names: names.map((each) => Buffer.from(each).toString()) });
    this.told.set(key, told);
  }
}

async function stage(
  t: Parameters<typeof serve>[0] & Parameters<typeof makeDirectory>[0],
  limits: ConnectionLimits = {},
) {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { f: 'one\n', g: 'two\n', 'd/x': 'x\n', 'd/y': 'y\n' });
  mkdirSync(join(directory, 'outside'));
  const serving = await serve(t, directory, [`tree=${tree},squash=none`], limits);
  const sh = (command: string): void => {
    execFileSync('sh', ['-c', command], { cwd: tree });
  };
  return { directory, tree, serving, sh };
}

void t.test('a change on the disk is told once, until the guest has looked again', { skip }, async (t) => {
  const { serving, sh } = await stage(t);
  const guest = await Guest.join(t, serving);
  const file = await guest.find(guest.root, 'f');
  sh('echo more >>f');
  t.strictSame(await guest.until(file), [{ what: INVALID.ATTRIBUTES, names: [] }]);
  sh('echo more >>f; chmod 600 f; echo y >g');
  // Whoever was told of a later change has been told of all earlier ones.
  const other = await guest.find(guest.root, 'd/x');
  sh('echo z >d/x');
  await guest.until(other);
  t.strictSame(guest.of(file), [], 'it was not promised any more');
  await guest.look(file);
  sh('touch f');
  t.strictSame(await guest.until(file), [{ what: INVALID.ATTRIBUTES, names: [] }]);
});

void t.test('names are told with the directory, to whoever may list it', { skip }, async (t) => {
  const { serving, sh } = await stage(t);
  const guest = await Guest.join(t, serving);
  const d = await guest.find(guest.root, 'd');
  const x = await guest.find(d, 'x');
  sh('echo new >d/new; mv d/x d/z; rm d/y');
  const names = new Set<string>();
  let what = 0;
  await guest
    .until(d, (told) => {
      for (const each of told) for (const one of each.names) names.add(one);
      return names.size === 4;
    })
    .then((told) => told.forEach((each) => (what |= each.what)));
  t.strictSame([...names].sort(), ['new', 'x', 'y', 'z']);
  t.equal(what, INVALID.ATTRIBUTES);
  t.strictSame(
    await guest.until(x),
    [{ what: INVALID.ATTRIBUTES, names: [] }],
    'the renamed file has another ctime',
  );
  sh('echo again >d/again');
  t.match(await guest.until(d), [{ what: 0, names: ['again'] }], 'names go on to be told, attributes do not');
  sh('chmod 711 d');
  t.match(await guest.until(d), [{ what: INVALID.ALL_NAMES, names: [] }], 'rights may have changed');
  await guest.nfs('LOOKUP', { what: { dir: { data: d }, name: name('new') } });
  sh('echo again >d/more');
  t.match(
    await guest.until(d),
    [{ what: INVALID.ATTRIBUTES, names: ['more'] }],
    'root may list it all the same',
  );
});

void t.test('whoever may search a directory and not list it is told no names', { skip }, async (t) => {
  const { serving, sh } = await stage(t);
  sh('chmod 711 d');
  const guest = await Guest.join(t, serving, '/tree', as(1000));
  const d = await guest.find(guest.root, 'd');
  await guest.find(d, 'x');
  sh('echo secret >d/secret');
  t.strictSame(await guest.until(d), [{ what: INVALID.ATTRIBUTES | INVALID.ALL_NAMES, names: [] }]);
});

void t.test('what a guest does itself is told to the others', { skip }, async (t) => {
  const { serving, sh } = await stage(t);
  const [mine, theirs] = [await Guest.join(t, serving), await Guest.join(t, serving)];
  const handles = new Map<string, Uint8Array>();
  for (const path of ['f', 'g', 'd', 'd/x']) {
    handles.set(path, await mine.find(mine.root, path));
    await theirs.find(theirs.root, path);
  }
  const [f, g, d, x] = [...handles.values()] as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  await mine.nfs('WRITE', {
    file: { data: f },
    offset: 0n,
    count: 2,
    stable: STABLE_HOW.UNSTABLE,
    data: [Buffer.from('hi')],
  });
  t.strictSame(await theirs.until(f), [{ what: INVALID.ATTRIBUTES, names: [] }]);
  await mine.nfs('SETATTR', { object: { data: g }, new_attributes: setting({ mode: 0o600 }), guard: null });
  t.strictSame(await theirs.until(g), [{ what: INVALID.ATTRIBUTES, names: [] }]);
  const where = { dir: { data: d }, name: name('made') };
  const made = await mine.nfs('CREATE', {
    where,
    how: { mode: 1, obj_attributes: setting({ mode: 0o644 }) },
  });
  t.equal(made.status, NFS3_OK);
  t.strictSame(await theirs.until(d), [{ what: INVALID.ATTRIBUTES, names: ['made'] }]);
  await mine.nfs('RENAME', {
    from: { dir: { data: d }, name: name('x') },
    to: { dir: { data: d }, name: name('moved') },
  });
  t.strictSame(await theirs.until(d), [{ what: 0, names: ['x', 'moved'] }]);
  t.strictSame(await theirs.until(x), [{ what: INVALID.ATTRIBUTES, names: [] }]);
  t.strictSame(
    await mine.until(x),
    [{ what: INVALID.ATTRIBUTES, names: [] }],
    'a reply to RENAME does not show the file',
  );
  await mine.nfs('REMOVE', { object: { dir: { data: mine.root }, name: name('g') } });
  t.match(await theirs.until(theirs.root), [{ names: ['g'] }]);
  // A change by somebody else, behind all of these in the kernel's queue.
  sh('echo last >d/last');
  await mine.until(d, (told) => told.length > 0);
  for (const [path, handle] of handles) {
    if (path !== 'd' && path !== 'd/x') t.strictSame(mine.of(handle), [], `${path}: no echo`);
  }
  t.strictSame(mine.of(mine.root), []);
});

void t.test(
  'files outside of the export are never told of, though they lie on the same file system',
  { skip },
  async (t) => {
    const { serving, sh } = await stage(t);
    const guest = await Guest.join(t, serving);
    const d = await guest.find(guest.root, 'd');
    sh('echo a >../outside/a; mv ../outside/a ../outside/b; chmod 600 ../outside/b; rm ../outside/b');
    // A file that the guest was not given is not told of, either.
    sh('echo more >>g');
    await guest.find(d, 'x');
    sh('touch d/x');
    await guest.until(await guest.find(d, 'x'));
    const given = [guest.root, d, await guest.find(d, 'x')].map((each) =>
      Buffer.from(each).toString('latin1'),
    );
    for (const key of guest.told.keys()) t.ok(given.includes(key));
  },
);

void t.test('what is promised is bounded, and the guest hears what is not any more', { skip }, async (t) => {
  const { serving, sh } = await stage(t, { promisesPerSessionMax: 8 });
  sh('mkdir many; for i in 1 2 3 4 5 6 7 8 9; do echo >many/$i; done');
  const guest = await Guest.join(t, serving);
  const first = await guest.find(guest.root, 'f');
  const many = await guest.find(guest.root, 'many');
  for (let i = 1; i <= 9; i += 1) await guest.find(many, String(i));
  t.strictSame(await guest.until(first), [{ what: INVALID.FORGOTTEN, names: [] }]);
});

void t.test(
  'a guest that does not answer is told once that everything may have changed',
  { skip },
  async (t) => {
    const { serving, sh } = await stage(t, { invalidationsWaitingMax: 4 });
    sh('for i in 1 2 3 4 5 6 7 8 9; do echo >d/$i; done');
    const guest = await Guest.join(t, serving);
    const d = await guest.find(guest.root, 'd');
    const files: Uint8Array[] = [];
    for (let i = 1; i <= 9; i += 1) files.push(await guest.find(d, String(i)));
    let release = (): void => undefined;
    guest.holding = new Promise((resolve) => {
      release = resolve;
    });
    sh('touch d/1');
    await guest.until(files[0]!);
    sh('for i in 2 3 4 5 6 7 8 9; do touch d/$i; done');
    await guest.untilSo(() => guest.everything.length > 0);
    t.equal(guest.calls, 2);
    release();
    guest.holding = undefined;
    await guest.look(files[0]!);
    sh('touch d/1');
    await guest.caughtUp();
    t.equal(guest.calls, 2, 'nothing is promised until it subscribes again');
    await guest.subscribe();
    await guest.look(files[0]!);
    sh('touch d/1');
    t.strictSame(await guest.until(files[0]!), [{ what: INVALID.ATTRIBUTES, names: [] }]);
  },
);

void t.test('an export that changes ends what was promised of it', { skip }, async (t) => {
  const { serving, tree } = await stage(t);
  const guest = await Guest.join(t, serving);
  const { server } = serving;
  const { options } = server.exports[0]!;
  server.changeExports([{ ...options, directory: tree, squash: 'all' }]);
  await guest.untilSo(() => guest.everything.length > 0);
  t.strictSame(guest.everything, ['the export has changed']);
});
