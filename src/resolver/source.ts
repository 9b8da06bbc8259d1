import { AddressError, parseHost, parsePort, parseTcpAddress } from '../transport/endpoint.ts';
import { MAX_EXPORT_PATH_BYTES } from './limits.ts';
import { describeIssues, exportNameSchema } from './schema.ts';

/** NFS's registered port. */
export const NFS_PORT = 2049;

/** A server named outright: any NFSv3 server. */
export interface NfsSource {
  kind: 'nfs';
  host: string;
  port: number;
  /** Port of the MOUNT program. */
  mountPort: number;
  /** Path to mount on the server, absolute. */
  path: string;
}

/** What a mount names: an export of the colocation table, or a server. */
export type Source = { kind: 'export'; name: string } | NfsSource;

/** A SOURCE that cannot be understood; the message quotes it and says why. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/**
 * Reads a SOURCE: an export's name, or `nfs://HOST[:PORT]/PATH[?mountport=M]` (port 2049, mountport = port).
 * The path is percent-decoded (RFC 3986 section 2.1), must be UTF-8, and is taken from the server's root: the first
 * '/' belongs to it.
 * @throws SourceError
 */
export function parseSource(text: string): Source {
  const scheme = /^([^/]*):\/\/(.*)$/s.exec(text);
  if (scheme === null) return { kind: 'export', name: parseExportName(text) };
  if (scheme[1]?.toLowerCase() !== 'nfs') {
    throw wrong(text, `${JSON.stringify(scheme[1])} is not a scheme it can have; only nfs:// is`);
  }
  try {
    return parseNfs(scheme[2] ?? '');
  } catch (error) {
    if (error instanceof AddressError) throw wrong(text, error.message);
    throw error instanceof SourceError ? wrong(text, error.message) : error;
  }
}

function wrong(text: string, why: string): SourceError {
  return new SourceError(`the source ${JSON.stringify(text)} cannot be used: ${why}`);
}

function parseExportName(text: string): string {
  const host = /^([^:/]+):(\/.*)$/.exec(text);
  if (host !== null) throw wrong(text, `a server's own path is written nfs://${host[1]}${host[2]}`);
  const name = exportNameSchema.safeParse(text);
  if (!name.success) {
    throw wrong(text, `an export's name ${describeIssues(name.error).replace(/^the whole: /, '')}`);
  }
  return name.data;
}

function parseNfs(rest: string): NfsSource {
  if (rest.includes('#')) throw new SourceError("'#' must be written %23");
  const [beforeQuery = '', ...queries] = rest.split('?');
  if (queries.length > 1) throw new SourceError("it has two '?'; one inside the path must be written %3F");
  const slash = beforeQuery.indexOf('/');
  if (slash < 0) throw new SourceError('the path is missing; the root itself is nfs://HOST/');
  const { host, port } = parseAuthority(beforeQuery.slice(0, slash));
  return {
    kind: 'nfs',
    host,
    port,
    mountPort: parseMountPort(queries[0]) ?? port,
    path: decodePath(beforeQuery.slice(slash)),
  };
}

function parseAuthority(authority: string): { host: string; port: number } {
  if (authority.includes('@')) throw new SourceError('NFS knows no user before the host');
  const bracketed = /^\[.*\]$/.test(authority);
  if (!bracketed && !authority.includes(':')) return { host: parseHost(authority), port: NFS_PORT };
  const { host, port } = parseTcpAddress(bracketed ? `${authority}:${NFS_PORT}` : authority);
  return { host, port: notZero(port, 'port') };
}

function parseMountPort(query: string | undefined): number | undefined {
  if (query === undefined || query === '') return undefined;
  let mountPort: number | undefined;
  for (const pair of query.split('&')) {
    const [key = '', ...value] = pair.split('=');
    if (key !== 'mountport')
      throw new SourceError(`${JSON.stringify(key)} is unknown after '?'; only mountport=M is`);
    if (mountPort !== undefined) throw new SourceError('mountport is given twice');
    mountPort = notZero(parsePort(value.join('=')), 'mountport');
  }
  return mountPort;
}

function notZero(port: number, what: string): number {
  if (port === 0) throw new SourceError(`${what} 0 is one nobody can connect to`);
  return port;
}

function decodePath(encoded: string): string {
  let path: string;
  try {
    path = decodeURIComponent(encoded);
  } catch {
    throw new SourceError(
      `the path ${JSON.stringify(encoded)} has a '%' that does not begin a byte of UTF-8 text`,
    );
  }
  if (path.includes('\0')) throw new SourceError('the path contains a NUL byte');
  if (Buffer.byteLength(path) > MAX_EXPORT_PATH_BYTES) {
    throw new SourceError(`the path is longer than ${MAX_EXPORT_PATH_BYTES} bytes`);
  }
  return path;
}
