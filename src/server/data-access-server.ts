/** A data-access server: listeners, connections and their sessions around the procedures. */
import { setTimeout as delay } from 'node:timers/promises';
import { unlinkSync } from 'node:fs';
import { ChannelListener, channelPath } from '../fgdp/channel.ts';
import { SEGMENT_POOL_BYTES } from '../fgdp/limits.ts';
import { FGDP_PROGRAM } from '../fgdp/program.ts';
import { SegmentPool } from '../fgdp/segment-pool.ts';
import { MOUNT_PROGRAM } from '../nfs3/mount.ts';
import { NFS_PROGRAM } from '../nfs3/nfs.ts';
import { NFSACL_PROGRAM } from '../nfs3/nfsacl.ts';
import { RpcConnection } from '../rpc/connection.ts';
import { Dispatcher } from '../rpc/dispatcher.ts';
import { RpcError } from '../rpc/error.ts';
import { warmThreadPool } from '../store/identity.ts';
import { giveUpPrivilegesOfWriters } from '../store/writer-privileges.ts';
import { Store, type ExportChanges } from '../store/store.ts';
import { unixPeer } from '../transport/peer.ts';
import type { ExportOptions } from '../store/export-options.ts';
import type { Endpoint, UnixEndpoint } from '../transport/endpoint.ts';
import { listen, type Listener } from '../transport/listen.ts';
import type { StreamTransport } from '../transport/stream.ts';
import type { Logger } from '../observe/log.ts';
import { aclProcedures } from './acl-procedures.ts';
import { CallLog } from './call-log.ts';
import { CallAccount, CallBudget, type CallBudgetLimits } from './call-budget.ts';
import { ClientSession, type Peer, type ServerContext } from './client-session.ts';
import { fgdpProcedures } from './fgdp-procedures.ts';
import { ConnectionAdmission, type Admitted, type AdmissionLimits } from './connection-admission.ts';
import {
  CALL_LOG_RETRY_MS,
  CALL_LOG_WAIT_MS,
  CONNECTION_IDLE_MS,
  DRAIN_MS,
  IDLE_CHECK_MS,
  LONG_RECORDS_MAX,
  LONG_RECORD_BYTES,
  RECORD_TIMEOUT_MS,
  REFUSED_LOG_MS,
  SEND_STALLED_MS,
} from './limits.ts';
import { LockService, type LockServiceLimits } from './lock-service.ts';
import { mountProcedures } from './mount-procedures.ts';
import { nfsProcedures } from './nfs-procedures.ts';
import { ReplyAccount, ReplyBudget, type ReplyBudgetLimits } from './reply-budget.ts';
import { PageCounters } from './page-counters.ts';
import { ReplyCache } from './reply-cache.ts';
import { PromiseKeeper, type PromiseLimits } from './promises.ts';
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
  /** Other limits than those of limits.ts. */
  readonly limits?: ConnectionLimits;
  readonly lockLimits?: Partial<LockServiceLimits>;
}

/** Limits on connections; times in milliseconds, defaults in limits.ts. */
export interface ConnectionLimits
  extends AdmissionLimits, ReplyBudgetLimits, CallBudgetLimits, PromiseLimits {
  readonly idleMs?: number;
  readonly recordTimeoutMs?: number;
  readonly sendStalledMs?: number;
  readonly checkEveryMs?: number;
}

interface Connected extends Admitted {
  readonly connection: RpcConnection<ServerContext>;
  readonly transport: StreamTransport;
  readonly calls: CallAccount;
}

export class DataAccessServer {
  readonly key: ServerKey;
  /** Memory of the segments that guests share. */
  readonly pool = new SegmentPool(SEGMENT_POOL_BYTES);
  readonly pageCounters = new PageCounters();
  readonly #options: DataAccessServerOptions;
  readonly #store: Store;
  readonly #calls: CallLog;
  readonly #locks: LockService;
  readonly #dispatcher: Dispatcher<ServerContext>;
  readonly #admission: ConnectionAdmission<Connected>;
  readonly #replies: ReplyBudget;
  readonly #callBudget: CallBudget;
  readonly #promises: PromiseKeeper;
  readonly #listeners: Listener[] = [];
  #channels: ChannelListener | undefined;
  /** Whose record is long and not complete, the oldest first. */
  readonly #longRecords = new Set<Connected>();
  #check: NodeJS.Timeout | undefined;
  #answered = 0n;
  #refused = 0;
  #saidUntrusted = false;
  #refusedLoggedMs = -Infinity;

