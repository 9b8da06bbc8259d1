/** Random programs of file operations: few names, few descriptors, so that what they do meets again and again. */
import fc from 'fast-check';

/** How a descriptor is opened: the flags of open(2) by their names, without O_. */
export type OpenFlag =
  'RDONLY' | 'WRONLY' | 'RDWR' | 'CREAT' | 'EXCL' | 'TRUNC' | 'APPEND' | 'NOFOLLOW' | 'SYNC';

/** Who does it: see worker.mjs for their ids and groups. */
export type Actor = 'root' | 'user' | 'other';

/** One operation, done by root unless it says otherwise. */
export type Operation = Deed & { readonly as?: Actor };

/** `slot` is the place of an open descriptor, and opening into one that is taken closes it first. */
type Deed =
  | {
      readonly op: 'open';
      readonly slot: number;
      readonly path: string;
      readonly flags: readonly OpenFlag[];
      readonly mode: number;
    }
  | { readonly op: 'close' | 'fsync' | 'fdatasync' | 'fstat' | 'readAll'; readonly slot: number }
  | { readonly op: 'read' | 'write'; readonly slot: number; readonly bytes: number }
  | {
      readonly op: 'pread' | 'pwrite' | 'mapWrite' | 'mapRead';
      readonly slot: number;
      readonly offset: number;
      readonly bytes: number;
    }
  | { readonly op: 'ftruncate'; readonly slot: number; readonly size: number }
  | { readonly op: 'fchmod'; readonly slot: number; readonly mode: number }
  | { readonly op: 'futimes'; readonly slot: number; readonly seconds: number }
  | { readonly op: 'copy'; readonly slot: number; readonly to: number; readonly bytes: number }
  | { readonly op: 'truncate'; readonly path: string; readonly size: number }
  | { readonly op: 'mkdir' | 'chmod' | 'mkfifo'; readonly path: string; readonly mode: number }
  | { readonly op: 'chown' | 'lchown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly op: 'utimes' | 'lutimes'; readonly path: string; readonly seconds: number }
  | { readonly op: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly op: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly op:
        'rmdir' | 'unlink' | 'stat' | 'lstat' | 'readdir' | 'readlink' | 'readFile' | 'fsyncDirectory';
      readonly path: string;
    }
  /** The server is killed; what follows begins when it serves again, or meanwhile. */
  | { readonly op: 'restart'; readonly isAwaited: boolean };

const SLOTS = 3;
const PATHS = ['a', 'b', 'c', 'd', 'd/a', 'd/b', 'e', 'e/a', 'e/d', 'e/d/a'] as const;
const MODES = [0, 0o400, 0o600, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755] as const;

const slot = fc.nat(SLOTS - 1);
const path = fc.constantFrom(...PATHS);
const mode = fc.constantFrom(...MODES);
/** Round about the sizes that pages, requests and read-ahead have. */
const place = fc.oneof(
  { weight: 2, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.nat(20) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(4_096, 8_192, 65_536, 131_072), fc.integer({ min: -3, max: 3 }))
      .map(([near, by]) => near + by),
  },
  { weight: 1, arbitrary: fc.nat(150_000) },
);
const bytes = fc.oneof(
  { weight: 3, arbitrary: fc.nat(50) },
  { weight: 2, arbitrary: fc.constantFrom(4_095, 4_096, 4_097, 20_000) },
  { weight: 1, arbitrary: fc.nat(150_000) },
);
/** Long ago, so that it is told apart from the present one. */
const seconds = fc.integer({ min: 1, max: 1_000_000_000 });
const flags = fc
  .tuple(
    fc.constantFrom<OpenFlag[]>('RDONLY', 'WRONLY', 'RDWR', 'RDWR', 'RDWR'),
    fc.subarray<OpenFlag>(['CREAT', 'EXCL', 'TRUNC', 'APPEND', 'NOFOLLOW', 'SYNC']),
  )
  .map(([access, more]) => [access, ...more]);
const makingFlags = fc.constantFrom<readonly OpenFlag[]>(
  ['RDWR', 'CREAT'],
  ['RDWR', 'CREAT', 'TRUNC'],
  ['RDWR', 'CREAT', 'APPEND'],
  ['WRONLY', 'CREAT'],
);

