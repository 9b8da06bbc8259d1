/** Attributes that a program sets on a file it has just made: what is kept, until when, and who sees it. */
import { constants } from 'node:fs';
import { mock } from 'node:test';
import t from 'tap';
import { ATTRIBUTES_BEHIND_MS } from '../../src/gateway/limits.ts';
import type { Caller } from '../../src/gateway/callers.ts';
import { MadeFile } from '../../src/gateway/made-files.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { NO_AUTH } from '../../src/rpc/auth.ts';
import type { AttributeChanges, CallContext } from '../../src/gateway/operations.ts';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import type { Script } from '../client/scripted-server.ts';
import { ATTRIBUTES, KNOWS_CALLS } from '../client/scripted-server.ts';
import { bytes, context, mountTree, ok, quiet, TreeServer, type Mounted } from './tree-server.ts';
import { writeData } from './writing-server.ts';

const ROOT = 1n;
const ATTRIBUTES_OF_MADE = { ...attributesOfFattr3(ATTRIBUTES), mode: 0o100600, uid: 1000 };
const EINTR = 4;
const EIO = 5;
const { O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY } = constants;
/** As tar sets them. */
const TIMES = {
  atime: { seconds: 1_000, nanoseconds: 1 },
  mtime: { seconds: 2_000, nanoseconds: 2 },
};
/** What programs write before they come to the end. */
const BLOCK = 'block of text.. '.repeat(32);
const root = (): CallContext => ({ ...context(), uid: 0, gid: 0 });

interface Scene extends Mounted {
  readonly maker: CallContext;
  readonly nodeId: bigint;
  readonly fileHandle: bigint;
  readonly set: (changes: AttributeChanges, who?: CallContext) => ReturnType<Mounted['gateway']['setattr']>;
  readonly write: (text: string, offset?: bigint) => Promise<unknown>;
  /** What the server has. */
  readonly there: () => NonNullable<ReturnType<TreeServer['at']>>['attributes'];
}

interface Making {
  readonly maker?: CallContext;
  /** Whose the server says it is; default: the maker's. */
  readonly owner?: number;
  readonly mode?: number;
  readonly flags?: number;
  readonly script?: (server: TreeServer) => Script;
  readonly leavesOut?: TreeServer['leavesOut'];
}

/** A file that was just made, and is open. */
async function make(t: Parameters<typeof mountTree>[0], making: Making = {}): Promise<Scene> {
  const { maker = context(), mode = 0o600, flags = O_WRONLY } = making;
  const server = new TreeServer();
  server.owner = making.owner ?? maker.uid;
  const mounted = mountTree(t, { server, peer: KNOWS_CALLS, script: making.script?.(server) ?? {} });
  const { gateway } = mounted;
  const { entry, opened } = await ok(gateway.create(ROOT, bytes('file'), mode, flags | O_CREAT, maker));
  server.leavesOut = making.leavesOut ?? {};
  mounted.calls();
  const { nodeId } = entry;
  const { fileHandle } = opened;
  return {
    ...mounted,
    maker,
    nodeId,
    fileHandle,
    set: (changes, who = maker) => gateway.setattr(nodeId, changes, who),
    write: async (text, offset = 0n) =>
      ok(gateway.write(fileHandle, offset, writeData(Buffer.from(text)), 0, maker)),
    there: () => server.at('file')!.attributes,
  };
}

const mtimeOf = ({ there }: Scene): number => there().mtime.seconds;

t.test('what tar sets goes in one SETATTR behind the bytes when the file is closed', async (t) => {
  const scene = await make(t, { maker: root() });
  const { gateway, server, maker, set, write, calls, there, fileHandle } = scene;
  await write('contents');
  const owned = await ok(set({ uid: 1000, gid: 100 }));
  t.match(owned, { attributes: { uid: 1000, gid: 100, size: 8n }, validMs: 0 });
  await ok(set({ mode: 0o644 }));
  const last = await ok(set(TIMES));
  t.match(last.attributes, { uid: 1000, gid: 100, mode: 0o100_644, ...TIMES });
  await quiet(scene);
  t.strictSame(calls(), ['WRITE'], 'the bytes go ahead');
  t.match(there(), { uid: 0, mode: 0o600 });
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.strictSame(calls(), ['SETATTR']);
  t.equal(server.settings.length, 1);
  t.match(there(), {
    uid: 1000,
    gid: 100,
    mode: 0o644,
    atime: { seconds: 1_000 },
    mtime: { seconds: 2_000 },
  });
  gateway.release(fileHandle);
  await quiet(scene);
  t.strictSame(calls(), []);
});

