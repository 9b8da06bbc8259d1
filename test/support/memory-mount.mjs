/**
 * A file system in memory that can be changed, mounted by one of our drivers without anything else of ours: what a program
 * does on it shows the driver alone. Usage: memory-mount.mjs DRIVER MOUNTPOINT [OPTION...]; it runs the build. Prints
 * "mounted", and then every operation it is asked for, one a line. Bytes that are written are held for a while, as the
 * gateway holds them, and their memory is given back afterwards.
 *
 * Options: ro; hang-write, hang-flush (never answered).
 */
import { Buffer } from 'node:buffer';
import { writeSync } from 'node:fs';
import { mountWithDriver } from '../../dist/fuse/driver.js';
import { deviceOfMount, unmountFuse } from '../../dist/fuse/mount.js';

const [kind, mountPoint, ...options] = process.argv.slice(2);
const [ENOENT, EINTR, EEXIST, ENOTDIR, EISDIR, EINVAL, ENOTEMPTY, ENODATA, EOPNOTSUPP] = [
  2, 4, 17, 20, 21, 22, 39, 61, 95,
];
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const [O_EXCL, O_TRUNC] = [0o200, 0o1000];
const PAGE = 65_536;
/** Bytes held before they are put into the file. */
const HELD_MAX = 8 * 1024 * 1024;

const say = (...words) => writeSync(1, `${words.join(' ')}\n`);
const text = (name) => Buffer.from(name).toString('latin1');
const now = () => ({ seconds: Math.floor(Date.now() / 1000), nanoseconds: (Date.now() % 1000) * 1_000_000 });
/** An entry, attributes and handles outlive the call that made them only with driver=kernel's forgets: none is ever freed. */
const inodes = new Map();
const handles = new Map();
let next = 1n;

function makeInode(mode, uid, gid) {
  const inode = { id: next++, mode, uid, gid, nlink: 1, size: 0n, rdevMajor: 0, rdevMinor: 0 };
  Object.assign(inode, {
    atime: now(),
    mtime: now(),
    ctime: now(),
    pages: new Map(),
    held: [],
    heldBytes: 0,
  });
  if ((mode & S_IFMT) === S_IFDIR) Object.assign(inode, { children: new Map(), nlink: 2 });
  inodes.set(inode.id, inode);
  return inode;
}
makeInode(S_IFDIR | 0o755, process.geteuid(), process.getegid());

const attributesOf = (inode) => ({
  attributes: { ...inode, ino: inode.id, used: BigInt(inode.pages.size * PAGE) },
  validMs: 1000,
});
const entryOf = (inode) => ({ nodeId: inode.id, entryValidMs: 1000, attributes: attributesOf(inode) });

function putHeld(inode) {
  for (const { at, bytes, data } of inode.held.splice(0)) {
    for (let done = 0; done < bytes.length;) {
      const offset = Number(at) + done;
      const page = Math.floor(offset / PAGE);
      const begin = offset % PAGE;
      const count = Math.min(PAGE - begin, bytes.length - done);
      if (!inode.pages.has(page)) inode.pages.set(page, Buffer.alloc(PAGE));
      inode.pages.get(page).set(bytes.subarray(done, done + count), begin);
      done += count;
    }
    data.release?.();
  }
  inode.heldBytes = 0;
}

function resize(inode, size) {
  putHeld(inode);
  const last = Number(size / BigInt(PAGE));
  for (const page of inode.pages.keys()) if (page > last) inode.pages.delete(page);
  inode.pages.get(last)?.fill(0, Number(size % BigInt(PAGE)));
  inode.size = size;
}

function add(parent, name, mode, context, more = {}) {
  const { children } = inodes.get(parent);
  if (children.has(text(name))) return EEXIST;
  const inode = Object.assign(makeInode(mode, context.uid, context.gid), more);
  children.set(text(name), inode.id);
  return inode;
}

function open(inode, flags) {
  if ((flags & O_TRUNC) !== 0) resize(inode, 0n);
  const fileHandle = next++;
  handles.set(fileHandle, inode);
  return { fileHandle, keepCache: false };
}

