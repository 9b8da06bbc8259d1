import t from 'tap';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import { FTYPE3 } from '../../src/nfs3/types.ts';
import { bytes, context, mountTree, ok, quiet, TreeServer, type Mounted } from './tree-server.ts';

const ROOT = 1n;
const ENOENT = 2;
const EINTR = 4;
const EBUSY = 16;
const EEXIST = 17;
const EINVAL = 22;
const ENOSPC = 28;
const ENAMETOOLONG = 36;
const ENOTEMPTY = 39;
const ESTALE = 116;
const SILLY = /^\.nfs[0-9a-f]{24}$/;

async function lookUp({ gateway }: Mounted, name: string): Promise<bigint> {
  return (await ok(gateway.lookup(ROOT, bytes(name), context()))).nodeId;
}

async function openFile(mounted: Mounted, name: string): Promise<{ nodeId: bigint; fileHandle: bigint }> {
  const nodeId = await lookUp(mounted, name);
  const { fileHandle } = await ok(mounted.gateway.open(nodeId, 0, context()));
  mounted.calls();
  return { nodeId, fileHandle };
}

const nlinkOf = async ({ gateway }: Mounted, nodeId: bigint): Promise<number> =>
  (await ok(gateway.getattr(nodeId, context()))).attributes.nlink;

t.test('a link is a second name of the same inode', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  server.add(server.root, 'f');
  const nodeId = await lookUp(mounted, 'f');
  calls();
  const entry = await ok(gateway.link(nodeId, ROOT, bytes('g'), context()));
  t.equal(entry.nodeId, nodeId);
  t.equal(entry.attributes?.attributes.nlink, 2);
  t.strictSame(calls(), ['LINK']);
  t.equal(await gateway.link(nodeId, ROOT, bytes('g'), context()), EEXIST);
  t.equal(await gateway.link(nodeId, ROOT, Buffer.alloc(256, 'x'), context()), ENAMETOOLONG);
  calls();
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), 0);
  t.strictSame(calls(), ['REMOVE'], 'what the name leads to is known');
  t.equal(await nlinkOf(mounted, nodeId), 1, 'the other name shows it at once');
});

t.test('names are removed', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  server.add(server.root, 'f');
  const directory = server.add(server.root, 'd', FTYPE3.NF3DIR);
  server.add(directory, 'inside');
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), 0);
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), ENOENT);
  t.equal(await gateway.rmdir(ROOT, bytes('d'), context()), ENOTEMPTY);
  const inside = await lookUp(mounted, 'd');
  t.equal(await gateway.unlink(inside, bytes('inside'), context()), 0);
  t.equal(await gateway.rmdir(ROOT, bytes('d'), context()), 0);
  t.equal(await gateway.rmdir(ROOT, bytes('d'), context()), ENOENT);
  t.equal(await gateway.unlink(ROOT, Buffer.alloc(256, 'x'), context()), ENAMETOOLONG);
  t.equal(await gateway.rmdir(ROOT, Buffer.alloc(256, 'x'), context()), ENAMETOOLONG);
  t.strictSame(server.names(), []);
});

t.test('a directory that was removed can still be looked at', async (t) => {
  const noac = { acregminMs: 0, acregmaxMs: 0, acdirminMs: 0, acdirmaxMs: 0 };
  const mounted = mountTree(t, { times: noac });
  const { gateway, server, calls } = mounted;
  const sink = { wantsEntries: false, add: () => t.fail('it is empty') };
  for (const isRenamed of [false, true]) {
    server.add(server.root, 'd', FTYPE3.NF3DIR);
    server.add(server.root, 'e', FTYPE3.NF3DIR);
    const nodeId = await lookUp(mounted, 'd');
    const other = await lookUp(mounted, 'e');
    const removed = isRenamed
      ? gateway.rename(ROOT, bytes('e'), ROOT, bytes('d'), 0, context())
      : gateway.rmdir(ROOT, bytes('d'), context());
    t.equal(await removed, 0);
    calls();
    t.equal(await nlinkOf(mounted, nodeId), 0);
    t.equal((await ok(gateway.getattr(other, context()))).attributes.nlink, 1, 'the other one is there');
    t.ok(calls().includes('GETATTR'), 'the server has the last word');
    const { fileHandle } = await ok(gateway.opendir(nodeId, context()));
    t.equal(await gateway.readdir(fileHandle, 0n, sink, context()), 0);
    t.equal(await gateway.rmdir(ROOT, bytes('e'), context()), isRenamed ? ENOENT : 0);
    server.root.children!.clear();
  }
  server.add(server.root, 'f', FTYPE3.NF3DIR);
  const nodeId = await lookUp(mounted, 'f');
  server.nodes.delete(server.at('f')!.handle.toString());
  t.equal(await gateway.getattr(nodeId, context()), ESTALE, 'removed by somebody else');
});

