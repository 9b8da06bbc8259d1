/** A data-access server: listeners, connections and their sessions around the procedures. */
import { setTimeout as delay } from 'node:timers/promises';
import { unlinkSync } from 'node:fs';
import { ChannelListener, channelPath } from '../fgdp/channel.ts';
import { FGDP_PROGRAM } from '../fgdp/program.ts';
import { MOUNT_PROGRAM } from '../nfs3/mount.ts';
import { NFS_PROGRAM } from '../nfs3/nfs.ts';
import { RpcConnection } from '../rpc/connection.ts';
import { Dispatcher } from '../rpc/dispatcher.ts';
import { RpcError } from '../rpc/error.ts';
import { warmThreadPool } from '../store/identity.ts';
import { Store, type ExportChanges } from '../store/store.ts';
import { peerIdentity } from '../transport/peer.ts';
import type { ExportOptions } from '../store/export-options.ts';
import type { Endpoint, UnixEndpoint } from '../transport/endpoint.ts';
import { listen, type Listener } from '../transport/listen.ts';
import type { StreamTransport } from '../transport/stream.ts';
import type { Logger } from '../observe/log.ts';
import { ClientSession, type Peer, type ServerContext } from './client-session.ts';
import { fgdpProcedures } from './fgdp-procedures.ts';
import { CONNECTION_IDLE_MS, DRAIN_MS, IDLE_CHECK_MS } from './limits.ts';
import { mountProcedures } from './mount-procedures.ts';
import { nfsProcedures } from './nfs-procedures.ts';
import { loadServerKey, type ServerKey } from './server-key.ts';

/** Who may hand a channel to the server: descriptors go to root's guests only. */
const CHANNEL_MODE = 0o600;

export interface DataAccessServerOptions {
  readonly name: string;
  /** Of the running kernel; HELLO tells it. */
  readonly bootId: string;
  readonly exports: readonly ExportOptions[];
  readonly stateDirectory: string;
  /** TCP addresses, for the network and the backplane alike. */
  readonly tcp: readonly Endpoint[];
  readonly socket: UnixEndpoint | undefined;
  readonly log: Logger;
}

interface Connected {
  readonly connection: RpcConnection<ServerContext>;
  readonly session: ClientSession;
}

export class DataAccessServer {
  readonly key: ServerKey;
  readonly #options: DataAccessServerOptions;
  readonly #store: Store;
  readonly #dispatcher: Dispatcher<ServerContext>;
  readonly #connections = new Set<Connected>();
  readonly #listeners: Listener[] = [];
  #channels: ChannelListener | undefined;
  #idleCheck: NodeJS.Timeout | undefined;
  #calls = 0n;

