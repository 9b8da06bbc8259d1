import { isIP, isIPv4, isIPv6 } from 'node:net';

/** Where a listener listens or a peer is reached. `host` is a name or an IP address without brackets. */
export type Endpoint = { kind: 'unix'; path: string } | { kind: 'tcp'; host: string; port: number };
export type UnixEndpoint = Extract<Endpoint, { kind: 'unix' }>;
export type TcpEndpoint = Extract<Endpoint, { kind: 'tcp' }>;

/** Longest path of a Unix socket, bytes: unix(7), sun_path of 108 bytes with its closing NUL. */
export const MAX_SOCKET_PATH_BYTES = 107;
/** Longest host name, characters: RFC 1035 section 2.3.4, without the closing dot. */
export const MAX_HOST_NAME_CHARS = 253;

/** An address that cannot be understood; the message quotes it and says why. */
export class AddressError extends Error {
  override readonly name = 'AddressError';
}

const LABEL = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/**
 * Checks a host: an IPv4 address, an IPv6 address without brackets (a zone is allowed), or a host name.
 * @throws AddressError
 */
export function parseHost(host: string): string {
  if (isIP(host) !== 0) return host;
  const quoted = JSON.stringify(host);
  if (host === '') throw new AddressError('the host is missing');
  if (host.includes(':')) throw new AddressError(`${quoted} is not an IPv6 address`);
  const labels = host.replace(/\.$/, '').split('.');
  if (host.length > MAX_HOST_NAME_CHARS || !labels.every((label) => LABEL.test(label))) {
    throw new AddressError(`${quoted} is neither a host name nor an IP address`);
  }
  // A name never ends in a numeric label (RFC 3696 section 2), so 10.0.0.300 is a slip, not a name.
  if (/^[0-9]+$/.test(labels.at(-1) ?? '')) throw new AddressError(`${quoted} is not an IPv4 address`);
  return host;
}

/**
 * Checks a TCP port in decimal, 0 to 65535 (0: any free one, for listeners only).
 * @throws AddressError
 */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || port > 65535) {
    throw new AddressError(`${JSON.stringify(text)} is not a port (0 to 65535)`);
  }
  return port;
}

/**
 * Reads `ADDR:PORT`: `10.0.0.1:2049`, `storage-3:2049`, `[fe80::1%eth0]:2049`.
 * @throws AddressError
 */
export function parseTcpAddress(text: string): TcpEndpoint {
  const colon = text.lastIndexOf(':');
  if (colon < 0 || text.endsWith(']'))
    throw new AddressError(`${JSON.stringify(text)} has no port: write ADDR:PORT`);
  const host = text.slice(0, colon);
  const port = text.slice(colon + 1);
  if (host.startsWith('[') && host.endsWith(']')) {
    const inner = host.slice(1, -1);
    if (!isIPv6(inner)) throw new AddressError(`${JSON.stringify(inner)} in brackets is not an IPv6 address`);
    return { kind: 'tcp', host: inner, port: parsePort(port) };
  }
  if (host.includes(':')) {
    throw new AddressError(`${JSON.stringify(text)} needs brackets around its IPv6 address: [ADDR]:PORT`);
  }
  return { kind: 'tcp', host: parseHost(host), port: parsePort(port) };
}

/**
 * Checks the path of a Unix socket: absolute, without NUL, at most MAX_SOCKET_PATH_BYTES bytes.
 * @throws AddressError
 */
export function parseSocketPath(path: string): UnixEndpoint {
  const quoted = JSON.stringify(path);
  if (!path.startsWith('/')) throw new AddressError(`${quoted} is not an absolute socket path`);
  if (path.includes('\0')) throw new AddressError(`${quoted} contains a NUL byte`);
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new AddressError(
      `${quoted} is ${bytes} bytes long; a socket path has at most ${MAX_SOCKET_PATH_BYTES}`,
    );
  }
  return { kind: 'unix', path };
}

/** The text that parseTcpAddress or parseSocketPath reads back. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === 'unix') return endpoint.path;
  return endpoint.host.includes(':')
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

/** True for an address that only a listener can use: 0.0.0.0 or :: in any spelling. */
export function isWildcardHost(host: string): boolean {
  if (isIPv4(host)) return host === '0.0.0.0';
  return isIPv6(host) && /^[0:]+$/.test(host);
}
