import { Command, InvalidArgumentError, Option } from 'commander';
import { ImportError, readImportDocument } from '../resolver/import-document.ts';
import { hereIdentity, IdentityError } from '../resolver/node-identity.ts';
import { proposeNfsSource, proposeRoutes } from '../resolver/routes.ts';
import type { RouteProposal } from '../resolver/routes.ts';
import {
  describeIssues,
  exportSchema,
  publicKeySchema,
  reachableEndpoint,
  ROUTE_KINDS,
  serverIdOfKey,
  serverIdSchema,
} from '../resolver/schema.ts';
import type { ExportEntry, RouteKind, ServerEntry } from '../resolver/schema.ts';
import { parseSource, SourceError } from '../resolver/source.ts';
import { TableError } from '../resolver/table-error.ts';
import { ColocationTable, DEFAULT_COLOCATION_FILE } from '../resolver/table.ts';
import type { DisplacedExport, TableContent } from '../resolver/table.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import { CliError } from './errors.ts';
import { printJson, printRemark, printTable, processStreams } from './output.ts';
import type { CliStreams } from './output.ts';

/** The option `--colocation FILE`, the same on every command that has it. */
export function colocationOption(): Option {
  return new Option('--colocation <file>', 'the colocation table')
    .env('NEARMOUNT_COLOCATION')
    .default(DEFAULT_COLOCATION_FILE);
}

/** `nearmount colocation`: edit and question the table. Actions throw CliError. */
export function colocationCommand(streams: CliStreams = processStreams): Command {
  return new Command('colocation')
    .description('edit and question the table that says which server owns an export and where it is')
    .addCommand(addCommand(streams))
    .addCommand(removeCommand(streams))
    .addCommand(listCommand(streams))
    .addCommand(resolveCommand(streams))
    .addCommand(importCommand(streams));
}

interface AddOptions {
  server: string;
  id?: string;
  publicKey: string;
  export?: ExportEntry[];
  near?: string[];
  backplane?: string[];
  network?: string[];
  node?: string;
  nodeName?: string;
  cluster?: string;
  colocation: string;
}

function addCommand(streams: CliStreams): Command {
  return new Command('add')
    .description('enter a server, in place of what was entered under its id before')
    .requiredOption('--server <name>', 'its name')
    .requiredOption(
      '--public-key <base64>',
      'its Ed25519 public key: 32 raw bytes in base64',
      publicKeyArgument,
    )
    .option('--id <hex>', 'its id, 32 hexadecimal digits (default: derived from the key)', serverIdArgument)
    .option(
      '--export <name[=/path]>',
      'an export and its path there (default: /NAME); repeats',
      exportArgument,
    )
    .option('--near <socket>', 'Unix socket on its node; repeats, the best first', endpointArgument('near'))
    .option('--backplane <addr:port>', 'where its cluster reaches it; repeats', endpointArgument('backplane'))
    .option('--network <addr:port>', 'where everybody reaches it; repeats', endpointArgument('network'))
    .option('--node <bootid>', "its node's boot id (default: this node's)")
    .option('--node-name <name>', "its node's name (default: this host's name, or the id given with --node)")
    .option('--cluster <name>', "its node's cluster (default: $NEARMOUNT_CLUSTER on this node, else none)")
    .addOption(colocationOption())
    .action((options: AddOptions) => {
      reported(() => {
        add(options, streams);
      });
    });
}

function add(options: AddOptions, streams: CliStreams): void {
  const here = hereIdentity({ node: options.node, cluster: options.cluster });
  // This process's environment says nothing about another node.
  const cluster = options.node === undefined ? here.cluster : options.cluster;
  const nodeName = options.nodeName ?? options.node ?? here.nodeName;
  using table = ColocationTable.open(options.colocation, { create: true });
  const displaced = table.enterServer({
    id: options.id ?? serverIdOfKey(options.publicKey),
    name: options.server,
    publicKey: options.publicKey,
    node: { bootId: here.nodeId, name: nodeName, cluster },
    endpoints: ROUTE_KINDS.flatMap((route) =>
      (options[route] ?? []).map((address, priority) => ({ route, address, priority })),
    ),
    exports: options.export ?? [],
  });
  warnDisplaced(displaced, streams);
}

