import { createConnection, type Socket } from 'node:net';
import { RpcError } from '../rpc/error.ts';
import { formatEndpoint, type Endpoint } from './endpoint.ts';
import { CONNECT_TIMEOUT_MS, KEEPALIVE_DELAY_MS } from './limits.ts';
import { ReceiveSlabs } from './receive-slabs.ts';
import { StreamTransport } from './stream.ts';

/**
 * Connects to an endpoint.
 *
 * @param timeoutMs default CONNECT_TIMEOUT_MS
 * @throws RpcError CONNECTION_LOST when nobody answers, TIMED_OUT after `timeoutMs`
 */
export function connect(
  endpoint: Endpoint,
  timeoutMs: number = CONNECT_TIMEOUT_MS,
): Promise<StreamTransport> {
  const name = formatEndpoint(endpoint);
  return new Promise((resolve, reject) => {
    const slabs = new ReceiveSlabs();
    const { onread } = slabs;
    const socket: Socket =
      endpoint.kind === 'unix'
        ? createConnection({ path: endpoint.path, onread })
        : createConnection({ host: endpoint.host, port: endpoint.port, noDelay: true, onread });
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
      resolve(new StreamTransport(socket, name, slabs));
    });
  });
}
