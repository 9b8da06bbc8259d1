/** Where a mount may answer other than a plain directory: only here, each with what forces it. */

export interface Answer {
  /** What the case saw. */
  readonly value?: unknown;
  /** The errno that ended it, by name. */
  readonly error?: string;
}

export interface WriteException {
  /** The cases of the write probe. */
  readonly cases: RegExp;
  readonly reason: string;
  /** It comes of a race, and need not be seen in every run. */
  readonly isChance?: true;
  /**
   * What the backend answers where the directory gives `answer`.
   *
   * @param actual what it did answer, for where it has a choice
   */
  readonly expected: (answer: Answer, name: string, actual: Answer) => Answer;
}

/** Size and digest of the file of the cases about fallocate, untouched. */
const UNTOUCHED: readonly [number, string] = [
  20_000,
  '1b3a07628775d0d32ec1a38a9a573c7f7348c4154fd034790081b1456b1944e8',
];
const SECONDS_MAX = 2n ** 32n - 1n;
const NANOSECONDS = 1_000_000_000n;

const NO_PROCEDURE = 'RFC 1813 section 3.3 lists the 22 procedures, and none does this';

/** A moment in nanoseconds as nfstime3 holds it. */
function asNfstime3(nanoseconds: string): string {
  const moment = BigInt(nanoseconds);
  if (moment < 0n) return '0';
  const seconds = moment / NANOSECONDS;
  return seconds > SECONDS_MAX ? String(SECONDS_MAX * NANOSECONDS + (moment % NANOSECONDS)) : nanoseconds;
}

/** A list of names with one more among them. */
const withKept = (names: unknown): unknown => ['.nfs: file', ...(names as string[])].sort();

/** Holes, of a server that does not speak FGDP. */
const HOLES: readonly WriteException[] = [
  {
    cases: /^SEEK_(DATA|HOLE) from /,
    reason: `${NO_PROCEDURE}: EINVAL, which tells programs to look for zeros (docs/semantics.md, Holes)`,
    expected: () => ({ value: 'EINVAL' }),
  },
  {
    cases: /^lseek: errors$/,
    reason: `${NO_PROCEDURE}: EINVAL here, too`,
    expected: ({ value }) => ({
      value: Object.fromEntries(
        Object.entries(value as Record<string, unknown>).map(([what, result]) => [
          what,
          result === 'ENXIO' ? 'EINVAL' : result,
        ]),
      ),
    }),
  },
];

/** Files that are removed while they are open: a granted file is ours, whatever names it has. */
const KEPT_NAMES: readonly WriteException[] = [
  {
    cases: /^unlinked, and no name is left to see$/,
    reason:
      'RFC 1813 section 3.3.12: REMOVE knows of no open files, so the file keeps a name until its last close',
    expected: () => ({ value: [withKept([]), 'ENOENT'] }),
  },
  {
    cases: /^unlinked, and its directory removed$/,
    reason: 'RFC 1813 section 3.3.12: the kept name moves to the directory above, until the last close',
    expected: ({ value }) => ({
      value: (value as unknown[]).map((each) => (Array.isArray(each) ? withKept(each) : each)),
    }),
  },
  {
    cases: /^rename: over an open file$/,
    reason: 'RFC 1813 section 3.3.14: the replaced file keeps a name until its last close',
    expected: ({ value }) => ({
      value: (value as unknown[]).map((each) => (Array.isArray(each) ? withKept(each) : each)),
    }),
  },
];

/** Space that is asked for, without a server, or a driver, that knows of it. */
export const NO_ALLOCATION: readonly WriteException[] = [
  {
    cases: /^fallocate( KEEP_SIZE| PUNCH_HOLE)?$/,
    reason: `${NO_PROCEDURE}: EOPNOTSUPP, which posix_fallocate(3) and cp know what to do about`,
    expected: () => ({ value: ['EOPNOTSUPP', ...UNTOUCHED] }),
  },
];

