import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { CREATEMODE3, STABLE_HOW, type NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { FTYPE3, TIME_HOW, type sattr3 } from '../../src/nfs3/types.ts';
import type { ArgsOf, ResultOf } from '../../src/rpc/program.ts';
import type { ExportOptions } from '../../src/store/export-options.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import type { Identity } from '../../src/store/identity.ts';
import { Store } from '../../src/store/store.ts';
import { becomeServer } from '../../src/system/identity.ts';
import { makePlace, notPrivileged } from '../store/fixtures.ts';
import { NO_CHANGE, callProcedure, contextOf, statusText } from './procedure-call.ts';

const root: Identity = { uid: 0, gid: 0, groups: [] };
const user: Identity = { uid: 1000, gid: 1000, groups: [100] };
const other: Identity = { uid: 2000, gid: 2000, groups: [] };

const name = (text: string | Uint8Array): Uint8Array =>
  typeof text === 'string' ? Buffer.from(text, 'latin1') : text;

interface Handle {
  readonly data: Uint8Array;
}
type Procedures = typeof NFS_PROCEDURES;

/** An export, and short ways to change it. */
class Tree {
  readonly store: Store;
  readonly directory: string;
  identity = user;

  constructor(t: Test, directory: string, stateDirectory: string, options: Partial<ExportOptions> = {}) {
    this.directory = directory;
    this.store = Store.open({
      stateDirectory,
      exports: [{ ...parseExportOption(`tree=${directory},squash=none`), ...options }],
    });
    t.teardown(() => this.store.close());
  }

  get root(): Handle {
    return { data: this.store.rootHandle('tree') };
  }

  at(...names: string[]): string {
    return path.join(this.directory, ...names);
  }

  call<K extends keyof Procedures>(
    procedure: K,
    args: ArgsOf<Procedures[K]>,
    identity = this.identity,
  ): ResultOf<Procedures[K]> {
    const reply = callProcedure(this.store, contextOf(identity), procedure, args);
    // What the test does itself in this turn is not the caller's.
    becomeServer();
    return reply;
  }

  find(path_: string): Handle {
    let dir = this.root;
    for (const part of path_.split('/')) {
      const reply = this.call('LOOKUP', { what: { dir, name: name(part) } }, root);
      if (reply.status !== NFS3_OK) throw new Error(`LOOKUP ${part}: ${statusText(reply)}`);
      dir = { data: Uint8Array.from(reply.object.data) };
    }
    return dir;
  }

  create(text: string | Uint8Array, wanted: Partial<sattr3> = {}, mode: 0 | 1 = 1, dir = this.root) {
    const how = { mode, obj_attributes: { ...NO_CHANGE, ...wanted } };
    return this.call('CREATE', { where: { dir, name: name(text) }, how });
  }

  exclusive(text: string, verf: Uint8Array) {
    const where = { dir: this.root, name: name(text) };
    return this.call('CREATE', { where, how: { mode: CREATEMODE3.EXCLUSIVE, verf } });
  }

  mkdir(text: string | Uint8Array, wanted: Partial<sattr3> = {}, dir = this.root) {
    return this.call('MKDIR', {
      where: { dir, name: name(text) },
      attributes: { ...NO_CHANGE, ...wanted },
    });
  }

  symlink(text: string | Uint8Array, target: string | Uint8Array, dir = this.root) {
    return this.call('SYMLINK', {
      where: { dir, name: name(text) },
      symlink_attributes: NO_CHANGE,
      symlink_data: name(target),
    });
  }

  mknod(text: string | Uint8Array, type: 'NF3FIFO' | 'NF3SOCK' | 'NF3CHR' | 'NF3BLK', mode = 0o600) {
    const where = { dir: this.root, name: name(text) };
    const attributes = { ...NO_CHANGE, mode };
    const what =
      type === 'NF3FIFO' || type === 'NF3SOCK'
        ? { type: FTYPE3[type], pipe_attributes: attributes }
        : { type: FTYPE3[type], dev_attributes: attributes, spec: { specdata1: 1, specdata2: 3 } };
    return this.call('MKNOD', { where, what });
  }

  setattr(
    object: Handle,
    wanted: Partial<sattr3>,
    guard: { seconds: number; nseconds: number } | null = null,
  ) {
    return this.call('SETATTR', { object, new_attributes: { ...NO_CHANGE, ...wanted }, guard });
  }

  remove(text: string | Uint8Array, dir = this.root) {
    return this.call('REMOVE', { object: { dir, name: name(text) } });
  }

  rmdir(text: string | Uint8Array, dir = this.root) {
    return this.call('RMDIR', { object: { dir, name: name(text) } });
  }

  rename(from: string | Uint8Array, to: string | Uint8Array, fromDir = this.root, toDir = fromDir) {
    return this.call('RENAME', {
      from: { dir: fromDir, name: name(from) },
      to: { dir: toDir, name: name(to) },
    });
  }

  link(file: Handle, text: string | Uint8Array, dir = this.root) {
    return this.call('LINK', { file, link: { dir, name: name(text) } });
  }
}

/** A tree that the user owns, with the umask that a service has. */
function openTree(t: Test, options: Partial<ExportOptions> = {}): Tree {
  const before = process.umask(0o077);
  t.teardown(() => process.umask(before));
  const place = makePlace(t);
  fs.chownSync(place.directory, 1000, 1000);
  fs.chmodSync(place.directory, 0o755);
  return new Tree(t, place.directory, place.stateDirectory, options);
}

/** The same on a file system of its own. */
function openSmall(t: Test, mountOptions: string): Tree {
  const place = makePlace(t);
  execFileSync('mount', ['-t', 'tmpfs', '-o', mountOptions, 'small', place.directory]);
  t.teardown(() => void execFileSync('umount', ['-l', place.directory]));
  fs.chownSync(place.directory, 1000, 1000);
  return new Tree(t, place.directory, place.stateDirectory);
}

const modeAt = (file: string): string => (fs.lstatSync(file).mode & 0o7777).toString(8);
const ownerAt = (file: string): number[] => [fs.lstatSync(file).uid, fs.lstatSync(file).gid];
const clientTime = (seconds: number, nseconds: number) => ({
  set_it: TIME_HOW.SET_TO_CLIENT_TIME,
  time: { seconds, nseconds },
});
const SERVER_TIME = { set_it: TIME_HOW.SET_TO_SERVER_TIME } as const;
const long = (length: number): Uint8Array => Buffer.alloc(length, 0xfe);

t.test(
  'everything can be made, with the mode that is wanted, by whoever may',
  { skip: notPrivileged },
  async (t) => {
    const tree = openTree(t);
    const made = {
      file: tree.create('file', { mode: 0o4666 }),
      dir: tree.mkdir('dir', { mode: 0o1777 }),
      fifo: tree.mknod('fifo', 'NF3FIFO', 0o622),
      socket: tree.mknod('socket', 'NF3SOCK', 0o700),
    };
    for (const [text, reply] of Object.entries(made)) {
      if (reply.status !== NFS3_OK) throw new Error(`${text}: ${statusText(reply)}`);
      const real = fs.lstatSync(tree.at(text), { bigint: true });
      t.equal(reply.obj_attributes?.fileid, real.ino, text);
      t.equal(reply.obj_attributes?.mode, Number(real.mode) & 0o7777);
      t.same(Buffer.from(reply.obj?.data ?? []), Buffer.from(tree.find(text).data));
      t.same(ownerAt(tree.at(text)), [1000, 1000]);
      t.ok(reply.wcc.before !== null && reply.wcc.after !== null);
    }
    t.same(
      Object.keys(made).map((text) => modeAt(tree.at(text))),
      ['4666', '1777', '622', '700'],
    );
    t.equal(statusText(tree.symlink('link', '../outside/nothing')), 'OK');
    t.equal(fs.readlinkSync(tree.at('link')), '../outside/nothing');
    t.equal(statusText(tree.mkdir('sgid', { mode: 0o2770 })), 'OK');
    t.equal(modeAt(tree.at('sgid')), '2770');
    t.equal(statusText(tree.create('without')), 'OK');
    t.equal(modeAt(tree.at('without')), '644');
    // Devices are root's; the mount that the export lies in is nodev, which is about opening them.
    t.equal(statusText(tree.mknod('null', 'NF3CHR')), 'PERM');
    tree.identity = root;
    t.equal(statusText(tree.mknod('null', 'NF3CHR')), 'OK');
    const rdev = fs.lstatSync(tree.at('null')).rdev;
    t.equal(rdev, 0x103);
    const huge = { dev_attributes: NO_CHANGE, spec: { specdata1: 0xffff_ffff, specdata2: 0 } };
    const where = { dir: tree.root, name: name('huge') };
    t.equal(statusText(tree.call('MKNOD', { where, what: { type: FTYPE3.NF3BLK, ...huge } })), 'INVAL');
    for (const type of [FTYPE3.NF3REG, FTYPE3.NF3DIR, FTYPE3.NF3LNK]) {
      t.equal(statusText(tree.call('MKNOD', { where, what: { type } })), 'BADTYPE');
    }
    t.notOk(fs.existsSync(tree.at('huge')));
  },
);

t.test('files are made also where the clock of the file system is behind', { skip: notPrivileged }, (t) => {
  const tree = openTree(t);
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  Date.now = () => now() + 3_600_000;
  t.equal(statusText(tree.create('file')), 'OK');
  t.equal(statusText(tree.mkdir('dir', { mode: 0o700 })), 'OK');
  t.equal(statusText(tree.symlink('link', 'file')), 'OK');
  t.end();
});

t.test('names: those with a meaning, hostile ones, the longest', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file');
  const file = tree.find('file');
  tree.mkdir('sub');
  const sub = tree.find('sub');
  const makers: Record<string, (text: string | Uint8Array) => { status: 0 }> = {
    CREATE: (text) => tree.create(text, {}, 1, sub) as { status: 0 },
    UNCHECKED: (text) => tree.create(text, {}, 0, sub) as { status: 0 },
    MKDIR: (text) => tree.mkdir(text, {}, sub) as { status: 0 },
    SYMLINK: (text) => tree.symlink(text, 'x', sub) as { status: 0 },
    LINK: (text) => tree.link(file, text, sub) as { status: 0 },
  };
  const removers: Record<string, (text: string | Uint8Array) => { status: 0 }> = {
    REMOVE: (text) => tree.remove(text, sub) as { status: 0 },
    RMDIR: (text) => tree.rmdir(text, sub) as { status: 0 },
  };
  const renamers: Record<string, (text: string | Uint8Array) => { status: 0 }> = {
    FROM: (text) => tree.rename(text, 'x', sub, tree.root) as { status: 0 },
    TO: (text) => tree.rename('file', text, tree.root, sub) as { status: 0 },
  };
  for (const [who, call] of Object.entries({ ...makers, ...removers, ...renamers })) {
    for (const text of ['', '/', '../x', 'a/b', 'a\0', '/etc/passwd']) {
      t.equal(statusText(call(text)), 'ACCES', `${who} ${JSON.stringify(text)}`);
    }
    t.equal(statusText(call(long(256))), 'NAMETOOLONG', who);
    t.equal(statusText(call(long(4096))), 'NAMETOOLONG', who);
  }
  for (const [who, call] of Object.entries(makers)) {
    t.equal(statusText(call('.')), 'EXIST', who);
    t.equal(statusText(call('..')), 'EXIST', who);
  }
  for (const [who, call] of Object.entries(removers)) {
    t.equal(statusText(call('.')), 'INVAL', who);
    t.equal(statusText(call('..')), 'EXIST', who);
  }
  for (const [who, call] of Object.entries(renamers)) {
    t.same([statusText(call('.')), statusText(call('..'))], ['INVAL', 'INVAL'], who);
  }
  t.same(fs.readdirSync(tree.at('sub')), []);
  t.same(fs.readdirSync(tree.directory).sort(), ['file', 'sub']);
  // 255 bytes, none of them text.
  t.equal(statusText(tree.create(long(255))), 'OK');
  t.equal(statusText(tree.rename(long(255), Buffer.alloc(255, 0xff))), 'OK');
  t.equal(statusText(tree.remove(Buffer.alloc(255, 0xff))), 'OK');
});

