/** Extended attributes (xattr(7)) and the ACLs that lie in two of them (acl(5)), of files, directories and what is neither. */
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import { attempt, withFile } from './facts.mjs';
import * as calls from './system-calls.mjs';

const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';
/** Tags of include/uapi/linux/posix_acl.h. */
const [OWNER, USER, GROUP, MASK, OTHER] = [1, 2, 4, 0x10, 0x20];
const NOBODY = 0xffffffff;
const XATTR_VERSION = 2;

/** An ACL as its extended attribute holds it: include/uapi/linux/posix_acl_xattr.h. */
function acl(...entries) {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(XATTR_VERSION);
  entries.forEach(([tag, perm, id = NOBODY], index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(perm, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  });
  return bytes.toString('latin1');
}

const mode = (path) => (fs.lstatSync(path).mode & 0o7777).toString(8);
const set = (path, name, value, flags) => attempt(() => calls.setXattr(path, name, value, flags));
const get = (path, name, room) => attempt(() => calls.getXattr(path, name, room));
const list = (path, room) => attempt(() => calls.listXattrs(path, room));
const remove = (path, name) => attempt(() => calls.removeXattr(path, name));
const aclsOf = (path) => [mode(path), get(path, ACCESS), get(path, DEFAULT)];

/** One named user, with a mask that says more than the group's entry. */
const NAMED = acl([OWNER, 6], [USER, 6, 1000], [GROUP, 4], [MASK, 6], [OTHER, 0]);
const MINIMAL = acl([OWNER, 7], [GROUP, 5], [OTHER, 1]);
const INHERITED = acl([OWNER, 7], [USER, 7, 1001], [GROUP, 5], [MASK, 7], [OTHER, 4]);

/** Runs in a file, and in a directory. */
const both = (run) => () => {
  fs.writeFileSync('f', 'text');
  fs.mkdirSync('d');
  return [run('f'), run('d')];
};

export const xattrs = {
  'xattr: set, read, listed, removed': both((path) => [
    [get(path, 'user.a'), list(path), remove(path, 'user.a')],
    [set(path, 'user.a', 'one'), get(path, 'user.a'), set(path, 'user.b', ''), get(path, 'user.b')],
    [set(path, 'user.\xff', '\0\xfe'), get(path, 'user.\xff'), list(path)],
    [set(path, 'user.a', 'other'), get(path, 'user.a')],
    [remove(path, 'user.a'), get(path, 'user.a'), list(path)],
  ]),
  'xattr: XATTR_CREATE, XATTR_REPLACE': both((path) => [
    [set(path, 'user.a', 'one', calls.XATTR_REPLACE), get(path, 'user.a')],
    [set(path, 'user.a', 'one', calls.XATTR_CREATE), get(path, 'user.a')],
    [set(path, 'user.a', 'two', calls.XATTR_CREATE), get(path, 'user.a')],
    [set(path, 'user.a', 'three', calls.XATTR_REPLACE), get(path, 'user.a')],
  ]),
  'xattr: room for the answer': both((path) => [
    [set(path, 'user.a', 'value'), get(path, 'user.a', 0), get(path, 'user.a', 4), get(path, 'user.a', 5)],
    [list(path, 0), list(path, 6), list(path, 7)],
  ]),
  'xattr: sizes': both((path) => [
    [set(path, `user.${'n'.repeat(250)}`, ''), set(path, `user.${'n'.repeat(251)}`, '')],
    [set(path, 'user.a', 'x'.repeat(2_000)), set(path, 'user.b', 'x'.repeat(65_536))],
    [set(path, 'user.b', 'x'.repeat(65_537)), set(path, 'user.', ''), set(path, '', ''), list(path).length],
  ]),
  'xattr: of what is neither file nor directory': () => {
    fs.symlinkSync('f', 'link');
    calls.mknod('fifo', 0o010600);
    return ['link', 'fifo'].map((path) => [
      [set(path, 'user.a', 'one'), get(path, 'user.a'), list(path), remove(path, 'user.a')],
    ]);
  },
  'xattr: other namespaces': both((path) => [set(path, 'unknown.a', ''), get(path, 'unknown.a')]),
  'xattr: who may not read or write': () => {
    fs.writeFileSync('f', 'text');
    const before = set('f', 'user.a', 'one');
    fs.chmodSync('f', 0o000);
    return [before, get('f', 'user.a'), set('f', 'user.a', 'two'), list('f'), remove('f', 'user.a')];
  },
  'xattr: a file that is being written keeps both': () =>
    withFile('f', 'w+', (fd) => {
      fs.writeSync(fd, 'before ');
      const done = [set('f', 'user.a', 'one')];
      fs.writeSync(fd, 'after');
      return [...done, fs.readFileSync('f', 'utf8'), get('f', 'user.a')];
    }),
  'xattr: renamed and linked with its file': () => {
    fs.writeFileSync('f', 'text');
    const done = set('f', 'user.a', 'one');
    fs.linkSync('f', 'g');
    fs.renameSync('f', 'h');
    return [done, get('g', 'user.a'), get('h', 'user.a'), get('f', 'user.a')];
  },
  'ACL: set, read, taken away': both((path) => [
    [aclsOf(path), set(path, ACCESS, NAMED), aclsOf(path), list(path)],
    [set(path, ACCESS, MINIMAL), aclsOf(path), list(path)],
    [set(path, ACCESS, NAMED), remove(path, ACCESS), aclsOf(path), remove(path, ACCESS)],
  ]),
  'ACL: chmod sets its mask': both((path) => {
    const done = set(path, ACCESS, NAMED);
    fs.chmodSync(path, 0o751);
    return [done, aclsOf(path)];
  }),
  'ACL: what is none': both((path) => [
    [set(path, ACCESS, 'text'), set(path, ACCESS, acl([OWNER, 7])), set(path, ACCESS, '')],
    [set(path, ACCESS, acl([OWNER, 6], [USER, 6, 1000], [GROUP, 4], [OTHER, 0])), aclsOf(path)],
  ]),
  'ACL: a default ACL of a file': () => {
    fs.writeFileSync('f', '');
    return [set('f', DEFAULT, INHERITED), remove('f', DEFAULT), aclsOf('f')];
  },
  'ACL: a default ACL is inherited, in place of the umask': () => {
    fs.mkdirSync('d');
    const done = [set('d', DEFAULT, INHERITED), aclsOf('d')];
    const umask = process.umask(0o077);
    try {
      fs.writeFileSync('d/f', '');
      fs.writeFileSync('d/closed', '', { mode: 0o640 });
      fs.mkdirSync('d/d');
      calls.mknod('d/fifo', 0o010666);
      fs.writeFileSync('f', '');
    } finally {
      process.umask(umask);
    }
    const made = ['d/f', 'd/closed', 'd/d', 'd/fifo', 'f'].map(aclsOf);
    return [done, made, remove('d', DEFAULT), aclsOf('d'), list('d')];
  },
  'ACL: both of a directory': () => {
    fs.mkdirSync('d');
    const done = [set('d', ACCESS, NAMED), set('d', DEFAULT, INHERITED), aclsOf('d'), list('d')];
    return [
      done,
      remove('d', ACCESS),
      aclsOf('d'),
      set('d', ACCESS, NAMED),
      remove('d', DEFAULT),
      aclsOf('d'),
    ];
  },
  'ACL: set-group-id of a file whose group is another': {
    prepare: (caller) => {
      fs.writeFileSync('f', '');
      if (caller.uid === 0) fs.chownSync('f', 1000, 8);
      fs.chmodSync('f', 0o2755);
    },
    run: () => [set('f', ACCESS, NAMED), aclsOf('f')],
  },
};
