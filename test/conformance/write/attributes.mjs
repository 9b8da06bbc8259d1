/** CHMOD, CHOWN and UTIMENS by the owner (or root) of the files, and every error that needs no other user. */
import fs from 'node:fs';
import { attempt, kindOf, modeOf, ownersOf, text, times, withFile } from './facts.mjs';
import * as calls from './system-calls.mjs';

const { AT_SYMLINK_NOFOLLOW, O_PATH, UTIME_NOW, UTIME_OMIT } = calls;
const NOT_A_FD = 9_999;
/** A moment with nanoseconds that no coarser clock keeps. */
const MOMENT = [1_234_567_890n, 123_456_789n];
const EARLIER = [1_000_000_000n, 987_654_321n];

function makeUsual() {
  fs.writeFileSync('file', 'text');
  fs.mkdirSync('directory');
  fs.symlinkSync('file', 'link');
  fs.symlinkSync('nowhere', 'dangling');
  fs.symlinkSync('loop', 'loop');
}

const errorsOf = (call) => ({
  prepare: makeUsual,
  run: () =>
    Object.fromEntries(
      ['missing', 'file/name', 'missing/name', 'dangling', 'loop', 'n'.repeat(256), '', 'file/'].map(
        (path) => [path.slice(0, 20), attempt(() => call(path))],
      ),
    ),
});

/** What utimensat made of a file whose times were EARLIER: each time as set, kept, or the present one. */
function setTimes(pair, { name = 'file', flags = 0 } = {}) {
  calls.utimensat(name, [EARLIER, EARLIER], flags);
  const start = Date.now();
  const result = attempt(() => calls.utimensat(name, pair, flags));
  const seen = times(name);
  // A server's clock may differ by a little, not by an hour.
  const HOUR_MS = 3_600_000;
  const shown = (nanoseconds) =>
    Math.abs(Number(BigInt(nanoseconds) / 1_000_000n) - start) < HOUR_MS ? 'now' : nanoseconds;
  return [result, shown(seen.atime), shown(seen.mtime)];
}

const PAIRS = {
  'both given': [MOMENT, [1_500_000_000n, 1n]],
  'both now': [
    [0n, UTIME_NOW],
    [0n, UTIME_NOW],
  ],
  'both omitted': [
    [0n, UTIME_OMIT],
    [0n, UTIME_OMIT],
  ],
  'access time only': [MOMENT, [0n, UTIME_OMIT]],
  'modification time only': [[0n, UTIME_OMIT], MOMENT],
  'access time now': [
    [0n, UTIME_NOW],
    [0n, UTIME_OMIT],
  ],
  'modification time now': [
    [0n, UTIME_OMIT],
    [0n, UTIME_NOW],
  ],
  'given and now': [MOMENT, [0n, UTIME_NOW]],
  'now and given': [[0n, UTIME_NOW], MOMENT],
  'the first second': [
    [0n, 0n],
    [0n, 0n],
  ],
  'the last nanosecond': [
    [1n, 999_999_999n],
    [2_147_483_647n, 999_999_999n],
  ],
  'nanoseconds out of range': [
    [1n, 1_000_000_000n],
    [1n, 0n],
  ],
};
/** Before 1970, and after 2038 and 2106: more than NFSv3's 32 bits hold. */
const FAR = {
  'before 1970': [
    [-1n, 500_000_000n],
    [-1_000_000_000n, 0n],
  ],
  'after 2038': [
    [2_147_483_648n, 5n],
    [4_294_967_295n, 7n],
  ],
  'after 2106': [
    [4_294_967_296n, 5n],
    [10_000_000_000n, 7n],
  ],
};

