/** `nearmount serve`: a data-access server in the foreground. */
import { existsSync, statSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { dirname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { channelPath } from '../fgdp/channel.ts';
import { createLogger, type Logger, type LogLevel } from '../observe/log.ts';
import { hereIdentity } from '../resolver/node-identity.ts';
import { ColocationTable } from '../resolver/table.ts';
import { DataAccessServer } from '../server/data-access-server.ts';
import { ExportOptionError, parseExportOption, type ExportOptions } from '../store/export-options.ts';
import { canSwitchIdentity } from '../store/identity.ts';
import { errnoOf } from '../store/store-error.ts';
import { bootId } from '../system/process.ts';
import {
  formatEndpoint,
  isWildcardHost,
  parseSocketPath,
  parseTcpAddress,
  type Endpoint,
  type TcpEndpoint,
  type UnixEndpoint,
} from '../transport/endpoint.ts';
import { CliError } from './errors.ts';
import { logLevelOption } from './log-option.ts';
import { processStreams } from './output.ts';

/** server_name of FGDP's HELLO, and a name in the table. */
const SERVER_NAME_BYTES_MAX = 255;
const DEFAULT_STATE_DIRECTORY = '/var/lib/nearmount';

interface ServeOptions {
  readonly export: readonly string[];
  readonly listen?: readonly string[];
  readonly backplane?: readonly string[];
  readonly socket?: string;
  readonly state: string;
  readonly colocation?: string;
  readonly name: string;
  readonly node?: string;
  readonly cluster?: string;
  readonly json?: boolean;
  readonly logLevel: LogLevel;
}

const collect = (value: string, earlier: readonly string[] = []): readonly string[] => [...earlier, value];

export function serveCommand(): Command {
  return new Command('serve')
    .description('serve directories: near guests over a Unix socket, everybody else by NFSv3 over TCP')
    .requiredOption(
      '--export <NAME=DIR[,ro][,squash=root|all|none][,clients=CIDR+CIDR][,grants=descriptors|none]>',
      'a directory and the name it is mounted by, as /NAME; repeats (squash=root, grants=descriptors)',
      collect,
    )
    .option('--listen <addr:port>', 'TCP address for clients anywhere; port 0: any; repeats', collect)
    .option('--backplane <addr:port>', "TCP address on the cluster's own network; repeats", collect)
    .option('--socket <path>', 'Unix socket for guests on this node; their descriptor channel lies beside it')
    .option('--state <dir>', "the server's key and its file handles' key; keep it", DEFAULT_STATE_DIRECTORY)
    .addOption(
      new Option('--colocation <file>', 'enter this server into the table').env('NEARMOUNT_COLOCATION'),
    )
    .option('--name <name>', "the server's name", hostname())
    .option('--node <bootid>', "this node's id (default: the running kernel's boot id)")
    .option('--cluster <name>', "this node's cluster (default: $NEARMOUNT_CLUSTER, else none)")
    .option('--json', 'print the ready line as JSON')
    .addOption(logLevelOption())
    .action(async (options: ServeOptions) => {
      await serve(options);
    });
}

async function serve(options: ServeOptions): Promise<void> {
  const exports = options.export.map(parseExportOption);
  const listen = (options.listen ?? []).map(parseTcpAddress);
  const backplane = (options.backplane ?? []).map(parseTcpAddress);
  const socket = options.socket === undefined ? undefined : serverSocket(resolve(options.socket));
  if (listen.length + backplane.length === 0 && socket === undefined) {
    throw new CliError('serve listens nowhere: give --listen, --backplane or --socket', 2);
  }
  const nameBytes = Buffer.byteLength(options.name);
  if (nameBytes === 0 || nameBytes > SERVER_NAME_BYTES_MAX) {
    throw new CliError(`--name has ${nameBytes} bytes: 1 to ${SERVER_NAME_BYTES_MAX} are allowed`, 2);
  }
  const log = createLogger({ level: options.logLevel, name: 'serve' });
  const server = await start(options, exports, [...backplane, ...listen], socket, log);
  try {
    enterTable(options, server, backplane.length, log);
  } catch (error) {
    await server.stop();
    throw error;
  }
  announce(options, server, log);
  await new Promise<void>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping: answering what was taken');
        done();
      });
    }
  });
  await server.stop();
  log.info('stopped');
}

/** The channel's path is the longer one, so it is checked as well. */
function serverSocket(path: string): UnixEndpoint {
  parseSocketPath(channelPath(path));
  return parseSocketPath(path);
}

async function start(
  options: ServeOptions,
  exports: readonly ExportOptions[],
  tcp: readonly TcpEndpoint[],
  socket: UnixEndpoint | undefined,
  log: Logger,
): Promise<DataAccessServer> {
  const stateDirectory = resolve(options.state);
  try {
    return await DataAccessServer.start({
      name: options.name,
      bootId: bootId(),
      exports,
      stateDirectory,
      tcp,
      socket,
      log,
    });
  } catch (error) {
    throw explainStart(error, options, exports);
  }
}

/** One line for what can be wrong with an address, a directory or the state. */
function explainStart(error: unknown, options: ServeOptions, exports: readonly ExportOptions[]): unknown {
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
    const where = isSocketFile ? (address ?? path ?? options.socket ?? '') : `${address}:${port}`;
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
  const directory = exports.find(
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
  return new CliError(`cannot start (${syscall}${what}: ${code}): check --state ${options.state}`, 1, error);
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function enterTable(options: ServeOptions, server: DataAccessServer, backplanes: number, log: Logger): void {
  if (options.colocation === undefined) return;
  const here = hereIdentity({ node: options.node, cluster: options.cluster });
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
  using table = ColocationTable.open(options.colocation, { create: true });
  const displaced = table.enterServer({
    id: server.key.id.toString('hex'),
    name: options.name,
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
      'exported read-only',
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