t.test('a directory handle that is none, and one that is gone', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file');
  tree.mkdir('gone');
  const file = tree.find('file');
  const gone = tree.find('gone');
  fs.rmdirSync(tree.at('gone'));
  for (const [dir, status] of [
    [file, 'NOTDIR'],
    [gone, 'STALE'],
  ] as const) {
    const replies = {
      create: tree.create('x', {}, 1, dir),
      mkdir: tree.mkdir('x', {}, dir),
      symlink: tree.symlink('x', 'y', dir),
      remove: tree.remove('x', dir),
      rmdir: tree.rmdir('x', dir),
      from: tree.rename('x', 'y', dir, tree.root),
      to: tree.rename('file', 'y', tree.root, dir),
      link: tree.link(file, 'x', dir),
    };
    for (const [what, reply] of Object.entries(replies)) t.equal(statusText(reply), status, what);
  }
  const doomed = tree.find('file');
  fs.unlinkSync(tree.at('file'));
  t.equal(statusText(tree.setattr(doomed, { mode: 0o600 })), 'STALE');
  t.equal(statusText(tree.link(doomed, 'again')), 'STALE');
});

t.test('what is there already', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  fs.writeFileSync(tree.at('file'), 'contents');
  fs.chmodSync(tree.at('file'), 0o640);
  fs.chownSync(tree.at('file'), 1000, 1000);
  tree.mkdir('dir');
  tree.symlink('link', 'file');
  tree.mknod('fifo', 'NF3FIFO');
  for (const text of ['file', 'dir', 'link', 'fifo']) {
    t.equal(statusText(tree.create(text, { size: 0n })), 'EXIST', `GUARDED ${text}`);
    t.equal(statusText(tree.exclusive(text, Buffer.alloc(8))), 'EXIST', `EXCLUSIVE ${text}`);
    t.equal(statusText(tree.mkdir(text)), 'EXIST');
    t.equal(statusText(tree.symlink(text, 'x')), 'EXIST');
    t.equal(statusText(tree.mknod(text, 'NF3FIFO')), 'EXIST');
    t.equal(statusText(tree.link(tree.find('file'), text)), 'EXIST');
  }
  t.equal(fs.readFileSync(tree.at('file'), 'utf8'), 'contents');
  // UNCHECKED takes a file as it is, but for its size.
  const reply = tree.create('file', { mode: 0o777, size: 3n, uid: 7, mtime: clientTime(1, 1) }, 0);
  if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
  t.equal(fs.readFileSync(tree.at('file'), 'utf8'), 'con');
  t.equal(modeAt(tree.at('file')), '640');
  t.equal(reply.obj_attributes?.size, 3n);
  t.equal(statusText(tree.create('file', {}, 0)), 'OK');
  t.equal(fs.readFileSync(tree.at('file'), 'utf8'), 'con');
  t.same(
    ['dir', 'link', 'fifo'].map((text) => statusText(tree.create(text, { size: 0n }, 0))),
    ['ISDIR', 'EXIST', 'EXIST'],
  );
  // Others may not cut it, though they may look it up.
  tree.identity = other;
  t.equal(statusText(tree.create('file', { size: 0n }, 0)), 'ACCES');
  t.equal(fs.readFileSync(tree.at('file'), 'utf8'), 'con');
});

