/** `nearmount mount`: checks, starts the gateway behind itself, and returns when the mount answers, like mount(8). */
import { fork } from 'node:child_process';
import { accessSync, constants, mkdirSync, openSync, realpathSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { deviceOfMount } from '../fuse/mount.ts';
import { createLogger, type LogLevel } from '../observe/log.ts';
import { hereIdentity } from '../resolver/node-identity.ts';
import { parseSource, type Source } from '../resolver/source.ts';
import { hasCapability } from '../system/capabilities.ts';
import { colocationOption } from './colocation.ts';
import { CliError } from './errors.ts';
import { runGateway } from './gateway-process.ts';
import { logLevelOption } from './log-option.ts';
import { MOUNT_OPTIONS_HELP, parseMountOptions, type MountOptions } from './mount-options.ts';
import { asCliError } from './reported.ts';
import { RUNTIME_FLAGS } from './runtime-flags.ts';

const DEFAULT_LOG_FILE = '/var/log/nearmount.log';
/** How long a mount may take until it answers, in milliseconds; reaching the server has its own limits inside. */
const READY_TIMEOUT_MS = 60_000;

interface MountCommandOptions {
  readonly options?: readonly string[];
  readonly colocation: string;
  readonly node?: string;
  readonly cluster?: string;
  readonly foreground?: boolean;
  readonly logFile: string;
  readonly logLevel: LogLevel;
}

const collect = (value: string, earlier: readonly string[] = []): readonly string[] => [...earlier, value];

export function mountCommand(): Command {
  return new Command('mount')
    .description('mount an export; programs then use its files by the best route there is')
    .argument('<source>', "an export's name in the colocation table, or nfs://HOST[:PORT]/PATH[?mountport=M]")
    .argument('<mountpoint>', 'an existing directory')
    .option('-o, --options <name[=value],...>', 'mount options, listed below; repeats', collect)
    .addOption(colocationOption())
    .option('--node <bootid>', "this node's id (default: the running kernel's boot id)")
    .option('--cluster <name>', "this node's cluster (default: $NEARMOUNT_CLUSTER, else what the table says)")
    .option('--foreground', 'stay in the foreground and log to stderr')
    .option('--log-file <file>', 'where the mount logs when it runs behind', DEFAULT_LOG_FILE)
    .addOption(logLevelOption())
    .addHelpText('after', MOUNT_OPTIONS_HELP)
    .action(async (sourceText: string, mountPoint: string, options: MountCommandOptions) => {
      await mount(sourceText, realPath(resolve(mountPoint)), options);
    });
}

/** The place itself, where a symbolic link leads to it; what is wrong with it is for checkPlace to say. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** What the gateway behind tells the command in front. */
type GatewayMessage = { readonly ready: true } | { readonly failed: string; readonly exitStatus: 1 | 2 };

async function mount(sourceText: string, mountPoint: string, options: MountCommandOptions): Promise<void> {
  const mountOptions = parseMountOptions(options.options ?? []);
  const source = withPorts(parseSource(sourceText), mountOptions);
  checkPlace(mountPoint);
  if (process.send !== undefined || options.foreground === true) {
    await runHere(sourceText, source, mountPoint, mountOptions, options);
  } else {
    await startBehind(mountPoint, options);
  }
}

function withPorts(source: Source, options: MountOptions): Source {
  if (options.port === undefined && options.mountPort === undefined) return source;
  if (source.kind !== 'nfs')
    throw new CliError('mount options port and mountport go with an nfs:// source', 2);
  const port = options.port ?? source.port;
  return {
    ...source,
    port,
    mountPort: options.mountPort ?? (options.port === undefined ? source.mountPort : port),
  };
}

/** Everything that can be wrong before anybody is asked. */
function checkPlace(mountPoint: string): void {
  if (!hasCapability('CAP_SYS_ADMIN')) {
    throw new CliError('mounting needs root (CAP_SYS_ADMIN): this version has no mounts for other users', 1);
  }
  let isDirectory: boolean;
  try {
    isDirectory = statSync(mountPoint).isDirectory();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new CliError(`mount point ${mountPoint} does not exist: make the directory first`, 1);
    if (code === 'ENOTCONN') {
      throw new CliError(
        `mount point ${mountPoint} holds a dead mount: take it away with umount -l ${mountPoint}`,
        1,
      );
    }
    throw new CliError(`mount point ${mountPoint} cannot be looked at: ${code}`, 1, error);
  }
  if (!isDirectory) throw new CliError(`mount point ${mountPoint} is not a directory`, 1);
  if (deviceOfMount(mountPoint) !== undefined) {
    throw new CliError(`mount point ${mountPoint} is busy: something is mounted there, unmount it first`, 1);
  }
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const remedy =
      code === 'ENOENT'
        ? 'load the fuse module (modprobe fuse), or give the container the device'
        : 'check its permissions';
    throw new CliError(`/dev/fuse cannot be opened (${code}): ${remedy}`, 1, error);
  }
}