const named = <const O extends string>(op: O): { op: fc.Arbitrary<O> } => ({ op: fc.constant(op) });
const any = <const O extends string>(...ops: O[]): { op: fc.Arbitrary<O> } => ({
  op: fc.constantFrom(...ops),
});

const deed: fc.Arbitrary<Deed> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ ...named('open'), slot, path, flags: makingFlags, mode: fc.constant(0o644) }),
  },
  { weight: 4, arbitrary: fc.record({ ...named('open'), slot, path, flags, mode }) },
  { weight: 6, arbitrary: fc.record({ ...any('close', 'fsync', 'fdatasync', 'fstat', 'readAll'), slot }) },
  { weight: 5, arbitrary: fc.record({ ...any('read', 'write'), slot, bytes }) },
  { weight: 8, arbitrary: fc.record({ ...any('pread', 'pwrite'), slot, offset: place, bytes }) },
  { weight: 2, arbitrary: fc.record({ ...any('mapWrite', 'mapRead'), slot, offset: place, bytes }) },
  { weight: 3, arbitrary: fc.record({ ...named('ftruncate'), slot, size: place }) },
  { weight: 1, arbitrary: fc.record({ ...named('fchmod'), slot, mode }) },
  { weight: 1, arbitrary: fc.record({ ...named('futimes'), slot, seconds }) },
  { weight: 1, arbitrary: fc.record({ ...named('copy'), slot, to: slot, bytes }) },
  { weight: 2, arbitrary: fc.record({ ...named('truncate'), path, size: place }) },
  { weight: 4, arbitrary: fc.record({ ...named('mkdir'), path, mode: fc.constant(0o755) }) },
  { weight: 2, arbitrary: fc.record({ ...any('mkdir', 'chmod', 'mkfifo'), path, mode }) },
  {
    weight: 1,
    arbitrary: fc.record({
      ...any('chown', 'lchown'),
      path,
      uid: fc.constantFrom(-1, 0, 1_000),
      gid: fc.constantFrom(-1, 0, 1_000, 2_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ ...any('utimes', 'lutimes'), path, seconds }) },
  { weight: 6, arbitrary: fc.record({ ...any('rename', 'rename', 'link'), path, to: path }) },
  {
    weight: 2,
    arbitrary: fc.record({
      ...named('symlink'),
      path,
      target: fc.constantFrom('a', 'd', 'd/a', '../a', 'missing', '.'),
    }),
  },
  { weight: 6, arbitrary: fc.record({ ...any('unlink', 'unlink', 'rmdir'), path }) },
  {
    weight: 6,
    arbitrary: fc.record({
      ...any('stat', 'lstat', 'readdir', 'readlink', 'readFile', 'fsyncDirectory'),
      path,
    }),
  },
);

const OPERATIONS_MAX = 60;

function programsOf(operation: fc.Arbitrary<Operation>): fc.Arbitrary<readonly Operation[]> {
  return fc.array(operation, { minLength: 1, maxLength: OPERATIONS_MAX, size: 'max' });
}

export const programs = programsOf(deed);

/** Of several users, who meet each other's files and descriptors. */
export const programsOfUsers = programsOf(
  fc
    .tuple(fc.constantFrom<Actor>('root', 'user', 'user', 'user', 'other'), deed)
    .map(([as, one]) => ({ as, ...one })),
);

const restart = fc.record({ ...named('restart'), isAwaited: fc.boolean() });

/** With a server that is killed once, or more often. */
export const programsWithRestarts = fc
  .tuple(
    programsOf(deed),
    restart,
    programsOf(fc.oneof({ weight: 60, arbitrary: deed }, { weight: 1, arbitrary: restart })),
  )
  .map(([before, first, after]) => [...before, first, ...after]);

/** An operation as a line to read: `3: rename path=a to=d/a`. */
export function lineOf({ op, ...rest }: Operation, index: number): string {
  const shown = Object.entries(rest).map(([name, value]) => {
    if (name === 'mode') return `mode=0${Number(value).toString(8)}`;
    return `${name}=${Array.isArray(value) ? value.join('|') : String(value)}`;
  });
  return `${index}: ${op} ${shown.join(' ')}`;
}
