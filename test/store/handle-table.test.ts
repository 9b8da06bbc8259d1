import t from 'tap';
import { HandleTable, tableId } from '../../src/store/handle-table.ts';

const exportId = Buffer.from('exportid');
const file = { devMajor: 8, devMinor: 1, ino: 2n ** 64n - 1n, btimeNs: -5n };

t.test('a file keeps its id, and its path is the last one seen', async (t) => {
  const directory = t.testdir({});
  const table = new HandleTable(directory);
  const id = table.register(exportId, file, Buffer.from([0x61, 0xff]));
  t.same(table.register(exportId, file, Buffer.from('b/c')), id);
  t.same(table.find(id), Buffer.from('b/c'));
  t.equal(table.find(Buffer.alloc(16)), undefined);
  table.close();
  const again = new HandleTable(directory);
  t.same(again.find(id), Buffer.from('b/c'));
  t.same(again.register(exportId, file, Buffer.alloc(0)), id);
  t.same(again.find(id), Buffer.alloc(0));
  again.close();
});

t.test('every part of the identity counts', async (t) => {
  const id = tableId(exportId, file);
  t.same(tableId(exportId, { ...file }), id);
  for (const other of [{ devMajor: 9 }, { devMinor: 2 }, { ino: 1n }, { btimeNs: -6n }]) {
    t.not(tableId(exportId, { ...file, ...other }).equals(id), true);
  }
  t.not(tableId(Buffer.from('exportie'), file).equals(id), true);
});
