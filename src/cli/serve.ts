/** `nearmount serve`: a data-access server in the foreground. */
import { existsSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { Command } from 'commander';
import { createLogger, type Logger, type LogLevel } from '../observe/log.ts';
import { hereIdentity } from '../resolver/node-identity.ts';
import { ColocationTable } from '../resolver/table.ts';
import { DataAccessServer } from '../server/data-access-server.ts';
import { RPCBIND_SOCKET, RpcbindRegistration } from '../server/rpcbind-registration.ts';
import { ExportOptionError } from '../store/export-options.ts';
import { canSwitchIdentity } from '../store/identity.ts';
import { errnoOf } from '../store/store-error.ts';
import { bootId } from '../system/process.ts';
import { formatEndpoint, isWildcardHost, type Endpoint, type TcpEndpoint } from '../transport/endpoint.ts';
import { CliError } from './errors.ts';
import { logLevelOption } from './log-option.ts';
import { processStreams } from './output.ts';
import { asCliError } from './reported.ts';
import { readServeConfig } from './serve-config.ts';
import {
  DEFAULT_STATE_DIRECTORY,
  serveSettings,
  settingsForNextStart,
  type ServeArguments,
  type ServeSettings,
} from './serve-settings.ts';
import { tellServiceManager } from './service-readiness.ts';

interface ServeOptions extends ServeArguments {
  readonly config?: string;
  readonly json?: boolean;
  readonly logLevel: LogLevel;
}

const collect = (value: string, earlier: readonly string[] = []): readonly string[] => [...earlier, value];

export function serveCommand(): Command {
  return new Command('serve')
    .description('serve directories: near guests over a Unix socket, everybody else by NFSv3 over TCP')
    .option(
      '--export <NAME=DIR[,ro|rw][,squash=root|all|none][,anonuid=N][,anongid=N][,clients=CIDR+CIDR][,secure][,grants=descriptors|read|pages|none]>',
      'a directory and the name it is mounted by, as /NAME; repeats (rw, squash=root, grants=descriptors)',
      collect,
    )
    .option('--listen <addr:port>', 'TCP address for clients anywhere; port 0: any; repeats', collect)
    .option('--backplane <addr:port>', "TCP address on the cluster's own network; repeats", collect)
    .option('--socket <path>', 'Unix socket for guests on this node; their descriptor channel lies beside it')
    .option(
      '--state <dir>',
      `the server's key, its file handles' key and the record of calls; keep it (default: ${DEFAULT_STATE_DIRECTORY})`,
    )
    .option(
      '--colocation <file>',
      'enter this server into the table (default: $NEARMOUNT_COLOCATION, else not)',
    )
    .option('--name <name>', "the server's name (default: the host's)")
    .option('--node <bootid>', "this node's id (default: the running kernel's boot id)")
    .option('--cluster <name>', "this node's cluster (default: $NEARMOUNT_CLUSTER, else none)")
    .option(
      '--config <file>',
      'YAML with these settings; the command line counts first; SIGHUP reads it again',
    )
    .option(
      '--rpcbind [socket]',
      `register NFS and MOUNT with the local rpcbind (default: not; without a path at ${RPCBIND_SOCKET})`,
    )
    .option('--json', 'print the ready line as JSON')
    .addOption(logLevelOption())
    .action(async (options: ServeOptions) => {
      await serve(options);
    });
}

function readSettings(options: ServeOptions): ServeSettings {
  return serveSettings(options, options.config === undefined ? {} : readServeConfig(options.config));
}

async function serve(options: ServeOptions): Promise<void> {
  const settings = readSettings(options);
  const log = createLogger({ level: options.logLevel, name: 'serve' });
  // From here on a SIGHUP must not end a server that has a file to read again.
  let isReady = false;
  const onHangup = (): void => {
    if (isReady) readAgain(options, settings, server, log);
  };
  if (options.config !== undefined) process.on('SIGHUP', onHangup);
  const server = await start(settings, log);
  try {
    enterTable(settings, server, log);
  } catch (error) {
    await server.stop();
    throw error;
  }
  const rpcbind = settings.rpcbind === undefined ? undefined : new RpcbindRegistration(settings.rpcbind, log);
  await rpcbind?.register(tcpEndpoints(settings, server));
  isReady = true;
  // Whoever is told that it serves may stop it at once.
  const stopped = new Promise<void>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping: answering what was taken');
        tellServiceManager(['STOPPING=1'], log);
        done();
      });
    }
  });
  announce(options, server, log);
  tellServiceManager(
    ['READY=1', `STATUS=serving ${server.exports.map(({ name }) => `/${name}`).join(', ')}`],
    log,
  );
  await stopped;
  process.removeListener('SIGHUP', onHangup);
  await rpcbind?.release();
  await server.stop();
  log.info('stopped');
}

