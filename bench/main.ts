/** `npm run bench`: Nearmount beside other programs that give the same files. See docs/benchmarks.md. */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, realpathSync, statfsSync } from 'node:fs';
import { constants as osConstants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { CliError } from '../src/cli/errors.ts';
import { printRemark, processStreams } from '../src/cli/output.ts';
import { parseSize, wholeNumber } from '../src/cli/quantities.ts';
import { hasCapability } from '../src/system/capabilities.ts';
import { CONTENDERS } from './contenders/all.ts';
import { bytesOf } from './files.ts';
import { builtProgram, PACKAGE_ROOT } from './package-root.ts';
import type { BenchSettings } from './settings.ts';

const MEBIBYTE = 1024 ** 2;
const SIZE_MAX_BYTES = 1024 ** 4;
const FILES_MAX = 1_000_000;
const ROUNDS_MAX = 1_000;
const SECONDS_MAX = 600;
/** Room for logs and state, in bytes. */
const SPARE_BYTES = 256 * MEBIBYTE;
/** The tree, and GlusterFS's copy. */
const COPIES = 2;
const SIGNAL_STATUS_BASE = 128;
const USAGE_STATUS = 2;
const QUICK = {
  rounds: 1,
  seconds: 1,
  largeBytes: 16 * MEBIBYTE,
  randomBytes: 4 * MEBIBYTE,
  smallFiles: 100,
  treeFiles: 300,
  writeBytes: 4 * MEBIBYTE,
} as const;

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly size: number;
  readonly randomSize: number;
  readonly files: number;
  readonly treeFiles: number;
  readonly writeSize: number;
  readonly only?: string;
  readonly quick?: boolean;
  readonly dir: string;
  readonly json?: string;
  readonly docs?: string | false;
}

const command = new Command('npm run bench --')
  .description(
    'measure Nearmount beside other programs that give the same files, and write docs/benchmarks.md',
  )
  .option('--rounds <n>', 'interleaved rounds', wholeNumber('--rounds', 1, ROUNDS_MAX), 5)
  .option('--seconds <n>', 'longest time of one measurement', wholeNumber('--seconds', 1, SECONDS_MAX), 2)
  .option(
    '--size <bytes>',
    'of the large file, with K, M or G',
    parseSize('--size', MEBIBYTE, SIZE_MAX_BYTES),
    1024 * MEBIBYTE,
  )
  .option(
    '--random-size <bytes>',
    'of the files read at random',
    parseSize('--random-size', MEBIBYTE, SIZE_MAX_BYTES),
    256 * MEBIBYTE,
  )
  .option('--files <n>', 'small files', wholeNumber('--files', 1, FILES_MAX), 5000)
  .option(
    '--tree-files <n>',
    'files of each tree for stat and list',
    wholeNumber('--tree-files', 1, FILES_MAX),
    20_000,
  )
  .option(
    '--write-size <bytes>',
    'of the files that are written, in whole MiB',
    parseSize('--write-size', MEBIBYTE, SIZE_MAX_BYTES),
    256 * MEBIBYTE,
  )
  .option('--only <names>', `some of ${CONTENDERS.map(({ name }) => name).join(',')}`)
  .option('--quick', 'small files and one round: whether everything works, not how fast')
  .option('--dir <directory>', 'where to put the files; a directory is made inside', tmpdir())
  .option('--json <file>', 'write all measurements as one JSON document')
  .option(
    '--docs <file>',
    'write the report there (default: docs/benchmarks.md, but with --quick or --only nowhere)',
  )
  .option('--no-docs', 'write no report')
  .exitOverride();

