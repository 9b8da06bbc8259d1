/** `nearmount mount`: checks, starts the gateway behind itself, and returns when the mount answers, like mount(8). */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { FusermountError } from '../fuse/fusermount.ts';
import { loadNativePackage } from '../fuse/native-package.ts';
import { createLogger, type Logger, type LogLevel } from '../observe/log.ts';
import { hereIdentity } from '../resolver/node-identity.ts';
import { colocationOption } from './colocation.ts';
import { CliError } from './errors.ts';
import { runGateway } from './gateway-process.ts';
import { logLevelOption } from './log-option.ts';
import { mountBehind, READY_TIMEOUT_MS, type GatewayMessage } from './mount-behind.ts';
import { MOUNT_OPTIONS_HELP } from './mount-options.ts';
import { askMount, checkPlace, realPlace } from './mount-place.ts';
import { parseRequest, type MountRequest } from './mount-request.ts';
import { defaultLogFile } from './places.ts';
import { asCliError } from './reported.ts';
import { hasServiceManager, tellServiceManager } from './service-readiness.ts';

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
    .option('--log-file <file>', 'where the mount logs when it runs behind', defaultLogFile())
    .addOption(logLevelOption())
    .addHelpText('after', MOUNT_OPTIONS_HELP)
    .action(async (sourceText: string, mountPoint: string, options: MountCommandOptions) => {
      const request = {
        sourceText,
        mountPoint: realPlace(mountPoint),
        optionLists: options.options ?? [],
        tableFile: resolve(options.colocation),
        node: options.node,
        cluster: options.cluster,
        logFile: resolve(options.logFile),
        logLevel: options.logLevel,
      };
      await mount(request, options.foreground === true);
    });
}

async function mount(request: MountRequest, inForeground: boolean): Promise<void> {
  const { mountOptions } = parseRequest(request);
  await checkPlace(inForeground ? { ...request, logFile: undefined } : request);
  if (mountOptions.driver === 'fuse-native') await loadNativePackage();
  if (process.send !== undefined || inForeground) await runHere(request);
  else await mountBehind(request);
}

async function runHere(request: MountRequest): Promise<void> {
  const { sourceText, mountPoint, tableFile, node, cluster } = request;
  const { source, mountOptions } = parseRequest(request);
  const tell = (message: GatewayMessage): void => {
    if (process.send === undefined) return;
    process.send(message, () => {
      // The command in front may be gone by now.
      if (process.connected) process.disconnect();
    });
  };
  const log = createLogger({ level: request.logLevel, name: 'mount' });
  // A process behind must not keep the directory it was started in busy.
  if (process.send !== undefined) process.chdir('/');
  try {
    await runGateway({
      sourceText,
      source,
      mountPoint,
      tableFile,
      here: hereIdentity({ node, cluster }),
      optionLists: request.optionLists,
      options: mountOptions,
      log,
      onReady: () => {
        if (process.send !== undefined) tell({ ready: true });
        else void announceMount(mountPoint, log);
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

/** Tells who asked for it that the mount is ready, once it answers another process. */
async function announceMount(mountPoint: string, log: Logger): Promise<void> {
  if (!hasServiceManager()) return;
  const state = await askMount(mountPoint, READY_TIMEOUT_MS);
  if (state === 'answers') tellServiceManager(['READY=1', `STATUS=mounted at ${mountPoint}`], log);
  else log.warn({ mountPoint }, 'the mount does not answer: not reported as ready');
}

function explainMount(error: unknown, mountPoint: string): unknown {
  if (error instanceof FusermountError) {
    return new CliError(`cannot mount at ${mountPoint} as this user: ${error.message}`, 1, error);
  }
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall !== 'mount' && syscall !== 'open') return error;
  // The user namespace came without a mount namespace: `unshare -U -r` alone.
  const remedy =
    syscall === 'mount' && code === 'EPERM'
      ? 'this process may not mount here; in a user namespace it needs a mount namespace, too (unshare -U -r -m)'
      : 'this process may not mount here';
  return new CliError(`cannot mount at ${mountPoint} (${syscall}: ${code}): ${remedy}`, 1, error);
}
