import { createConnection, type Socket } from 'node:net';
import { RpcError } from '../rpc/error.ts';
import { formatEndpoint, type Endpoint } from './endpoint.ts';
import {
  CONNECT_TIMEOUT_MS,
  KEEPALIVE_DELAY_MS,
  RESERVED_SOURCE_PORT_MAX,
  RESERVED_SOURCE_PORT_MIN,
} from './limits.ts';
import { ReceiveSlabs } from './receive-slabs.ts';
import { StreamTransport } from './stream.ts';

export interface ConnectOptions {
  /** Default CONNECT_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** Come from a TCP port that only root can take, as nfs(5) resvport: some servers want it. Default false. */
  readonly reservedPort?: boolean;
}

/**
 * Connects to an endpoint.
 *
 * @throws RpcError CONNECTION_LOST when nobody answers or no reserved port can be had, TIMED_OUT after `timeoutMs`
 */
export async function connect(endpoint: Endpoint, options: ConnectOptions = {}): Promise<StreamTransport> {
  const { timeoutMs = CONNECT_TIMEOUT_MS, reservedPort = false } = options;
  if (!reservedPort || endpoint.kind === 'unix') return connectFrom(endpoint, undefined, timeoutMs);
  for (let port = RESERVED_SOURCE_PORT_MAX; port >= RESERVED_SOURCE_PORT_MIN; port -= 1) {
    try {
      return await connectFrom(endpoint, port, timeoutMs);
    } catch (error) {
      const code = error instanceof RpcError ? (error.cause as NodeJS.ErrnoException | undefined)?.code : '';
      if (code === 'EACCES') {
        throw new RpcError(
          'CONNECTION_LOST',
          `no reserved port to reach ${formatEndpoint(endpoint)} from (EACCES): be root (CAP_NET_BIND_SERVICE), or leave resvport out`,
        );
      }
      // In use here, or together with this very server: the next one.
      if (code !== 'EADDRINUSE' && code !== 'EADDRNOTAVAIL') throw error;
    }
  }
  throw new RpcError(
    'CONNECTION_LOST',
    `no reserved port to reach ${formatEndpoint(endpoint)} from: ${RESERVED_SOURCE_PORT_MIN} to ${RESERVED_SOURCE_PORT_MAX} are in use`,
  );
}

function connectFrom(
  endpoint: Endpoint,
  localPort: number | undefined,
  timeoutMs: number,
): Promise<StreamTransport> {
  const name = formatEndpoint(endpoint);
  const from = localPort === undefined ? {} : { localPort };
  return new Promise((resolve, reject) => {
    const slabs = new ReceiveSlabs();
    const { onread } = slabs;
    const socket: Socket =
      endpoint.kind === 'unix'
        ? createConnection({ path: endpoint.path, onread })
        : createConnection({ host: endpoint.host, port: endpoint.port, noDelay: true, onread, ...from });
    // Nothing may arrive before somebody receives it.
    socket.pause();
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new RpcError('TIMED_OUT', `no connection to ${name} within ${timeoutMs} ms`));
    }, timeoutMs);
    const onError = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      reject(
        new RpcError('CONNECTION_LOST', `cannot connect to ${name}: ${error.code ?? error.message}`, {
          cause: error,
        }),
      );
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeListener('error', onError);
      if (endpoint.kind === 'tcp') socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
      resolve(new StreamTransport(socket, name, { slabs, readsAlways: true }));
    });
  });
}
