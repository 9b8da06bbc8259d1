/** What the cases of the write probe say about files, free of what differs between two runs of the same thing. */
import { Buffer } from 'node:buffer';
import { createCipheriv, createHash } from 'node:crypto';
import fs from 'node:fs';
import { errnoNames } from './system-calls.mjs';

const S_IFMT = 0o170000;
const TYPES = new Map([
  [0o010000, 'fifo'],
  [0o020000, 'character device'],
  [0o040000, 'directory'],
  [0o060000, 'block device'],
  [0o100000, 'file'],
  [0o120000, 'link'],
  [0o140000, 'socket'],
]);

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** The name of the error that `action` fails with, or its value ('done' where it has none). */
export function attempt(action) {
  try {
    return action() ?? 'done';
  } catch (error) {
    if (error.errno === undefined) throw error;
    return errnoNames.get(-error.errno) ?? String(error.errno);
  }
}

/** Opens, acts and closes. An error of close(2) counts where the action had none. */
export function withFile(name, flags, action, mode) {
  const fd = fs.openSync(name, flags, mode);
  let done = false;
  try {
    const value = action(fd);
    done = true;
    return value;
  } finally {
    if (done) fs.closeSync(fd);
    else attempt(() => fs.closeSync(fd));
  }
}

/** Type, permissions, owners, links and, of files and links, the size: directories count in their own ways. */
export function kind(stat) {
  const type = TYPES.get(stat.mode & S_IFMT);
  return {
    type,
    mode: (stat.mode & ~S_IFMT).toString(8),
    nlink: stat.nlink,
    uid: stat.uid,
    gid: stat.gid,
    ...(type === 'directory' ? {} : { size: stat.size }),
    ...(type?.endsWith('device') ? { rdev: stat.rdev } : {}),
  };
}

export const kindOf = (name) => kind(fs.lstatSync(name));
export const modeOf = (name) => (fs.lstatSync(name).mode & ~S_IFMT).toString(8);
export const ownersOf = (name) => {
  const { uid, gid } = fs.lstatSync(name);
  return [uid, gid];
};
export const text = (name) => fs.readFileSync(name, 'latin1');

/** Under which NFS clients and libfuse keep open files whose name was removed; the rest of such a name is never the same. */
const KEPT_NAME = /^(\.nfs|\.fuse_hidden)[0-9a-f]{8,}$/;

/** The names in a directory with their types, sorted. */
export function list(at = '.') {
  return fs
    .readdirSync(at, { encoding: 'buffer' })
    .map((name) => {
      const path = Buffer.concat([Buffer.from(`${at}/`), name]);
      const shown = Buffer.from(name.toString()).equals(name) ? name.toString() : name.toString('hex');
      return `${shown.replace(KEPT_NAME, '$1')}: ${TYPES.get(fs.lstatSync(path).mode & S_IFMT)}`;
    })
    .sort();
}

export function pread(fd, bytes, offset) {
  const buffer = Buffer.alloc(bytes);
  return buffer.toString('latin1', 0, fs.readSync(fd, buffer, 0, bytes, offset));
}

/** Times as [seconds, nanoseconds] in text. */
export function times(name) {
  const { atimeNs, mtimeNs } = fs.lstatSync(name, { bigint: true });
  return { atime: String(atimeNs), mtime: String(mtimeNs) };
}

/** Bytes that repeat nowhere, the same on every run. */
export function content(bytes, seed = 'content') {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}