async function runHere(
  sourceText: string,
  source: Source,
  mountPoint: string,
  mountOptions: MountOptions,
  options: MountCommandOptions,
): Promise<void> {
  const tell = (message: GatewayMessage): void => {
    if (process.send === undefined) return;
    process.send(message, () => {
      // The command in front may be gone by now.
      if (process.connected) process.disconnect();
    });
  };
  const tableFile = resolve(options.colocation);
  // A process behind must not keep the directory it was started in busy.
  if (process.send !== undefined) process.chdir('/');
  try {
    await runGateway({
      sourceText,
      source,
      mountPoint,
      tableFile,
      here: hereIdentity({ node: options.node, cluster: options.cluster }),
      options: mountOptions,
      log: createLogger({ level: options.logLevel, name: 'mount' }),
      onReady: () => {
        tell({ ready: true });
      },
    });
  } catch (error) {
    const known = asCliError(explainMount(error, mountPoint));
    if (process.connected) {
      tell({ failed: known?.message ?? String(error), exitStatus: known?.exitStatus ?? 1 });
      process.exitCode = 1;
      if (known !== undefined) return;
    }
    throw known ?? error;
  }
}

function explainMount(error: unknown, mountPoint: string): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall !== 'mount' && syscall !== 'open') return error;
  return new CliError(
    `cannot mount at ${mountPoint} (${syscall}: ${code}): this process may not mount here`,
    1,
    error,
  );
}

async function startBehind(mountPoint: string, options: MountCommandOptions): Promise<void> {
  const log = openLog(options.logFile);
  const entry = process.argv[1];
  if (entry === undefined) throw new CliError('cannot tell which program this is');
  const child = fork(entry, process.argv.slice(2), {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    env: { ...process.env },
    execArgv: [...new Set([...process.execArgv, ...RUNTIME_FLAGS])],
  });
  const outcome = await Promise.race([
    new Promise<GatewayMessage>((done) => {
      child.once('message', (message) => {
        done(message as GatewayMessage);
      });
      child.once('exit', (code, signal) => {
        done({
          failed: `the gateway ended (${signal ?? `status ${code}`}): see ${options.logFile}`,
          exitStatus: 1,
        });
      });
    }),
    delay(READY_TIMEOUT_MS, undefined, { ref: false }).then((): GatewayMessage => {
      child.kill('SIGTERM');
      return {
        failed: `the mount did not come up within ${READY_TIMEOUT_MS / 1000} s: see ${options.logFile}`,
        exitStatus: 1,
      };
    }),
  ]);
  if ('failed' in outcome) throw new CliError(outcome.failed, outcome.exitStatus);
  // Asked from here, because the gateway must never wait for its own mount.
  const answered = await Promise.race([
    stat(mountPoint).then(() => true),
    delay(READY_TIMEOUT_MS, false, { ref: false }),
  ]);
  if (!answered) throw new CliError(`the mount at ${mountPoint} does not answer: see ${options.logFile}`);
  if (child.connected) child.disconnect();
  child.unref();
}

function openLog(file: string): number | 'ignore' {
  try {
    mkdirSync(dirname(file), { recursive: true });
    return openSync(file, 'a', 0o640);
  } catch (error) {
    throw new CliError(
      `cannot write the log ${file} (${(error as NodeJS.ErrnoException).code}): choose another with --log-file`,
      1,
      error,
    );
  }
}
