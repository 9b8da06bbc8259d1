import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { NFS_PROCEDURES, type MKDIR3args } from '../../src/nfs3/nfs.ts';
import { NFSSTAT3, statusName } from '../../src/nfs3/status.ts';
import { authSys } from '../../src/rpc/auth.ts';
import type { ResultOf } from '../../src/rpc/program.ts';
import type { Peer, ServerContext } from '../../src/server/client-session.ts';
import { encodeAll } from '../../src/xdr/codec.ts';
import fc from 'fast-check';
import { makeDirectory } from '../support/trees.ts';
import { NFS_ARBITRARIES } from '../wire/arbitraries.ts';
import {
  clientId,
  FAR,
  onceServer,
  sessionOf,
  type OnceServer,
  type OnceServerOptions,
} from './once-scene.ts';
import { notPrivileged } from './serving.ts';

type MKDIR3res = ResultOf<(typeof NFS_PROCEDURES)['MKDIR']>;

const NO_WCC = { before: null, after: null };
const ATTRIBUTES = {
  mode: null,
  uid: null,
  gid: null,
  size: null,
  atime: { set_it: 0 },
  mtime: { set_it: 0 },
} as const;
const ALICE = authSys('a', 1000, 1000, [7, 8]);
const NEAR: Peer = { kind: 'unix', identity: { uid: 0, gid: 0, groups: [] }, claims: 'any' };

const made = (number: number): MKDIR3res => ({
  status: NFSSTAT3.NFS3_OK,
  obj: { data: Buffer.from(`directory ${number}`) },
  obj_attributes: null,
  wcc: NO_WCC,
});

type Mkdir = (args: MKDIR3args, context: ServerContext) => MKDIR3res | Promise<MKDIR3res>;

interface Scene {
  readonly directory: string;
  readonly server: OnceServer;
  /** Names of the directories that were made, in their order. */
  readonly effects: string[];
}

/** A server on which MKDIR begins, takes effect and answers how many there are; `mkdir` stands for it. */
function scene(t: Test, options: OnceServerOptions = {}, mkdir?: Mkdir): Scene {
  const directory = makeDirectory(t);
  mkdirSync(join(directory, 'tree'));
  const effects: string[] = [];
  const server = onceServer(
    directory,
    {
      MKDIR: (args, context) => {
        if (mkdir !== undefined) return mkdir(args, context);
        context.intent?.begin(Buffer.from('before'));
        return made(effects.push(Buffer.from(args.where.name).toString()));
      },
    },
    options,
  );
  t.teardown(() => server.die());
  return { directory, server, effects };
}

const mkdirArgs = ({ root }: OnceServer, name = 'new'): MKDIR3args => ({
  where: { dir: { data: root }, name: Buffer.from(name) },
  attributes: ATTRIBUTES,
});

/** What MKDIR answers: the handle it made up, or the status. */
async function mkdir(
  server: OnceServer,
  session: ReturnType<typeof sessionOf>,
  xid: number,
  { name = 'new', credential = ALICE } = {},
): Promise<string> {
  const reply = await server.call(session, xid, 'MKDIR', mkdirArgs(server, name), credential);
  if (reply.status !== NFSSTAT3.NFS3_OK) return statusName(reply.status);
  return Buffer.from(reply.obj?.data ?? '').toString();
}

t.test('a call of an FGDP client runs once, over all its sessions', async (t) => {
  const { server, effects } = scene(t, { options: ',clients=192.0.2.0/24' });
  const near = sessionOf(NEAR, clientId('a'));
  const far = sessionOf(FAR, clientId('a'));
  t.equal(await mkdir(server, near, 1), 'directory 1');
  t.equal(await mkdir(server, near, 1), 'directory 1');
  t.equal(await mkdir(server, far, 1), 'directory 1', 'by another route');
  t.equal(await mkdir(server, far, 2), 'directory 2', 'another call');
  t.same(effects, ['new', 'new']);
});

t.test('what is not the same call is carried out', async (t) => {
  const { server, effects } = scene(t);
  t.equal(await mkdir(server, sessionOf(NEAR, clientId('a')), 1), 'directory 1');
  t.equal(await mkdir(server, sessionOf(NEAR, clientId('b')), 1), 'directory 2', 'another client');
  t.equal(
    await mkdir(server, sessionOf(NEAR, clientId('a')), 1, { name: 'other' }),
    'directory 3',
    'its xid again',
  );
  t.equal(
    await mkdir(server, sessionOf(NEAR, clientId('a')), 1),
    'directory 1',
    'and the first one is known',
  );
  t.equal(effects.length, 3);
});