t.test(
  'EXCLUSIVE: the same verifier is the same call, also for another server',
  { skip: notPrivileged },
  async (t) => {
    const place = makePlace(t);
    fs.chownSync(place.directory, 1000, 1000);
    const verifiers = [Buffer.alloc(8), Buffer.alloc(8, 0xff), Buffer.from('8000000000000001', 'hex')];
    const first = new Tree(t, place.directory, place.stateDirectory);
    const made = verifiers.map((verf, index) => {
      const reply = first.exclusive(`file${index}`, verf);
      if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
      return Buffer.from(reply.obj?.data ?? []);
    });
    t.equal(modeAt(first.at('file0')), '0', 'nobody may use it before its attributes are set');
    const second = new Tree(t, place.directory, place.stateDirectory);
    for (const [index] of verifiers.entries()) {
      for (const [at, verf] of verifiers.entries()) {
        const reply = second.exclusive(`file${index}`, verf);
        t.equal(statusText(reply), at === index ? 'OK' : 'EXIST', `file${index} by ${verf.toString('hex')}`);
        if (reply.status === NFS3_OK) t.same(Buffer.from(reply.obj?.data ?? []), made[index]);
      }
    }
    // From here on it is a file like others.
    t.equal(
      statusText(
        second.setattr(second.find('file0'), { mode: 0o644, atime: SERVER_TIME, mtime: SERVER_TIME }),
      ),
      'OK',
    );
    t.equal(statusText(second.exclusive('file0', verifiers[0] ?? Buffer.alloc(8))), 'EXIST');
  },
);