  private constructor(options: DataAccessServerOptions, key: ServerKey, store: Store) {
    this.#options = options;
    this.key = key;
    this.#store = store;
    this.#dispatcher = new Dispatcher<ServerContext>({
      onFailure: (call, error) => {
        options.log.error(
          { err: error, program: call.program, procedure: call.procedure },
          'a procedure failed',
        );
      },
      onCall: () => {
        this.#calls += 1n;
      },
    });
  }

  /**
   * Opens the exports and listens everywhere it was told to.
   *
   * @throws ErrnoError for an export or socket that cannot be had, Error for a wrong key file; nothing stays open then
   */
  static async start(options: DataAccessServerOptions): Promise<DataAccessServer> {
    await warmThreadPool();
    const key = loadServerKey(options.stateDirectory);
    const store = Store.open({ stateDirectory: options.stateDirectory, exports: options.exports });
    const server = new DataAccessServer(options, key, store);
    try {
      await server.#listen();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Where it can be reached, with the ports that were chosen for port 0. */
  get endpoints(): readonly Endpoint[] {
    return this.#listeners.map((listener) => listener.endpoint);
  }

  get exports(): ReturnType<Store['exports']> {
    return this.#store.exports();
  }

  /**
   * Serves these exports from the next call on; connections stay. Descriptors that guests were granted stay theirs.
   *
   * @throws ErrnoError for an export that cannot be opened: then everything is as it was
   */
  changeExports(exports: readonly ExportOptions[]): ExportChanges {
    return this.#store.changeExports(exports);
  }

  get callsAnswered(): bigint {
    return this.#calls;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Stops accepting, answers what was taken for at most DRAIN_MS, then closes everything. */
  async stop(): Promise<void> {
    clearInterval(this.#idleCheck);
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
    this.#closeChannels();
    const draining = Promise.all([...this.#connections].map(({ connection }) => connection.drain()));
    await Promise.race([draining, delay(DRAIN_MS, undefined, { ref: false })]);
    for (const { connection } of this.#connections) connection.close();
    this.#store.close();
  }

  /** With the listeners, before the wait: a new server may have the paths at once. */
  #closeChannels(): void {
    if (this.#channels === undefined) return;
    this.#channels.close();
    removeSocket(this.#channels.path);
    this.#channels = undefined;
  }

  async #listen(): Promise<void> {
    const { socket, tcp, log } = this.#options;
    const onConnection = (transport: StreamTransport, endpoint: Endpoint): void => {
      this.#accept(transport, endpoint);
    };
    const onRefused = (peer: string): void => {
      log.warn({ peer }, 'connection refused: too many connections');
    };
    if (socket !== undefined) {
      this.#listeners.push(await listen(socket, { onConnection, onRefused }));
      // The stream socket is ours now, so what lies at the channel's path is left over from a killed server.
      const path = channelPath(socket.path);
      removeSocket(path);
      this.#channels = ChannelListener.listen(path, CHANNEL_MODE);
    }
    const service = {
      store: this.#store,
      key: this.key,
      serverName: this.#options.name,
      bootId: this.#options.bootId,
      channels: this.#channels,
    };
    this.#dispatcher.register(NFS_PROGRAM, nfsProcedures(this.#store));
    this.#dispatcher.register(MOUNT_PROGRAM, mountProcedures(this.#store));
    this.#dispatcher.register(FGDP_PROGRAM, fgdpProcedures(service));
    for (const endpoint of tcp) this.#listeners.push(await listen(endpoint, { onConnection, onRefused }));
    this.#idleCheck = setInterval(() => {
      this.#closeIdle();
    }, IDLE_CHECK_MS);
    this.#idleCheck.unref();
  }

  #accept(transport: StreamTransport, endpoint: Endpoint): void {
    const { log } = this.#options;
    let peer: Peer;
    try {
      peer = identifyPeer(transport, endpoint);
    } catch (error) {
      // It hung up before it could be asked.
      log.debug({ err: error }, 'a connection was gone at once');
      transport.socket.destroy();
      return;
    }
    const session = new ClientSession(peer, transport.peerName);
    const connection = new RpcConnection<ServerContext>(transport, {
      dispatcher: this.#dispatcher,
      makeContext: (call) => ({ call, session }),
    });
    const connected = { connection, session };
    this.#connections.add(connected);
    log.debug({ peer: session.name }, 'connected');
    connection.onClose((reason) => {
      this.#connections.delete(connected);
      session.end();
      const level = reason.code === 'BAD_RECORD' ? 'warn' : 'debug';
      log[level]({ peer: session.name, reason: reason.message }, 'disconnected');
    });
  }

  #closeIdle(): void {
    const nowMs = performance.now();
    for (const { connection, session } of this.#connections) {
      if (session.isFgdp || connection.serviced > 0) continue;
      if (nowMs - connection.lastActivityMs < CONNECTION_IDLE_MS) continue;
      connection.close(new RpcError('CONNECTION_LOST', 'idle'));
    }
  }
}

function identifyPeer(transport: StreamTransport, endpoint: Endpoint): Peer {
  if (endpoint.kind === 'tcp') {
    const { remoteAddress, remotePort } = transport.socket;
    return { kind: 'tcp', address: remoteAddress ?? '', port: remotePort ?? Infinity };
  }
  return { kind: 'unix', identity: peerIdentity(transport) };
}

function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