t.test('bytes and attributes are sent at once, in this order', async (t) => {
  const scene = await make(t);
  const { gateway, maker, set, write, calls, fileHandle } = scene;
  await write('contents');
  await ok(set(TIMES));
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.strictSame(calls(), ['WRITE', 'SETATTR']);
  t.equal(mtimeOf(scene), 2_000);
});

t.test('what is not certain to be allowed, or would let somebody in, is asked at once', async (t) => {
  const other = { ...context(), pid: 2 };
  const cases: Record<string, [Making, AttributeChanges, CallContext?]> = {
    'another process': [{}, { mode: 0o644 }, other],
    'the same process as somebody else': [{}, { mode: 0o644 }, { ...context(), uid: 1001 }],
    'nobody knows which process': [{ maker: { ...context(), pid: 0 } }, { mode: 0o644 }],
    'nor does fuse-native say': [{ maker: { ...context(), pid: process.pid } }, { mode: 0o644 }],
    'squashed root': [{ maker: root(), owner: 65_534 }, { mode: 0o644 }],
    'permissions taken away': [{ mode: 0o644 }, { mode: 0o600 }],
    'set-user-id': [{}, { mode: 0o4755 }],
    'sticky before': [{ mode: 0o1600 }, { mode: 0o644 }],
    'the size': [{}, { size: 0n }],
    'the server’s time': [{}, { atime: 'now', mtime: 'now' }],
    'before 1970': [{}, { mtime: { seconds: -1, nanoseconds: 0 } }],
    'after 2106': [{}, { atime: { seconds: 0x1_0000_0000, nanoseconds: 0 } }],
    'given away where the group may read': [{ maker: root(), mode: 0o640 }, { gid: 100 }],
    'given away by who is not root': [{}, { gid: 100 }],
    'a file that is only read': [{ flags: O_RDONLY | O_TRUNC }, { mode: 0o644 }],
  };
  for (const [name, [making, changes, who]] of Object.entries(cases)) {
    const { set, calls } = await make(t, making);
    await ok(set(changes, who));
    t.match(calls(), ['SETATTR'], name);
  }
  const { set, calls } = await make(t, { mode: 0o640 });
  await ok(set({ uid: 1000, mode: 0o660 }));
  t.strictSame(calls(), [], 'permissions added, and the owner it has');
});

t.test('permissions are taken away from what was kept, too', async (t) => {
  const { set, there, server } = await make(t);
  await ok(set({ mode: 0o666 }));
  await ok(set({ mode: 0o644 }));
  t.equal(there().mode, 0o644);
  t.equal(server.settings.length, 2);
});

t.test('what looks like the end of the file is sent ahead, once', async (t) => {
  const scene = await make(t);
  const { gateway, maker, write, calls, fileHandle } = scene;
  await write(BLOCK);
  t.strictSame(calls(), [], 'more may come');
  await write('the rest', 512n);
  await quiet(scene);
  t.strictSame(calls(), ['WRITE']);
  await write('and more', 520n);
  t.strictSame(calls(), [], 'who writes otherwise has it gathered');
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.strictSame(calls(), ['WRITE']);
});

t.test('what is written after times were set has a time of its own', async (t) => {
  const scene = await make(t);
  const { gateway, maker, set, write, calls, fileHandle } = scene;
  await ok(set(TIMES));
  await write(BLOCK);
  t.strictSame(calls(), ['SETATTR']);
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.strictSame(calls(), ['WRITE']);
  t.ok(mtimeOf(scene) < 2_000);
});