t.test('removal', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file');
  tree.mkdir('full');
  tree.create('inner', {}, 1, tree.find('full'));
  tree.mkdir('empty');
  tree.symlink('link', 'full');
  t.equal(statusText(tree.remove('none')), 'NOENT');
  t.equal(statusText(tree.rmdir('none')), 'NOENT');
  t.equal(statusText(tree.remove('empty')), 'ISDIR');
  t.equal(statusText(tree.rmdir('file')), 'NOTDIR');
  t.equal(statusText(tree.rmdir('link')), 'NOTDIR', 'links are not followed');
  t.equal(statusText(tree.rmdir('full')), 'NOTEMPTY');
  const handle = tree.find('file');
  const before = tree.call('GETATTR', { object: tree.root });
  const reply = tree.remove('file');
  t.equal(statusText(reply), 'OK');
  if (before.status !== NFS3_OK) throw new Error(statusText(before));
  const { size, mtime, ctime } = before.obj_attributes;
  t.same(reply.wcc.before, { size, mtime, ctime });
  t.equal(statusText(tree.call('GETATTR', { object: handle })), 'STALE');
  t.equal(statusText(tree.remove('link')), 'OK');
  t.equal(statusText(tree.rmdir('empty')), 'OK');
  t.same(fs.readdirSync(tree.directory), ['full']);
});

t.test('a removed file leaves its blocks at once', { skip: notPrivileged }, async (t) => {
  const tree = openSmall(t, 'size=1m,mode=755');
  fs.writeFileSync(tree.at('file'), Buffer.alloc(900_000, 1));
  fs.chownSync(tree.at('file'), 1000, 1000);
  const file = tree.find('file');
  await callRead(tree, file);
  await callWrite(tree, file);
  const free = (): number => fs.statfsSync(tree.directory).bfree;
  const before = free();
  t.equal(statusText(tree.remove('file')), 'OK');
  // Descriptors are closed at the end of the turn.
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(free() > before + 200, `${before} blocks free, then ${free()}`);
});

async function callRead(tree: Tree, file: Handle): Promise<void> {
  const { nfsProcedures } = await import('../../src/server/nfs-procedures.ts');
  const reply = await nfsProcedures(tree.store).READ({ file, offset: 0n, count: 10 }, contextOf(root));
  if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
}

async function callWrite(tree: Tree, file: Handle): Promise<void> {
  const { nfsProcedures } = await import('../../src/server/nfs-procedures.ts');
  const data = [Buffer.from('x')];
  const args = { file, offset: 0n, count: 1, stable: STABLE_HOW.UNSTABLE, data };
  const reply = await nfsProcedures(tree.store).WRITE(args, contextOf(root));
  if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
}

