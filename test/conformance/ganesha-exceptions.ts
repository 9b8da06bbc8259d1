/** Where nfs-ganesha 4.3 (Debian 12) with its FSAL_VFS answers other than the directory it serves. */
import { NFS3_EXCEPTIONS, type WriteException } from './write-exceptions.ts';

const SET_ID_BITS = 0o6000;
const MODE = /^[0-7]{1,4}$/;

const withoutSetIds = (mode: string): number => Number.parseInt(mode, 8) & ~SET_ID_BITS;

/** What is expected, but with the set-id bits that were seen in each mode. */
function withSetIdsOf(expected: unknown, actual: unknown): unknown {
  if (Array.isArray(expected) && Array.isArray(actual)) {
    return expected.map((each, index) => withSetIdsOf(each, actual[index]));
  }
  if (typeof expected === 'object' && expected !== null && typeof actual === 'object' && actual !== null) {
    const of = actual as Record<string, unknown>;
    return Object.fromEntries(
      Object.entries(expected).map(([name, each]) => [name, withSetIdsOf(each, of[name])]),
    );
  }
  if (typeof expected !== 'string' || typeof actual !== 'string') return expected;
  const areModes = MODE.test(expected) && MODE.test(actual);
  return areModes && withoutSetIds(expected) === withoutSetIds(actual) ? actual : expected;
}

export const GANESHA_EXCEPTIONS: readonly WriteException[] = [
  ...NFS3_EXCEPTIONS,
  {
    cases: /^utimensat of a link itself$/,
    reason: 'it sets no times of links and says that it has (vfs_setattr2)',
    expected: ({ value }) => {
      const [link, dangling, file] = value as [unknown[], unknown[], unknown];
      return { value: [[link[0], 'now', 'now'], [dangling[0], 'now', 'now'], file] };
    },
  },
  {
    cases: /^set-user-id after a |^on files: (open (for reading )?with O_TRUNC|f?truncate)$/,
    reason:
      'it sets sizes as root, who keeps set-id bits; RFC 1813 section 3.3.2 leaves to the server what else SETATTR changes',
    expected: ({ value }, _name, actual) => ({ value: withSetIdsOf(value, actual.value) }),
  },
  {
    cases: /^chown clears set-user-id and set-group-id$/,
    reason: 'it clears the set-id bits of directories as well, for everybody but root',
    expected: ({ value }, _name, actual) => ({ value: withSetIdsOf(value, actual.value) }),
  },
  {
    cases: /^an immutable file$/,
    reason: 'its ACCESS goes by modes, so that only the WRITE is refused',
    expected: ({ value }) => ({ value: { ...(value as object), open: 0 } }),
  },
];