t.test('a mode that is kept lets writes pass', async (t) => {
  const { gateway, maker, set, write, calls, there, fileHandle } = await make(t);
  await ok(set({ mode: 0o644 }));
  await write(BLOCK);
  t.strictSame(calls(), []);
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.strictSame(calls(), ['WRITE', 'SETATTR']);
  t.equal(there().mode, 0o644);
});

t.test('whoever looks in the same mount has it set first', async (t) => {
  const other = { ...context(), pid: 2 };
  const looks: Record<string, (scene: Scene) => unknown> = {
    GETATTR: async ({ gateway, nodeId }) => {
      t.match(await ok(gateway.getattr(nodeId, other)), {
        attributes: { mode: 0o100_644, mtime: TIMES.mtime },
      });
    },
    ACCESS: ({ gateway, nodeId }) => gateway.access(nodeId, 4, other),
    OPEN: ({ gateway, nodeId }) => gateway.open(nodeId, O_RDONLY, other),
    FSYNC: ({ gateway, fileHandle }) => gateway.fsync(fileHandle, false, context()),
    GETXATTR: ({ gateway, nodeId }) => gateway.getxattr(nodeId, 'system.posix_acl_access', other),
    LINK: ({ gateway, nodeId }) => gateway.link(nodeId, ROOT, bytes('second'), other),
    RENAME: ({ gateway }) => gateway.rename(ROOT, bytes('file'), ROOT, bytes('other'), 0, other),
  };
  for (const [name, look] of Object.entries(looks)) {
    const scene = await make(t);
    await ok(scene.set({ mode: 0o644, ...TIMES }));
    await look(scene);
    t.equal(scene.calls()[0], 'SETATTR', name);
    t.equal(scene.server.settings.length, 1, name);
  }
  const { gateway, set, calls } = await make(t);
  await ok(set({ mode: 0o644 }));
  t.match(await ok(gateway.lookup(ROOT, bytes('file'), other)), {
    attributes: { attributes: { mode: 0o100_644 } },
  });
  t.strictSame(calls(), ['LOOKUP'], 'a name is answered with what it will be');
});

t.test('a file that another has opened keeps nothing any more', async (t) => {
  const { gateway, nodeId, set, calls } = await make(t);
  await ok(gateway.open(nodeId, O_RDONLY, { ...context(), pid: 2 }));
  calls();
  await ok(set({ mode: 0o644 }));
  t.match(calls(), ['SETATTR']);
});

t.test('close says that attributes could not be set', async (t) => {
  const scene = await make(t);
  const { gateway, maker, set, server, warnings, fileHandle } = scene;
  await ok(set({ mode: 0o644 }));
  server.refusals.SETATTR = NFSSTAT3.NFS3ERR_IO;
  t.equal(await gateway.flush(fileHandle, maker), EIO);
  t.equal(warnings.length, 1);
  t.equal(await gateway.flush(fileHandle, maker), 0, 'once');
});

t.test('a file that stays open has them set after a while', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => {
    mock.timers.reset();
  });
  const scene = await make(t);
  await ok(scene.set({ mode: 0o644 }));
  mock.timers.tick(ATTRIBUTES_BEHIND_MS - 1);
  await quiet(scene);
  t.strictSame(scene.calls(), []);
  mock.timers.tick(1);
  await quiet(scene);
  t.strictSame(scene.calls(), ['SETATTR']);
  await ok(scene.set({ mode: 0o666 }));
  t.strictSame(scene.calls(), [], 'and keeps what comes next');
  mock.timers.tick(ATTRIBUTES_BEHIND_MS);
  await quiet(scene);
  t.equal(scene.there().mode, 0o666);
});