t.test('RENAME', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file');
  tree.create('file2');
  tree.mkdir('dir');
  tree.mkdir('full');
  tree.create('inner', {}, 1, tree.find('full'));
  const dir = tree.find('dir');
  t.equal(statusText(tree.rename('none', 'x')), 'NOENT');
  t.equal(statusText(tree.rename('file', 'dir')), 'ISDIR');
  t.equal(statusText(tree.rename('dir', 'file')), 'NOTDIR');
  t.equal(statusText(tree.rename('dir', 'full')), 'NOTEMPTY');
  t.equal(statusText(tree.rename('dir', 'inside', tree.root, dir)), 'INVAL', 'into itself');
  const moved = tree.find('file');
  const replaced = tree.find('file2');
  t.equal(statusText(tree.rename('file', 'file2')), 'OK');
  t.same(Buffer.from(tree.find('file2').data), Buffer.from(moved.data));
  t.equal(statusText(tree.call('GETATTR', { object: replaced })), 'STALE');
  const reply = tree.rename('file2', 'deep', tree.root, dir);
  t.equal(statusText(reply), 'OK');
  t.ok(reply.fromdir_wcc.before !== null && reply.todir_wcc.before !== null);
  t.equal(statusText(tree.call('GETATTR', { object: moved })), 'OK', 'its handle stays');
  t.equal(statusText(tree.rename('dir', 'full/x')), 'ACCES');
  // Two names of one file stay both.
  tree.link(moved, 'second');
  t.equal(statusText(tree.rename('second', 'deep', tree.root, dir)), 'OK');
  t.ok(fs.existsSync(tree.at('second')) && fs.existsSync(tree.at('dir', 'deep')));
  t.equal(statusText(tree.call('GETATTR', { object: moved })), 'OK');
});

t.test('LINK', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file', { mode: 0o600 });
  tree.mkdir('dir');
  tree.symlink('link', 'nowhere');
  const reply = tree.link(tree.find('file'), 'second');
  t.equal(statusText(reply), 'OK');
  t.equal(reply.file_attributes?.nlink, 2);
  t.same(Buffer.from(tree.find('second').data), Buffer.from(tree.find('file').data));
  t.equal(statusText(tree.link(tree.find('link'), 'link2')), 'OK');
  t.equal(fs.readlinkSync(tree.at('link2')), 'nowhere', 'the link itself');
  t.equal(statusText(tree.link(tree.find('dir'), 'dir2')), 'PERM');
  // One name goes, the handle stays.
  const file = tree.find('file');
  t.equal(statusText(tree.remove('file')), 'OK');
  t.equal(statusText(tree.call('GETATTR', { object: file })), 'OK');
  // fs.protected_hardlinks: nobody links files of others that they may not write.
  fs.chmodSync(tree.directory, 0o777);
  tree.identity = other;
  const isProtected = fs.readFileSync('/proc/sys/fs/protected_hardlinks', 'latin1').trim() === '1';
  t.equal(statusText(tree.link(file, 'theirs')), isProtected ? 'PERM' : 'OK');
});

t.test('between two exports nothing is renamed or linked', { skip: notPrivileged }, async (t) => {
  const place = makePlace(t);
  const store = Store.open({
    stateDirectory: place.stateDirectory,
    exports: [
      parseExportOption(`tree=${place.directory},squash=none`),
      parseExportOption(`out=${place.outside},squash=none`),
      parseExportOption(`ro=${place.outside},squash=none,ro`),
    ],
  });
  t.teardown(() => store.close());
  fs.writeFileSync(path.join(place.directory, 'file'), '');
  const handle = (text: string): Handle => ({ data: store.rootHandle(text) });
  const call = (to: string) => ({
    rename: callProcedure(store, contextOf(root), 'RENAME', {
      from: { dir: handle('tree'), name: name('file') },
      to: { dir: handle(to), name: name('file') },
    }),
    link: callProcedure(store, contextOf(root), 'LINK', {
      file: file(),
      link: { dir: handle(to), name: name('file') },
    }),
  });
  const file = (): Handle => {
    const what = { dir: handle('tree'), name: name('file') };
    const reply = callProcedure(store, contextOf(root), 'LOOKUP', { what });
    if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
    return { data: Uint8Array.from(reply.object.data) };
  };
  t.same(Object.values(call('out')).map(statusText), ['XDEV', 'XDEV']);
  t.same(Object.values(call('ro')).map(statusText), ['ROFS', 'ROFS']);
  t.same(fs.readdirSync(place.outside), []);
});

t.test(
  'the kernel decides about names: modes, sticky directories, groups',
  { skip: notPrivileged },
  async (t) => {
    const tree = openTree(t);
    tree.create('file', { mode: 0o666 });
    tree.mkdir('dir', { mode: 0o777 });
    tree.mkdir('sticky', { mode: 0o1777 });
    tree.create('mine', { mode: 0o666 }, 1, tree.find('sticky'));
    tree.mkdir('sgid', { mode: 0o777 });
    fs.chownSync(tree.at('sgid'), 1000, 5555);
    fs.chmodSync(tree.at('sgid'), 0o2777);
    tree.mkdir('closed', { mode: 0o700 });
    const sticky = tree.find('sticky');
    const sgid = tree.find('sgid');
    const closed = tree.find('closed');
    const file = tree.find('file');
    tree.identity = other;
    t.equal(statusText(tree.create('x')), 'ACCES');
    t.equal(statusText(tree.mkdir('x')), 'ACCES');
    t.equal(statusText(tree.symlink('x', 'y')), 'ACCES');
    t.equal(statusText(tree.mknod('x', 'NF3FIFO')), 'ACCES');
    t.equal(statusText(tree.remove('file')), 'ACCES');
    t.equal(statusText(tree.rmdir('dir')), 'ACCES');
    t.equal(statusText(tree.rename('file', 'x')), 'ACCES');
    t.equal(statusText(tree.link(file, 'x')), 'ACCES');
    t.equal(statusText(tree.create('x', {}, 1, closed)), 'ACCES');
    t.equal(statusText(tree.remove('mine', sticky)), 'PERM');
    t.equal(statusText(tree.rename('mine', 'theirs', sticky)), 'PERM');
    t.equal(statusText(tree.create('theirs', {}, 1, sticky)), 'OK');
    t.equal(statusText(tree.remove('theirs', sticky)), 'OK');
    t.equal(statusText(tree.create('file', {}, 1, sgid)), 'OK');
    t.same(ownerAt(tree.at('sgid', 'file')), [2000, 5555], "the group is the directory's");
    t.equal(statusText(tree.mkdir('sub', { mode: 0o755 }, sgid)), 'OK');
    t.equal(modeAt(tree.at('sgid', 'sub')), '2755');
    t.equal(statusText(tree.create('exe', { mode: 0o2755 }, 1, sgid)), 'OK');
    t.equal(modeAt(tree.at('sgid', 'exe')), '755', 'who is not in the group gives no set-group-id');
  },
);

