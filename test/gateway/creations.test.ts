import t from 'tap';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import { FTYPE3 } from '../../src/nfs3/types.ts';
import { bytes, context, mountTree, ok, quiet, TreeServer } from './tree-server.ts';

const ROOT = 1n;
const O_EXCL = 0o200;
const EIO = 5;
const EACCES = 13;
const EEXIST = 17;
const EINVAL = 22;
const ENOSPC = 28;
const ENAMETOOLONG = 36;
const ESTALE = 116;
const NO_DEVICE = { major: 0, minor: 0 };

t.test('a file is made and opened with one CREATE, and known at once', async (t) => {
  const { gateway, server, calls } = mountTree(t);
  const { entry, opened } = await ok(gateway.create(ROOT, bytes('f'), 0o640, 0, context()));
  t.ok(opened.fileHandle > 0n);
  t.equal(entry.attributes?.attributes.mode, 0o100640);
  t.strictSame(calls(), ['CREATE']);
  t.equal((await ok(gateway.getattr(entry.nodeId, context()))).attributes.mode, 0o100640);
  t.equal(
    (await ok(gateway.getattr(ROOT, context()))).attributes.mtime.seconds,
    server.root.attributes.mtime.seconds,
    'the directory’s new time came with the reply',
  );
  t.strictSame(calls(), []);
});

t.test('what is there already is EEXIST with O_EXCL, and looked up again without', async (t) => {
  const { gateway, server } = mountTree(t);
  server.add(server.root, 'f').attributes.mode = 0o600;
  t.equal(await gateway.create(ROOT, bytes('f'), 0o777, O_EXCL, context()), EEXIST);
  t.equal(await gateway.create(ROOT, bytes('f'), 0o777, 0, context()), ESTALE);
  t.equal(server.at('f')?.attributes.mode, 0o600, 'its mode is its own');
});

t.test('O_EXCL leaves a verifier, and the mode follows', async (t) => {
  const { gateway, server, calls } = mountTree(t);
  const { entry } = await ok(gateway.create(ROOT, bytes('f'), 0o604, O_EXCL, context()));
  t.strictSame(calls().slice(0, 2), ['CREATE', 'SETATTR']);
  t.equal(entry.attributes?.attributes.mode, 0o100604);
  t.match(server.at('f')?.verifier, /^[0-9a-f]{16}$/);
  await ok(gateway.create(ROOT, bytes('g'), 0o604, O_EXCL, context()));
  t.not(server.at('g')?.verifier, server.at('f')?.verifier);
});

t.test('O_EXCL is one call where the server takes calls once', async (t) => {
  const { gateway, link, calls } = mountTree(t);
  Object.defineProperty(link, 'takesEffectOnce', { value: true });
  await ok(gateway.create(ROOT, bytes('f'), 0o604, O_EXCL, context()));
  t.strictSame(calls(), ['CREATE']);
});

t.test('a server without EXCLUSIVE is asked for it once', async (t) => {
  const server = new TreeServer();
  const { gateway, calls } = mountTree(t, {
    server,
    script: {
      CREATE: (args, seen) =>
        args.how.mode === 2
          ? { status: NFSSTAT3.NFS3ERR_NOTSUPP, wcc: { before: null, after: null } }
          : server.script.CREATE!(args, seen),
    },
  });
  await ok(gateway.mknod(ROOT, bytes('f'), 0o100600, NO_DEVICE, context()));
  t.strictSame(calls(), ['CREATE', 'CREATE']);
  await ok(gateway.mknod(ROOT, bytes('g'), 0o100600, NO_DEVICE, context()));
  t.strictSame(calls(), ['CREATE']);
  t.equal(await gateway.mknod(ROOT, bytes('g'), 0o100600, NO_DEVICE, context()), EEXIST);
});

t.test('a file whose mode cannot be set is not left behind', async (t) => {
  const { gateway, server } = mountTree(t);
  server.refusals.SETATTR = NFSSTAT3.NFS3ERR_ACCES;
  t.equal(await gateway.create(ROOT, bytes('f'), 0o600, O_EXCL, context()), EACCES);
  t.strictSame(server.names(), []);
});

t.test('a lost reply makes nobody lose', async (t) => {
  let isLost = false;
  const server = new TreeServer();
  const dying = mountTree(t, {
    server,
    script: Object.fromEntries(
      (['CREATE', 'SYMLINK', 'MKDIR'] as const).map((procedure) => [
        procedure,
        async (args: never, seen: never) => {
          const reply = await server.script[procedure]!(args, seen);
          if (isLost) return reply;
          isLost = true;
          dying.loseConnection();
          return reply;
        },
      ]),
    ),
  });
  const { gateway } = dying;
  await ok(gateway.mknod(ROOT, bytes('exclusive'), 0o100600, NO_DEVICE, context()));
  t.ok(isLost);
  isLost = false;
  await ok(gateway.create(ROOT, bytes('shared'), 0o600, 0, context()));
  t.ok(isLost);
  isLost = false;
  await ok(gateway.symlink(ROOT, bytes('link'), bytes('target'), context()));
  t.ok(isLost);
  isLost = false;
  t.equal(await gateway.mkdir(ROOT, bytes('lock'), 0o700, context()), EEXIST, 'it may be another’s lock');
  isLost = false;
  server.add(server.root, 'theirs', FTYPE3.NF3LNK).target = bytes('elsewhere');
  t.equal(await gateway.symlink(ROOT, bytes('theirs'), bytes('target'), context()), EEXIST);
  t.strictSame(server.names(), ['exclusive', 'link', 'lock', 'shared', 'theirs']);
});

