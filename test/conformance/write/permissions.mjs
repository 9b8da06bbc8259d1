/** What others than the owner may do: modes, sticky and set-group-id directories, chown and utimens rules. */
import fs from 'node:fs';
import { attempt, list, modeOf, ownersOf, withFile } from './facts.mjs';
import * as calls from './system-calls.mjs';

const { O_WRONLY, O_CREAT, O_RDONLY, O_TRUNC, O_APPEND } = fs.constants;
const OTHER = 1_000;
const NOW = [0n, calls.UTIME_NOW];
const OMIT = [0n, calls.UTIME_OMIT];
const MOMENT = [1_234_567_890n, 5n];

/** Who owns what, of [name, mode, uid, gid]; `me` and `group` are the ids the cases are run with. */
const owned = (me, group) => [
  ['mine', 0o644, me, group],
  ['mine-unwritable', 0o444, me, group],
  ['mine-of-another-group', 0o644, me, OTHER],
  ['root-all', 0o666, 0, 0],
  ['root-none', 0o644, 0, 0],
  ['root-secret', 0o600, 0, 0],
  ['other-all', 0o666, OTHER, OTHER],
  ['group-writable', 0o664, 0, group],
  ['group-refused', 0o606, 0, group],
  ['set-user-id', 0o4777, 0, 0],
  ['set-both', 0o6777, 0, group],
  ['set-group-id-locking', 0o2666, 0, 0],
  ['mine-set-both', 0o6755, me, group],
];

function makeFile([name, mode, uid, gid], at = '.') {
  fs.writeFileSync(`${at}/${name}`, 'text');
  fs.chownSync(`${at}/${name}`, uid, gid);
  fs.chmodSync(`${at}/${name}`, mode);
}

function makeFiles({ uid, group }) {
  for (const file of owned(uid, group)) makeFile(file);
  fs.chmodSync('.', 0o777);
}

/** Directories of all sorts, with a file of root's, of another's and of one's own in each. */
function makeDirectories({ uid, group }) {
  for (const [name, mode, owner, gid] of [
    ['open', 0o777, 0, 0],
    ['closed', 0o755, 0, 0],
    ['no-search', 0o666, 0, 0],
    ['no-write', 0o555, uid, group],
    ['mine', 0o700, uid, group],
    ['secret', 0o700, 0, 0],
    ['search-only', 0o711, 0, 0],
    ['of-the-group', 0o770, 0, group],
    ['sticky', 0o1777, 0, 0],
    ['sticky-of-another', 0o1777, OTHER, OTHER],
    ['sticky-mine', 0o1777, uid, group],
    ['sticky-of-the-group', 0o1770, 0, group],
    ['set-group-id', 0o2777, 0, 0],
    ['set-group-id-of-the-group', 0o2777, 0, group],
  ]) {
    fs.mkdirSync(name);
    for (const file of [
      ['root', 0o666, 0, 0],
      ['another', 0o666, OTHER, OTHER],
      ['mine', 0o666, uid, group],
    ])
      makeFile(file, name);
    for (const [sub, subOwner] of [
      ['root-directory', 0],
      ['my-directory', uid],
    ]) {
      fs.mkdirSync(`${name}/${sub}`);
      fs.chownSync(`${name}/${sub}`, subOwner, 0);
    }
    fs.chownSync(name, owner, gid);
    fs.chmodSync(name, mode);
  }
  makeFile(['loose', 0o666, uid, group]);
  makeFile(['loose-of-root', 0o666, 0, 0]);
  fs.chmodSync('.', 0o777);
}

const DIRECTORIES = [
  'open',
  'closed',
  'no-search',
  'no-write',
  'mine',
  'secret',
  'search-only',
  'of-the-group',
  'sticky',
  'sticky-of-another',
  'sticky-mine',
  'sticky-of-the-group',
  'set-group-id',
  'set-group-id-of-the-group',
];

const IN_DIRECTORIES = {
  create: (at) => withFile(`${at}/new`, O_WRONLY | O_CREAT, (fd) => fs.writeSync(fd, 'x')),
  'open what exists with O_CREAT': (at) => withFile(`${at}/another`, O_WRONLY | O_CREAT, () => 0),
  mkdir: (at) => fs.mkdirSync(`${at}/new`),
  'mkdir of what exists': (at) => fs.mkdirSync(`${at}/root`),
  mknod: (at) => calls.mknod(`${at}/new`, fs.constants.S_IFIFO | 0o644),
  symlink: (at) => fs.symlinkSync('target', `${at}/new`),
  link: (at) => fs.linkSync('loose', `${at}/new`),
  "link of what is another's": (at) => fs.linkSync('loose-of-root', `${at}/new`),
  "unlink of one's own": (at) => fs.unlinkSync(`${at}/mine`),
  "unlink of another's": (at) => fs.unlinkSync(`${at}/another`),
  "unlink of root's": (at) => fs.unlinkSync(`${at}/root`),
  'unlink of what is missing': (at) => fs.unlinkSync(`${at}/missing`),
  "rmdir of one's own": (at) => fs.rmdirSync(`${at}/my-directory`),
  "rmdir of root's": (at) => fs.rmdirSync(`${at}/root-directory`),
  "rename of one's own": (at) => fs.renameSync(`${at}/mine`, `${at}/new`),
  "rename of another's": (at) => fs.renameSync(`${at}/another`, `${at}/new`),
  "rename onto another's": (at) => fs.renameSync(`${at}/mine`, `${at}/another`),
  'rename into it': (at) => fs.renameSync('loose', `${at}/new`),
  "rename into it onto root's": (at) => fs.renameSync('loose', `${at}/root`),
  'rename out of it': (at) => fs.renameSync(`${at}/mine`, 'out'),
  "rename of one's own directory": (at) => fs.renameSync(`${at}/my-directory`, 'out'),
  // Its .. would change, so the directory itself must be writable.
  "rename of root's directory out of it": (at) => fs.renameSync(`${at}/root-directory`, 'out'),
  write: (at) => withFile(`${at}/another`, O_WRONLY, (fd) => fs.writeSync(fd, 'x')),
  'chmod of the directory': (at) => fs.chmodSync(at, 0o2775),
  'utimensat of the directory': (at) => calls.utimensNow(at),
};