t.test(
  'root gives new files away, others only get what they would get anyway',
  { skip: notPrivileged },
  async (t) => {
    const tree = openTree(t);
    t.equal(statusText(tree.create('user', { uid: 3000, gid: 3000 })), 'OK');
    t.same(ownerAt(tree.at('user')), [1000, 1000]);
    tree.identity = root;
    t.equal(statusText(tree.create('file', { uid: 3000, gid: 3001, mode: 0o6755 })), 'OK');
    t.same([...ownerAt(tree.at('file')), modeAt(tree.at('file'))], [3000, 3001, '6755']);
    t.equal(statusText(tree.mkdir('dir', { uid: 3000, mode: 0o6755 })), 'OK');
    t.same([...ownerAt(tree.at('dir')), modeAt(tree.at('dir'))], [3000, 0, '6755']);
    const attributes = { ...NO_CHANGE, uid: 3000, gid: 3000, mode: 0o777 };
    const where = { dir: tree.root, name: name('link') };
    const linked = tree.call('SYMLINK', { where, symlink_attributes: attributes, symlink_data: name('x') });
    t.equal(statusText(linked), 'OK');
    t.same(ownerAt(tree.at('link')), [3000, 3000]);
    t.equal(statusText(tree.create('sized', { size: 5n * 2n ** 30n, mtime: clientTime(5, 7) })), 'OK');
    const { size, mtimeNs } = fs.statSync(tree.at('sized'), { bigint: true });
    t.same([size, mtimeNs], [5n * 2n ** 30n, 5_000_000_007n]);
    // What cannot be is not left behind.
    for (const [wanted, status] of [
      [{ uid: 0xffff_ffff }, 'INVAL'],
      [{ size: 2n ** 63n }, 'FBIG'],
      [{ size: 2n ** 63n - 1n }, 'FBIG'],
      [{ mtime: clientTime(1, 1_000_000_000) }, 'INVAL'],
      [{ atime: clientTime(1, 0x3fff_ffff) }, 'INVAL'],
    ] as const) {
      if (wanted.size === 2n ** 63n - 1n && fs.statfsSync(tree.directory).type !== 0xef53) continue;
      t.equal(statusText(tree.create('bad', wanted)), status, JSON.stringify(status));
      t.notOk(fs.existsSync(tree.at('bad')));
    }
  },
);

t.test('SETATTR: modes and owners', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file', { mode: 0o6755 });
  tree.mkdir('dir');
  tree.symlink('link', 'file');
  const [file, dir, link] = ['file', 'dir', 'link'].map((text) => tree.find(text)) as [
    Handle,
    Handle,
    Handle,
  ];
  t.equal(statusText(tree.setattr(file, { mode: 0xffff_f644 })), 'OK', 'bits above are not modes');
  t.equal(modeAt(tree.at('file')), '3104');
  t.equal(statusText(tree.setattr(dir, { mode: 0o1700 })), 'OK');
  t.equal(modeAt(tree.at('dir')), '1700');
  t.equal(statusText(tree.setattr(link, { mode: 0o600 })), 'NOTSUPP');
  t.equal(statusText(tree.setattr(file, { uid: 2000 })), 'PERM', 'nobody gives files away');
  t.equal(statusText(tree.setattr(file, { gid: 2000 })), 'PERM', "only to groups of one's own");
  tree.setattr(file, { mode: 0o6755 });
  t.equal(statusText(tree.setattr(file, { gid: 100 })), 'OK');
  t.same(
    [...ownerAt(tree.at('file')), modeAt(tree.at('file'))],
    [1000, 100, '755'],
    'set-id bits are cleared',
  );
  t.equal(statusText(tree.setattr(file, { gid: 1000, mode: 0o6750 })), 'OK');
  t.same([...ownerAt(tree.at('file')), modeAt(tree.at('file'))], [1000, 1000, '6750'], 'the mode comes last');
  t.equal(statusText(tree.setattr(file, { uid: 0xffff_ffff })), 'INVAL');
  tree.identity = other;
  t.equal(statusText(tree.setattr(file, { mode: 0o777 })), 'PERM');
  t.equal(statusText(tree.setattr(file, { uid: 2000 })), 'PERM');
  tree.identity = root;
  t.equal(statusText(tree.setattr(link, { uid: 4000, gid: 4001 })), 'OK');
  t.same(
    [ownerAt(tree.at('link')), ownerAt(tree.at('file'))],
    [
      [4000, 4001],
      [1000, 1000],
    ],
  );
  t.equal(statusText(tree.setattr(file, { uid: 4000, gid: 4001, mode: 0o4711 })), 'OK');
  t.same([...ownerAt(tree.at('file')), modeAt(tree.at('file'))], [4000, 4001, '4711']);
});