t.test('every kind of object, with what it is made of', async (t) => {
  const { gateway, server } = mountTree(t);
  const directory = await ok(gateway.mkdir(ROOT, bytes('d'), 0o2755, context()));
  t.equal(directory.attributes?.attributes.mode, 0o042755);
  const device = await ok(
    gateway.mknod(directory.nodeId, bytes('c'), 0o020640, { major: 4, minor: 300 }, context()),
  );
  t.match(device.attributes?.attributes, { rdevMajor: 4, rdevMinor: 300 });
  await ok(gateway.mknod(directory.nodeId, bytes('b'), 0o060640, { major: 1, minor: 2 }, context()));
  await ok(gateway.mknod(directory.nodeId, bytes('p'), 0o010640, NO_DEVICE, context()));
  await ok(gateway.mknod(directory.nodeId, bytes('s'), 0o140640, NO_DEVICE, context()));
  await ok(gateway.mknod(directory.nodeId, bytes('r'), 0o640, NO_DEVICE, context()));
  t.strictSame(
    ['c', 'b', 'p', 's', 'r'].map((name) => server.at(`d/${name}`)?.attributes.type),
    [FTYPE3.NF3CHR, FTYPE3.NF3BLK, FTYPE3.NF3FIFO, FTYPE3.NF3SOCK, FTYPE3.NF3REG],
  );
  t.equal(await gateway.mknod(ROOT, bytes('x'), 0o170000, NO_DEVICE, context()), EINVAL);
  const link = await ok(gateway.symlink(ROOT, bytes('l'), bytes('d/c'), context()));
  const { target } = await ok(gateway.readlink(link.nodeId, context()));
  t.equal(Buffer.from(target).toString(), 'd/c');
});

t.test('what is too long is refused without a call', async (t) => {
  const { gateway, calls } = mountTree(t);
  const name = Buffer.alloc(256, 'x');
  t.equal(await gateway.create(ROOT, name, 0o600, 0, context()), ENAMETOOLONG);
  t.equal(await gateway.mkdir(ROOT, name, 0o700, context()), ENAMETOOLONG);
  t.equal(await gateway.symlink(ROOT, name, bytes('t'), context()), ENAMETOOLONG);
  t.equal(await gateway.symlink(ROOT, bytes('l'), Buffer.alloc(4096, 'x'), context()), ENAMETOOLONG);
  t.equal(await gateway.mknod(ROOT, name, 0o600, NO_DEVICE, context()), ENAMETOOLONG);
  t.equal(await gateway.lookup(ROOT, name, context()), ENAMETOOLONG);
  t.strictSame(calls(), []);
  await ok(gateway.mkdir(ROOT, Buffer.alloc(255, 'x'), 0o700, context()));
});

t.test('handle and attributes are asked for where a server leaves them out', async (t) => {
  const { gateway, server, calls } = mountTree(t);
  server.leavesOut = { handle: true, attributes: true };
  const { attributes } = await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  t.equal(attributes?.attributes.mode, 0o040700);
  t.strictSame(calls(), ['MKDIR', 'LOOKUP']);
  server.leavesOut = { attributes: true };
  await ok(gateway.mkdir(ROOT, bytes('e'), 0o700, context()));
  t.strictSame(calls(), ['MKDIR', 'GETATTR']);
});

t.test('a server that hands out what cannot be is not believed', async (t) => {
  const server = new TreeServer();
  let obj: { data: Uint8Array } = { data: Buffer.alloc(0) };
  const { gateway } = mountTree(t, {
    server,
    script: {
      CREATE: async (args, seen) => {
        const reply = await server.script.CREATE!(args, seen);
        return reply.status === 0 ? { ...reply, obj } : reply;
      },
      MKDIR: async (args, seen) => {
        const reply = await server.script.MKDIR!(args, seen);
        return reply.status === 0
          ? { ...reply, obj_attributes: { ...server.root.attributes, type: 1 } }
          : reply;
      },
    },
  });
  t.equal(await gateway.create(ROOT, bytes('nothing'), 0o600, 0, context()), EIO);
  obj = { data: server.root.handle };
  t.equal(await gateway.create(ROOT, bytes('itself'), 0o600, 0, context()), EIO);
  t.equal(await gateway.mkdir(ROOT, bytes('no directory'), 0o700, context()), EIO);
  const { nodeId } = await ok(gateway.lookup(ROOT, bytes('no directory'), context()));
  obj = { data: server.at('no directory')!.handle };
  t.equal(await gateway.create(nodeId, bytes('parent'), 0o600, 0, context()), EIO);
});

t.test('a failure is the server’s, and a caller who gives up is told so', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  server.refusals.CREATE = NFSSTAT3.NFS3ERR_NOSPC;
  t.equal(await gateway.create(ROOT, bytes('f'), 0o600, 0, context()), ENOSPC);
  server.refusals.MKDIR = NFSSTAT3.NFS3ERR_JUKEBOX;
  const giving = new AbortController();
  const made = gateway.mkdir(ROOT, bytes('d'), 0o700, context(giving.signal));
  giving.abort();
  t.equal(await made, 4);
  await quiet(mounted);
});