t.test('who gives up a close leaves them to be set', async (t) => {
  let goOn = (): void => undefined;
  const held = new Promise<void>((resolve) => (goOn = resolve));
  const scene = await make(t, {
    script: (server) => ({
      SETATTR: async (args, seen) => {
        await held;
        return server.script.SETATTR!(args, seen);
      },
    }),
  });
  const { gateway, set, there, fileHandle, nodeId } = scene;
  await ok(set({ mode: 0o644 }));
  const end = new AbortController();
  const closing = gateway.flush(fileHandle, context(end.signal));
  const opening = gateway.open(nodeId, O_RDONLY, { ...context(end.signal), pid: 2 });
  await new Promise(setImmediate);
  end.abort();
  t.equal(await closing, EINTR);
  t.equal(await opening, EINTR, 'nobody waits for a server that is away for ever');
  gateway.release(fileHandle);
  goOn();
  await quiet(scene);
  t.equal(there().mode, 0o644);
  t.equal(await gateway.drain(), 0);
  gateway.forget(nodeId, 1n);
  t.equal(gateway.status().inodes, 1, 'nothing holds the file');
});

t.test('the end of the mount leaves none behind', async (t) => {
  const scene = await make(t);
  const { gateway, set, write, calls, there } = scene;
  await write('contents');
  await ok(set({ mode: 0o644, ...TIMES }));
  gateway.destroy();
  t.equal(await gateway.drain(), 0);
  t.strictSame(calls(), ['WRITE', 'SETATTR']);
  t.match(there(), { mode: 0o644, mtime: { seconds: 2_000 } });
});

t.test('a size that nobody has told is asked for', async (t) => {
  const { gateway, maker, set, write, fileHandle } = await make(t, { leavesOut: { wcc: true } });
  await write('contents');
  t.equal(await gateway.fsync(fileHandle, false, maker), 0);
  const { attributes } = await ok(set({ mode: 0o644 }));
  t.equal(attributes.size, 8n);
});

t.test('a server that is lost in between has them set again', async (t) => {
  let isFirst = true;
  const scene: Scene = await make(t, {
    script: (server) => ({
      WRITE: (args, seen) => {
        if (!isFirst) return server.script.WRITE!(args, seen);
        isFirst = false;
        return new Promise<never>(() => undefined);
      },
      SETATTR: (args, seen) => {
        const reply = server.script.SETATTR!(args, seen);
        if (server.settings.length === 1) setImmediate(() => setImmediate(scene.loseConnection));
        return reply;
      },
    }),
  });
  const { gateway, maker, set, write, fileHandle, server } = scene;
  await write('contents');
  await ok(set(TIMES));
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.equal(mtimeOf(scene), 2_000);
  t.equal(server.settings.length, 2);
});

t.test('so does one that has put off the bytes', async (t) => {
  let putOff = 1;
  const scene = await make(t, {
    script: (server) => ({
      WRITE: (args, seen) => {
        putOff -= 1;
        server.refusals.WRITE = NFSSTAT3.NFS3ERR_JUKEBOX;
        if (putOff < 0) delete server.refusals.WRITE;
        return server.script.WRITE!(args, seen);
      },
    }),
  });
  const { gateway, maker, set, write, fileHandle } = scene;
  await write('contents');
  await ok(set(TIMES));
  t.equal(await gateway.flush(fileHandle, maker), 0);
  t.equal(mtimeOf(scene), 2_000);
});

t.test('times are not set any more once the file was written again past the gateway', (t) => {
  const maker = { pid: 1, uid: 1000 };
  const file = new MadeFile(maker, { credential: NO_AUTH, key: 'a' } as Caller);
  const known = { ...ATTRIBUTES_OF_MADE, size: 10n };
  t.ok(file.keep(known, { mode: 0o644, mtime: TIMES.mtime }, maker));
  t.same(file.keptOf(known), { mode: 0o644, mtime: TIMES.mtime }, 'nobody has');
  t.same(file.keptOf({ ...known, size: 11n }), { mode: 0o644 });
  t.same(file.keptOf({ ...known, mtime: { seconds: 9, nanoseconds: 9 } }), { mode: 0o644 });
  file.settled();
  t.ok(file.keep(known, { mode: 0o666 }, maker));
  t.same(file.keptOf({ ...known, size: 12n }), { mode: 0o666 });
  t.end();
});