/** Where the server listens, for clients anywhere first. */
function tcpEndpoints(settings: ServeSettings, server: DataAccessServer): TcpEndpoint[] {
  const tcp = server.endpoints.filter((endpoint) => endpoint.kind === 'tcp');
  const backplanes = settings.backplane.length;
  return [...tcp.slice(backplanes), ...tcp.slice(0, backplanes)];
}

/** SIGHUP: takes over the exports of the file as it is now, or leaves everything as it was. */
function readAgain(
  options: ServeOptions,
  running: ServeSettings,
  server: DataAccessServer,
  log: Logger,
): void {
  let wanted: ServeSettings;
  let changes: ReturnType<DataAccessServer['changeExports']>;
  try {
    wanted = readSettings(options);
    try {
      changes = server.changeExports(wanted.exports);
    } catch (error) {
      throw explainStart(error, wanted);
    }
  } catch (error) {
    const known = asCliError(error);
    if (known === undefined) log.error({ err: error }, 'the configuration stays as it was');
    else log.error(`the configuration stays as it was: ${known.message}`);
    return;
  }
  log.info(changes, 'the configuration was read again');
  const later = settingsForNextStart(running, wanted);
  if (later.length > 0) {
    log.warn({ settings: later }, `changed, but only for the next start: ${later.join(', ')}`);
  }
  try {
    // The table of the start: another one counts from the next start on.
    enterTable(running, server, log);
  } catch (error) {
    log.warn(`the table still lists the exports of before: ${asCliError(error)?.message ?? String(error)}`);
  }
}

async function start(settings: ServeSettings, log: Logger): Promise<DataAccessServer> {
  try {
    return await DataAccessServer.start({
      name: settings.name,
      bootId: bootId(),
      exports: settings.exports,
      stateDirectory: settings.state,
      tcp: [...settings.backplane, ...settings.listen],
      socket: settings.socket,
      log,
    });
  } catch (error) {
    throw explainStart(error, settings);
  }
}

