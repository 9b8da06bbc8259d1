/**
 * Works on files by request, so that a test can wait for a call, let it hang, or kill the caller. A request is one
 * JSON document a line on stdin, its answer one on stdout: {value} or {error: code}. The argument is the directory
 * that names are relative to.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';

const CHUNK_BYTES = 64 * 1024;
process.chdir(process.argv[2]);

/** Open files by the name the test gave them. */
const files = new Map();
const directories = new Map();

const operations = {
  ready: () => 'ready',
  open: ({ name, as = name, flags = 'r' }) => {
    files.set(as, { fd: fs.openSync(name, flags), hash: createHash('sha256'), bytes: 0 });
    return true;
  },
  /** The next bytes, into the running digest; fewer at the end. */
  read: ({ as, bytes }) => {
    const file = files.get(as);
    const buffer = Buffer.alloc(CHUNK_BYTES);
    let taken = 0;
    while (taken < bytes) {
      const count = fs.readSync(file.fd, buffer, 0, Math.min(CHUNK_BYTES, bytes - taken), null);
      if (count === 0) break;
      file.hash.update(buffer.subarray(0, count));
      taken += count;
    }
    file.bytes += taken;
    return taken;
  },
  /** Everything that is left, and the digest of all that was read. */
  rest: ({ as }) => {
    operations.read({ as, bytes: Infinity });
    const { bytes, hash } = files.get(as);
    return { bytes, sha256: hash.copy().digest('hex') };
  },
  pread: ({ as, offset, bytes }) => {
    const buffer = Buffer.alloc(bytes);
    const count = fs.readSync(files.get(as).fd, buffer, 0, bytes, offset);
    return { bytes: count, sha256: createHash('sha256').update(buffer.subarray(0, count)).digest('hex') };
  },
  text: ({ as, offset = 0, bytes = 4096 }) => {
    const buffer = Buffer.alloc(bytes);
    return buffer.toString('latin1', 0, fs.readSync(files.get(as).fd, buffer, 0, bytes, offset));
  },
  /** What lies at an offset of a file that may be larger than memory, as text; and its size. */
  peek: ({ name, offset, bytes }) => {
    const fd = fs.openSync(name, 'r');
    try {
      const buffer = Buffer.alloc(bytes);
      const count = fs.readSync(fd, buffer, 0, bytes, offset);
      return { text: buffer.toString('latin1', 0, count), size: fs.fstatSync(fd).size };
    } finally {
      fs.closeSync(fd);
    }
  },
  readFile: ({ name }) => fs.readFileSync(name, 'latin1'),
  digest: ({ name }) => createHash('sha256').update(fs.readFileSync(name)).digest('hex'),
  stat: ({ name }) => ({ size: fs.statSync(name).size, ino: fs.statSync(name).ino }),
  attributes: ({ name }) => {
    const { size, mode, nlink } = fs.statSync(name);
    return { size, mode, nlink };
  },
  /** How often names were looked at; some may be missing. */
  stats: ({ names, times }) => {
    for (let i = 0; i < times; i += 1) for (const name of names) fs.statSync(name, { throwIfNoEntry: false });
    return names.length * times;
  },
  fstat: ({ as }) => ({ size: fs.fstatSync(files.get(as).fd).size }),
  list: ({ name }) => fs.readdirSync(name).sort(),
  opendir: ({ name, as }) => {
    directories.set(as, fs.opendirSync(name, { encoding: 'buffer', bufferSize: 64 }));
    return true;
  },
  /** The next names of an open directory, their bytes as characters (latin1); fewer than `count` at the end. */
  names: ({ as, count }) => {
    const names = [];
    while (names.length < count) {
      const entry = directories.get(as).readSync();
      if (entry === null) break;
      names.push(entry.name.toString('latin1'));
    }
    return names;
  },
  closedir: ({ as }) => {
    directories.get(as).closeSync();
    return directories.delete(as);
  },
  write: ({ as, text, offset }) => fs.writeSync(files.get(as).fd, text, offset, 'latin1'),
  fsync: ({ as }) => {
    fs.fsyncSync(files.get(as).fd);
    return true;
  },
  unlink: ({ name }) => {
    fs.unlinkSync(name);
    return true;
  },
  close: ({ as }) => {
    fs.closeSync(files.get(as).fd);
    files.delete(as);
    return true;
  },
};

/** libuv has no names for some of Linux's error numbers. */
function nameOf(error) {
  const known = Object.entries(constants.errno).find(([, number]) => number === -error.errno);
  return known?.[0] ?? error.code ?? String(error);
}

createInterface({ input: process.stdin }).on('line', (text) => {
  const request = JSON.parse(text);
  let answer;
  try {
    answer = { value: operations[request.op](request) };
  } catch (error) {
    answer = { error: nameOf(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