t.test('a reply goes to nobody else', { skip: notPrivileged }, async (t) => {
  const { server } = scene(t, { options: ',clients=192.0.2.0/24' });
  const id = clientId('a');
  t.equal(await mkdir(server, sessionOf(NEAR, id), 1), 'directory 1');
  const others: [who: string, peer: Peer, credential: typeof ALICE][] = [
    ['another user', NEAR, authSys('a', 1001, 1000, [7, 8])],
    ['another group', NEAR, authSys('a', 1000, 1001, [7, 8])],
    ['fewer groups', NEAR, authSys('a', 1000, 1000, [7])],
    [
      'a user of this machine who claims to be Alice',
      { kind: 'unix', identity: { uid: 2000, gid: 2000, groups: [] }, claims: 'itself' },
      ALICE,
    ],
    ['root, who is nobody here', NEAR, authSys('a', 0, 0, [])],
  ];
  let count = 1;
  for (const [who, peer, credential] of others) {
    count += 1;
    t.equal(await mkdir(server, sessionOf(peer, id), 1, { credential }), `directory ${count}`, who);
  }
  const reordered = authSys('b', 1000, 1000, [8, 7, 7]);
  t.equal(await mkdir(server, sessionOf(NEAR, id), 1, { credential: reordered }), 'directory 1', 'Alice');
  const stranger: Peer = { kind: 'tcp', address: '203.0.113.1', port: 700 };
  count += 1;
  t.equal(
    await mkdir(server, sessionOf(stranger, id), 1),
    `directory ${count}`,
    'who may not use the export',
  );
  count += 1;
  t.equal(await mkdir(server, sessionOf(stranger, id), 1), `directory ${count}`, 'is asked each time');
  t.equal(server.calls.clients, 1, 'and leaves nothing');
});

t.test('a duplicate of a call that is under way waits for its outcome', async (t) => {
  let end: (reply: MKDIR3res) => void = () => undefined;
  let begun = 0;
  const { server } = scene(t, {}, () => {
    begun += 1;
    return new Promise<MKDIR3res>((resolve) => (end = resolve));
  });
  for (const id of [clientId('a'), undefined]) {
    begun = 0;
    const calls = [1, 2, 3].map(() => mkdir(server, sessionOf(FAR, id), 7));
    await new Promise(setImmediate);
    t.equal(begun, 1);
    end(made(1));
    t.same(await Promise.all(calls), ['directory 1', 'directory 1', 'directory 1']);
    t.equal(await mkdir(server, sessionOf(FAR, id), 7), 'directory 1');
  }
});

t.test('a call that failed inside is carried out again, and finds what it kept', async (t) => {
  const kept: (string | undefined)[] = [];
  for (const isAsync of [false, true]) {
    kept.length = 0;
    const { server } = scene(t, {}, (_args, { intent }) => {
      const before = intent?.begin(Buffer.from(`try ${kept.length}`));
      kept.push(before === undefined ? undefined : Buffer.from(before).toString());
      const failure = new Error('a fault');
      if (kept.length > 1) return made(2);
      if (isAsync) return Promise.reject(failure);
      throw failure;
    });
    const session = sessionOf(FAR, clientId('a'));
    await t.rejects(mkdir(server, session, 1), { code: 'SYSTEM_ERR' });
    t.equal(await mkdir(server, session, 1), 'directory 2');
    t.equal(await mkdir(server, session, 1), 'directory 2');
    t.same(kept, [undefined, 'try 0']);
  }
});

t.test('begin is for one change', async (t) => {
  const { server } = scene(t, {}, (_args, { intent }) => {
    intent?.begin(Buffer.from('one'));
    intent?.begin(Buffer.from('two'));
    return made(1);
  });
  await t.rejects(mkdir(server, sessionOf(FAR, clientId('a')), 1), { code: 'SYSTEM_ERR' });
});