/** One line for what can be wrong with an address, a directory or the state. */
function explainStart(error: unknown, settings: ServeSettings): unknown {
  if (error instanceof ExportOptionError || errnoOf(error) === undefined) {
    return error instanceof Error && error.constructor === Error
      ? new CliError(error.message, 1, error)
      : error;
  }
  const {
    code = '',
    syscall = '',
    address,
    port,
    path,
  } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  if (syscall === 'listen' || syscall === 'bind') {
    const isSocketFile = port === undefined || port < 0;
    const where = isSocketFile ? (address ?? path ?? settings.socket?.path ?? '') : `${address}:${port}`;
    // libuv says EACCES where the directory of a socket file is missing.
    const reason = isSocketFile && code === 'EACCES' && !existsSync(dirname(where)) ? 'ENOENT' : code;
    const remedies: Readonly<Record<string, string>> = {
      EADDRINUSE: 'something else listens there: stop it or take another address',
      EACCES: 'this user may not: be root, or take another address',
      EADDRNOTAVAIL: 'this machine has no such address',
      ENOENT: 'its directory does not exist: make it first',
    };
    return new CliError(
      `cannot listen at ${where} (${reason}): ${remedies[reason] ?? 'take another address'}`,
      1,
      error,
    );
  }
  const directory = settings.exports.find(
    (each) =>
      path === each.directory ||
      (error as Error).message.includes(each.directory) ||
      (code === 'ENOTDIR' && !isDirectory(each.directory)),
  );
  if (directory !== undefined) {
    const why = {
      ENOENT: 'it does not exist',
      ENOTDIR: 'it is not a directory',
      EACCES: 'this user may not read it',
    }[code];
    return new CliError(
      `cannot export ${directory.directory} as ${directory.name}: ${why ?? code}`,
      1,
      error,
    );
  }
  const what = path === undefined ? '' : ` ${path}`;
  return new CliError(`cannot start (${syscall}${what}: ${code}): check --state ${settings.state}`, 1, error);
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function enterTable(settings: ServeSettings, server: DataAccessServer, log: Logger): void {
  if (settings.colocation === undefined) return;
  const here = hereIdentity({ node: settings.node, cluster: settings.cluster });
  const backplanes = settings.backplane.length;
  const unix = server.endpoints.filter((endpoint) => endpoint.kind === 'unix');
  const tcp = server.endpoints.filter((endpoint) => endpoint.kind === 'tcp');
  const entries = [
    ...unix.map((endpoint, priority) => ({ route: 'near' as const, address: endpoint.path, priority })),
    ...tcp.slice(0, backplanes).map((endpoint, priority) => ({
      route: 'backplane' as const,
      address: reachable(endpoint, log),
      priority,
    })),
    ...tcp.slice(backplanes).map((endpoint, priority) => ({
      route: 'network' as const,
      address: reachable(endpoint, log),
      priority,
    })),
  ];
  const endpoints = entries.flatMap((entry) =>
    entry.address === undefined ? [] : [{ ...entry, address: entry.address }],
  );
  using table = ColocationTable.open(settings.colocation, { create: true });
  const displaced = table.enterServer({
    id: server.key.id.toString('hex'),
    name: settings.name,
    publicKey: server.key.publicKey.toString('base64'),
    node: { bootId: here.nodeId, name: here.nodeName, cluster: here.cluster },
    endpoints,
    exports: server.exports.map(({ name }) => ({ name, path: `/${name}` })),
  });
  for (const { name, serverId, serverName } of displaced) {
    log.warn(
      { export: name, was: serverName, wasId: serverId },
      'the table listed this export for another server',
    );
  }
}

/** An address others can use: a wildcard stands for this host's first address. */
function reachable(endpoint: TcpEndpoint, log: Logger): string | undefined {
  if (!isWildcardHost(endpoint.host)) return formatEndpoint(endpoint);
  const own = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find((address) => !address.internal && address.family === 'IPv4');
  if (own === undefined) {
    log.warn(
      { listen: formatEndpoint(endpoint) },
      'not entered into the table: this host has no address of its own',
    );
    return undefined;
  }
  return formatEndpoint({ ...endpoint, host: own.address });
}

function announce(options: ServeOptions, server: DataAccessServer, log: Logger): void {
  const endpoints = server.endpoints.map((endpoint: Endpoint) => formatEndpoint(endpoint));
  for (const tree of server.exports) {
    log.info(
      {
        export: `/${tree.name}`,
        directory: tree.directory,
        handles: tree.handles,
        isolation: tree.isolation,
      },
      tree.options.readOnly ? 'exported read-only' : 'exported',
    );
  }
  if (!canSwitchIdentity()) log.warn('not root: every caller is served as the user this server runs as');
  if (options.json === true) {
    // One line, so that a script can read it and go on.
    const ready = {
      ready: true,
      pid: process.pid,
      endpoints,
      id: server.key.id.toString('hex'),
      publicKey: server.key.publicKey.toString('base64'),
    };
    processStreams.out.write(`${JSON.stringify(ready)}\n`);
  } else {
    const names = server.exports.map(({ name }) => `/${name}`).join(', ');
    processStreams.out.write(`serving ${names} at ${endpoints.join(', ')}\n`);
  }
}
