import { truncateSync } from 'node:fs';
import t from 'tap';
import { ImportError, parseImportDocument, readImportDocument } from '../../src/resolver/import-document.ts';
import { MAX_IMPORT_BYTES } from '../../src/resolver/limits.ts';
import { serverIdOfKey } from '../../src/resolver/schema.ts';
import { ColocationTable } from '../../src/resolver/table.ts';
import { idNumber, keyNumber, serverEntry } from './entries.ts';

function parse(value: unknown): ReturnType<typeof parseImportDocument> {
  return parseImportDocument(JSON.stringify(value), 'list.json');
}

t.test('what a table lists can be imported', async (t) => {
  const dir = t.testdir();
  using one = ColocationTable.open(`${dir}/one.db`, { create: true });
  using other = ColocationTable.open(`${dir}/other.db`, { create: true });
  one.enterServer(serverEntry(1));
  one.enterServer(serverEntry(2, { exports: [{ name: 'img', path: '/pool' }] }));
  other.importEntries(parse(one.list()));
  t.strictSame(other.list(), one.list());
});

t.test('a server may name its node by its boot id, and leave its own id out', async (t) => {
  const { id: _, ...server } = serverEntry(1);
  const node = { bootId: 'n', name: 'node' };
  const content = parse({ nodes: [node], servers: [{ ...server, node: 'n' }] });
  t.match(content.servers, [
    { id: serverIdOfKey(keyNumber(1)), node, exports: [{ name: 'doc', path: '/doc' }] },
  ]);
  t.same(parse([server]).servers, [{ ...content.servers[0], node: server.node }], 'a bare array');
  t.strictSame(parse({}), { nodes: [], servers: [] });
});

t.test('errors name the document and the place in it', async (t) => {
  const other = serverEntry(2, { exports: [] });
  const wrong: [unknown, RegExp][] = [
    [7, /the whole: /],
    [{ server: [] }, /the whole: .*server/],
    [
      { servers: [serverEntry(1), serverEntry(2, { endpoints: [{ route: 'near', address: 'x' }] })] },
      /: servers\[1\]\.endpoints\[0\]\.address: "x" is not an absolute/,
    ],
    [[serverEntry(1, { id: 'x' })], /: \[0\]\.id: is not 32/],
    [{ nodes: [{ bootId: 'x', name: '' }] }, /: nodes\[0\]\.name: is empty/],
    [{ servers: [{ ...serverEntry(1), extra: 1 }] }, /: servers\[0\]: .*extra/],
    [{ servers: [{ ...serverEntry(1), node: 'x' }] }, /: servers\[0\]\.node: nodes has no boot id "x"/],
    [{ servers: [{ ...serverEntry(1), node: { name: 'x' } }] }, /: servers\[0\]\.node: is neither/],
    [
      { servers: [serverEntry(1), serverEntry(2)] },
      /: servers\[1\]\.exports\[0\]\.name: export "doc" is already listed by servers\[0\]\.exports\[0\]\.name/,
    ],
    [{ servers: [other, other] }, /: servers\[1\]\.id: server 0{31}2 is already listed by servers\[0\]\.id/],
    [{ nodes: [other.node, other.node] }, /: nodes\[1\]\.bootId: node "boot-2" is already listed/],
    [[serverEntry(1, { id: 'x', name: '', publicKey: '' })], /\(and 2 more\)$/],
  ];
  for (const [value, why] of wrong) {
    t.throws(() => parse(value), ImportError);
    t.throws(() => parse(value), { message: /^cannot import list\.json: [^\n]*$/ });
    t.throws(() => parse(value), { message: why });
  }
  t.throws(() => parseImportDocument('{"a":\n', 'x'), {
    message: /^cannot import x: it is not JSON \([^\n]*\)$/,
  });
});

t.test('files', async (t) => {
  const dir = t.testdir({ 'list.json': JSON.stringify([serverEntry(1)]), large: '' });
  t.equal(readImportDocument(`${dir}/list.json`).servers[0]?.id, idNumber(1));
  t.throws(() => readImportDocument(`${dir}/none`), { name: 'ImportError', message: /ENOENT/ });
  t.throws(() => readImportDocument(dir), { name: 'ImportError', message: /EISDIR/ });
  truncateSync(`${dir}/large`, MAX_IMPORT_BYTES + 1);
  t.throws(() => readImportDocument(`${dir}/large`), { name: 'ImportError', message: /larger than/ });
});
