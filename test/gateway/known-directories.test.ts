import t from 'tap';
import { DEFAULT_ATTRIBUTE_TIMES, NO_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { InodeTable } from '../../src/gateway/inodes.ts';
import { KnownDirectories } from '../../src/gateway/known-directories.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';
import { bytes, context, mountTree, ok } from './tree-server.ts';

const ROOT = 1n;
const ESTALE = 116;
const attributes = attributesOfFattr3({ ...ATTRIBUTES, type: 2 });

t.test('names in a directory that was made here need no LOOKUP', async (t) => {
  const { gateway, server, calls } = mountTree(t);
  const { nodeId } = await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  calls();
  for (const name of ['a', 'b', 'c']) {
    const none = await ok(gateway.lookup(nodeId, bytes(name), context()));
    t.equal(none.nodeId, 0n);
    t.ok(none.entryValidMs > 0 && none.entryValidMs <= DEFAULT_ATTRIBUTE_TIMES.acregminMs);
    await ok(gateway.create(nodeId, bytes(name), 0o600, 0, context()));
  }
  t.strictSame(calls(), ['CREATE', 'CREATE', 'CREATE']);
  const inner = await ok(gateway.mkdir(nodeId, bytes('inner'), 0o700, context()));
  calls();
  t.match(await gateway.lookup(inner.nodeId, bytes('x'), context()), { nodeId: 0n });
  t.match(await gateway.lookup(nodeId, bytes('x'), context()), { nodeId: 0n });
  t.strictSame(calls(), []);
  t.not((await ok(gateway.lookup(nodeId, bytes('a'), context()))).nodeId, 0n);
  await gateway.rename(nodeId, bytes('a'), inner.nodeId, bytes('moved'), 0, context());
  t.not((await ok(gateway.lookup(inner.nodeId, bytes('moved'), context()))).nodeId, 0n);
  await ok(gateway.symlink(nodeId, bytes('l'), bytes('x'), context()));
  t.not((await ok(gateway.lookup(nodeId, bytes('l'), context()))).nodeId, 0n);
  t.strictSame(server.names(server.at('d')), ['b', 'c', 'inner', 'l']);
});

t.test('once somebody else changes it, the server is asked', async (t) => {
  const { gateway, server, calls } = mountTree(t);
  const { nodeId } = await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  server.add(server.at('d')!, 'theirs');
  await ok(gateway.mkdir(nodeId, bytes('ours'), 0o700, context()));
  calls();
  t.not((await ok(gateway.lookup(nodeId, bytes('theirs'), context()))).nodeId, 0n);
  t.match(await gateway.lookup(nodeId, bytes('none'), context()), { nodeId: 0n });
  t.strictSame(calls(), ['LOOKUP', 'LOOKUP']);
});

t.test('a name that is there after all is looked up', async (t) => {
  const { gateway, server } = mountTree(t);
  const { nodeId } = await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  const directory = server.at('d')!;
  const before = directory.attributes;
  server.add(directory, 'theirs');
  // Within one tick of the server's clock nothing shows it.
  directory.attributes = before;
  t.match(await gateway.lookup(nodeId, bytes('theirs'), context()), { nodeId: 0n });
  t.equal(await gateway.create(nodeId, bytes('theirs'), 0o600, 0, context()), ESTALE);
  t.not((await ok(gateway.lookup(nodeId, bytes('theirs'), context()))).nodeId, 0n);
});

t.test('nothing is known where attributes are not believed, or the server says too little', async (t) => {
  for (const settings of [{ times: NO_ATTRIBUTE_TIMES }, {}]) {
    const { gateway, server, calls } = mountTree(t, settings);
    if (settings.times === undefined) server.leavesOut = { attributes: true };
    const { nodeId } = await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
    calls();
    t.match(await gateway.lookup(nodeId, bytes('x'), context()), { nodeId: 0n });
    t.strictSame(calls(), ['LOOKUP']);
  }
});

t.test('files kept under silly names are found', async (t) => {
  const { gateway, server } = mountTree(t);
  const { nodeId } = await ok(gateway.mkdir(ROOT, bytes('d'), 0o700, context()));
  await ok(gateway.create(nodeId, bytes('f'), 0o600, 0, context()));
  t.equal(await gateway.unlink(nodeId, bytes('f'), context()), 0);
  const [silly = ''] = server.names(server.at('d'));
  t.not((await ok(gateway.lookup(nodeId, bytes(silly), context()))).nodeId, 0n);
});

t.test('what is remembered is bounded, and the oldest goes first', async (t) => {
  const inodes = new InodeTable(Buffer.from('root'), attributes, DEFAULT_ATTRIBUTE_TIMES);
  const make = (name: string) => inodes.intern(Buffer.from(name), attributes);
  const known = new KnownDirectories(DEFAULT_ATTRIBUTE_TIMES, 4);
  const [first, second] = [make('first'), make('second')];
  known.made(first);
  known.made(second);
  known.changed(second, bytes('a'), 'ours');
  known.changed(second, bytes('a'), 'ours');
  t.ok(known.absentMs(first, bytes('x')));
  known.changed(second, bytes('b'), 'ours');
  t.ok(known.absentMs(first, bytes('x')), 'four are kept');
  known.changed(second, bytes('c'), 'ours');
  t.equal(known.absentMs(first, bytes('x')), undefined);
  t.ok(known.absentMs(second, bytes('x')));
  t.equal(known.absentMs(second, bytes('b')), undefined, 'that one may be there');
  known.changed(second, bytes('d'), 'ours');
  t.equal(known.absentMs(second, bytes('x')), undefined, 'one that is too large alone');
  known.made(first);
  known.changed(first, bytes('a'), 'unknown');
  t.equal(known.absentMs(first, bytes('x')), undefined);
  known.made(first);
  first.expire();
  t.equal(known.absentMs(first, bytes('x')), undefined, 'not believed');
  known.clear();
});
