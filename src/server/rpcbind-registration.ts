/** NFS and MOUNT in the list of the local rpcbind, so that a plain `mount -t nfs` finds them. */
import { isIPv4, isIPv6 } from 'node:net';
import { MOUNT_PROGRAM } from '../nfs3/mount.ts';
import { NFS_PROGRAM } from '../nfs3/nfs.ts';
import { RpcConnection } from '../rpc/connection.ts';
import { RpcError } from '../rpc/error.ts';
import { RPCBIND_PROGRAM, readUniversalAddress, universalAddress, type rpcb } from '../rpc/rpcbind.ts';
import type { Logger } from '../observe/log.ts';
import { connect } from '../transport/connect.ts';
import { isWildcardHost, type TcpEndpoint } from '../transport/endpoint.ts';
import { RPCBIND_TIMEOUT_MS } from './limits.ts';

/** Where rpcbind listens for programs of its own machine; there it knows who is root. */
export const RPCBIND_SOCKET = '/run/rpcbind.sock';

const OWNER = Buffer.from('nearmount');
const call = { timeoutMs: RPCBIND_TIMEOUT_MS };

export class RpcbindRegistration {
  readonly #socketPath: string;
  readonly #log: Logger;
  #registered: rpcb[] = [];

  /** @param socketPath of rpcbind's Unix socket */
  constructor(socketPath: string, log: Logger) {
    this.#socketPath = socketPath;
    this.#log = log;
  }

  /**
   * Registers NFS and MOUNT, at one address for IPv4 and one for IPv6: the first of each. Where that fails, a warning
   * says what to do; the server serves all the same.
   */
  async register(endpoints: readonly TcpEndpoint[]): Promise<void> {
    try {
      await this.#withRpcbind(async (rpcbind) => {
        for (const entry of entriesOf(endpoints)) {
          if (await set(rpcbind, entry)) this.#registered.push(entry);
          else await this.#warnTaken(rpcbind, entry);
        }
      });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#log.warn(
        `not registered with rpcbind at ${this.#socketPath} (${error.message}): start rpcbind and then this server, or ` +
          'let clients mount with port= and mountport=',
      );
      return;
    }
    const addresses = new Set(this.#registered.map(({ r_addr }) => Buffer.from(r_addr).toString()));
    if (addresses.size > 0) this.#log.info({ addresses: [...addresses] }, 'registered with rpcbind');
  }

  /** Takes back what was registered. */
  async release(): Promise<void> {
    const registered = this.#registered;
    this.#registered = [];
    if (registered.length === 0) return;
    try {
      await this.#withRpcbind(async (rpcbind) => {
        for (const entry of registered) await rpcbind.call(RPCBIND_PROGRAM, 'UNSET', entry, call);
      });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#log.warn(`rpcbind still lists this server (${error.message}): rpcinfo -d takes it away`);
    }
  }

  async #withRpcbind(action: (rpcbind: RpcConnection) => Promise<void>): Promise<void> {
    const transport = await connect({ kind: 'unix', path: this.#socketPath }, call);
    const rpcbind = new RpcConnection(transport);
    try {
      await action(rpcbind);
    } finally {
      rpcbind.close();
    }
  }

  async #warnTaken(rpcbind: RpcConnection, entry: rpcb): Promise<void> {
    const address = await listedAddress(rpcbind, entry);
    const program = entry.r_prog === NFS_PROGRAM.number ? 'NFS' : 'MOUNT';
    const netid = Buffer.from(entry.r_netid).toString();
    this.#log.warn(
      `rpcbind lists another ${program} server for ${netid} (${address ?? 'not said where'}): ` +
        'stop that one, or leave --rpcbind out; only root may register',
    );
  }
}

/** One address for each of `tcp` and `tcp6`, and the two programs at it. */
function entriesOf(endpoints: readonly TcpEndpoint[]): rpcb[] {
  const addresses = new Map<string, string>();
  const add = (netid: string, host: string, port: number): void => {
    if (!addresses.has(netid)) addresses.set(netid, universalAddress(host, port));
  };
  for (const { host, port } of endpoints) {
    // A name may stand for any address; clients take the host they asked, and the port from here.
    if (isIPv6(host)) add('tcp6', host.replace(/%.*$/, ''), port);
    else add('tcp', isIPv4(host) ? host : '0.0.0.0', port);
  }
  // A listener on :: takes IPv4 connections as well.
  for (const { host, port } of endpoints)
    if (isIPv6(host) && isWildcardHost(host)) add('tcp', '0.0.0.0', port);
  return [...addresses].flatMap(([netid, address]) =>
    [NFS_PROGRAM, MOUNT_PROGRAM].map(({ number, version }) => ({
      r_prog: number,
      r_vers: version,
      r_netid: Buffer.from(netid),
      r_addr: Buffer.from(address),
      r_owner: OWNER,
    })),
  );
}

/** False when another server is registered that still listens; what a killed one left behind is replaced. */
async function set(rpcbind: RpcConnection, entry: rpcb): Promise<boolean> {
  if (await rpcbind.call(RPCBIND_PROGRAM, 'SET', entry, call)) return true;
  const place = readUniversalAddress((await listedAddress(rpcbind, entry)) ?? '');
  if (place === undefined || (await isListening(place))) return false;
  await rpcbind.call(RPCBIND_PROGRAM, 'UNSET', entry, call);
  return rpcbind.call(RPCBIND_PROGRAM, 'SET', entry, call);
}

/** Out of the list: GETADDR answers with what the caller's own address can reach, which over a Unix socket is nothing. */
async function listedAddress(rpcbind: RpcConnection, wanted: rpcb): Promise<string | undefined> {
  const entries = await rpcbind.call(RPCBIND_PROGRAM, 'DUMP', undefined, call);
  const found = entries.find(
    (entry) =>
      entry.r_prog === wanted.r_prog &&
      entry.r_vers === wanted.r_vers &&
      Buffer.from(entry.r_netid).equals(wanted.r_netid),
  );
  return found === undefined ? undefined : Buffer.from(found.r_addr).toString();
}

async function isListening(place: { host: string; port: number }): Promise<boolean> {
  const host = isWildcardHost(place.host) ? (isIPv4(place.host) ? '127.0.0.1' : '::1') : place.host;
  try {
    const transport = await connect({ kind: 'tcp', host, port: place.port }, call);
    transport.socket.destroy();
    return true;
  } catch (error) {
    // Any other failure may come from a living server.
    const cause = error instanceof RpcError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    return cause?.code !== 'ECONNREFUSED';
  }
}