const inDirectories = Object.fromEntries(
  Object.entries(IN_DIRECTORIES).flatMap(([what, operation]) => [
    [
      `in directories: ${what}`,
      {
        prepare: makeDirectories,
        run: () =>
          Object.fromEntries(
            DIRECTORIES.map((at) => {
              const result = attempt(() => operation(at));
              const seen = ['new', 'mine'].map((name) =>
                attempt(() => [modeOf(`${at}/${name}`), ownersOf(`${at}/${name}`)]),
              );
              return [at, [result, attempt(() => list(at)), seen]];
            }),
          ),
      },
    ],
  ]),
);

const FILES = owned(0, 0).map(([name]) => name);
const ON_FILES = {
  'open for writing': (name) => withFile(name, O_WRONLY, () => 0),
  'open for appending': (name) => withFile(name, O_WRONLY | O_APPEND, () => 0),
  'open with O_TRUNC': (name) => withFile(name, O_WRONLY | O_TRUNC, () => 0),
  'open for reading with O_TRUNC': (name) => withFile(name, O_RDONLY | O_TRUNC, () => 0),
  write: (name) => withFile(name, O_WRONLY, (fd) => fs.writeSync(fd, 'x')),
  append: (name) => withFile(name, O_WRONLY | O_APPEND, (fd) => fs.writeSync(fd, 'x')),
  truncate: (name) => calls.truncate(name, 2),
  ftruncate: (name) => withFile(name, O_WRONLY, (fd) => calls.ftruncate(fd, 2)),
  chmod: (name) => fs.chmodSync(name, 0o777),
  'chmod with set-group-id': (name) => fs.chmodSync(name, 0o2775),
  'chmod with the sticky bit': (name) => fs.chmodSync(name, 0o1644),
  fchmod: (name) => withFile(name, O_RDONLY, (fd) => calls.fchmod(fd, 0o600)),
  'utimensat of a moment': (name) => calls.utimensat(name, [MOMENT, MOMENT]),
  'utimensat of now': (name) => calls.utimensat(name, [NOW, NOW]),
  'utimensat without times': (name) => calls.utimensNow(name),
  'utimensat of one time now': (name) => calls.utimensat(name, [OMIT, NOW]),
  'utimensat of nothing': (name) => calls.utimensat(name, [OMIT, OMIT]),
  'futimens of now': (name) => withFile(name, O_RDONLY, (fd) => calls.futimens(fd, [NOW, NOW])),
  link: (name) => fs.linkSync(name, `${name}-linked`),
  rename: (name) => fs.renameSync(name, `${name}-renamed`),
  unlink: (name) => fs.unlinkSync(name),
  'access for writing': (name) => fs.accessSync(name, fs.constants.W_OK),
};

const onFiles = Object.fromEntries(
  Object.entries(ON_FILES).map(([what, operation]) => [
    `on files: ${what}`,
    {
      prepare: makeFiles,
      run: () =>
        Object.fromEntries(
          FILES.map((name) => [
            name,
            [
              attempt(() => operation(name)),
              attempt(() => modeOf(name)),
              attempt(() => ownersOf(name)),
              attempt(() => fs.statSync(name).size),
            ],
          ]),
        ),
    },
  ]),
);

const chowns = Object.fromEntries(
  ['mine', 'mine-of-another-group', 'mine-set-both', 'root-all', 'group-writable'].map((name) => [
    `chown rules: ${name}`,
    {
      prepare: makeFiles,
      run: (_prepared, { uid, group }) =>
        [
          [-1, -1],
          [uid, -1],
          [-1, group],
          [-1, process.getegid()],
          [uid, group],
          [0, -1],
          [-1, 0],
          [OTHER, -1],
          [-1, OTHER],
        ].map(([toUid, toGid]) => [
          attempt(() => fs.chownSync(name, toUid, toGid)),
          ownersOf(name),
          modeOf(name),
        ]),
    },
  ]),
);

/** A descriptor keeps what was allowed when it was opened. */
const descriptors = {
  'ftruncate and write after the mode was taken away': {
    prepare: makeFiles,
    run: () =>
      withFile('mine', 'r+', (fd) => {
        fs.chmodSync('mine', 0);
        fs.writeSync(fd, 'TEXT and more');
        calls.ftruncate(fd, 8);
        return [fs.readSync(fd, new Uint8Array(20), 0, 20, 0), attempt(() => fs.openSync('mine', 'r+'))];
      }),
  },
  'created without any mode, and written': {
    prepare: makeFiles,
    run: () =>
      withFile(
        'new',
        'wx+',
        (fd) => {
          fs.writeSync(fd, 'text');
          calls.ftruncate(fd, 2);
          return [fs.fstatSync(fd).size, modeOf('new'), attempt(() => fs.openSync('new', 'r'))];
        },
        0,
      ),
  },
};

export const permissions = { ...inDirectories, ...onFiles, ...chowns, ...descriptors };
