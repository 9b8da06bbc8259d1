import { createServer, type Socket } from 'node:net';
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { RpcError } from '../rpc/error.ts';
import { formatEndpoint, type Endpoint } from './endpoint.ts';
import { connect } from './connect.ts';
import { LISTENER_CONNECTIONS_MAX, KEEPALIVE_DELAY_MS } from './limits.ts';
import { StreamTransport } from './stream.ts';

export interface Listener {
  /** Where it listens, with the port the system chose where 0 was asked for. */
  readonly endpoint: Endpoint;
  /** Stops accepting; connections that exist go on. */
  close(): Promise<void>;
}

export interface ListenOptions {
  readonly onConnection: (transport: StreamTransport, endpoint: Endpoint) => void;
  /** Called for a connection over the limit, which is closed at once. */
  readonly onRefused?: (peerName: string) => void;
  /** Default LISTENER_CONNECTIONS_MAX. */
  readonly connectionsMax?: number;
  /** Mode bits of a Unix socket; default 0o666: who may do what is decided from the peer's credentials. */
  readonly socketMode?: number;
}

/** Accepts connections. Rejects with the system's error (EADDRINUSE, EACCES, ...) when the address cannot be had. */
export async function listen(endpoint: Endpoint, options: ListenOptions): Promise<Listener> {
  if (endpoint.kind === 'unix') await removeStaleSocket(endpoint.path);
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_DELAY_MS });
  server.maxConnections = options.connectionsMax ?? LISTENER_CONNECTIONS_MAX;
  server.on('drop', (data) => {
    options.onRefused?.(data?.remoteAddress ?? formatEndpoint(endpoint));
  });
  server.on('connection', (socket) => {
    options.onConnection(new StreamTransport(socket, peerName(socket, endpoint)), endpoint);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const onListening = (): void => {
      server.removeListener('error', reject);
      resolve();
    };
    if (endpoint.kind === 'unix') server.listen({ path: endpoint.path }, onListening);
    else server.listen({ host: endpoint.host, port: endpoint.port }, onListening);
  });
  // A connection that cannot be accepted (no descriptor left) must not end the process.
  server.on('error', () => {
    options.onRefused?.(formatEndpoint(endpoint));
  });
  const address = server.address();
  let bound = endpoint;
  if (endpoint.kind === 'unix') chmodSync(endpoint.path, options.socketMode ?? 0o666);
  else if (address !== null && typeof address === 'object') bound = { ...endpoint, port: address.port };
  return {
    endpoint: bound,
    close: () =>
      new Promise<void>((resolve) => {
        server.close();
        resolve();
      }),
  };
}

function peerName(socket: Socket, endpoint: Endpoint): string {
  if (endpoint.kind === 'unix') return `unix:${endpoint.path}`;
  return formatEndpoint({ kind: 'tcp', host: socket.remoteAddress ?? '?', port: socket.remotePort ?? 0 });
}

/** A socket file that nobody answers on is what a killed server left behind; one that answers is in use. */
async function removeStaleSocket(path: string): Promise<void> {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status?.isSocket() !== true) return;
  try {
    const alive = await connect({ kind: 'unix', path });
    alive.socket.destroy();
  } catch (error) {
    // Any other failure, such as a full backlog, may come from a living server.
    if (
      error instanceof RpcError &&
      (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED'
    ) {
      unlinkSync(path);
    }
  }
}