t.test('what was just closed does not keep its directory', async (t) => {
  const server = new TreeServer();
  let answer = (): void => undefined;
  // Sticky: what is kept for its openers cannot be moved up into it.
  server.root.attributes = { ...server.root.attributes, mode: 0o1777 };
  const mounted = mountTree(t, {
    server,
    script: {
      REMOVE: async (args, seen) => {
        await new Promise<void>((resolve) => (answer = resolve));
        return server.script.REMOVE!(args, seen);
      },
    },
  });
  const { gateway } = mounted;
  const directory = server.add(server.root, 'd', FTYPE3.NF3DIR);
  server.add(directory, 'f');
  const parent = await lookUp(mounted, 'd');
  const { nodeId } = await ok(gateway.lookup(parent, bytes('f'), context()));
  const { fileHandle } = await ok(gateway.open(nodeId, 0, context()));
  t.equal(await gateway.unlink(parent, bytes('f'), context()), 0);
  t.equal(await gateway.rmdir(ROOT, bytes('d'), context()), ENOTEMPTY, 'it is open');
  gateway.release(fileHandle);
  const giving = new AbortController();
  const given = gateway.rmdir(ROOT, bytes('d'), context(giving.signal));
  const listed: string[] = [];
  const { fileHandle: open } = await ok(gateway.opendir(parent, context()));
  const listing = gateway.readdir(
    open,
    0n,
    { wantsEntries: false, add: (name) => listed.push(Buffer.from(name).toString()) > 0 },
    context(),
  );
  const removed = gateway.rmdir(ROOT, bytes('d'), context());
  giving.abort();
  t.equal(await given, EINTR);
  t.match(server.names(directory), [SILLY]);
  answer();
  t.equal(await listing, 0);
  t.strictSame(listed, []);
  t.equal(await removed, 0);
});

t.test('a rename takes the inode along, and its time of change is asked for', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  server.add(server.root, 'f');
  server.add(server.root, 'd', FTYPE3.NF3DIR);
  const [file, directory] = [await lookUp(mounted, 'f'), await lookUp(mounted, 'd')];
  t.equal(await gateway.rename(ROOT, bytes('f'), directory, bytes('g'), 0, context()), 0);
  t.strictSame(server.names(server.at('d')), ['g']);
  const { attributes } = await ok(gateway.getattr(file, context()));
  t.equal(attributes.ctime.seconds, server.at('d/g')?.attributes.ctime.seconds);
  const { nodeId } = await ok(gateway.lookup(directory, bytes('g'), context()));
  t.equal(nodeId, file);
  t.equal(await gateway.rename(ROOT, bytes('f'), directory, bytes('g'), 0, context()), ENOENT);
});

t.test('flags of renameat2 are refused without a call', async (t) => {
  const { gateway, calls } = mountTree(t);
  for (const flags of [1, 2, 4]) {
    t.equal(await gateway.rename(ROOT, bytes('f'), ROOT, bytes('g'), flags, context()), EINVAL);
  }
  const long = Buffer.alloc(256, 'x');
  t.equal(await gateway.rename(ROOT, long, ROOT, bytes('g'), 0, context()), ENAMETOOLONG);
  t.equal(await gateway.rename(ROOT, bytes('g'), ROOT, long, 0, context()), ENAMETOOLONG);
  t.strictSame(calls(), []);
});

