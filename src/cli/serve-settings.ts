/** What a server is to do: the command line first, then the configuration file, then the defaults. */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { channelPath } from '../fgdp/channel.ts';
import { RPCBIND_SOCKET } from '../server/rpcbind-registration.ts';
import { parseExportOption, type ExportOptions } from '../store/export-options.ts';
import {
  parseSocketPath,
  parseTcpAddress,
  type TcpEndpoint,
  type UnixEndpoint,
} from '../transport/endpoint.ts';
import { CliError } from './errors.ts';
import type { ServeConfig } from './serve-config.ts';

/** server_name of FGDP's HELLO, and a name in the table. */
const SERVER_NAME_BYTES_MAX = 255;
export const DEFAULT_STATE_DIRECTORY = '/var/lib/nearmount';

/** The part of the command line that a configuration file can say as well. */
export interface ServeArguments {
  readonly export?: readonly string[];
  readonly listen?: readonly string[];
  readonly backplane?: readonly string[];
  readonly socket?: string;
  readonly state?: string;
  readonly colocation?: string;
  readonly name?: string;
  readonly node?: string;
  readonly cluster?: string;
  /** True stands for the usual place of rpcbind's socket. */
  readonly rpcbind?: string | true;
}

export interface ServeSettings {
  readonly name: string;
  /** Absolute. */
  readonly state: string;
  readonly listen: readonly TcpEndpoint[];
  readonly backplane: readonly TcpEndpoint[];
  readonly socket: UnixEndpoint | undefined;
  readonly colocation: string | undefined;
  readonly node: string | undefined;
  readonly cluster: string | undefined;
  /** Absolute path of rpcbind's socket; undefined: not registered. */
  readonly rpcbind: string | undefined;
  readonly exports: readonly ExportOptions[];
}

/**
 * Puts command line and file together. Exports of both are served; where both name one, the command line's counts.
 *
 * @throws CliError (usage), ExportOptionError or AddressError for what cannot be meant
 */
export function serveSettings(
  given: ServeArguments,
  config: ServeConfig,
  environment: NodeJS.ProcessEnv = process.env,
): ServeSettings {
  const exports = (given.export ?? []).map(parseExportOption);
  const named = new Set(exports.map(({ name }) => name));
  const socket = given.socket === undefined ? config.socket : resolve(given.socket);
  const settings = {
    name: given.name ?? config.name ?? hostname(),
    state: given.state === undefined ? (config.state ?? DEFAULT_STATE_DIRECTORY) : resolve(given.state),
    listen: given.listen?.map(parseTcpAddress) ?? config.listen ?? [],
    backplane: given.backplane?.map(parseTcpAddress) ?? config.backplane ?? [],
    socket: socket === undefined ? undefined : serverSocket(socket),
    colocation: given.colocation ?? config.colocation ?? environment.NEARMOUNT_COLOCATION,
    node: given.node ?? config.node,
    cluster: given.cluster ?? config.cluster,
    rpcbind: rpcbindSocket(
      typeof given.rpcbind === 'string' ? resolve(given.rpcbind) : (given.rpcbind ?? config.rpcbind),
    ),
    exports: [...(config.exports ?? []).filter(({ name }) => !named.has(name)), ...exports],
  };
  if (settings.exports.length === 0) {
    throw new CliError('serve exports nothing: give --export, or exports in the file of --config', 2);
  }
  if (settings.listen.length + settings.backplane.length === 0 && settings.socket === undefined) {
    throw new CliError('serve listens nowhere: give --listen, --backplane or --socket', 2);
  }
  const nameBytes = Buffer.byteLength(settings.name);
  if (nameBytes === 0 || nameBytes > SERVER_NAME_BYTES_MAX) {
    throw new CliError(`--name has ${nameBytes} bytes: 1 to ${SERVER_NAME_BYTES_MAX} are allowed`, 2);
  }
  return settings;
}

function rpcbindSocket(wanted: string | boolean | undefined): string | undefined {
  if (wanted === undefined || wanted === false) return undefined;
  return parseSocketPath(wanted === true ? RPCBIND_SOCKET : wanted).path;
}

/** The channel's path is the longer one, so it is checked as well. */
function serverSocket(path: string): UnixEndpoint {
  parseSocketPath(channelPath(path));
  return parseSocketPath(path);
}

/** Settings that differ and count only from the next start: all but the exports. */
export function settingsForNextStart(running: ServeSettings, wanted: ServeSettings): string[] {
  const keys = Object.keys(running) as (keyof ServeSettings)[];
  return keys.filter((key) => key !== 'exports' && !isDeepStrictEqual(running[key], wanted[key]));
}
