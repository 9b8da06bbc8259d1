import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { findName, linkName, makeNode, removeName, renameName } from '../../src/store/name-operations.ts';
import { attributes, lookup } from '../../src/store/operations.ts';
import { setAttributes } from '../../src/store/set-attributes.ts';
import { Store, type NamePlace, type StoreNode } from '../../src/store/store.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { becomeServer } from '../../src/system/identity.ts';
import { overlay } from '../trees/file-systems.ts';
import { bytes, makePlace, notPrivileged, server } from './fixtures.ts';

/** A tree served with handles of the table, by servers that follow each other: what they know is in the table only. */
class TableServers {
  readonly directory: string;
  readonly #state: string;
  store: Store;

  constructor(t: Test, directory: string, state: string) {
    this.directory = directory;
    this.#state = state;
    this.store = this.#open();
    t.teardown(() => this.store.close());
  }

  #open(): Store {
    const exports = [parseExportOption(`tree=${this.directory},squash=none`)];
    return Store.open({ stateDirectory: this.#state, exports, handles: 'table' });
  }

  restart(): void {
    this.store.close();
    this.store = this.#open();
  }

  node(...names: string[]): StoreNode {
    const root = this.store.resolve(this.store.rootHandle('tree'));
    return names.reduce((node, name) => lookup(server, node, bytes(name)), root);
  }

  place(...names: string[]): NamePlace {
    return { directory: this.node(...names.slice(0, -1)), name: bytes(names.at(-1) ?? '') };
  }

  found(place: NamePlace) {
    const found = findName(server, place);
    if (found === undefined) throw new Error('no such name');
    return found;
  }

  rename(from: string[], to: string[]): void {
    const [source, target] = [this.place(...from), this.place(...to)];
    renameName(server, source, target, this.found(source), findName(server, target));
    becomeServer();
  }

  remove(...names: string[]): void {
    const place = this.place(...names);
    removeName(server, place, 'other', this.found(place));
    becomeServer();
  }

  /** The inode number behind a handle, or the error's code, for a server that has nothing open. */
  inoOf(handle: Buffer): bigint | string {
    this.restart();
    try {
      return attributes(this.store.resolve(handle)).ino;
    } catch (error) {
      return (error as { code: string }).code;
    }
  }
}

function serveTable(t: Test): TableServers {
  const place = makePlace(t);
  return new TableServers(t, place.directory, place.stateDirectory);
}

const inoAt = (...names: string[]): bigint => fs.lstatSync(path.join(...names), { bigint: true }).ino;

t.test('handles of the table go with renamed files and directories', { skip: notPrivileged }, async (t) => {
  const s = serveTable(t);
  fs.mkdirSync(path.join(s.directory, 'a/deep'), { recursive: true });
  for (const name of ['a/deep/file', 'a/x', 'top', 'victim'])
    fs.writeFileSync(path.join(s.directory, name), name);
  const deep = s.node('a', 'deep', 'file').handle;
  const directory = s.node('a', 'deep').handle;
  const top = s.node('top').handle;
  const victim = s.node('victim').handle;
  const inos = { deep: inoAt(s.directory, 'a/deep/file'), directory: inoAt(s.directory, 'a/deep') };
  s.rename(['a'], ['b']);
  t.equal(s.inoOf(deep), inos.deep);
  s.rename(['b', 'deep'], ['moved']);
  t.equal(s.inoOf(deep), inos.deep);
  t.equal(s.inoOf(directory), inos.directory);
  const topIno = inoAt(s.directory, 'top');
  s.rename(['top'], ['victim']);
  t.equal(s.inoOf(top), topIno);
  t.equal(s.inoOf(victim), 'STALE');
  s.remove('victim');
  t.equal(s.inoOf(top), 'STALE');
  makeNode(server, s.place('victim'), { type: 'file', mode: 0o600 });
  t.equal(s.inoOf(top), 'STALE', 'a new file of that name is another');
});

t.test('a handle of the table stays while one of its names does', { skip: notPrivileged }, async (t) => {
  const s = serveTable(t);
  fs.writeFileSync(path.join(s.directory, 'one'), '');
  const ino = inoAt(s.directory, 'one');
  const { handle } = s.node('one');
  linkName(server, s.node('one'), s.place('two'));
  t.same(s.node('two').handle, handle);
  s.remove('one');
  t.equal(s.inoOf(handle), ino);
  linkName(server, s.node('two'), s.place('three'));
  s.rename(['two'], ['three']);
  t.equal(s.inoOf(handle), ino, 'two names of one file stay both');
  s.remove('three');
  t.equal(s.inoOf(handle), ino);
  s.rename(['two'], ['four']);
  t.equal(s.inoOf(handle), ino);
  s.remove('four');
  t.equal(s.inoOf(handle), 'STALE');
});

t.test(
  'on overlayfs a handle survives that its file is copied up by us',
  { skip: notPrivileged },
  async (t) => {
    const made = overlay(t, (lower) => {
      for (const name of ['mode', 'renamed', 'size', 'linked'])
        fs.writeFileSync(path.join(lower, name), name);
    });
    if (typeof made === 'string') throw new Error(made);
    const s = new TableServers(t, made.directory, makePlace(t).stateDirectory);
    const handles = Object.fromEntries(
      ['mode', 'renamed', 'size', 'linked'].map((name) => [name, s.node(name).handle]),
    );
    for (const [name, wanted] of [
      ['mode', { mode: 0o600 }],
      ['size', { size: 1n }],
    ] as const) {
      const node = s.node(name);
      setAttributes(server, node, wanted);
      // As every reply tells the attributes after the change.
      attributes(node);
    }
    s.rename(['renamed'], ['after']);
    const linked = s.node('linked');
    linkName(server, linked, s.place('second'));
    attributes(linked);
    for (const [name, now] of [
      ['mode', 'mode'],
      ['size', 'size'],
      ['renamed', 'after'],
      ['linked', 'second'],
    ] as const) {
      const handle = handles[name];
      if (handle === undefined) throw new Error(name);
      t.equal(s.inoOf(handle), inoAt(s.directory, now), name);
      t.same(s.node(now).handle, handle, `${name}: looked up, it has the handle that it had`);
    }
  },
);

t.test('handles of the table are void outside of the export, also while they are in use', (t) => {
  const place = makePlace(t);
  const servers = new TableServers(t, place.directory, place.stateDirectory);
  const { store } = servers;
  const inside = (...names: string[]): string => path.join(place.directory, ...names);
  fs.mkdirSync(inside('dir'));
  fs.writeFileSync(inside('dir', 'file'), 'x');
  fs.writeFileSync(inside('linked'), 'y');
  fs.linkSync(inside('linked'), inside('dir', 'link'));
  const root = store.resolve(store.rootHandle('tree'));
  const dir = lookup(server, root, bytes('dir')).handle;
  const file = lookup(server, store.resolve(dir), bytes('file')).handle;
  const linked = lookup(server, root, bytes('linked')).handle;
  t.same(lookup(server, store.resolve(dir), bytes('link')).handle, linked);
  for (const handle of [dir, file, linked]) t.ok(store.resolve(handle));
  becomeServer();
  const moved = store.resolve(dir);
  fs.renameSync(inside('dir'), path.join(place.outside, 'dir'));
  t.throws(() => lookup(server, moved, bytes('file')), { code: 'STALE' });
  for (const handle of [dir, file]) t.throws(() => store.resolve(handle), { code: 'STALE' });
  t.equal(attributes(store.resolve(linked)).ino, inoAt(inside('linked')), 'by its name that is inside');
  const rootHandle = root.handle;
  servers.restart();
  t.ok(servers.store.resolve(rootHandle), 'the root is known as before');
  t.end();
});
