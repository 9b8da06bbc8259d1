/** What somebody wants mounted, the same from the command line, from a mount file and from mount(8). */
import type { LogLevel } from '../observe/log.ts';
import { parseSource, type Source } from '../resolver/source.ts';
import { CliError } from './errors.ts';
import { parseMountOptions, type MountOptions } from './mount-options.ts';

export interface MountRequest {
  /** As the user wrote it. */
  readonly sourceText: string;
  /** Absolute, without symbolic links. */
  readonly mountPoint: string;
  /** `-o` lists. */
  readonly optionLists: readonly string[];
  /** The colocation table, absolute. */
  readonly tableFile: string;
  readonly node?: string | undefined;
  readonly cluster?: string | undefined;
  /** Where the gateway behind logs. */
  readonly logFile: string;
  readonly logLevel: LogLevel;
}

/**
 * Reads source and options.
 *
 * @throws CliError (usage), SourceError
 */
export function parseRequest({ sourceText, optionLists }: Pick<MountRequest, 'sourceText' | 'optionLists'>): {
  readonly source: Source;
  readonly mountOptions: MountOptions;
} {
  const mountOptions = parseMountOptions(optionLists);
  return { source: withPorts(parseSource(sourceText), mountOptions), mountOptions };
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

/** The command line of `nearmount mount` that asks for the same. */
export function mountArguments(request: MountRequest): string[] {
  const { node, cluster } = request;
  return [
    'mount',
    ...request.optionLists.filter((list) => list !== '').flatMap((list) => [`--options=${list}`]),
    `--colocation=${request.tableFile}`,
    ...(node === undefined ? [] : [`--node=${node}`]),
    ...(cluster === undefined ? [] : [`--cluster=${cluster}`]),
    `--log-file=${request.logFile}`,
    `--log-level=${request.logLevel}`,
    '--',
    request.sourceText,
    request.mountPoint,
  ];
}
