/**
 * Runs programs of file operations (see program.ts) in directories. A request is one JSON document a line, its answer
 * another: {make: directory, program, skip} is answered by {results, closed, tree}, where results are values, names of
 * errors, or 'skipped', closed are those of closing what is open in the end, and tree is what is there then. The
 * operation `restart` writes the line "restart", and goes on when it gets one.
 *
 * With `judge` an operation that no NFSv3 client can do alike is skipped instead of performed, since RFC 1813 knows of no
 * open files: a directory is removed or replaced while a file without a name is open, which may have its kept name there;
 * the right to a file is taken from somebody, root and its owner apart, who has it open (section 4.4: servers check
 * every READ and WRITE); and root writes a file with set-id bits by the descriptor of somebody else, in whose name the
 * server then clears them, as for a mapping; and the times of a directory are set while such a file is open, whose kept name
 * goes with its last close, and changes them again. With `by-path` a directory that is open is not removed or replaced,
 * nor is anything set of a FIFO that is open and has no name: libfuse 2 knows files by their paths (docs/operations.md).
 * `skip` lists what another run skipped.
 */
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { attempt, kind, kindOf, sha256 } from '../conformance/write/facts.mjs';
import {
  copyFileRange,
  fchmod,
  mknod,
  withReadMap,
  withSharedMap,
} from '../conformance/write/system-calls.mjs';

/** Times after this are not told exactly: the present one. In milliseconds. */
const LONG_AGO_MS = 1_100_000_000_000;
const KEPT_NAME = /^(\.nfs|\.fuse_hidden)[0-9a-f]{8,}$/;
const EBADF = 9;
const SET_IDS = 0o6000;

/** Root and two others, one of whom is in a group that files are given to. */
const ACTORS = {
  root: { uid: 0, gid: 0, groups: [0] },
  user: { uid: 1_000, gid: 1_000, groups: [1_000, 2_000] },
  other: { uid: 1_001, gid: 1_001, groups: [1_001] },
};
let actor = 'root';

/** Has the calls that follow made by somebody else. */
function become(next) {
  if (next === actor) return;
  const { uid, gid, groups } = ACTORS[next];
  process.seteuid(0);
  process.setgroups(groups);
  process.setegid(gid);
  process.seteuid(uid);
  actor = next;
}

const slots = new Map();
/** Who opened what is in the slots. */
const openers = new Map();

function fdOf(slot) {
  const fd = slots.get(slot);
  if (fd === undefined) throw { errno: -EBADF };
  return fd;
}

/** Bytes that tell which operation wrote them. */
const pattern = (index, bytes) => Buffer.alloc(bytes, `${index};`);
const shown = (buffer) =>
  buffer.length <= 40 ? buffer.toString('latin1') : `${buffer.length} bytes ${sha256(buffer)}`;
const mtimeOf = ({ mtimeMs }) => (mtimeMs < LONG_AGO_MS ? mtimeMs : 'recent');

function facts(stat) {
  const what = kind(stat);
  // A write to a FIFO goes to nobody's file system, and a kernel notes its time only where files are local.
  return what.type === 'fifo' ? what : { ...what, mtime: mtimeOf(stat) };
}

function close(slot) {
  const fd = slots.get(slot);
  if (fd === undefined) throw { errno: -EBADF };
  slots.delete(slot);
  fs.closeSync(fd);
}

function readSome(fd, bytes, offset) {
  const buffer = Buffer.alloc(bytes);
  return shown(buffer.subarray(0, fs.readSync(fd, buffer, 0, bytes, offset)));
}

/** The part of a file that can be mapped: beyond its end a touch is a fatal signal. */
function mapped(slot, offset, bytes, map, action) {
  const fd = fdOf(slot);
  const stat = fs.fstatSync(fd);
  const length = Math.min(bytes, stat.size - offset);
  if (!stat.isFile() || length <= 0) return 'nothing to map';
  return map(fd, offset + length, 0, (memory) => action(memory.subarray(offset)));
}

const names = (path) =>
  fs
    .readdirSync(path)
    .filter((name) => !KEPT_NAME.test(name))
    .sort();