t.test('NFS3ERR_JUKEBOX is not kept, nor what it began', async (t) => {
  const kept: (Uint8Array | undefined)[] = [];
  const { server } = scene(t, {}, (_args, { intent }) => {
    kept.push(intent?.begin(Buffer.from('before')));
    return kept.length % 2 === 1 ? { status: NFSSTAT3.NFS3ERR_JUKEBOX, wcc: NO_WCC } : made(kept.length);
  });
  for (const session of [sessionOf(FAR, clientId('a')), sessionOf(FAR)]) {
    t.equal(await mkdir(server, session, 1), 'NFS3ERR_JUKEBOX');
    t.match(await mkdir(server, session, 1), /^directory/);
  }
  t.same(kept, [undefined, undefined, undefined, undefined]);
});

t.test('other clients: known by address and xid, without an intent', async (t) => {
  const { server, effects } = scene(t, {}, (args, { intent }) => {
    t.equal(intent, undefined);
    return made(effects.push(Buffer.from(args.where.name).toString()));
  });
  const again: Peer = { ...FAR, port: 900 };
  t.equal(await mkdir(server, sessionOf(FAR), 1), 'directory 1');
  t.equal(await mkdir(server, sessionOf(again), 1), 'directory 1', 'another connection');
  t.equal(
    await mkdir(server, sessionOf({ ...FAR, address: '192.0.2.2' }), 1),
    'directory 2',
    'another address',
  );
  t.equal(await mkdir(server, sessionOf(FAR), 1, { name: 'other' }), 'directory 3');
  t.equal(await mkdir(server, sessionOf(NEAR), 1), 'directory 4');
  t.equal(server.calls.clients, 0);
});

t.test('a full log: the call is refused for now, and nothing happens', async (t) => {
  const warnings: string[] = [];
  const { server, effects } = scene(t, { log: recorder(warnings) });
  const session = sessionOf(FAR, clientId('a'));
  t.equal(await mkdir(server, session, 1), 'directory 1');
  server.calls.close();
  await t.rejects(
    mkdir(server, session, 2),
    { code: 'SYSTEM_ERR' },
    'without a procedure that answers with statuses',
  );
  t.equal(await mkdir(server, session, 1), 'directory 1');
  t.same(effects, ['new']);
  t.same(warnings, ['calls cannot be recorded in the state directory: changes wait']);
});

t.test('idempotent calls are carried out each time', async (t) => {
  const directory = makeDirectory(t);
  mkdirSync(join(directory, 'tree'));
  let asked = 0;
  const server = onceServer(directory, {
    ACCESS: (_args, { intent }) => {
      t.equal(intent, undefined);
      asked += 1;
      return { status: NFSSTAT3.NFS3_OK, obj_attributes: null, access: asked };
    },
  });
  t.teardown(() => server.die());
  const args = { object: { data: server.root }, access: 1 };
  for (const access of [1, 2]) {
    t.match(await server.call(sessionOf(FAR, clientId('a')), 1, 'ACCESS', args), { access });
  }
});

t.test('the arguments of what must run once begin with the handle that names the export', (t) => {
  const firstHandle = { SETATTR: ['object'], RENAME: ['from', 'dir'], LINK: ['file'] } as Record<
    string,
    string[]
  >;
  let count = 0;
  for (const [name, { idempotent, args }] of Object.entries(NFS_PROCEDURES)) {
    if (idempotent) continue;
    count += 1;
    const arbitrary = NFS_ARBITRARIES[name as keyof typeof NFS_ARBITRARIES].args as fc.Arbitrary<object>;
    for (const value of fc.sample(arbitrary, { numRuns: 20, seed: 14 })) {
      const path = firstHandle[name] ?? ('where' in value ? ['where', 'dir'] : ['object', 'dir']);
      const { data } = path.reduce<unknown>(
        (inner, key) => (inner as Record<string, unknown>)[key],
        value,
      ) as {
        data: Uint8Array;
      };
      const bytes = Buffer.concat(encodeAll(args as never, value as never));
      t.same(bytes.subarray(4, 4 + bytes.readUInt32BE(0)), Buffer.from(data), name);
    }
  }
  t.equal(count, 9);
  t.end();
});

function recorder(warnings: string[]): NonNullable<OnceServerOptions['log']> {
  const warn = (...said: unknown[]): void => {
    warnings.push(said.map((each) => (typeof each === 'string' ? each : '')).join(''));
  };
  return { warn } as unknown as NonNullable<OnceServerOptions['log']>;
}
