import t from 'tap';
import type { DirectorySink } from '../../src/gateway/operations.ts';
import { bytes, context, mountTree, ok } from './tree-server.ts';

const ROOT = 1n;
/** As fuse-native, and the kernel for plain READDIR, take a listing. */
const NAMES_ONLY: DirectorySink = { wantsEntries: false, add: () => true };

t.test(
  'what a listing told of a file does not come back once the file was changed and forgotten',
  async (t) => {
    const { gateway, server, calls } = mountTree(t);
    server.add(server.root, 'f');
    const { fileHandle } = await ok(gateway.opendir(ROOT, context()));
    t.equal(await gateway.readdir(fileHandle, 0n, NAMES_ONLY, context()), 0);
    calls();
    const { nodeId } = await ok(gateway.lookup(ROOT, bytes('f'), context()));
    t.strictSame(calls(), [], 'the listing has told of it');
    await ok(gateway.setattr(nodeId, { mode: 0o600 }, context()));
    gateway.forget(nodeId, 1n);
    const { attributes } = await ok(gateway.lookup(ROOT, bytes('f'), context()));
    t.equal((attributes?.attributes.mode ?? 0) & 0o777, 0o600);
  },
);