t.test('SETATTR: the size', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file', { mode: 0o444 });
  tree.mkdir('dir');
  tree.symlink('link', 'file');
  tree.mknod('fifo', 'NF3FIFO');
  const file = tree.find('file');
  const sizeNow = (): bigint => fs.statSync(tree.at('file'), { bigint: true }).size;
  const reply = tree.setattr(file, { size: 6n * 2n ** 30n + 1n });
  t.equal(statusText(reply), 'OK', 'the owner may, whatever the mode is');
  t.equal(reply.wcc.before?.size, 0n);
  t.equal(reply.wcc.after?.size, 6n * 2n ** 30n + 1n);
  for (const size of [2n ** 63n, 2n ** 64n - 1n]) t.equal(statusText(tree.setattr(file, { size })), 'FBIG');
  t.equal(sizeNow(), 6n * 2n ** 30n + 1n);
  t.equal(statusText(tree.setattr(tree.find('dir'), { size: 0n })), 'ISDIR');
  t.equal(statusText(tree.setattr(tree.find('link'), { size: 0n })), 'INVAL');
  t.equal(statusText(tree.setattr(tree.find('fifo'), { size: 0n })), 'INVAL');
  tree.identity = other;
  t.equal(statusText(tree.setattr(file, { size: 0n })), 'ACCES');
  // Whoever may write may cut, and clears the set-id bits.
  fs.chmodSync(tree.at('file'), 0o6777);
  t.equal(statusText(tree.setattr(file, { size: 9n, mtime: SERVER_TIME })), 'OK');
  t.equal(sizeNow(), 9n);
  t.equal(modeAt(tree.at('file')), '777');
});

t.test(
  'SETATTR of several things does all or nothing, where that can be known before',
  { skip: notPrivileged },
  async (t) => {
    const tree = openTree(t);
    tree.create('file', { mode: 0o666, size: 10n });
    tree.mkdir('dir', { mode: 0o777 });
    const file = tree.find('file');
    const state = () => execFileSync('stat', ['-c', '%a %u %g %s %y %z', tree.at('file')]).toString();
    const before = state();
    const tried: [string, Partial<sattr3>, Identity, string][] = [
      ['size, and an owner', { size: 0n, uid: 2000 }, user, 'PERM'],
      ['size, and a group', { size: 0n, gid: 2000 }, user, 'PERM'],
      ['size, and a mode', { size: 0n, mode: 0o777 }, other, 'PERM'],
      ['size, and a time', { size: 0n, mtime: clientTime(1, 1) }, other, 'PERM'],
      ['size, and nonsense', { size: 0n, mtime: clientTime(1, 2_000_000_000) }, user, 'INVAL'],
      ['mode, and too large', { mode: 0o600, size: 2n ** 63n }, user, 'FBIG'],
      ['mode, and no id', { mode: 0o600, gid: 0xffff_ffff }, root, 'INVAL'],
    ];
    for (const [why, wanted, identity, status] of tried) {
      tree.identity = identity;
      t.equal(statusText(tree.setattr(file, wanted)), status, why);
      t.equal(state(), before, why);
    }
    tree.identity = user;
    t.equal(statusText(tree.setattr(tree.find('dir'), { mode: 0o700, size: 0n })), 'ISDIR');
    t.equal(modeAt(tree.at('dir')), '777');
    const all = { mode: 0o600, gid: 100, size: 4n, atime: clientTime(1, 2), mtime: clientTime(3, 4) };
    t.equal(statusText(tree.setattr(file, all)), 'OK');
    const { size, atimeNs, mtimeNs } = fs.statSync(tree.at('file'), { bigint: true });
    t.same([size, atimeNs, mtimeNs], [4n, 1_000_000_002n, 3_000_000_004n]);
    t.same([...ownerAt(tree.at('file')), modeAt(tree.at('file'))], [1000, 100, '600']);
  },
);

