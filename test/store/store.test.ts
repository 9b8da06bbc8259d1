import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { lookup } from '../../src/store/operations.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { Store } from '../../src/store/store.ts';
import { OPEN_NODES_MAX } from '../../src/store/limits.ts';
import { hasCapability } from '../../src/system/capabilities.ts';
import { statFd } from '../../src/system/files.ts';
import { bytes, makePlace, notPrivileged, openStore, server } from './fixtures.ts';

const kinds = notPrivileged === false ? (['kernel', 'table'] as const) : (['table'] as const);
const self = { ...server, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

for (const handles of kinds) {
  t.test(`${handles} handles`, async (t) => {
    t.test('survive a rename and a restart, and go stale with the file', async (t) => {
      const place = makePlace(t);
      const { directory } = place;
      fs.mkdirSync(path.join(directory, 'sub'));
      fs.writeFileSync(path.join(directory, 'a'), 'contents');
      let store = openStore(t, place, { handles });
      const rootHandle = store.rootHandle('tree');
      const root = () => store.resolve(rootHandle);
      const { handle } = lookup(self, root(), bytes('a'));
      t.ok(handle.length <= 64);
      const ino = fs.statSync(path.join(directory, 'a'), { bigint: true }).ino;

      fs.renameSync(path.join(directory, 'a'), path.join(directory, 'sub/b'));
      t.equal(statFd(store.resolve(handle).fd).ino, ino, 'while it is open');
      const again = lookup(self, lookup(self, root(), bytes('sub')), bytes('b'));
      t.same(again.handle, handle, 'a lookup gives the same');

      store.close();
      store = openStore(t, place, { handles });
      t.same(store.rootHandle('tree'), rootHandle);
      t.equal(statFd(store.resolve(handle).fd).ino, ino, 'after a restart');

      fs.unlinkSync(path.join(directory, 'sub/b'));
      fs.writeFileSync(path.join(directory, 'sub/b'), 'another');
      t.throws(() => store.resolve(handle), { code: 'STALE' }, 'while it was open');
      store.close();
      store = openStore(t, place, { handles });
      t.throws(() => store.resolve(handle), { code: 'STALE' }, 'after a restart');
      t.not(lookup(self, lookup(self, root(), bytes('sub')), bytes('b')).handle.equals(handle), true);
    });

    t.test('are of one export and one key', async (t) => {
      const place = makePlace(t);
      fs.writeFileSync(path.join(place.directory, 'a'), '');
      const store = openStore(t, place, { handles });
      const { handle } = lookup(self, store.resolve(store.rootHandle('tree')), bytes('a'));
      const renamed = openStore(t, place, { handles, options: { name: 'other' } });
      t.throws(() => renamed.resolve(handle), { code: 'STALE' }, 'the export is gone');
      const foreign = openStore(t, { ...place, stateDirectory: `${place.stateDirectory}-2` }, { handles });
      t.throws(() => foreign.resolve(handle), { code: 'BADHANDLE' });
      t.throws(() => store.resolve(handle.subarray(1)), { code: 'BADHANDLE' });
      t.throws(() => store.resolve(Buffer.alloc(0)), { code: 'BADHANDLE' });
    });

    t.test('links and directories have them too', async (t) => {
      const place = makePlace(t);
      fs.symlinkSync('nowhere', path.join(place.directory, 'link'));
      const fifo = fs.mkdirSync(path.join(place.directory, 'dir/deep'), { recursive: true });
      t.ok(fifo);
      let store = openStore(t, place, { handles });
      const root = store.resolve(store.rootHandle('tree'));
      const link = lookup(self, root, bytes('link')).handle;
      const deep = lookup(self, lookup(self, root, bytes('dir')), bytes('deep')).handle;
      store.close();
      store = openStore(t, place, { handles });
      t.equal(statFd(store.resolve(link).fd).mode & 0o170000, 0o120000);
      t.equal(statFd(store.resolve(deep).fd).mode & 0o170000, 0o040000);
      t.match(store.resolve(new Uint8Array(deep)), { handle: deep, store, export: { name: 'tree' } });
    });

    t.test('more nodes than the limit, all in one turn and afterwards', async (t) => {
      const place = makePlace(t);
      const count = OPEN_NODES_MAX + 50;
      for (let index = 0; index < count; index += 1)
        fs.writeFileSync(path.join(place.directory, `${index}`), '');
      const store = openStore(t, place, { handles });
      const root = store.resolve(store.rootHandle('tree'));
      const nodes = Array.from({ length: count }, (_, index) => lookup(self, root, bytes(`${index}`)));
      t.equal(
        new Set(nodes.map((node) => statFd(node.fd).ino)).size,
        count,
        'every descriptor is still good',
      );
      const inos = nodes.map((node) => statFd(node.fd).ino);
      await Promise.resolve();
      t.equal(store.openNodes, OPEN_NODES_MAX);
      t.same(
        nodes.map((node) => statFd(store.resolve(node.handle).fd).ino),
        inos,
      );
    });
  });
}

t.test('a table handle is not fooled by a replaced path', async (t) => {
  const place = makePlace(t);
  fs.mkdirSync(path.join(place.directory, 'dir'));
  fs.writeFileSync(path.join(place.directory, 'dir/file'), 'x');
  fs.mkdirSync(path.join(place.outside, 'dir'));
  fs.writeFileSync(path.join(place.outside, 'dir/file'), 'secret');
  let store = openStore(t, place, { handles: 'table' });
  const directory = lookup(self, store.resolve(store.rootHandle('tree')), bytes('dir'));
  const { handle } = lookup(self, directory, bytes('file'));
  store.close();
  fs.rmSync(path.join(place.directory, 'dir'), { recursive: true });
  fs.symlinkSync(path.join(place.outside, 'dir'), path.join(place.directory, 'dir'));
  store = openStore(t, place, { handles: 'table' });
  t.throws(() => store.resolve(handle), { code: 'STALE' });
});

t.test('exports', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  t.equal(store.exports().length, 1);
  const tree = store.export('tree');
  t.equal(tree?.directory, fs.realpathSync(place.directory));
  t.equal(tree?.isolation, hasCapability('CAP_SYS_ADMIN') ? 'private-mount' : 'one-file-system');
  t.equal(store.export('none'), undefined);
  t.throws(() => store.rootHandle('none'), { code: 'STALE' });
  t.equal(fs.statSync(place.stateDirectory).mode & 0o777, 0o700);
  t.throws(() => openStore(t, { ...place, directory: `${place.directory}/none` }), { code: 'ENOENT' });
  fs.writeFileSync(path.join(place.outside, 'file'), '');
  t.throws(() => openStore(t, { ...place, directory: `${place.outside}/file` }), { code: 'ENOTDIR' });
});