const utimens = {
  ...Object.fromEntries(
    Object.entries({ ...PAIRS, ...FAR }).flatMap(([name, pair]) => [
      [`utimensat: ${name}`, { prepare: makeUsual, run: () => setTimes(pair) }],
    ]),
  ),
  'utimensat of a directory': {
    prepare: makeUsual,
    run: () => setTimes(PAIRS['both given'], { name: 'directory' }),
  },
  'utimensat of a link itself': {
    prepare: makeUsual,
    run: () => {
      calls.utimensat('file', [EARLIER, EARLIER]);
      return [
        setTimes(PAIRS['both given'], { name: 'link', flags: AT_SYMLINK_NOFOLLOW }),
        setTimes(PAIRS['both given'], { name: 'dangling', flags: AT_SYMLINK_NOFOLLOW }),
        times('file'),
      ];
    },
  },
  'utimensat through a link': {
    prepare: makeUsual,
    run: () => [calls.utimensat('link', PAIRS['both given']), times('file')],
  },
  'utimensat without times': { prepare: makeUsual, run: () => calls.utimensNow('file') },
  'utimensat with unknown flags': {
    prepare: makeUsual,
    run: () => attempt(() => calls.utimensat('file', PAIRS['both given'], 0x8)),
  },
  'utimensat: errors': errorsOf((path) => calls.utimensat(path, [MOMENT, MOMENT])),
  'utimensat of a missing name, both omitted': () =>
    attempt(() => calls.utimensat('missing', PAIRS['both omitted'])),
  futimens: {
    prepare: makeUsual,
    run: () => [
      attempt(() => withFile('file', 'r', (fd) => calls.futimens(fd, PAIRS['both given']))),
      times('file'),
      attempt(() => withFile('directory', 'r', (fd) => calls.futimens(fd, PAIRS['both given']))),
      attempt(() => withFile('file', O_PATH, (fd) => calls.futimens(fd, PAIRS['both given']))),
      attempt(() => calls.futimens(NOT_A_FD, PAIRS['both given'])),
    ],
  },
  'times set after writing, before close': () => {
    withFile('a', 'w', (fd) => {
      fs.writeSync(fd, 'text');
      calls.futimens(fd, [EARLIER, MOMENT]);
    });
    return [times('a').mtime, text('a'), times('a').mtime];
  },
  'times set by name while bytes wait': () => {
    withFile('a', 'w', (fd) => {
      fs.writeSync(fd, 'text');
      calls.utimensat('a', [EARLIER, MOMENT]);
    });
    return times('a').mtime;
  },
  'a write after times were set': () => {
    withFile('a', 'w', (fd) => {
      calls.futimens(fd, [EARLIER, EARLIER]);
      fs.writeSync(fd, 'text');
    });
    return fs.statSync('a').mtimeMs > 1_100_000_000_000;
  },
};

const chmod = {
  'chmod: every bit': {
    prepare: makeUsual,
    run: () =>
      ['file', 'directory'].map((name) =>
        [0, 0o1, 0o20, 0o400, 0o644, 0o777, 0o1000, 0o1777, 0o2755, 0o2644, 0o4755, 0o4644, 0o7777].map(
          (mode) => [attempt(() => fs.chmodSync(name, mode)), modeOf(name)],
        ),
      ),
  },
  'chmod through a link': {
    prepare: makeUsual,
    run: () => [fs.chmodSync('link', 0o600) ?? 'done', modeOf('file'), kindOf('link').type],
  },
  'chmod: errors': errorsOf((path) => fs.chmodSync(path, 0o600)),
  fchmod: {
    prepare: makeUsual,
    run: () => [
      attempt(() => withFile('file', 'r', (fd) => calls.fchmod(fd, 0o640))),
      modeOf('file'),
      attempt(() => withFile('directory', 'r', (fd) => calls.fchmod(fd, 0o700))),
      modeOf('directory'),
      attempt(() => withFile('file', O_PATH, (fd) => calls.fchmod(fd, 0o600))),
      attempt(() => calls.fchmod(NOT_A_FD, 0o600)),
    ],
  },
  'chmod while bytes wait': () => {
    withFile('a', 'w', (fd) => {
      fs.writeSync(fd, 'text');
      fs.chmodSync('a', 0o400);
      fs.writeSync(fd, ' more');
    });
    return [modeOf('a'), text('a')];
  },
};