function settingsOf(options: Options): Omit<BenchSettings, 'workDirectory'> {
  const only = options.only?.split(',').filter((name) => name !== '') ?? [];
  const unknown = only.find((name) => CONTENDERS.every((contender) => contender.name !== name));
  if (unknown !== undefined) {
    throw new CliError(
      `--only ${unknown}: the names are ${CONTENDERS.map(({ name }) => name).join(', ')}`,
      2,
    );
  }
  const isPartial = options.quick === true || only.length > 0;
  const docs = options.docs ?? (isPartial ? false : join(PACKAGE_ROOT, 'docs/benchmarks.md'));
  return {
    ...(options.quick === true
      ? QUICK
      : {
          rounds: options.rounds,
          seconds: options.seconds,
          largeBytes: options.size,
          randomBytes: options.randomSize,
          smallFiles: options.files,
          treeFiles: options.treeFiles,
          writeBytes: Math.ceil(options.writeSize / MEBIBYTE) * MEBIBYTE,
        }),
    quick: options.quick === true,
    only,
    ...(options.json === undefined ? {} : { json: resolve(options.json) }),
    ...(docs === false ? {} : { markdown: resolve(docs) }),
  };
}

/** Throws CliError for the first thing without which nothing can be measured. */
function checkSurroundings(): void {
  if (process.geteuid?.() !== 0 || !hasCapability('CAP_SYS_ADMIN')) {
    throw new CliError('the benchmark needs root (CAP_SYS_ADMIN), to make namespaces and mounts of its own');
  }
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(
      `/dev/fuse cannot be opened (${code}): load the fuse module (modprobe fuse), or give the container the device`,
      1,
      error,
    );
  }
  if (!existsSync(builtProgram('cli/main.js'))) throw new CliError('nothing is built: npm run build');
}

function makeWorkDirectory(base: string, neededBytes: number): string {
  const { bavail, bsize } = statfsSync(base);
  if (bavail * bsize < neededBytes) {
    throw new CliError(
      `${base} has ${Math.floor((bavail * bsize) / MEBIBYTE)} MiB free, the benchmark needs ` +
        `${Math.ceil(neededBytes / MEBIBYTE)}: choose another place with --dir, or less with --size`,
    );
  }
  const directory = realpathSync(base);
  if (`${directory}/`.startsWith('/run/')) {
    throw new CliError(
      `--dir ${base}: the benchmark has a /run of its own, so choose a place outside of it`,
      2,
    );
  }
  return mkdtempSync(join(directory, 'nmb-'));
}

/** Runs the benchmark in namespaces that end with it; its exit status. */
async function runInside(settings: BenchSettings): Promise<number> {
  const inside = fileURLToPath(new URL('./inside.js', import.meta.url));
  const namespaces = [
    '--mount',
    '--propagation',
    'private',
    '--net',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ];
  const words = [...namespaces, '--', process.execPath, inside, JSON.stringify(settings)];
  const child = spawn('unshare', words, { stdio: ['pipe', 'inherit', 'inherit'] });
  // A terminal tells the whole group; anybody else tells this process, which passes it on.
  const pass = (name: NodeJS.Signals): void => {
    if (name !== 'SIGINT') child.kill('SIGKILL');
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, pass);
  return new Promise((done, reject) => {
    child.once('error', () => reject(new CliError('unshare cannot be run: apt-get install util-linux')));
    child.once('exit', (status, name) => {
      done(status ?? SIGNAL_STATUS_BASE + (name === null ? 0 : osConstants.signals[name]));
    });
  });
}

try {
  const settings = settingsOf(command.parse().opts<Options>());
  checkSurroundings();
  const workDirectory = makeWorkDirectory(
    resolve(command.opts<Options>().dir),
    COPIES * bytesOf(settings) + SPARE_BYTES,
  );
  try {
    process.exitCode = await runInside({ ...settings, workDirectory });
  } finally {
    // The mounts were in the namespaces, and went with them.
    spawnSync('rm', ['-rf', '--one-file-system', '--', workDirectory], { stdio: 'inherit' });
  }
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE_STATUS;
  else if (error instanceof CliError) {
    printRemark(processStreams, error.message);
    process.exitCode = error.exitStatus;
  } else throw error;
}
