/** The hard limits of driver=fuse-native for programs that write, beside those of NFSv3: as docs/operations.md lists them. */
import { FGDP_EXCEPTIONS, NO_ALLOCATION, type WriteException } from './write-exceptions.ts';

const MILLISECOND = 1_000_000n;
/** Size of the file of the cases about holes (makeSparse in write/open-files.mjs). */
const SPARSE_BYTES = 6 * 2 ** 30;
/** EARLIER of write/attributes.mjs, in milliseconds. */
const EARLIER = '1000000000987000000';

const TIMES = 'fuse-native hands over times in milliseconds';
const BOTH_TIMES = 'libfuse 2 asks for both times or for none, and reports one alone as set';
const RAW_NAMES = 'fuse-native makes text of names, so those that are not UTF-8 are refused';
const BY_PATH = 'libfuse 2 knows files by path, which what was removed does not have';
const HIDDEN = 'libfuse 2 keeps an open file by renaming it to .fuse_hidden until it is closed';
const NO_LSEEK = 'libfuse 2 has no lseek: the kernel takes the whole file for data';

/** Every number in an answer that is told as text, as times are, without what is below a millisecond. */
function cutTimes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(cutTimes);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, cutTimes(each)]));
  }
  if (typeof value !== 'string' || !/^\d+$/.test(value)) return value;
  return String(BigInt(value) - (BigInt(value) % MILLISECOND));
}

/** Each list of names in an answer, with the name of a kept file. */
const withHidden = (value: unknown): unknown =>
  (value as unknown[]).map((each) =>
    Array.isArray(each) ? ['.fuse_hidden: file', ...(each as string[])].sort() : each,
  );

/** What libfuse decides here and not the gateway, and what this driver is not asked: it does not know who calls. */
const OTHERWISE = [
  'chown rules: mine-set-both',
  'an immutable file',
  'a file that can only be appended to',
  'an append to it',
  'unlinked, and no name is left to see',
  'unlinked, and its directory removed',
  'rename: over an open file',
];

export const NATIVE_WRITE_EXCEPTIONS: readonly WriteException[] = [
  ...NO_ALLOCATION,
  ...FGDP_EXCEPTIONS.filter(({ cases }) => !OTHERWISE.some((name) => cases.test(name))),
  {
    cases:
      /^(unlinked, and no name is left to see|unlinked while another name is left|rename: over an open file)$/,
    reason: HIDDEN,
    expected: ({ value }) => ({ value: withHidden(value) }),
  },
  {
    cases: /^unlinked, and its directory removed$/,
    reason: `${HIDDEN}, so its directory is not empty`,
    expected: () => ({ value: ['ENOTEMPTY', 'text more', ['d: directory']] }),
  },
  {
    cases: /^a name that is always there while others rename onto it$/,
    reason: `${HIDDEN}, before it renames another onto it: its name is missing for a moment`,
    isChance: true,
    expected: ({ value }, _name, actual) => {
      const [{ whole }, names] = value as [{ whole: number }, number];
      const [seen] = actual.value as [{ whole?: number; ENOENT?: number }];
      const missed = seen.ENOENT ?? 0;
      return { value: missed === 0 ? value : [{ ENOENT: missed, whole: whole - missed }, names] };
    },
  },
  {
    cases: /^rmdir: a directory in use$/,
    reason: BY_PATH,
    expected: () => ({ error: 'ENOENT' }),
  },
  {
    cases: /^fsync of a removed directory$/,
    reason: BY_PATH,
    expected: () => ({ value: 'ENOENT' }),
  },
  {
    cases: /^a removed directory that is open$/,
    reason: BY_PATH,
    expected: () => ({ value: ['ENOENT', 'ENOENT'] }),
  },
  {
    cases: /^SEEK_DATA from /,
    reason: NO_LSEEK,
    expected: (_answer, name) => ({ value: Number(/\d+$/.exec(name)?.[0]) }),
  },
  {
    cases: /^SEEK_HOLE from /,
    reason: NO_LSEEK,
    expected: () => ({ value: SPARSE_BYTES }),
  },
  {
    cases: /^utimensat|^futimens|^times set/,
    reason: TIMES,
    expected: (answer) => ({ ...answer, value: cutTimes(answer.value) }),
  },
  {
    cases: /^utimensat: (access|modification) time (only|now)$/,
    reason: BOTH_TIMES,
    expected: () => ({ value: [0, EARLIER, EARLIER] }),
  },
  {
    cases: /^times after utimensat of the access time$/,
    reason: BOTH_TIMES,
    expected: () => ({ value: {} }),
  },
  {
    cases: /^names of raw bytes|^symlink: a target of raw bytes$/,
    reason: RAW_NAMES,
    expected: () => ({ error: 'EILSEQ' }),
  },
];
