import { statSync } from 'node:fs';
import { formatEndpoint, type Endpoint } from '../transport/endpoint.ts';
import { KNOWN_EXPORTS_SHOWN } from './limits.ts';
import type { HereIdentity } from './node-identity.ts';
import { reachableEndpoint, ROUTE_KINDS } from './schema.ts';
import type { RouteKind, ServerEntry } from './schema.ts';
import type { NfsSource } from './source.ts';
import { TableError } from './table-error.ts';
import type { ColocationTable } from './table.ts';

export { formatEndpoint };

/** Who must prove to be at the other end. */
export interface ServerIdentity {
  id: string;
  name: string;
  /** Ed25519, 32 raw bytes in base64. */
  publicKey: string;
}

/** One way to try; `usable` is a proposal, and only the session proves it. */
export interface RouteProposal {
  route: RouteKind;
  endpoint: Endpoint;
  /** Port of the MOUNT program; undefined on a Unix socket, where both programs answer. */
  mountPort: number | undefined;
  /** undefined for a server named by nfs://, of which nothing is known. */
  server: ServerIdentity | undefined;
  /** Path to mount on the server. */
  exportPath: string;
  usable: boolean;
  /** Why it is usable or is not: one sentence for people. */
  why: string;
}

export interface ProposeOptions {
  /** The option route=: every other kind is listed as not usable. */
  only?: RouteKind | undefined;
}

type Verdict = Pick<RouteProposal, 'usable' | 'why'>;

/**
 * Lists the ways to the owner of an export: near, then backplane, then network; within a kind by priority and
 * address. Unusable ones are listed too, with the reason.
 * @throws TableError for an export nobody lists (unknown-export) and for wrong rows
 */
export function proposeRoutes(
  table: ColocationTable,
  exportName: string,
  here: HereIdentity,
  options: ProposeOptions = {},
): RouteProposal[] {
  const found = table.find(exportName);
  if (found === undefined) throw unknownExport(table, exportName);
  const { server, path: exportPath } = found;
  const cluster = here.cluster ?? table.node(here.nodeId)?.cluster;
  const { id, name, publicKey } = server;
  return ROUTE_KINDS.flatMap((route) =>
    server.endpoints
      .filter((entry) => entry.route === route)
      .map(({ address }) => {
        const endpoint = reachableEndpoint(route, address);
        const mountPort = endpoint.kind === 'tcp' ? endpoint.port : undefined;
        const verdict = excluded(route, options.only) ?? judge(route, endpoint, server, here.nodeId, cluster);
        return { route, endpoint, mountPort, server: { id, name, publicKey }, exportPath, ...verdict };
      }),
  );
}

/** The one way to a server named by nfs://. */
export function proposeNfsSource(source: NfsSource, options: ProposeOptions = {}): RouteProposal {
  const { host, port, mountPort, path } = source;
  return {
    route: 'network',
    endpoint: { kind: 'tcp', host, port },
    mountPort,
    server: undefined,
    exportPath: path,
    ...(excluded('network', options.only) ?? { usable: true, why: 'server was named by its address' }),
  };
}

function excluded(route: RouteKind, only: RouteKind | undefined): Verdict | undefined {
  return only === undefined || only === route
    ? undefined
    : { usable: false, why: `excluded by route=${only}` };
}

function judge(
  route: RouteKind,
  endpoint: Endpoint,
  server: ServerEntry,
  nodeId: string,
  cluster: string | undefined,
): Verdict {
  if (endpoint.kind === 'unix') return judgeNear(endpoint.path, server.node.bootId, nodeId);
  if (route === 'backplane') return judgeBackplane(server.node.cluster, cluster);
  return { usable: true, why: 'the network reaches the server from any node' };
}

function judgeNear(path: string, serverNode: string, hereNode: string): Verdict {
  if (serverNode !== hereNode) {
    const [there, here] = abbreviated(serverNode, hereNode);
    return { usable: false, why: `server's node is another one (boot id ${there}, here ${here})` };
  }
  try {
    if (!statSync(path).isSocket()) return { usable: false, why: `${path} is not a socket` };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    return {
      usable: false,
      why: missing ? `socket ${path} does not exist` : `socket ${path} cannot be reached (${code})`,
    };
  }
  return { usable: true, why: 'server runs on this node (boot id matches)' };
}

function judgeBackplane(serverCluster: string | undefined, cluster: string | undefined): Verdict {
  if (serverCluster === undefined) return { usable: false, why: "server's node is in no cluster" };
  if (cluster === undefined) {
    return { usable: false, why: `this node is in no cluster (the server's is ${serverCluster})` };
  }
  if (serverCluster !== cluster) {
    return { usable: false, why: `server's cluster is ${serverCluster}, here it is ${cluster}` };
  }
  return { usable: true, why: `server is in this cluster (${cluster})` };
}

/** Two different ids, no longer than it takes to tell them apart. */
function abbreviated(one: string, other: string): [string, string] {
  let length = 8;
  while (one.slice(0, length) === other.slice(0, length)) length += 1;
  const short = (id: string): string => (id.length > length ? `${id.slice(0, length)}..` : id);
  return [short(one), short(other)];
}

function unknownExport(table: ColocationTable, exportName: string): TableError {
  const known = table.exportNames(KNOWN_EXPORTS_SHOWN + 1);
  const shown = known.slice(0, KNOWN_EXPORTS_SHOWN).join(', ');
  const names = known.length > KNOWN_EXPORTS_SHOWN ? `${shown}, ...` : shown;
  return new TableError({
    code: 'unknown-export',
    action: `find ${JSON.stringify(exportName)} in`,
    file: table.file,
    why: 'no server lists such an export',
    remedy: known.length === 0 ? 'the table lists no exports at all' : `known exports: ${names}`,
  });
}