  private constructor(options: DataAccessServerOptions, key: ServerKey, { store, calls, locks }: State) {
    this.#options = options;
    this.key = key;
    this.#store = store;
    this.#calls = calls;
    this.#locks = locks;
    this.#admission = new ConnectionAdmission(options.limits);
    this.#replies = new ReplyBudget(options.limits);
    this.#callBudget = new CallBudget(options.limits);
    this.#promises = new PromiseKeeper(store, options.limits);
    this.#dispatcher = new Dispatcher<ServerContext>({
      onFailure: (call, error) => {
        options.log.error(
          { err: error, program: call.program, procedure: call.procedure },
          'a procedure failed',
        );
      },
      onCall: () => {
        this.#answered += 1n;
      },
      once: new ReplyCache(store, calls).once,
    });
  }

  /**
   * Opens the exports and listens everywhere it was told to.
   *
   * @throws ErrnoError for an export or socket that cannot be had, Error for a wrong key file, or while another server
   * has the state directory; nothing stays open then
   */
  static async start(options: DataAccessServerOptions): Promise<DataAccessServer> {
    await warmThreadPool();
    if (!(await giveUpPrivilegesOfWriters())) {
      options.log.warn(
        'writing as root: quotas may not hold, and set-user-id bits may outlive a write, because the thread pool was busy ' +
          'or has more than 64 threads (UV_THREADPOOL_SIZE)',
      );
    }
    const key = loadServerKey(options.stateDirectory);
    const server = new DataAccessServer(options, key, await openState(options));
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
    const changes = this.#store.changeExports(exports);
    this.#promises.endWhere(
      ({ name }) => changes.changed.includes(name) || changes.removed.includes(name),
      'the export has changed',
    );
    return changes;
  }

  get callsAnswered(): bigint {
    return this.#answered;
  }

  /** Bytes of calls that were received and are not carried out. */
  get callBytes(): number {
    return this.#callBudget.usedBytes;
  }

  get connections(): number {
    return this.#admission.all.size;
  }

  /**
   * Stops accepting, answers what was taken for at most DRAIN_MS, then closes everything. The state directory is let go of
   * last, when nothing is being written any more: clients send what was not answered to the next server, and go on there.
   */
  async stop(): Promise<void> {
    clearInterval(this.#check);
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
    this.#closeChannels();
    // What guests have locked they claim at the next server.
    this.#locks.stop();
    const draining = Promise.all([...this.#admission.all].map(({ connection }) => connection.drain()));
    await Promise.race([draining, delay(DRAIN_MS, undefined, { ref: false })]);
    const poolUsedBytes = this.pool.usedBytes;
    for (const { connection } of [...this.#admission.all]) connection.close();
    await this.#store.writing.stop();
    this.#promises.close();
    this.#store.close();
    this.#locks.close();
    this.#calls.close();
    if (this.pageCounters.isUsed) {
      this.#options.log.info({ ...this.pageCounters.summary(), poolUsedBytes }, 'pages handed to guests');
    }
  }

  /** With the listeners, before the wait: a new server may have the paths at once. */
  #closeChannels(): void {
    if (this.#channels === undefined) return;
    this.#channels.close();
    removeSocket(this.#channels.path);
    this.#channels = undefined;
  }

  async #listen(): Promise<void> {
    const { socket, tcp, limits } = this.#options;
    const onConnection = (transport: StreamTransport, endpoint: Endpoint): void => {
      this.#accept(transport, endpoint);
    };
    const onRefused = (peer: string): void => {
      this.#logRefused(peer, 'the listener or the process has no room');
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
      pool: this.pool,
      counters: this.pageCounters,
      locks: this.#locks,
      promises: this.#promises,
    };
    this.#dispatcher.register(NFS_PROGRAM, nfsProcedures(this.#store));
    this.#dispatcher.register(NFSACL_PROGRAM, aclProcedures(this.#store));
    this.#dispatcher.register(MOUNT_PROGRAM, mountProcedures(this.#store));
    this.#dispatcher.register(FGDP_PROGRAM, fgdpProcedures(service));
    for (const endpoint of tcp) this.#listeners.push(await listen(endpoint, { onConnection, onRefused }));
    this.#check = setInterval(() => {
      this.#closeUnfit();
    }, limits?.checkEveryMs ?? IDLE_CHECK_MS);
    this.#check.unref();
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
    this.#warnOfRoot(peer);
    const session = new ClientSession(peer, transport.peerName, new ReplyAccount(this.#replies));
    const calls = new CallAccount(this.#callBudget);
    const connection = new RpcConnection<ServerContext>(transport, {
      memory: calls,
      dispatcher: this.#dispatcher,
      makeContext: (call) => ({ call, session }),
      findShorthand: (shorthand) => session.shorthands.find(shorthand),
    });
    session.guest = connection;
    const connected: Connected = {
      connection,
      transport,
      calls,
      peerKey: peer.kind === 'tcp' ? peer.address : `uid ${peer.identity.uid}`,
      isInUse: () => session.usesExports,
      lastActivityMs: () => connection.lastActivityMs,
      evict: () => {
        connection.close(new RpcError('ABORTED', 'silent, and its place was needed'));
      },
    };
    connection.onClose((reason) => {
      this.#admission.remove(connected);
      this.#longRecords.delete(connected);
      session.end();
      calls.close();
      const level = reason.code === 'BAD_RECORD' ? 'warn' : 'debug';
      log[level]({ peer: session.name, reason: reason.message, ...this.#poolUse() }, 'disconnected');
    });
    transport.onProgress = () => {
      this.#boundRecords(connected);
    };
    const refused = this.#admission.admit(connected);
    if (refused === undefined) {
      log.debug({ peer: session.name }, 'connected');
      return;
    }
    this.#logRefused(session.name, refused);
    connection.close(new RpcError('ABORTED', 'too many connections'));
  }

  /** Long records that never end must not fill the memory. */
  #boundRecords(connected: Connected): void {
    const isLong = connected.transport.recordBytes > LONG_RECORD_BYTES;
    connected.calls.receivesLong(isLong);
    if (!isLong) {
      this.#longRecords.delete(connected);
      return;
    }
    this.#longRecords.add(connected);
    const [oldest] = this.#longRecords;
    if (this.#longRecords.size <= LONG_RECORDS_MAX || oldest === undefined) return;
    this.#longRecords.delete(oldest);
    oldest.connection.close(new RpcError('BAD_RECORD', 'too many long records are on their way'));
  }

  #poolUse(): { readonly poolUsedBytes?: number } {
    return this.pageCounters.isUsed ? { poolUsedBytes: this.pool.usedBytes } : {};
  }

  /** Once: a gateway that is not believed serves its users as nobody, and that has a remedy. */
  #warnOfRoot(peer: Peer): void {
    if (this.#saidUntrusted || peer.kind !== 'unix' || peer.identity.uid !== 0 || peer.claims !== 'itself')
      return;
    this.#saidUntrusted = true;
    this.#options.log.warn(
      'a local root speaks for itself only: it lacks CAP_SETUID or CAP_SETGID, or lives in a pid namespace that this ' +
        "server does not see (run the server in the host's)",
    );
  }

  /** Not once for each: an attack would fill the log. */
  #logRefused(peer: string, why: string): void {
    this.#refused += 1;
    const nowMs = performance.now();
    if (nowMs - this.#refusedLoggedMs < REFUSED_LOG_MS) return;
    this.#refusedLoggedMs = nowMs;
    this.#options.log.warn({ peer, why, refused: this.#refused }, 'connection refused: too many connections');
  }

  /** Ends connections that are silent, send a record without end, or take no replies. */
  #closeUnfit(): void {
    const {
      idleMs = CONNECTION_IDLE_MS,
      recordTimeoutMs = RECORD_TIMEOUT_MS,
      sendStalledMs = SEND_STALLED_MS,
    } = this.#options.limits ?? {};
    const nowMs = performance.now();
    for (const { connection, transport } of [...this.#admission.all]) {
      if (transport.recordAgeMs > recordTimeoutMs) {
        connection.close(new RpcError('BAD_RECORD', `a record was not complete after ${recordTimeoutMs} ms`));
      } else if (transport.sendStalledMs > sendStalledMs) {
        connection.close(new RpcError('TIMED_OUT', `a reply was not taken within ${sendStalledMs} ms`));
      } else if (connection.serviced === 0 && nowMs - connection.lastActivityMs > idleMs) {
        connection.close(new RpcError('CONNECTION_LOST', 'idle'));
      }
    }
  }
}

/** What a server opens in its state directory. */
interface State {
  readonly store: Store;
  readonly calls: CallLog;
  readonly locks: LockService;
}

async function openState(options: DataAccessServerOptions): Promise<State> {
  const { stateDirectory, exports, log, lockLimits = {} } = options;
  // The first of them, because it says whether another server has the directory.
  const calls = await openCallLog(options);
  let store: Store | undefined;
  try {
    store = Store.open({ stateDirectory, exports });
    return { store, calls, locks: new LockService({ stateDirectory, log, limits: lockLimits }) };
  } catch (error) {
    store?.close();
    calls.close();
    throw error;
  }
}

/** The log of the state directory; the server before this one may still be answering its last calls. */
async function openCallLog({ stateDirectory, bootId, log }: DataAccessServerOptions): Promise<CallLog> {
  const endMs = performance.now() + CALL_LOG_WAIT_MS;
  for (;;) {
    const calls = CallLog.open({ stateDirectory, bootId, log });
    if (calls !== undefined) return calls;
    if (performance.now() > endMs) {
      throw new Error(
        `another server uses --state ${stateDirectory}: stop it, or give this one a directory of its own`,
      );
    }
    await delay(CALL_LOG_RETRY_MS);
  }
}

function identifyPeer(transport: StreamTransport, endpoint: Endpoint): Peer {
  if (endpoint.kind === 'tcp') {
    const { remoteAddress, remotePort } = transport.socket;
    return { kind: 'tcp', address: remoteAddress ?? '', port: remotePort ?? Infinity };
  }
  return { kind: 'unix', ...unixPeer(transport) };
}

function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
