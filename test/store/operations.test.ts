import fs from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import t from 'tap';
import {
  access,
  attributes,
  fileSystem,
  lookup,
  lookupEntry,
  openFile,
  readlink,
} from '../../src/store/operations.ts';
import { NO_VERIFIER } from '../../src/store/held-directories.ts';
import { DIRECTORY_START, readDirectory } from '../../src/store/read-directory.ts';
import type { Store, StoreNode } from '../../src/store/store.ts';
import { R_OK, W_OK, X_OK } from '../../src/system/constants.ts';
import type { Identity } from '../../src/system/identity.ts';
import { bytes, makePlace, notPrivileged, openStore, server, user } from './fixtures.ts';

const self = { ...server, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const rootOf = (store: Store): StoreNode => store.resolve(store.rootHandle('tree'));
const walk = (identity: Identity, store: Store, ...names: string[]): StoreNode =>
  names.reduce((node, name) => lookup(identity, node, bytes(name)), rootOf(store));
const namesOf = (identity: Identity, directory: StoreNode): string[] => {
  const names: string[] = [];
  readDirectory(identity, directory, DIRECTORY_START, ({ name }) => names.push(name.toString('latin1')) > 0);
  return names.sort();
};
const ino = (file: string): bigint => fs.lstatSync(file, { bigint: true }).ino;

t.test('lookup: hostile names, and names that only look so', async (t) => {
  const place = makePlace(t);
  const store = openStore(t, place);
  const odd = [Buffer.from([0xff, 0x80]), bytes('...'), bytes(' '), bytes('-rf'), Buffer.alloc(255, 'x')];
  for (const name of odd) fs.writeFileSync(Buffer.concat([bytes(`${place.directory}/`), name]), '');
  const root = rootOf(store);
  for (const name of odd) {
    t.equal(attributes(lookup(self, root, name)).size, 0n);
  }
  for (const name of ['', '/', 'a/b', '/etc/passwd', '../outside', 'a\0', '\0']) {
    t.throws(() => lookup(self, root, bytes(name)), { code: 'BAD_NAME' }, JSON.stringify(name));
  }
  t.throws(() => lookup(self, root, Buffer.alloc(256, 'x')), { code: 'NAME_TOO_LONG' });
  t.throws(() => lookup(self, root, bytes('none')), { code: 'ENOENT' });
  const file = lookup(self, root, bytes('-rf'));
  for (const name of ['x', '.', '..']) {
    t.throws(() => lookup(self, file, bytes(name)), { code: 'ENOTDIR' }, name);
  }
});

t.test('symbolic links are given, never followed', async (t) => {
  const place = makePlace(t);
  fs.writeFileSync(path.join(place.outside, 'secret'), 'secret');
  fs.symlinkSync('../outside/secret', path.join(place.directory, 'file'));
  fs.symlinkSync(place.outside, path.join(place.directory, 'dir'));
  fs.symlinkSync('/proc/self/root', path.join(place.directory, 'magic'));
  const store = openStore(t, place);
  for (const [name, target] of Object.entries({
    file: '../outside/secret',
    dir: place.outside,
    magic: '/proc/self/root',
  })) {
    const link = walk(self, store, name);
    t.equal(readlink(self, link).toString(), target);
    t.equal(attributes(link).ino, ino(path.join(place.directory, name)));
    t.throws(() => lookup(self, link, bytes('secret')), { code: 'ENOTDIR' });
    t.throws(() => openFile(self, link), { code: 'EINVAL' });
    t.throws(() => readDirectory(self, link, DIRECTORY_START, () => true), { code: /ELOOP|ENOTDIR/ });
  }
  t.throws(() => readlink(self, rootOf(store)), { code: 'EINVAL' });
});

t.test('. and .. stay inside', async (t) => {
  const place = makePlace(t);
  fs.mkdirSync(path.join(place.directory, 'a/b'), { recursive: true });
  const store = openStore(t, place);
  const root = rootOf(store);
  const inside = walk(self, store, 'a', 'b');
  t.same(lookup(self, root, bytes('.')).handle, root.handle);
  t.same(lookup(self, root, bytes('..')).handle, root.handle);
  t.same(lookup(self, inside, bytes('..')).handle, walk(self, store, 'a').handle);
  t.same(lookup(self, lookup(self, inside, bytes('..')), bytes('..')).handle, root.handle);

  fs.renameSync(path.join(place.directory, 'a/b'), path.join(place.outside, 'b'));
  t.throws(() => lookup(self, store.resolve(inside.handle), bytes('..')), { code: 'EACCES' });
  t.equal(lookupEntry(self, store.resolve(inside.handle), bytes('..')), undefined);
});

t.test('.. after a move outside, from a handle alone', { skip: notPrivileged }, async (t) => {
  const place = makePlace(t);
  fs.mkdirSync(path.join(place.directory, 'a/b'), { recursive: true });
  let store = openStore(t, place, { handles: 'kernel' });
  const { handle } = walk(self, store, 'a', 'b');
  store.close();
  fs.renameSync(path.join(place.directory, 'a'), path.join(place.outside, 'a'));
  store = openStore(t, place, { handles: 'kernel' });
  t.throws(() => lookup(self, store.resolve(handle), bytes('..')), { code: 'EACCES' });
});

t.test('the kernel decides under the identity', { skip: notPrivileged }, async (t) => {
  const place = makePlace(t);
  const { directory } = place;
  const make = (name: string, mode: number, uid = 0, gid = 0): void => {
    fs.writeFileSync(path.join(directory, name), name);
    fs.chownSync(path.join(directory, name), uid, gid);
    fs.chmodSync(path.join(directory, name), mode);
  };
  make('private', 0o600);
  make('group', 0o640, 0, 7777);
  make('own-without-mode', 0o000, user.uid);
  make('execute-only', 0o711);
  make('all', 0o777);
  fs.mkdirSync(path.join(directory, 'closed'), { mode: 0o700 });
  fs.writeFileSync(path.join(directory, 'closed/inside'), '');
  fs.mkdirSync(path.join(directory, 'search-only'));
  fs.chmodSync(path.join(directory, 'search-only'), 0o711);
  fs.writeFileSync(path.join(directory, 'search-only/inside'), '');
  const store = openStore(t, place);
  const member = { ...user, groups: [7777] };

  const opens = (identity: Identity, name: string): string => {
    try {
      openFile(identity, walk(server, store, name));
      return 'opened';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  t.equal(opens(server, 'private'), 'opened');
  t.equal(opens(user, 'private'), 'EACCES');
  t.equal(opens(user, 'group'), 'EACCES');
  t.equal(opens(member, 'group'), 'opened');
  t.equal(opens(user, 'group'), 'EACCES', 'a file open for another is not shared');
  t.equal(opens(user, 'own-without-mode'), 'opened', 'the owner may always read');
  t.equal(opens(member, 'execute-only'), 'opened', 'who may execute may read');
  t.equal(opens(user, 'closed'), 'EISDIR');

  const all = R_OK | W_OK | X_OK;
  const granted = (identity: Identity, name: string) => access(identity, walk(server, store, name), all);
  t.equal(granted(user, 'private'), 0);
  t.equal(granted(member, 'group'), R_OK);
  t.equal(granted(user, 'all'), all);
  const [tree] = store.exports();
  if (tree === undefined) throw new Error('no export');
  const writable = tree.options;
  tree.options = { ...writable, readOnly: true };
  t.equal(granted(user, 'all'), R_OK | X_OK, 'in a read-only export');
  tree.options = writable;
  t.equal(granted(user, 'search-only'), X_OK);
  t.equal(access(server, walk(server, store, 'private'), X_OK), 0);
  t.equal(access(server, walk(server, store, 'private'), 0), 0);

  const closed = walk(server, store, 'closed');
  t.throws(() => lookup(user, closed, bytes('inside')), { code: 'EACCES' });
  t.throws(() => lookup(user, closed, bytes('.')), { code: 'EACCES' });
  t.throws(() => namesOf(user, closed), { code: 'EACCES' });
  const searchOnly = walk(user, store, 'search-only');
  t.ok(lookup(user, searchOnly, bytes('inside')));
  t.throws(() => namesOf(user, searchOnly), { code: 'EACCES' });
  t.ok(lookupEntry(server, closed, bytes('inside')));
  t.equal(lookupEntry(user, closed, bytes('inside')), undefined);
});

t.test('permission is asked again when the file changed', { skip: notPrivileged }, async (t) => {
  const place = makePlace(t);
  const file = path.join(place.directory, 'file');
  fs.writeFileSync(file, 'x');
  fs.chmodSync(file, 0o644);
  const store = openStore(t, place);
  const opened = openFile(user, walk(server, store, 'file'));
  t.equal(openFile(user, walk(server, store, 'file')), opened);
  fs.chmodSync(file, 0o600);
  t.throws(() => openFile(user, walk(server, store, 'file')), { code: 'EACCES' });
  t.ok(openFile(server, walk(server, store, 'file')));
});

t.test('what is no regular file is not opened, and nothing waits', async (t) => {
  const place = makePlace(t);
  spawnSync('mkfifo', [path.join(place.directory, 'fifo')]);
  const store = openStore(t, place);
  t.throws(() => openFile(self, walk(self, store, 'fifo')), { code: 'EINVAL' });
  t.throws(() => openFile(self, rootOf(store)), { code: 'EISDIR' });
  t.throws(() => readDirectory(self, walk(self, store, 'fifo'), DIRECTORY_START, () => true), {
    code: 'ENOTDIR',
  });
});

t.test('a deleted file is stale for everything that looks at it', async (t) => {
  const place = makePlace(t);
  const file = path.join(place.directory, 'file');
  fs.writeFileSync(file, 'x');
  const store = openStore(t, place);
  const node = walk(self, store, 'file');
  openFile(self, node);
  fs.unlinkSync(file);
  t.throws(() => attributes(node), { code: 'STALE' });
  t.throws(() => openFile(self, node), { code: 'STALE' });
  t.throws(() => store.resolve(node.handle), { code: 'STALE' });
});

t.test('attributes and numbers of the file system', async (t) => {
  const place = makePlace(t);
  fs.writeFileSync(path.join(place.directory, 'file'), 'twelve bytes');
  const store = openStore(t, place);
  const node = walk(self, store, 'file');
  t.match(attributes(node), { size: 12n, nlink: 1, ino: ino(path.join(place.directory, 'file')) });
  const node2 = fs.statfsSync(place.directory, { bigint: true });
  t.equal(fileSystem(node).blocks * fileSystem(node).fragmentSizeBytes, node2.blocks * node2.bsize);
});

t.test('a directory of 20,000 names, while names come and go', async (t) => {
  const place = makePlace(t);
  const file = (name: string): string => path.join(place.directory, name);
  for (let index = 0; index < 20_000; index += 1) fs.writeFileSync(file(`stable-${index}`), '');
  for (let index = 0; index < 500; index += 1) fs.writeFileSync(file(`going-${index}`), '');
  const store = openStore(t, place);
  const rootHandle = store.rootHandle('tree');
  const seen = new Map<string, number>();
  let position = DIRECTORY_START;
  let cookie = 0n;
  for (let batch = 0; ; batch += 1) {
    let taken = 0;
    const { isEnd, verifier } = readDirectory(self, store.resolve(rootHandle), position, (item) => {
      if (taken === 97) return false;
      taken += 1;
      const name = item.name.toString('latin1');
      seen.set(name, (seen.get(name) ?? 0) + 1);
      cookie = item.cookie;
      return true;
    });
    if (isEnd) break;
    position = { cookie, verifier };
    fs.writeFileSync(file(`coming-${batch}`), '');
    fs.rmSync(file(`going-${batch}`), { force: true });
  }
  const stable = [...seen].filter(([name]) => name.startsWith('stable-'));
  t.equal(stable.length, 20_000);
  t.same(
    stable.filter(([, times]) => times !== 1),
    [],
  );
  t.equal(seen.get('.'), 1);
  t.equal(seen.get('..'), 1);
});

t.test('entries of a directory', async (t) => {
  const place = makePlace(t);
  fs.mkdirSync(path.join(place.directory, 'sub'));
  fs.writeFileSync(path.join(place.directory, 'file'), 'abc');
  fs.writeFileSync(Buffer.concat([bytes(`${place.directory}/`), Buffer.from([0xfe])]), '');
  const store = openStore(t, place);
  const root = rootOf(store);
  t.same(namesOf(self, root), ['.', '..', 'file', 'sub', '\u00fe']);
  const fileids = new Map<string, bigint>();
  const list = (node: StoreNode): void => {
    fileids.clear();
    readDirectory(
      self,
      node,
      DIRECTORY_START,
      ({ name, fileid }) => fileids.set(name.toString('latin1'), fileid).size > 0,
    );
  };
  list(root);
  const rootIno = ino(place.directory);
  t.equal(fileids.get('.'), rootIno);
  t.equal(fileids.get('..'), rootIno, 'what is above an export stays unknown');
  t.equal(fileids.get('file'), ino(path.join(place.directory, 'file')));
  list(walk(self, store, 'sub'));
  t.equal(fileids.get('..'), rootIno);

  const entry = lookupEntry(self, root, bytes('file'));
  t.match(entry, { attributes: { size: 3n } });
  t.match(entry, { handle: walk(self, store, 'file').handle });
  t.match(lookupEntry(self, root, bytes('..')), { handle: root.handle });
  t.equal(lookupEntry(self, root, bytes('was never there')), 'vanished');

  t.throws(() => readDirectory(self, root, DIRECTORY_START, () => false), { code: 'TOO_SMALL' });
  t.throws(() => readDirectory(self, root, { cookie: 2n ** 64n - 1n, verifier: NO_VERIFIER }, () => true), {
    code: 'BAD_COOKIE',
  });
  t.throws(() => readDirectory(self, walk(self, store, 'file'), DIRECTORY_START, () => true), {
    code: 'ENOTDIR',
  });
});