t.test('a file that is open keeps its data when its last name is removed', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  const node = server.add(server.root, 'f');
  const { nodeId, fileHandle } = await openFile(mounted, 'f');
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), 0);
  t.strictSame(calls(), ['RENAME']);
  const [silly = ''] = server.names();
  t.match(silly, SILLY);
  t.equal(BigInt(`0x${silly.slice(4, 20)}`), node.attributes.fileid);
  t.equal(await nlinkOf(mounted, nodeId), 0, 'as on a local file system');
  t.strictSame(await gateway.read(fileHandle, 0n, 10, context()), []);
  t.match(await gateway.lookup(ROOT, bytes('f'), context()), { nodeId: 0n });
  t.equal(await gateway.unlink(ROOT, bytes(silly), context()), EBUSY);
  t.equal(await gateway.rename(ROOT, bytes(silly), ROOT, bytes('f'), 0, context()), EBUSY);
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), []);
});

t.test('with several descriptors the last one decides', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  server.add(server.root, 'f');
  const first = await openFile(mounted, 'f');
  const second = await openFile(mounted, 'f');
  await gateway.unlink(ROOT, bytes('f'), context());
  gateway.release(first.fileHandle);
  await quiet(mounted);
  t.equal(server.names().length, 1);
  gateway.release(second.fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), []);
});

t.test('an open that is under way is waited for, or given up', async (t) => {
  const server = new TreeServer();
  let answer = (): void => undefined;
  let isHeld = false;
  const mounted = mountTree(t, {
    server,
    script: {
      ACCESS: async (args, seen) => {
        if (isHeld) await new Promise<void>((resolve) => (answer = resolve));
        return server.script.ACCESS!(args, seen);
      },
    },
  });
  const { gateway } = mounted;
  server.add(server.root, 'f');
  const nodeId = await lookUp(mounted, 'f');
  isHeld = true;
  const opening = gateway.open(nodeId, 0, context());
  const giving = new AbortController();
  const given = gateway.unlink(ROOT, bytes('f'), context(giving.signal));
  const unlinked = gateway.unlink(ROOT, bytes('f'), context());
  await new Promise(setImmediate);
  giving.abort();
  t.equal(await given, EINTR);
  answer();
  const { fileHandle } = await ok(opening);
  t.equal(await unlinked, 0);
  t.match(server.names(), [SILLY], 'the file was open by then');
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), []);
});

t.test('a file with another name is just removed', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  server.add(server.root, 'f');
  const { nodeId, fileHandle } = await openFile(mounted, 'f');
  await ok(gateway.link(nodeId, ROOT, bytes('g'), context()));
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), 0);
  t.strictSame(server.names(), ['g']);
  t.equal(await gateway.unlink(ROOT, bytes('g'), context()), 0);
  t.match(server.names(), [SILLY], 'now it was the last');
  t.ok(calls().includes('GETATTR'), 'how many names there are is asked for');
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), []);
});

t.test('what is renamed over an open file keeps its name all the time', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  const old = server.add(server.root, 'f');
  const fresh = server.add(server.root, 'new');
  const { nodeId, fileHandle } = await openFile(mounted, 'f');
  await lookUp(mounted, 'new');
  calls();
  t.equal(await gateway.rename(ROOT, bytes('new'), ROOT, bytes('f'), 0, context()), 0);
  t.strictSame(calls(), ['LINK', 'RENAME']);
  t.equal(server.at('f'), fresh);
  t.equal(server.names().filter((name) => SILLY.test(name)).length, 1);
  t.equal(await nlinkOf(mounted, nodeId), 0);
  t.ok(server.nodes.has(old.handle.toString()), 'the old file is there');
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), ['f']);
});

t.test('without links the open file is renamed first', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  server.refusals.LINK = NFSSTAT3.NFS3ERR_NOTSUPP;
  server.add(server.root, 'f');
  const fresh = server.add(server.root, 'new');
  const { fileHandle } = await openFile(mounted, 'f');
  t.equal(await gateway.rename(ROOT, bytes('new'), ROOT, bytes('f'), 0, context()), 0);
  t.strictSame(calls(), ['LINK', 'RENAME', 'RENAME']);
  t.equal(server.at('f'), fresh);
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), ['f']);
});