/** What neither NFSv3 nor FGDP can say, where files are granted. */
export const GRANTED_EXCEPTIONS: readonly WriteException[] = [
  {
    cases: /^(RENAME_NOREPLACE onto nothing|RENAME_NOREPLACE of a directory)$/,
    reason: 'RFC 1813 section 3.3.14: RENAME always replaces its target; EINVAL, as NFS clients answer',
    expected: ({ value }) => ({
      value: ['EINVAL', (value as [number, string[]])[1].map((line) => line.replace(/^b:/, 'a:'))],
    }),
  },
  {
    cases: /^RENAME_EXCHANGE$/,
    reason: `${NO_PROCEDURE}: EINVAL, as NFS clients answer`,
    expected: () => ({ value: ['EINVAL', ['a: file', 'b: directory']] }),
  },
  {
    cases: /^create: O_TMPFILE$/,
    reason: `${NO_PROCEDURE}: CREATE (section 3.3.8) takes a name`,
    expected: () => ({ error: 'EOPNOTSUPP' }),
  },
  {
    cases: /^utimensat: (before 1970|after 2106)$/,
    reason: 'RFC 1813 section 2.5: seconds of nfstime3 are 32 bits without a sign; the nearest is taken',
    expected: ({ value }) => {
      const [result, atime, mtime] = value as [number, string, string];
      return { value: [result, asNfstime3(atime), asNfstime3(mtime)] };
    },
  },
  {
    cases: /^times after chown of nothing$/,
    reason: 'RFC 1813 section 3.3.2: SETATTR that sets nothing does nothing, to ctime neither',
    expected: ({ value }) => ({
      value: Object.fromEntries(
        Object.entries(value as object).filter(([name]) => name !== 'file' && name !== 'hard'),
      ),
    }),
  },
  {
    cases: /^an immutable file$/,
    reason: 'RFC 1813 section 3.3.4: ACCESS says what is refused and not why, so open(2) gives EACCES',
    expected: ({ value }) => ({ value: { ...(value as object), open: 'EACCES' } }),
  },
  {
    cases: /^a file that can only be appended to$/,
    reason: 'RFC 1813 section 3.3.4: ACCESS knows no right to append only; writing is refused, not open(2)',
    expected: ({ value }) => ({ value: { ...(value as object), open: 0 } }),
  },
  {
    cases: /^an append to it$/,
    reason: 'RFC 1813 section 3.3.7: WRITE says where, and no call appends',
    expected: () => ({ value: ['EPERM', 'text'] }),
  },
];

/** What neither NFSv3 nor FGDP can say. */
export const FGDP_EXCEPTIONS: readonly WriteException[] = [...GRANTED_EXCEPTIONS, ...KEPT_NAMES];

/** What NFSv3 cannot say. */
export const NFS3_EXCEPTIONS: readonly WriteException[] = [...FGDP_EXCEPTIONS, ...NO_ALLOCATION, ...HOLES];

/** Of an export that is read-only at the server, in a mount that is not. */
export const READ_ONLY_EXPORT_EXCEPTIONS: readonly WriteException[] = [
  {
    cases: /^read-only: (unlink|rmdir) of what is missing$/,
    reason: 'the kernel looks for the name before it asks a file system that it takes for writable',
    expected: ({ value }) => ({ value: ['ENOENT', ...(value as unknown[]).slice(1)] }),
  },
  {
    cases: /^read-only: access for writing/,
    reason: 'with default_permissions the kernel answers access(2) from modes and never sends ACCESS',
    expected: ({ value }) => ({ value: ['done', ...(value as unknown[]).slice(1)] }),
  },
  {
    cases: /^read-only: rename with RENAME_NOREPLACE$/,
    reason: 'RFC 1813 section 3.3.14: RENAME always replaces its target; EINVAL, as NFS clients answer',
    expected: ({ value }) => ({ value: ['EINVAL', ...(value as unknown[]).slice(1)] }),
  },
];