const operations = {
  open: ({ slot, path, flags, mode }) => {
    if (slots.has(slot)) close(slot);
    // A FIFO without the other end must not wait.
    const bits = flags.reduce((all, flag) => all | fs.constants[`O_${flag}`], fs.constants.O_NONBLOCK);
    slots.set(slot, fs.openSync(path, bits, mode));
    openers.set(slot, actor);
  },
  close: ({ slot }) => close(slot),
  fsync: ({ slot }) => fs.fsyncSync(fdOf(slot)),
  fdatasync: ({ slot }) => fs.fdatasyncSync(fdOf(slot)),
  fstat: ({ slot }) => {
    // How many links an unlinked file has is not told: it has a kept name.
    const { nlink, ...rest } = facts(fs.fstatSync(fdOf(slot)));
    return { ...rest, linked: nlink > 1 };
  },
  readAll: ({ slot }) => readSome(fdOf(slot), 400_000, 0),
  read: ({ slot, bytes }) => readSome(fdOf(slot), bytes, null),
  write: ({ slot, bytes }, index) => fs.writeSync(fdOf(slot), pattern(index, bytes)),
  pread: ({ slot, offset, bytes }) => readSome(fdOf(slot), bytes, offset),
  pwrite: ({ slot, offset, bytes }, index) =>
    fs.writeSync(fdOf(slot), pattern(index, bytes), 0, bytes, offset),
  mapWrite: ({ slot, offset, bytes }, index) =>
    mapped(slot, offset, bytes, withSharedMap, (memory) => {
      memory.set(pattern(index, memory.length));
    }),
  mapRead: ({ slot, offset, bytes }) => mapped(slot, offset, bytes, withReadMap, (memory) => shown(memory)),
  ftruncate: ({ slot, size }) => fs.ftruncateSync(fdOf(slot), size),
  fchmod: ({ slot, mode }) => fchmod(fdOf(slot), mode),
  futimes: ({ slot, seconds }) => fs.futimesSync(fdOf(slot), seconds, seconds),
  copy: ({ slot, to, bytes }) => copyFileRange(fdOf(slot), fdOf(to), bytes),
  truncate: ({ path, size }) => fs.truncateSync(path, size),
  mkdir: ({ path, mode }) => fs.mkdirSync(path, mode),
  chmod: ({ path, mode }) => fs.chmodSync(path, mode),
  mkfifo: ({ path, mode }) => mknod(path, fs.constants.S_IFIFO | mode),
  chown: ({ path, uid, gid }) => fs.chownSync(path, uid, gid),
  lchown: ({ path, uid, gid }) => fs.lchownSync(path, uid, gid),
  utimes: ({ path, seconds }) => fs.utimesSync(path, seconds, seconds),
  lutimes: ({ path, seconds }) => fs.lutimesSync(path, seconds, seconds),
  rename: ({ path, to }) => fs.renameSync(path, to),
  link: ({ path, to }) => fs.linkSync(path, to),
  symlink: ({ path, target }) => fs.symlinkSync(target, path),
  rmdir: ({ path }) => fs.rmdirSync(path),
  unlink: ({ path }) => fs.unlinkSync(path),
  stat: ({ path }) => facts(fs.statSync(path)),
  lstat: ({ path }) => facts(fs.lstatSync(path)),
  readdir: ({ path }) => names(path),
  readlink: ({ path }) => fs.readlinkSync(path),
  readFile: ({ path }) => {
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      return readSome(fd, 400_000, null);
    } finally {
      fs.closeSync(fd);
    }
  },
  fsyncDirectory: ({ path }) => {
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
};

/** Everything there is below a directory, by path. */
function treeOf(at) {
  return Object.fromEntries(
    names(at).flatMap((name) => {
      const path = `${at}/${name}`;
      const { type, ...stat } = facts(fs.lstatSync(path));
      if (type === 'directory') return [[path, { type, ...stat }], ...Object.entries(treeOf(path))];
      if (type === 'link') return [[path, { type, ...stat, target: fs.readlinkSync(path) }]];
      if (type !== 'file') return [[path, { type, ...stat }]];
      return [[path, { type, ...stat, content: shown(fs.readFileSync(path)) }]];
    }),
  );
}