const entered = (made) => (typeof made === 'number' ? made : entryOf(made));
const forever = () => new Promise(() => undefined);

const operations = {
  init: () => undefined,
  destroy: () => undefined,
  forget: () => undefined,
  lookup: (parent, name) => {
    const found = inodes.get(parent).children?.get(text(name));
    return found === undefined ? ENOENT : entryOf(inodes.get(found));
  },
  getattr: (id) => attributesOf(inodes.get(id)),
  access: () => 0,
  readlink: (id) => ({ target: inodes.get(id).target }),
  open: (id, flags) => open(inodes.get(id), flags),
  read: (fileHandle, offset, sizeBytes) => {
    const inode = handles.get(fileHandle);
    putHeld(inode);
    const left = inode.size - offset;
    const bytes = Buffer.alloc(left <= 0n ? 0 : Math.min(sizeBytes, Number(left)));
    for (let done = 0; done < bytes.length;) {
      const at = Number(offset) + done;
      const page = inode.pages.get(Math.floor(at / PAGE));
      const count = Math.min(PAGE - (at % PAGE), bytes.length - done);
      page?.copy(bytes, done, at % PAGE, (at % PAGE) + count);
      done += count;
    }
    return [bytes];
  },
  lseek: () => EOPNOTSUPP,
  write: (fileHandle, offset, data, flags) => {
    if (options.includes('hang-write')) return forever();
    const inode = handles.get(fileHandle);
    inode.held.push({ at: offset, bytes: data.take(), data });
    inode.heldBytes += data.bytes.length;
    const end = offset + BigInt(data.bytes.length);
    if (end > inode.size) inode.size = end;
    Object.assign(inode, { mtime: now(), ctime: now() });
    if (inode.heldBytes > HELD_MAX) putHeld(inode);
    say('detail write', data.bytes.length, `0${flags.toString(8)}`);
    return Promise.resolve({ writtenBytes: data.bytes.length });
  },
  flush: () => (options.includes('hang-flush') ? forever() : 0),
  fsync: (fileHandle) => (putHeld(handles.get(fileHandle)), 0),
  fsyncdir: () => 0,
  fallocate: () => EOPNOTSUPP,
  // The kernel reads and writes then.
  copyFileRange: () => EOPNOTSUPP,
  release: (fileHandle) => void (putHeld(handles.get(fileHandle)), handles.delete(fileHandle)),
  setattr: (id, changes) => {
    const inode = inodes.get(id);
    say('detail setattr', ...Object.keys(changes).sort());
    if (changes.size !== undefined) resize(inode, changes.size);
    for (const key of ['uid', 'gid']) if (changes[key] !== undefined) inode[key] = changes[key];
    if (changes.mode !== undefined) inode.mode = (inode.mode & S_IFMT) | changes.mode;
    for (const key of ['atime', 'mtime']) {
      if (changes[key] !== undefined) inode[key] = changes[key] === 'now' ? now() : changes[key];
    }
    inode.ctime = now();
    return attributesOf(inode);
  },
  create: (parent, name, mode, flags, context) => {
    const found = inodes.get(parent).children.get(text(name));
    if (found !== undefined && (flags & O_EXCL) !== 0) return EEXIST;
    const inode =
      found === undefined ? add(parent, name, S_IFREG | maskedMode(mode), context) : inodes.get(found);
    return { entry: entryOf(inode), opened: open(inode, flags) };
  },
  mknod: (parent, name, mode, { major, minor }, context) =>
    entered(add(parent, name, maskedMode(mode), context, { rdevMajor: major, rdevMinor: minor })),
  mkdir: async (parent, name, mode, context) =>
    entered(add(parent, name, S_IFDIR | maskedMode(mode), context)),
  symlink: (parent, name, target, context) =>
    entered(add(parent, name, S_IFLNK | 0o777, context, { target, size: BigInt(target.length) })),
  link: (id, parent, name) => {
    const { children } = inodes.get(parent);
    if (children.has(text(name))) return EEXIST;
    children.set(text(name), id);
    inodes.get(id).nlink += 1;
    return entryOf(inodes.get(id));
  },
  unlink: (parent, name) => {
    const { children } = inodes.get(parent);
    const inode = inodes.get(children.get(text(name)));
    if (inode === undefined) return ENOENT;
    if (inode.children !== undefined) return EISDIR;
    children.delete(text(name));
    inode.nlink -= 1;
    return 0;
  },
  rmdir: (parent, name) => {
    const { children } = inodes.get(parent);
    const inode = inodes.get(children.get(text(name)));
    if (inode === undefined) return ENOENT;
    if (inode.children === undefined) return ENOTDIR;
    if (inode.children.size > 0) return ENOTEMPTY;
    children.delete(text(name));
    inode.nlink = 0;
    return 0;
  },
  rename: (parent, name, newParent, newName, flags) => {
    const from = inodes.get(parent).children;
    const to = inodes.get(newParent).children;
    const id = from.get(text(name));
    const replaced = to.get(text(newName));
    if (id === undefined) return ENOENT;
    if (flags === 1 && replaced !== undefined) return EEXIST;
    if (flags > 1) return EINVAL;
    if (replaced !== undefined) {
      if ((inodes.get(replaced).children?.size ?? 0) > 0) return ENOTEMPTY;
      inodes.get(replaced).nlink -= 1;
    }
    from.delete(text(name));
    to.set(text(newName), id);
    return 0;
  },
  opendir: (id) => {
    const fileHandle = next++;
    handles.set(fileHandle, inodes.get(id));
    return { fileHandle, keepCache: false };
  },
  readdir: (fileHandle, cookie, sink) => {
    const inode = handles.get(fileHandle);
    const names = [['.', inode.id], ['..', inode.id], ...inode.children];
    for (const [index, [name, id]] of [...names.entries()].slice(Number(cookie))) {
      const { mode } = inodes.get(id);
      if (!sink.add(Buffer.from(name, 'latin1'), BigInt(index + 1), id, mode & S_IFMT)) break;
    }
    return 0;
  },
  releasedir: (fileHandle) => void handles.delete(fileHandle),
  statfs: () => ({
    ...{ blockSizeBytes: PAGE, blocks: 1_000_000n, blocksFree: 900_000n, blocksAvailable: 900_000n },
    ...{ files: 1_000_000n, filesFree: 900_000n, nameBytesMax: 255 },
  }),
  getxattr: (id, name) => {
    const value = xattrsOf(id).get(name);
    return value === undefined ? ENODATA : { value };
  },
  setxattr: (id, name, value) => {
    if (!name.startsWith('user.')) return EOPNOTSUPP;
    xattrsOf(id).set(name, value);
    return 0;
  },
  listxattr: (id) => ({ names: [...xattrsOf(id).keys()] }),
  removexattr: (id, name) => (xattrsOf(id).delete(name) ? 0 : ENODATA),
};

/** fuse-native hands over what the umask has left. */
function maskedMode(mode) {
  return typeof mode === 'number' ? mode : mode.masked;
}

function xattrsOf(id) {
  const inode = inodes.get(id);
  inode.xattrs ??= new Map();
  return inode.xattrs;
}

const told = new Proxy(operations, {
  get: (target, name) => {
    const operation = Reflect.get(target, name);
    if (typeof operation !== 'function' || name === 'forget') return operation;
    return (...args) => {
      say(String(name));
      return operation(...args);
    };
  },
});

const complain = (message, error) => process.stderr.write(`${message}: ${error?.stack ?? error}\n`);
const request = { source: 'memory', mountPoint, readOnly: options.includes('ro') };
const driver = await mountWithDriver(kind, request, told, { onFault: complain, onWarning: complain });
const device = deviceOfMount(mountPoint);
process.once('SIGTERM', () => {
  void unmountFuse(mountPoint, device).then(() => driver.stop());
});
say('mounted');
await driver.run();
// What hangs is never answered; EINTR is the driver's own word for it.
process.exitCode = options.some((option) => option.startsWith('hang')) ? EINTR : 0;