t.test('SETATTR: times', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file', { mode: 0o666 });
  tree.symlink('link', 'file');
  const file = tree.find('file');
  const times = (text: string) => {
    const { atimeNs, mtimeNs } = fs.lstatSync(tree.at(text), { bigint: true });
    return [atimeNs, mtimeNs];
  };
  t.equal(
    statusText(tree.setattr(file, { atime: clientTime(0xffff_ffff, 999_999_999), mtime: clientTime(0, 1) })),
    'OK',
  );
  t.same(times('file'), [4_294_967_295_999_999_999n, 1n], 'the last second of the field, and the first');
  t.equal(statusText(tree.setattr(file, { atime: clientTime(7, 7) })), 'OK');
  t.same(times('file'), [7_000_000_007n, 1n]);
  t.equal(statusText(tree.setattr(tree.find('link'), { mtime: clientTime(8, 9) })), 'OK');
  t.equal(times('link')[1], 8_000_000_009n);
  // What a local program set outside of the field's range comes wrapped.
  fs.utimesSync(tree.at('file'), new Date(-1000), 4_294_967_297);
  const reply = tree.call('GETATTR', { object: file });
  if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
  t.same([reply.obj_attributes.atime.seconds, reply.obj_attributes.mtime.seconds], [0xffff_ffff, 1]);
  // Whoever may write may set both to now, and nothing else.
  tree.identity = other;
  t.equal(statusText(tree.setattr(file, { atime: SERVER_TIME, mtime: SERVER_TIME })), 'OK');
  t.ok((times('file')[0] ?? 0n) > 1_600_000_000_000_000_000n);
  t.equal(statusText(tree.setattr(file, { mtime: clientTime(1, 1) })), 'PERM');
  fs.chmodSync(tree.at('file'), 0o644);
  t.equal(statusText(tree.setattr(file, { atime: SERVER_TIME, mtime: SERVER_TIME })), 'ACCES');
});

t.test('SETATTR: the guard', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.create('file');
  const file = tree.find('file');
  const ctimeNow = () => {
    const reply = tree.call('GETATTR', { object: file });
    if (reply.status !== NFS3_OK) throw new Error(statusText(reply));
    return reply.obj_attributes.ctime;
  };
  const ctime = ctimeNow();
  const refused = tree.setattr(file, { mode: 0o600 }, { ...ctime, nseconds: (ctime.nseconds + 1) % 1e9 });
  t.equal(statusText(refused), 'NOT_SYNC');
  t.same(refused.wcc.before?.ctime, ctime);
  t.equal(modeAt(tree.at('file')), '644');
  t.equal(statusText(tree.setattr(file, { mode: 0o600 }, ctime)), 'OK');
  t.equal(modeAt(tree.at('file')), '600');
});

t.test('a full file system', { skip: notPrivileged }, async (t) => {
  const tree = openSmall(t, 'size=64k,nr_inodes=8,mode=755');
  let made = 0;
  while (tree.create(`file${made}`).status === NFS3_OK) made += 1;
  t.ok(made > 0 && made < 8);
  const full = {
    create: tree.create('x'),
    mkdir: tree.mkdir('x'),
    symlink: tree.symlink('x', 'y'.repeat(200)),
    mknod: tree.mknod('x', 'NF3FIFO'),
    exclusive: tree.exclusive('x', Buffer.alloc(8)),
  };
  for (const [what, reply] of Object.entries(full)) {
    t.equal(statusText(reply), 'NOSPC', what);
    t.ok(reply.wcc.before !== null && reply.wcc.after !== null, `${what} tells the directory's attributes`);
  }
  t.notOk(fs.existsSync(tree.at('x')));
  t.equal(statusText(tree.remove('file0')), 'OK', 'and it can be emptied');
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(statusText(tree.create('x')), 'OK');
});

t.test('what is mounted in an export is neither removed nor renamed', { skip: notPrivileged }, async (t) => {
  const tree = openTree(t);
  tree.mkdir('point');
  tree.mkdir('dir');
  execFileSync('mount', ['-t', 'tmpfs', 'below', tree.at('point')]);
  t.teardown(() => void execFileSync('umount', ['-l', tree.at('point')]));
  t.equal(statusText(tree.rmdir('point')), 'ACCES');
  t.equal(statusText(tree.rename('point', 'away')), 'ACCES');
  t.equal(statusText(tree.rename('dir', 'point')), 'ACCES');
  t.equal(statusText(tree.create('x', {}, 1, tree.find('point'))), 'OK', 'what is seen is what lies below');
  t.same(fs.readdirSync(tree.at('point')), []);
});

t.test('too many links', { skip: notPrivileged }, async (t) => {
  const place = makePlace(t);
  const image = path.join(place.outside, 'image');
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 16 * 1024 * 1024);
  // Without dir_nlink a directory has at most 64,998 others in it, and a file 65,000 names: ext4.h EXT4_LINK_MAX.
  execFileSync('mkfs.ext4', ['-q', '-N', '32', image]);
  execFileSync('mount', ['-o', 'loop', image, place.directory]);
  t.teardown(() => void execFileSync('umount', ['-l', place.directory]));
  const tree = new Tree(t, place.directory, place.stateDirectory);
  tree.identity = root;
  tree.create('file');
  const file = tree.find('file');
  for (let count = 1; count < 65_000; count += 1) fs.linkSync(tree.at('file'), tree.at(String(count)));
  t.equal(fs.statSync(tree.at('file')).nlink, 65_000);
  t.equal(statusText(tree.link(file, 'more')), 'MLINK');
  const pathconf = tree.call('PATHCONF', { object: file });
  t.match(pathconf, { status: NFS3_OK, linkmax: 65_000, name_max: 255 });
});
