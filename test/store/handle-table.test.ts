import t from 'tap';
import { HandleTable, tableId } from '../../src/store/handle-table.ts';

const exportId = Buffer.from('exportid');
const file = { devMajor: 8, devMinor: 1, ino: 2n ** 64n - 1n, btimeNs: -5n };

const found = (table: HandleTable, id: Buffer): string[] => table.find(id).map(String).sort();

t.test('a file keeps its id, and each of its names leads to it', async (t) => {
  const directory = t.testdir({});
  const table = new HandleTable(directory);
  const odd = Buffer.from([0x61, 0xff]);
  const id = table.register(exportId, file, odd);
  t.same(table.find(id), [odd]);
  t.same(table.register(exportId, file, Buffer.from('b/c')), id);
  t.same(found(table, id), [odd.toString(), 'b/c'].sort());
  t.same(table.find(Buffer.alloc(16)), []);
  table.close();
  const again = new HandleTable(directory);
  t.same(found(again, id), [odd.toString(), 'b/c'].sort());
  again.removed(exportId, odd);
  t.same(found(again, id), ['b/c']);
  t.same(again.register(exportId, file, Buffer.alloc(0)), id);
  t.same(found(again, id), ['', 'b/c']);
  again.close();
});

t.test('a path has one file: who is seen there takes it from the one before', async (t) => {
  const table = new HandleTable(t.testdir({}));
  const other = { ...file, ino: 7n };
  const id = table.register(exportId, file, Buffer.from('a'));
  const otherId = table.register(exportId, other, Buffer.from('a'));
  t.same(table.find(id), []);
  t.same(found(table, otherId), ['a']);
  // The same path in another export is another place.
  const elsewhere = table.register(Buffer.from('exportie'), file, Buffer.from('a'));
  t.same([found(table, otherId), found(table, elsewhere)], [['a'], ['a']]);
  table.close();
});

t.test('a renamed directory takes all along that is below it, byte by byte', async (t) => {
  const table = new HandleTable(t.testdir({}));
  const ids = new Map<string, Buffer>();
  const paths = ['d', 'd/a', 'd/a/b', 'd/\xff', 'd0', 'd.x', 'dd/a', 'e', 'e/gone', 'e0'];
  for (const [index, text] of paths.entries()) {
    ids.set(text, table.register(exportId, { ...file, ino: BigInt(index) }, Buffer.from(text, 'latin1')));
  }
  table.register(Buffer.from('exportie'), file, Buffer.from('d/a'));
  table.renamed(exportId, Buffer.from('d'), Buffer.from('e'));
  const now = Object.fromEntries(
    paths.map((text) => [text, table.find(ids.get(text)!).map((path) => path.toString('latin1'))]),
  );
  t.same(now, {
    d: ['e'],
    'd/a': ['e/a'],
    'd/a/b': ['e/a/b'],
    'd/\xff': ['e/\xff'],
    d0: ['d0'],
    'd.x': ['d.x'],
    'dd/a': ['dd/a'],
    e: [],
    'e/gone': [],
    e0: ['e0'],
  });
  table.renamed(exportId, Buffer.from('e'), Buffer.from('dd/longer/name'));
  t.same(found(table, ids.get('d/a/b')!), ['dd/longer/name/a/b']);
  t.same(table.find(tableId(Buffer.from('exportie'), file)).map(String), ['d/a'], 'the other export');
  table.close();
});

t.test('a file that is born again keeps its id until its last name is gone', async (t) => {
  const directory = t.testdir({});
  let table = new HandleTable(directory);
  const id = table.register(exportId, file, Buffer.from('a'));
  const copied = { ...file, btimeNs: 77n };
  const again = { ...file, btimeNs: 78n };
  t.not(table.idOf(exportId, copied).equals(id), true);
  table.reborn(exportId, id, file);
  table.reborn(exportId, id, copied);
  table.reborn(exportId, id, again);
  table.close();
  table = new HandleTable(directory);
  t.same(table.idOf(exportId, copied), id);
  t.same(table.register(exportId, again, Buffer.from('a')), id);
  t.not(table.idOf(Buffer.from('exportie'), copied).equals(id), true);
  table.removed(exportId, Buffer.from('a'), id);
  t.not(table.idOf(exportId, copied).equals(id), true);
  t.same(table.find(id), []);
  table.close();
});

t.test('every part of the identity counts', async (t) => {
  const id = tableId(exportId, file);
  t.same(tableId(exportId, { ...file }), id);
  for (const other of [{ devMajor: 9 }, { devMinor: 2 }, { ino: 1n }, { btimeNs: -6n }]) {
    t.not(tableId(exportId, { ...file, ...other }).equals(id), true);
  }
  t.not(tableId(Buffer.from('exportie'), file).equals(id), true);
});