t.test('a rename that fails leaves everything as it was', async (t) => {
  for (const linkStatus of [undefined, NFSSTAT3.NFS3ERR_NOTSUPP]) {
    const mounted = mountTree(t);
    const { gateway, server } = mounted;
    if (linkStatus !== undefined) server.refusals.LINK = linkStatus;
    const old = server.add(server.root, 'f');
    const { nodeId, fileHandle } = await openFile(mounted, 'f');
    t.equal(await gateway.rename(ROOT, bytes('missing'), ROOT, bytes('f'), 0, context()), ENOENT);
    await quiet(mounted);
    t.strictSame(server.names(), ['f']);
    t.equal(server.at('f'), old);
    t.equal(await nlinkOf(mounted, nodeId), 1);
    gateway.release(fileHandle);
    await quiet(mounted);
    t.strictSame(server.names(), ['f']);
  }
});

/** In `above` a directory `d` with a file that is open, and removed. */
async function keepInDirectory(
  mounted: Mounted,
  aboveMode = 0o755,
): Promise<{ above: bigint; nodeId: bigint; fileHandle: bigint }> {
  const { gateway, server } = mounted;
  const parent = server.add(server.root, 'above', FTYPE3.NF3DIR);
  parent.attributes = { ...parent.attributes, mode: aboveMode };
  server.add(server.add(parent, 'd', FTYPE3.NF3DIR), 'f');
  const above = await lookUp(mounted, 'above');
  const directory = (await ok(gateway.lookup(above, bytes('d'), context()))).nodeId;
  const { nodeId } = await ok(gateway.lookup(directory, bytes('f'), context()));
  const { fileHandle } = await ok(gateway.open(nodeId, 0, context()));
  await gateway.unlink(directory, bytes('f'), context());
  mounted.calls();
  return { above, nodeId, fileHandle };
}

t.test('what is kept in a directory does not keep it from being removed', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  const { above, nodeId, fileHandle } = await keepInDirectory(mounted);
  t.equal(await gateway.rmdir(above, bytes('d'), context()), 0);
  t.strictSame(calls(), ['RMDIR', 'RENAME', 'RMDIR']);
  const [silly = ''] = server.names(server.at('above'));
  t.match(silly, SILLY, 'it is kept in the directory above');
  t.equal(await gateway.unlink(above, bytes(silly), context()), EBUSY);
  t.equal(await nlinkOf(mounted, nodeId), 0);
  t.strictSame(await gateway.read(fileHandle, 0n, 10, context()), []);
  t.equal(await gateway.rmdir(ROOT, bytes('above'), context()), 0);
  t.match(server.names(), [SILLY], 'and so on');
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), []);
});

t.test('a directory with files of others is not empty, whatever is kept in it', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  const { above, fileHandle } = await keepInDirectory(mounted);
  server.add(server.at('above/d')!, 'other');
  t.equal(await gateway.rmdir(above, bytes('d'), context()), ENOTEMPTY);
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame([server.names(server.at('above')), server.names(server.at('above/d'))], [['d'], ['other']]);
});

t.test('a directory stays while what is kept in it may not move, or not be removed again', async (t) => {
  for (const mode of [0o1777, 0o755]) {
    const mounted = mountTree(t);
    const { gateway, server, calls } = mounted;
    const { above, fileHandle } = await keepInDirectory(mounted, mode);
    if (mode === 0o755) server.refusals.RENAME = NFSSTAT3.NFS3ERR_ACCES;
    t.equal(await gateway.rmdir(above, bytes('d'), context()), ENOTEMPTY);
    t.strictSame(calls(), mode === 0o755 ? ['RMDIR', 'RENAME'] : ['RMDIR']);
    gateway.release(fileHandle);
    await quiet(mounted);
    t.equal(await gateway.rmdir(above, bytes('d'), context()), 0);
    t.strictSame(server.names(server.at('above')), []);
  }
});

