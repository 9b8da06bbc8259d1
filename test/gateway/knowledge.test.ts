import t from 'tap';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import { FTYPE3 } from '../../src/nfs3/types.ts';
import type { DirectorySink } from '../../src/gateway/operations.ts';
import { bytes, context, mountTree, ok, type Mounted } from './tree-server.ts';

const ROOT = 1n;
const EACCES = 13;
const EROFS = 30;
const W_OK = 2;
const R_OK = 4;

/** Lists the root, as a program does that wants names alone: LOOKUP is then answered from what was listed. */
async function list({ gateway }: Mounted): Promise<string[]> {
  const names: string[] = [];
  const sink: DirectorySink = {
    wantsEntries: false,
    add: (name) => names.push(Buffer.from(name).toString()) > 0,
  };
  const { fileHandle } = await ok(gateway.opendir(ROOT, context()));
  await gateway.readdir(fileHandle, 0n, sink, context());
  gateway.releasedir(fileHandle);
  return names;
}

const isRemembered = async ({ gateway, calls }: Mounted, name: string): Promise<boolean> => {
  calls();
  await gateway.lookup(ROOT, bytes(name), context());
  return calls().length === 0;
};

t.test('our own changes leave what was learned of a directory, and tell the kernel nothing', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, invalidated } = mounted;
  server.add(server.root, 'a');
  server.add(server.root, 'b');
  t.strictSame(await list(mounted), ['a', 'b']);
  invalidated.length = 0;
  await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  t.equal(await gateway.rmdir(ROOT, bytes('d'), context()), 0);
  t.equal(await gateway.unlink(ROOT, bytes('b'), context()), 0);
  await ok(gateway.symlink(ROOT, bytes('l'), bytes('a'), context()));
  t.strictSame(invalidated, []);
  t.ok(await isRemembered(mounted, 'a'));
  t.notOk(await isRemembered(mounted, 'b'), 'what was removed is not');
});

t.test('somebody else’s change in between drops the names, and the kernel asks again', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, invalidated } = mounted;
  server.add(server.root, 'a');
  await list(mounted);
  invalidated.length = 0;
  server.add(server.root, 'theirs');
  await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  t.strictSame(invalidated, [ROOT]);
  t.notOk(await isRemembered(mounted, 'a'));
});

t.test('a server without weak cache consistency data is asked again', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  server.leavesOut = { wcc: true };
  await ok(gateway.getattr(ROOT, context()));
  await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  calls();
  const { attributes } = await ok(gateway.getattr(ROOT, context()));
  t.strictSame(calls(), ['GETATTR']);
  t.equal(attributes.mtime.seconds, server.root.attributes.mtime.seconds);
});

t.test('changes under way at once chain, in whatever order the replies come', async (t) => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const answers: (() => void)[] = [];
    const mounted: Mounted = mountTree(t, {
      script: {
        MKDIR: async (args, seen) => {
          const reply = await mounted.server.script.MKDIR!(args, seen);
          await new Promise<void>((resolve) => answers.push(resolve));
          return reply;
        },
      },
    });
    const { gateway, server, invalidated } = mounted;
    await ok(gateway.getattr(ROOT, context()));
    const made = ['a', 'b'].map((name) => ok(gateway.mkdir(ROOT, bytes(name), 0o700, context())));
    while (answers.length < made.length) await new Promise(setImmediate);
    for (const index of order) {
      answers[index]!();
      await made[index];
    }
    t.equal(invalidated.length > 0, order[0] === 1, 'only what overtakes is doubted');
    const { attributes } = await ok(gateway.getattr(ROOT, context()));
    t.equal(attributes.mtime.seconds, server.root.attributes.mtime.seconds, 'the last state is known');
  }
});

t.test('what was asked before a change of ours does not undo it', async (t) => {
  let answer = (): void => undefined;
  let isHeld = false;
  const mounted: Mounted = mountTree(t, {
    times: { acregminMs: 1_000, acregmaxMs: 1_000, acdirminMs: 60_000, acdirmaxMs: 60_000 },
    script: {
      GETATTR: async (args, seen) => {
        const reply = await mounted.server.script.GETATTR!(args, seen);
        if (isHeld) await new Promise<void>((resolve) => (answer = resolve));
        return reply;
      },
    },
  });
  const { gateway, server } = mounted;
  server.leavesOut = { wcc: true };
  await ok(gateway.mkdir(ROOT, bytes('a'), 0o700, context()));
  server.leavesOut = {};
  isHeld = true;
  const asking = gateway.getattr(ROOT, context());
  await new Promise(setImmediate);
  await ok(gateway.mkdir(ROOT, bytes('b'), 0o700, context()));
  // It is asked again.
  isHeld = false;
  answer();
  const { attributes: asked } = await ok(asking);
  t.equal(asked.mtime.seconds, server.root.attributes.mtime.seconds);
  const { attributes } = await ok(gateway.getattr(ROOT, context()));
  t.equal(attributes.mtime.seconds, server.root.attributes.mtime.seconds);
});

t.test('why writing is refused: the server says once whether the export is read-only', async (t) => {
  for (const [status, errno] of [
    [undefined, EACCES],
    [NFSSTAT3.NFS3ERR_ROFS, EROFS],
  ] as const) {
    const { gateway, server, calls } = mountTree(t);
    server.add(server.root, 'f');
    server.rights = 0x23;
    if (status !== undefined) server.refusals.SETATTR = status;
    const before = server.root.attributes;
    t.equal(await gateway.access(ROOT, W_OK, context()), errno);
    t.strictSame(calls(), ['ACCESS', 'SETATTR']);
    const { nodeId } = await ok(gateway.lookup(ROOT, bytes('f'), context()));
    t.equal(await gateway.access(nodeId, W_OK | R_OK, context()), errno);
    t.strictSame(calls(), ['LOOKUP', 'ACCESS']);
    t.strictSame(server.root.attributes, before, 'the question changes nothing');
    server.rights = 0;
  }
});

t.test('access asks for what a file or directory needs', async (t) => {
  const { gateway, server } = mountTree(t, {
    times: { acregminMs: 0, acregmaxMs: 0, acdirminMs: 0, acdirmaxMs: 0 },
  });
  server.add(server.root, 'd', FTYPE3.NF3DIR);
  server.add(server.root, 'f');
  const directory = await ok(gateway.lookup(ROOT, bytes('d'), context()));
  const file = await ok(gateway.lookup(ROOT, bytes('f'), context()));
  const answers = async (rights: number, nodeId: bigint): Promise<unknown[]> => {
    server.rights = rights;
    const masks = [0, 4, 2, 1, 7];
    return Promise.all(masks.map(async (mask) => gateway.access(nodeId, mask, context())));
  };
  t.strictSame(await answers(0x3f, directory.nodeId), [0, 0, 0, 0, 0]);
  t.strictSame(await answers(0x0f, directory.nodeId), [0, 0, EACCES, 0, EACCES], 'no deleting');
  t.strictSame(await answers(0x2f, file.nodeId), [0, 0, 0, 0, 0]);
  t.strictSame(await answers(0x2b, file.nodeId), [0, 0, EACCES, 0, EACCES], 'growing only');
  t.strictSame(await answers(0x0d, file.nodeId), [0, 0, 0, EACCES, EACCES]);
});