const chown = {
  'chown by the owner': {
    prepare: makeUsual,
    run: () =>
      [
        [-1, -1],
        [process.geteuid(), process.getegid()],
        [process.geteuid(), -1],
        [-1, process.getegid()],
        [12_345, -1],
        [-1, 12_345],
        [12_345, 23_456],
        [4_294_967_294, 4_294_967_294],
      ].map(([uid, gid]) => [attempt(() => fs.chownSync('file', uid, gid)), ownersOf('file')]),
  },
  'chown of links and directories': {
    prepare: makeUsual,
    run: () => [
      attempt(() => fs.lchownSync('link', process.geteuid(), process.getegid())),
      attempt(() => fs.lchownSync('dangling', 7, 8)),
      ownersOf('link'),
      ownersOf('dangling'),
      attempt(() => fs.chownSync('directory', -1, process.getegid())),
      ownersOf('directory'),
      ownersOf('file'),
    ],
  },
  'chown: errors': errorsOf((path) => fs.chownSync(path, process.geteuid(), process.getegid())),
  fchown: {
    prepare: makeUsual,
    run: () => [
      attempt(() => withFile('file', 'r', (fd) => fs.fchownSync(fd, process.geteuid(), process.getegid()))),
      attempt(() =>
        withFile('file', O_PATH, (fd) => fs.fchownSync(fd, process.geteuid(), process.getegid())),
      ),
      attempt(() => fs.fchownSync(NOT_A_FD, 0, 0)),
    ],
  },
  'chown clears set-user-id and set-group-id': {
    prepare: makeUsual,
    run: () =>
      ['file', 'directory'].map((name) =>
        [0o4755, 0o2755, 0o6755, 0o2644, 0o6777, 0o7777].map((mode) =>
          [
            [process.geteuid(), process.getegid()],
            [-1, -1],
          ].map(([uid, gid]) => {
            fs.chmodSync(name, mode);
            fs.chownSync(name, uid, gid);
            return modeOf(name);
          }),
        ),
      ),
  },
};

const setId = {
  'set-user-id after a write, a truncation, an O_TRUNC and an allocation': () =>
    [0o4755, 0o2755, 0o6755, 0o2644, 0o6777].map((mode) =>
      [
        () => withFile('a', 'r+', (fd) => fs.writeSync(fd, 'x')),
        () => calls.truncate('a', 1),
        () => withFile('a', 'r+', (fd) => calls.ftruncate(fd, 2)),
        () => withFile('a', 'w', () => 0),
        () => withFile('a', 'a', (fd) => fs.writeSync(fd, 'x')),
        () => calls.utimensNow('a'),
        () => fs.renameSync('a', 'a'),
        () => fs.linkSync('a', `b${mode}`),
      ].map((change) => {
        fs.writeFileSync('a', 'text');
        fs.chmodSync('a', mode);
        change();
        const seen = modeOf('a');
        fs.unlinkSync('a');
        return seen;
      }),
    ),
  'set-group-id directories hand down their group': () => {
    fs.mkdirSync('d');
    attempt(() => fs.chownSync('d', -1, process.getgroups().at(-1)));
    fs.chmodSync('d', 0o2777);
    fs.writeFileSync('d/file', '');
    fs.writeFileSync('d/executable', '', { mode: 0o2775 });
    fs.mkdirSync('d/directory');
    fs.symlinkSync('target', 'd/link');
    calls.mknod('d/fifo', fs.constants.S_IFIFO | 0o644);
    fs.mkdirSync('d/directory/below');
    fs.mkdirSync('elsewhere');
    fs.renameSync('elsewhere', 'd/moved');
    return [
      'd',
      'd/file',
      'd/executable',
      'd/directory',
      'd/link',
      'd/fifo',
      'd/directory/below',
      'd/moved',
    ].map((name) => [name, modeOf(name), ownersOf(name)]);
  },
};

export const attributes = { ...utimens, ...chmod, ...chown, ...setId };
