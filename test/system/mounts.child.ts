import fs from 'node:fs';
import path from 'node:path';
import {
  AT_FDCWD,
  MNT_DETACH,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  MS_REC,
  MS_BIND,
} from '../../src/system/constants.ts';
import { closeFd, getdents64, openat } from '../../src/system/files.ts';
import { nameToHandleAt, openByHandleAt } from '../../src/system/handles.ts';
import { clonePrivateMount, mountFileSystem, unmount } from '../../src/system/mounts.ts';

const MS_SHARED = 1 << 20;

const directory = process.argv[2] as string;
const below = path.join(directory, 'below');
mountFileSystem({ source: directory, target: directory, flags: MS_BIND });
// A shared mount hands new mounts on to its peers: the clone must not be one.
mountFileSystem({ source: 'none', target: directory, flags: MS_SHARED | MS_REC });

const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'done';
  } catch (error) {
    return (error as { code: string }).code;
  }
};
const names = (fd: number): string[] =>
  getdents64(fd, Buffer.alloc(8192))
    .map((entry) => entry.name.toString())
    .filter((name) => !name.startsWith('.'))
    .sort();
const namesBelow = (root: number): string[] => {
  const fd = openat(root, 'below', O_RDONLY);
  const found = names(fd);
  closeFd(fd);
  return found;
};

mountFileSystem({ source: 'tmpfs', target: below, type: 'tmpfs', data: 'size=1m' });
fs.writeFileSync(path.join(below, 'of-the-submount'), '');
const early = clonePrivateMount(directory);
const outside = fs.readdirSync(below);
unmount(below, MNT_DETACH);
const clone = clonePrivateMount(directory);
mountFileSystem({ source: 'tmpfs', target: below, type: 'tmpfs' });
fs.writeFileSync(path.join(below, 'of-a-later-one'), '');

const file = openat(clone, 'file', O_PATH | O_NOFOLLOW);
const byHandle = openByHandleAt(clone, nameToHandleAt(file), O_RDONLY);
const writable = clonePrivateMount(directory, { readOnly: false });

console.log(
  JSON.stringify({
    outside,
    early: namesBelow(early),
    late: namesBelow(clone),
    contents: fs.readFileSync(byHandle, 'latin1'),
    reopenForWriting: codeOf(() => fs.openSync(`/proc/self/fd/${byHandle}`, 'r+')),
    reopenPathForWriting: codeOf(() => fs.openSync(`/proc/self/fd/${file}`, 'r+')),
    chmod: codeOf(() => fs.fchmodSync(byHandle, 0o777)),
    truncate: codeOf(() => fs.truncateSync(`/proc/self/fd/${byHandle}`, 0)),
    writable: codeOf(() => fs.writeFileSync(`/proc/self/fd/${openat(writable, 'file', O_PATH)}`, 'new')),
    original: fs.readFileSync(path.join(directory, 'file'), 'latin1'),
    device: codeOf(() => fs.openSync(`/proc/self/fd/${clone}/null`, 'r')),
    missing: codeOf(() => clonePrivateMount(path.join(directory, 'missing'))),
    notMounted: codeOf(() => unmount(path.join(directory, 'below/nothing'))),
    unknownType: codeOf(() => mountFileSystem({ source: 'none', target: below, type: 'no-such-type' })),
    cwdIsLeft: codeOf(() => closeFd(openat(AT_FDCWD, '.', O_PATH))),
  }),
);
