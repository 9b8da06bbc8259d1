/** Inodes by path: every lookup is given back once, and nothing that is in use. */
import t from 'tap';
import type { Entry, Outcome } from '../../src/gateway/operations.ts';
import { NativeNames, type KnownName } from '../../src/fuse/native-names.ts';
import { CONTEXT } from './fake-operations.ts';

const LONG_MS = 1e9;

/** A tree of names; `held` counts the lookups that have not been given back. */
function fakeTree(validMs = LONG_MS) {
  const inodes = new Map<string, bigint>([
    ['1/dir', 2n],
    ['2/file', 3n],
    ['1/other', 4n],
  ]);
  const held = new Map<bigint, bigint>();
  const asked: string[] = [];
  const lookup = async (parent: bigint, name: Uint8Array): Promise<Outcome<Entry>> => {
    const key = `${parent}/${Buffer.from(name).toString()}`;
    asked.push(key);
    if (key.endsWith('/broken')) return 5;
    const nodeId = inodes.get(key) ?? 0n;
    if (nodeId !== 0n) held.set(nodeId, (held.get(nodeId) ?? 0n) + 1n);
    return { nodeId, entryValidMs: validMs, attributes: undefined };
  };
  const forget = (nodeId: bigint, lookups: bigint): void => {
    held.set(nodeId, (held.get(nodeId) ?? 0n) - lookups);
  };
  return { inodes, held, asked, operations: { lookup, forget } };
}

async function found(names: NativeNames, path: string): Promise<KnownName> {
  const node = await names.resolve(path, CONTEXT);
  if (typeof node === 'number') throw new Error(`${path}: errno ${node}`);
  return node;
}

t.test('names are asked for once while they are believed', async (t) => {
  const tree = fakeTree();
  const names = new NativeNames(tree.operations, 10);
  for (let round = 0; round < 2; round += 1) {
    const node = await found(names, '/dir/file');
    t.equal(node.nodeId, 3n);
    names.unpin(node);
  }
  t.same(tree.asked, ['1/dir', '2/file']);
  const root = await found(names, '/');
  t.equal(root.nodeId, 1n);
  names.unpin(root);
  names.forget('/dir/file');
  t.same([...tree.held.values()], [0n, 0n], 'all is given back');
});

t.test('a name that is gone, and a lookup that fails', async (t) => {
  const tree = fakeTree();
  const names = new NativeNames(tree.operations, 10);
  t.equal(await names.resolve('/dir/missing', CONTEXT), 2);
  t.equal(await names.resolve('/dir/missing', CONTEXT), 2);
  t.same(tree.asked, ['1/dir', '2/missing'], 'it is remembered that there is none');
  t.equal(await names.resolve('/broken/file', CONTEXT), 5);
  t.equal(await names.resolve('/broken/file', CONTEXT), 5);
  t.same(tree.asked.slice(2), ['1/broken', '1/broken'], 'errors are not');
});

t.test('names that are not believed are asked for again, and may mean something else', async (t) => {
  const tree = fakeTree(0);
  const names = new NativeNames(tree.operations, 10);
  const first = await found(names, '/dir/file');
  tree.inodes.set('2/file', 7n);
  const second = await found(names, '/dir/file');
  t.same([first.nodeId, second.nodeId], [3n, 7n]);
  t.equal(tree.held.get(3n), 1n, 'the old file is in use');
  names.unpin(first);
  t.equal(tree.held.get(3n), 0n);
  names.unpin(second);
  names.forget('/dir/file');
  t.same([...tree.held.values()], [0n, 0n, 0n]);
});

t.test('requests at the same time share what they learn', async (t) => {
  const tree = fakeTree();
  const names = new NativeNames(tree.operations, 10);
  const nodes = await Promise.all([found(names, '/dir/file'), found(names, '/dir/file')]);
  t.equal(nodes[0], nodes[1]);
  t.equal(tree.held.get(3n), 2n);
  nodes.forEach((node) => names.unpin(node));
  names.forget('/dir/file');
  t.same([...tree.held.values()], [0n, 0n]);
});

t.test('the longest unused go first, but for those in use', async (t) => {
  const tree = fakeTree();
  const names = new NativeNames(tree.operations, 2);
  const file = await found(names, '/dir/file');
  names.unpin(await found(names, '/other'));
  t.equal(names.size, 2);
  t.equal(tree.held.get(2n), 0n, 'the directory was used first');
  names.unpin(await found(names, '/dir'));
  t.equal(tree.held.get(3n), 1n, 'dropped, and held while it is in use');
  names.unpin(file);
  t.equal(tree.held.get(3n), 0n);
});
