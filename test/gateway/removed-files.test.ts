/** Files whose last name was removed here, and that somebody still has open without the gateway's knowing: FIFOs, O_PATH. */
import { constants } from 'node:fs';
import t from 'tap';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import { bytes, context, mountTree, ok, TreeServer } from './tree-server.ts';

const ROOT = 1n;
const EPERM = 1;
const ESTALE = 116;
const S_IFIFO = 0o010000;
const S_IFMT = 0o170000;
const NO_DEVICE = { major: 0, minor: 0 };

t.test('it is as it was, without a link, and can be changed by those who have it', async (t) => {
  const mounted = mountTree(t, { server: new TreeServer() });
  const { gateway } = mounted;
  const made = await ok(gateway.mknod(ROOT, bytes('pipe'), S_IFIFO | 0o600, NO_DEVICE, context()));
  const { nodeId } = made;
  t.equal(await gateway.unlink(ROOT, bytes('pipe'), context()), 0);
  const { attributes } = await ok(gateway.getattr(nodeId, context()));
  t.match(attributes, { mode: made.attributes?.attributes.mode, nlink: 0 });
  const mtime = { seconds: 5, nanoseconds: 6 };
  const changed = await ok(gateway.setattr(nodeId, { mode: 0o640, mtime }, context()));
  t.match(changed.attributes, { mode: S_IFIFO | 0o640, mtime, nlink: 0 });
  t.match((await ok(gateway.getattr(nodeId, context()))).attributes, { mode: S_IFIFO | 0o640, mtime });
});

t.test('what others have removed is stale', async (t) => {
  const server = new TreeServer();
  const { gateway } = mountTree(t, { server });
  const { nodeId, attributes } = await ok(
    gateway.mknod(ROOT, bytes('pipe'), S_IFIFO | 0o600, NO_DEVICE, context()),
  );
  t.equal((attributes?.attributes.mode ?? 0) & S_IFMT, S_IFIFO);
  server.nodes.delete(server.at('pipe')!.handle.toString());
  t.equal(await gateway.setattr(nodeId, { mode: 0o640 }, context()), ESTALE);
});

t.test('chown of nothing clears set-id bits, as the kernel asks for', async (t) => {
  const server = new TreeServer();
  const { gateway } = mountTree(t, { server });
  const { nodeId } = await ok(gateway.mknod(ROOT, bytes('program'), 0o4755, NO_DEVICE, context()));
  const { attributes } = await ok(gateway.setattr(nodeId, { dropsSetIds: true }, context()));
  t.equal(attributes.mode & 0o7777, 0o755);
  t.equal(server.at('program')?.attributes.mode, 0o755);
});

t.test(
  'chown of nothing by whoever may not change the mode is refused, unless it may be a write that asks',
  async (t) => {
    const server = new TreeServer();
    const { gateway } = mountTree(t, { server });
    const made = await ok(gateway.mknod(ROOT, bytes('program'), 0o4755, NO_DEVICE, context()));
    server.refusals.SETATTR = NFSSTAT3.NFS3ERR_PERM;
    t.equal(await gateway.setattr(made.nodeId, { dropsSetIds: true }, context()), EPERM);
    const { fileHandle } = await ok(gateway.open(made.nodeId, constants.O_WRONLY, context()));
    server.refusals.SETATTR = NFSSTAT3.NFS3ERR_PERM;
    await ok(gateway.setattr(made.nodeId, { dropsSetIds: true }, context()));
    gateway.release(fileHandle);
  },
);