/** The file that an operation changes the rights to, as stat tells it. */
function rightsChangedBy({ op, slot, path }) {
  if (op === 'fchmod') return slots.has(slot) ? fs.fstatSync(slots.get(slot)) : undefined;
  if (op !== 'chmod' && op !== 'chown' && op !== 'lchown') return undefined;
  return fs[op === 'lchown' ? 'lstatSync' : 'statSync'](path, { throwIfNoEntry: false });
}

/** Whether somebody has a file open who might not open it after the operation. */
function takesRights(operation) {
  let file;
  attempt(() => void (file = rightsChangedBy(operation)));
  if (file === undefined) return false;
  const isChmod = operation.op === 'chmod' || operation.op === 'fchmod';
  return [...slots].some(([slot, fd]) => {
    const { uid } = ACTORS[openers.get(slot)];
    const { ino } = fs.fstatSync(fd);
    return ino === file.ino && uid !== 0 && !(isChmod && uid === file.uid);
  });
}

const WRITES = ['write', 'pwrite', 'ftruncate', 'copy', 'mapWrite'];

/** Whether set-id bits outlive the writing of a file only because root writes, or a mapping is written. */
function keepsSetIds({ op, slot, to, as = 'root' }) {
  const target = op === 'copy' ? to : slot;
  if (!WRITES.includes(op) || !slots.has(target) || openers.get(target) === 'root') return false;
  return (as === 'root' || op === 'mapWrite') && (fs.fstatSync(slots.get(target)).mode & SET_IDS) !== 0;
}

const hasNoName = (fd) => fs.fstatSync(fd).nlink === 0;

/** Whether the times of a directory are set that may have the kept name of a file. */
function setsTimesAround({ op, slot, path }) {
  let file;
  if (op === 'futimes' && slots.has(slot)) file = fs.fstatSync(slots.get(slot));
  else if (op === 'utimes') attempt(() => void (file = fs.statSync(path)));
  else if (op === 'lutimes') attempt(() => void (file = fs.lstatSync(path)));
  return file?.isDirectory() === true && [...slots.values()].some(hasNoName);
}

/** Whether something is set of a FIFO that has no path any more. */
function setsNameless({ op, slot }) {
  if (!['futimes', 'fchmod'].includes(op) || !slots.has(slot)) return false;
  return fs.fstatSync(slots.get(slot)).isFIFO() && hasNoName(slots.get(slot));
}

function isUnsayable(operation, judge) {
  const { op, path, to } = operation;
  const isByPath = judge === 'by-path';
  if (takesRights(operation) || keepsSetIds(operation) || setsTimesAround(operation)) return true;
  if (isByPath && setsNameless(operation)) return true;
  const directory = op === 'rmdir' ? path : op === 'rename' ? to : undefined;
  if (directory === undefined || attempt(() => kindOf(directory).type) !== 'directory') return false;
  return [...slots.values()].some((fd) => hasNoName(fd) || (isByPath && fs.fstatSync(fd).isDirectory()));
}

const top = process.cwd();

const requests = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function perform(operation, index) {
  if (operation.op === 'restart') {
    answer('restart');
    await requests.next();
    return 'done';
  }
  become(operation.as ?? 'root');
  return attempt(() => operations[operation.op](operation, index));
}

async function run({ make, program, judge, skip = [] }) {
  process.chdir(top);
  fs.mkdirSync(make);
  fs.chmodSync(make, 0o777);
  process.chdir(make);
  const results = [];
  for (const [index, operation] of program.entries()) {
    become('root');
    const isSkipped = skip.includes(index) || (judge !== undefined && isUnsayable(operation, judge));
    results.push(isSkipped ? 'skipped' : await perform(operation, index));
  }
  become('root');
  const closed = [...slots.keys()].sort().map((slot) => attempt(() => close(slot)));
  return { results, closed, tree: treeOf('.') };
}

for (let next = await requests.next(); !next.done; next = await requests.next()) {
  answer(await run(JSON.parse(next.value)));
}