interface RemoveOptions {
  server?: string;
  export?: string;
  node?: string;
  colocation: string;
}

function removeCommand(streams: CliStreams): Command {
  return new Command('remove')
    .description('remove a server with its exports, one export, or a node with its servers')
    .option('--server <id|name>', 'the server, by its id or its name')
    .option('--export <name>', 'the export')
    .option('--node <bootid>', 'the node, by its boot id')
    .addOption(colocationOption())
    .action((options: RemoveOptions) => {
      reported(() => {
        remove(options, streams);
      });
    });
}

function remove(options: RemoveOptions, streams: CliStreams): void {
  if (options.server === undefined && options.export === undefined && options.node === undefined) {
    throw new CliError('say what to remove: --server, --export or --node', 2);
  }
  using table = ColocationTable.open(options.colocation);
  const missing: string[] = [];
  if (options.export !== undefined && !table.removeExport(options.export)) {
    missing.push(`export ${JSON.stringify(options.export)}`);
  }
  if (options.server !== undefined && !removeServer(table, options.server)) {
    missing.push(`server ${JSON.stringify(options.server)}`);
  }
  if (options.node !== undefined && !table.removeNode(options.node)) {
    missing.push(`node ${JSON.stringify(options.node)}`);
  }
  for (const what of missing.slice(1)) printRemark(streams, `${table.file} lists no ${what}`);
  if (missing[0] !== undefined) throw new CliError(`${table.file} lists no ${missing[0]}`);
}

function removeServer(table: ColocationTable, idOrName: string): boolean {
  if (table.removeServer(idOrName)) return true;
  const [id, ...others] = table.serverIdsNamed(idOrName);
  if (id === undefined) return false;
  if (others.length > 0) {
    const ids = [id, ...others].join(', ');
    throw new CliError(
      `several servers are named ${JSON.stringify(idOrName)}: say which by its id (${ids})`,
      2,
    );
  }
  return table.removeServer(id);
}

interface ListOptions {
  colocation: string;
  json?: boolean;
}

function listCommand(streams: CliStreams): Command {
  return new Command('list')
    .description('print what the table says')
    .option('--json', 'print JSON, in the form that import reads')
    .addOption(colocationOption())
    .action((options: ListOptions) => {
      reported(() => {
        using table = ColocationTable.open(options.colocation, { readOnly: true });
        const content = table.list();
        if (options.json === true) printJson(streams, content);
        else printContent(streams, content);
      });
    });
}

function printContent(streams: CliStreams, content: TableContent): void {
  const rows = content.servers.flatMap((server) => {
    const { name, node } = server;
    const where = [name, node.name, node.cluster ?? '-', routesOf(server)];
    const exports = server.exports.length === 0 ? [{ name: '-', path: '-' }] : server.exports;
    return exports.map((entry) => [entry.name, entry.path, ...where]);
  });
  const withServers = new Set(content.servers.map((server) => server.node.bootId));
  const idle = content.nodes.filter((node) => !withServers.has(node.bootId));
  for (const node of idle) rows.push(['-', '-', '-', node.name, node.cluster ?? '-', '-']);
  printTable(streams, ['EXPORT', 'PATH', 'SERVER', 'NODE', 'CLUSTER', 'ROUTES'], rows);
}

function routesOf(server: ServerEntry): string {
  const routes = ROUTE_KINDS.flatMap((route) =>
    server.endpoints.filter((entry) => entry.route === route).map(({ address }) => `${route} ${address}`),
  );
  return routes.length === 0 ? '-' : routes.join(', ');
}

interface ResolveOptions {
  node?: string;
  cluster?: string;
  route?: RouteKind;
  colocation: string;
  json?: boolean;
}

function resolveCommand(streams: CliStreams): Command {
  return new Command('resolve')
    .description('print the ways from here to the owner of an export, in the order they are tried')
    .argument('<export>', "an export's name, or nfs://HOST[:PORT]/PATH[?mountport=M]")
    .addOption(new Option('--route <kind>', 'as the mount option route=').choices(ROUTE_KINDS))
    .option(
      '--node <bootid>',
      'take this for the node we are on (default: the boot id of the running kernel)',
    )
    .option(
      '--cluster <name>',
      'take this for our cluster (default: $NEARMOUNT_CLUSTER, else what the table says)',
    )
    .option('--json', 'print JSON')
    .addOption(colocationOption())
    .action((source: string, options: ResolveOptions) => {
      reported(() => {
        resolveSource(source, options, streams);
      });
    });
}