t.test('closing leaves no descriptor behind', async (t) => {
  const place = makePlace(t);
  fs.writeFileSync(path.join(place.directory, 'a'), '');
  const before = fs.readdirSync('/proc/self/fd').length;
  const options = parseExportOption(`tree=${place.directory}`);
  const { stateDirectory } = place;
  t.throws(() => Store.open({ stateDirectory, exports: [options, options] }), { message: /given twice/ });
  for (const handles of kinds) {
    const store = openStore(t, place, { handles });
    lookup(self, store.resolve(store.rootHandle('tree')), bytes('a'));
    store.close();
  }
  await Promise.resolve();
  t.equal(fs.readdirSync('/proc/self/fd').length, before);
});

t.test('exports can be changed while they are used', async (t) => {
  const place = makePlace(t);
  const { directory, outside } = place;
  fs.writeFileSync(path.join(directory, 'a'), '');
  const store = openStore(t, place);
  const tree = parseExportOption(`tree=${directory}`);
  const other = parseExportOption(`other=${outside}`);
  const { handle } = lookup(self, store.resolve(store.rootHandle('tree')), bytes('a'));
  const root = store.rootHandle('tree');

  t.same(store.changeExports([tree, other]), { added: ['other'], removed: [], changed: [] });
  const squashed = { ...tree, squash: 'all' as const };
  t.same(store.changeExports([squashed, other]), { added: [], removed: [], changed: ['tree'] });
  t.equal(store.resolve(handle).export.options.squash, 'all', 'also for files that were open');

  const missing = parseExportOption(`missing=${directory}/nowhere`);
  t.throws(() => store.changeExports([other, missing]), { code: 'ENOENT' });
  t.throws(() => store.changeExports([other, other]), { message: /'other' is given twice/ });
  t.same(
    store.exports().map(({ name }) => name),
    ['tree', 'other'],
    'as it was',
  );
  t.ok(store.resolve(handle));

  t.same(store.changeExports([other]), { added: [], removed: ['tree'], changed: [] });
  t.throws(() => store.resolve(handle), { code: 'STALE' });
  t.throws(() => store.resolve(root), { code: 'STALE' });
  t.equal(store.export('tree'), undefined);
  t.same(store.changeExports([tree]), { added: ['tree'], removed: ['other'], changed: [] });
  t.ok(store.resolve(handle), 'handles are those of before');
});

t.test('exportOf: of every handle of ours, whatever became of its file', async (t) => {
  const place = makePlace(t);
  fs.mkdirSync(path.join(place.directory, 'gone'));
  const store = openStore(t, place);
  const tree = store.export('tree');
  const root = store.rootHandle('tree');
  const fd = fs.openSync(path.join(place.directory, 'gone'), 'r');
  const gone = store.handleOf(tree!, fd);
  fs.closeSync(fd);
  fs.rmdirSync(path.join(place.directory, 'gone'));
  t.throws(() => store.resolve(gone), { code: 'STALE' });
  for (const handle of [root, gone]) t.equal(store.exportOf(handle), tree);
  store.resolve(root);
  t.equal(store.exportOf(root), tree, 'one that is known');
  for (const forged of [Buffer.alloc(0), Buffer.alloc(64), Buffer.from(root).fill(0, root.length - 16)]) {
    t.equal(store.exportOf(forged), undefined);
  }
  store.changeExports([]);
  t.equal(store.exportOf(root), undefined);
});