t.test('a file that is closed while it is moved is removed all the same', async (t) => {
  for (const isFirst of [true, false]) {
    const server = new TreeServer();
    let isMoving = false;
    let tellRemoved = (): void => undefined;
    const removed = new Promise<void>((resolve) => (tellRemoved = resolve));
    const mounted = mountTree(t, {
      server,
      script: {
        REMOVE: (args, seen) => {
          tellRemoved();
          return server.script.REMOVE!(args, seen);
        },
        RENAME: async (args, seen) => {
          const rename = () => server.script.RENAME!(args, seen);
          if (!isMoving) return rename();
          const before = isFirst ? undefined : await rename();
          mounted.gateway.release(kept.fileHandle);
          await removed;
          return before ?? rename();
        },
      },
    });
    const kept = await keepInDirectory(mounted);
    isMoving = true;
    t.equal(await mounted.gateway.rmdir(kept.above, bytes('d'), context()), 0);
    await quiet(mounted);
    t.same([...server.nodes.values()].filter(({ children }) => children === undefined).length, 0, 'no file');
    t.strictSame(server.names(server.at('above')), []);
  }
});

t.test('an unlink that the server refuses leaves the file its name', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  server.add(server.root, 'f');
  const { nodeId, fileHandle } = await openFile(mounted, 'f');
  server.refusals.RENAME = NFSSTAT3.NFS3ERR_NOSPC;
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), ENOSPC);
  t.equal(await nlinkOf(mounted, nodeId), 1);
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), ['f']);
});

t.test('replies that are lost are not failures', async (t) => {
  let isLost = true;
  const server = new TreeServer();
  const mounted = mountTree(t, {
    server,
    script: Object.fromEntries(
      (['REMOVE', 'RMDIR', 'RENAME', 'LINK'] as const).map((procedure) => [
        procedure,
        async (args: never, seen: never) => {
          const reply = await server.script[procedure]!(args, seen);
          if (!isLost) {
            isLost = true;
            mounted.loseConnection();
          }
          return reply;
        },
      ]),
    ),
  });
  const { gateway } = mounted;
  server.add(server.root, 'f');
  server.add(server.root, 'd', FTYPE3.NF3DIR);
  const nodeId = await lookUp(mounted, 'f');
  isLost = false;
  t.equal((await ok(gateway.link(nodeId, ROOT, bytes('g'), context()))).nodeId, nodeId);
  isLost = false;
  t.equal(await gateway.rename(ROOT, bytes('g'), ROOT, bytes('h'), 0, context()), 0);
  isLost = false;
  t.equal(await gateway.unlink(ROOT, bytes('f'), context()), 0);
  isLost = false;
  t.equal(await gateway.rmdir(ROOT, bytes('d'), context()), 0);
  t.ok(isLost);
  t.strictSame(server.names(), ['h']);
  isLost = false;
  t.equal(
    await gateway.rename(ROOT, bytes('x'), ROOT, bytes('y'), 0, context()),
    ENOENT,
    'nothing to rename',
  );
  server.add(server.root, 'other');
  isLost = false;
  t.equal(await gateway.link(nodeId, ROOT, bytes('other'), context()), EEXIST, 'somebody else’s name');
});

t.test('what was changed in a directory is on stable storage already', async (t) => {
  const { gateway, calls } = mountTree(t);
  const { fileHandle } = await ok(gateway.opendir(ROOT, context()));
  calls();
  t.equal(await gateway.fsyncdir(fileHandle, false, context()), 0);
  t.strictSame(calls(), []);
});

t.test(
  'a rename that came too late is not taken for done because another file has the new name',
  async (t) => {
    const server = new TreeServer();
    let isLost = false;
    const mounted: Mounted = mountTree(t, {
      server,
      script: {
        RENAME: (args, seen) => {
          if (!isLost) {
            isLost = true;
            server.root.children!.delete('from');
            mounted.loseConnection();
          }
          return server.script.RENAME!(args, seen);
        },
      },
    });
    for (const name of ['from', 'to']) {
      server.add(server.root, name);
      await lookUp(mounted, name);
    }
    t.equal(await mounted.gateway.rename(ROOT, bytes('from'), ROOT, bytes('to'), 0, context()), ENOENT);
  },
);