function resolveSource(text: string, options: ResolveOptions, streams: CliStreams): void {
  const proposals = proposalsFor(text, options);
  if (options.json === true) {
    const routes = proposals.map((proposal) => ({
      ...proposal,
      endpoint: formatEndpoint(proposal.endpoint),
    }));
    printJson(streams, { source: text, routes });
  } else {
    const rows = proposals.map(({ route, endpoint, usable, why }) => {
      return [route, formatEndpoint(endpoint), usable ? 'yes' : 'no', why];
    });
    printTable(streams, ['ROUTE', 'ADDRESS', 'USABLE', 'WHY'], rows);
  }
  if (proposals.length === 0) throw new CliError(`the server of ${JSON.stringify(text)} lists no endpoints`);
  if (!proposals.some((proposal) => proposal.usable)) {
    throw new CliError(`no route to ${JSON.stringify(text)} is usable here`);
  }
}

function proposalsFor(text: string, options: ResolveOptions): RouteProposal[] {
  const source = parseSource(text);
  const only = { only: options.route };
  if (source.kind === 'nfs') return [proposeNfsSource(source, only)];
  const here = hereIdentity({ node: options.node, cluster: options.cluster });
  using table = ColocationTable.open(options.colocation, { readOnly: true });
  return proposeRoutes(table, source.name, here, only);
}

interface ImportOptions {
  replace?: boolean;
  colocation: string;
}

function importCommand(streams: CliStreams): Command {
  return new Command('import')
    .description('enter the nodes and servers of a JSON document, all or none')
    .argument('<file>', 'what `colocation list --json` prints, or an array of servers')
    .option('--replace', 'drop everything else the table holds')
    .addOption(colocationOption())
    .action((file: string, options: ImportOptions) => {
      reported(() => {
        const content = readImportDocument(file);
        using table = ColocationTable.open(options.colocation, { create: true });
        warnDisplaced(table.importEntries(content, { replace: options.replace === true }), streams);
      });
    });
}

function warnDisplaced(displaced: DisplacedExport[], streams: CliStreams): void {
  for (const { name, serverId, serverName } of displaced) {
    printRemark(streams, `export ${name} was listed for server ${serverName} (${serverId}) until now`);
  }
}

/** Runs an action; errors that were written for the user become CliErrors, others are faults of ours and stay. */
function reported(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (error instanceof SourceError || error instanceof IdentityError)
      throw new CliError(error.message, 2, error);
    if (error instanceof TableError || error instanceof ImportError) {
      const status = error instanceof TableError && error.code === 'bad-entry' ? 2 : 1;
      throw new CliError(error.message, status, error);
    }
    throw error;
  }
}

function publicKeyArgument(text: string): string {
  const parsed = publicKeySchema.safeParse(text);
  if (!parsed.success) throw invalid(parsed.error);
  return parsed.data;
}

function serverIdArgument(text: string): string {
  const parsed = serverIdSchema.safeParse(text);
  if (!parsed.success) throw invalid(parsed.error);
  return parsed.data;
}

function exportArgument(text: string, earlier: ExportEntry[] = []): ExportEntry[] {
  const equals = text.indexOf('=');
  const value = equals < 0 ? { name: text } : { name: text.slice(0, equals), path: text.slice(equals + 1) };
  const parsed = exportSchema.safeParse(value);
  if (!parsed.success) throw invalid(parsed.error);
  return [...earlier, parsed.data];
}

function endpointArgument(route: RouteKind): (text: string, earlier?: string[]) => string[] {
  return (text, earlier = []) => {
    try {
      return [...earlier, formatEndpoint(reachableEndpoint(route, text))];
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

function invalid(error: Parameters<typeof describeIssues>[0]): InvalidArgumentError {
  return new InvalidArgumentError(describeIssues(error).replace(/^the whole: /, 'It '));
}
