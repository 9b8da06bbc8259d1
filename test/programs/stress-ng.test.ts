/**
 * stress-ng's file-system stressors on a near mount: none fails there that does not fail in a plain directory. Each runs in
 * a process of its own, so that one that fails or hangs has a name; NEARMOUNT_TEST_FULL_SIZE=1 runs the whole class.
 */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { inLanes, runTool } from '../support/mounts.ts';
import { FULL_SIZE, sized } from '../trees/size.ts';
import { onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

type Milliseconds = number;

/** How long each is told to run, in seconds; some end what they have begun all the same. */
const RUN_SECONDS = sized(1, 5);
/** A watchdog, far above what any takes: those that have begun to make some thousand names make them all. */
const STRESSOR_LIMIT: Milliseconds = 120_000;

/** The usual sizes of some are more than the file system of the tests holds. */
const SIZES: Readonly<Record<string, readonly string[]>> = {
  'copy-file': ['--copy-file-bytes', '64M'],
  fallocate: ['--fallocate-bytes', '64M'],
  hdd: ['--hdd-bytes', '32M'],
  iomix: ['--iomix-bytes', '64M'],
  readahead: ['--readahead-bytes', '32M'],
  revio: ['--revio-bytes', '32M'],
  seek: ['--seek-size', '32M'],
  'sync-file': ['--sync-file-bytes', '64M'],
};

/** With the other tests: what has to do with the bytes, attributes, locks and names of files, and is soon over. */
const CHOSEN = [
  ...['access', 'chmod', 'chown', 'fstat', 'utime', 'touch', 'inode-flags', 'file-ioctl'],
  ...['copy-file', 'fallocate', 'fpunch', 'fsize', 'hdd', 'iomix', 'seek', 'sync-file', 'fiemap'],
  ...['fcntl', 'flock', 'lease', 'locka', 'lockf', 'lockofd'],
  ...['dentry', 'dirmany', 'filename', 'getdent', 'mknod', 'open', 'rename', 'handle'],
  // Of other classes, on files of --temp-path: other ways to their bytes.
  ...['aio', 'fault', 'io-uring', 'mincore', 'msync', 'readahead', 'revio', 'sendfile'],
];

/** The whole class, and those of other classes that are chosen. */
const ALL = [
  ...CHOSEN,
  ...['aiol', 'chattr', 'chdir', 'dir', 'dnotify', 'inotify', 'fanotify', 'io', 'verity', 'xattr'],
  // Some thousand names each.
  ...['dirdeep', 'link', 'symlink'],
];

/** Of the class, what is never run. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'bind-mount': 'mounts directories of the machine on others',
  binderfs: 'needs a file system of its own in the kernel',
  dup: 'no files of a directory',
  eventfd: 'no files at all',
  ioprio: 'about processes',
  procfs: 'reads and writes what it finds in /proc',
};

/** Exit statuses of stress-ng(1). */
const SUCCESS = 0;
/** What it names a stressor by, where another says how. */
const STATUS_NAMES: Readonly<Record<number, string>> = {
  1: 'wrong usage',
  2: 'failed',
  3: 'not supported here',
  4: 'not implemented here',
  5: 'killed by a signal',
  6: 'ended by exit(2)',
  7: 'untrustworthy metrics',
};

interface Outcome {
  readonly status: number | null;
  readonly how: string;
  /** All that it said. */
  readonly said: string[];
}

async function stress(t: Test, directory: string, name: string): Promise<Outcome> {
  const place = join(directory, name);
  await run(t, '/', ['mkdir', place]);
  const words = [`--${name}`, '1', '--timeout', `${RUN_SECONDS}s`, '--verify', '--temp-path', place];
  const { status, signal, stdout, stderr } = await runTool('stress-ng', [...words, ...(SIZES[name] ?? [])], {
    limitMs: STRESSOR_LIMIT,
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  });
  const how = signal ?? STATUS_NAMES[status ?? SUCCESS] ?? `status ${status}`;
  return { status, how, said: `${stdout.toString()}${stderr}`.split('\n') };
}

t.test(
  'the lists name the class, each stressor once',
  { skip: skipWithoutPrograms({ 'stress-ng': 'stress-ng' }) },
  async (t) => {
    // An unknown class is answered with the known ones, this one with its stressors.
    const { stdout, stderr } = await runTool('stress-ng', ['--class', 'filesystem?']);
    const listed = /class 'filesystem' stressors: (.*)/.exec(`${stdout.toString()}${stderr}`)?.[1];
    const stressors = listed?.trim().split(/\s+/) ?? [];
    const known = new Set([...ALL, ...Object.keys(LEFT_OUT)]);
    t.equal(known.size, ALL.length + Object.keys(LEFT_OUT).length);
    t.ok(stressors.length > CHOSEN.length / 2, 'the class is listed');
    // Another version's further stressors are none of this one's tests.
    const unknown = stressors.filter((name) => !known.has(name));
    if (unknown.length > 0) t.comment(`not run: ${unknown.join(' ')}`);
  },
);

onMounts(
  t,
  'stress-ng',
  skipWithoutPrograms({ 'stress-ng': 'stress-ng' }),
  async (t, { point, disk, plain }) => {
    await inLanes(FULL_SIZE ? ALL : CHOSEN, async (name) => {
      const mounted = await stress(t, point, name);
      // The plain directory has to do no better.
      const wanted = mounted.status === SUCCESS ? undefined : await stress(t, plain, name);
      t.ok(mounted.how === wanted?.how || mounted.status === SUCCESS, `${name}: ${mounted.how}`, {
        plain: wanted?.how,
        said: mounted.said,
      });
    });
    t.equal(
      await run(t, disk, ['find', '.', '-mindepth', '2', '-name', '.nfs*']),
      '',
      'nothing that was deleted while open is left',
    );
  },
  FULL_SIZE ? ['near', 'near-records', 'network'] : ['near'],
);
