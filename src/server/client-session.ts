/** What the server knows about one connection: who is at the other end, and what it holds. */
import { BlockList, isIPv6 } from 'node:net';
import type { ServerChannel } from '../fgdp/channel.ts';
import type { RpcConnection } from '../rpc/connection.ts';
import type { CallInfo } from '../rpc/dispatcher.ts';
import type { ExportOptions } from '../store/export-options.ts';
import { outsideIdentity, type PeerClaims } from '../transport/peer.ts';
import type { Promises } from './promises.ts';
import type { SessionPages } from './session-pages.ts';
import { squashIdentity } from '../store/squash.ts';
import { ReplyAccount, ReplyBudget } from './reply-budget.ts';
import { Shorthands } from './shorthands.ts';
import { canSwitchIdentity, serverIdentity, type Identity } from '../store/identity.ts';

/** Who a connection comes from. */
export type Peer =
  /** Over a Unix socket the kernel says who it is, and in whose name it may speak. */
  | { readonly kind: 'unix'; readonly identity: Identity; readonly claims: PeerClaims }
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number };

/** The reverse direction of a connection. */
export type GuestCaller = Pick<RpcConnection<ServerContext>, 'call'>;

export class ClientSession {
  readonly peer: Peer;
  readonly name: string;
  /** Set by HELLO on a near connection. */
  channel: ServerChannel | undefined;
  /** Set by HELLO on a near connection whose guest can map segments. */
  pages: SessionPages | undefined;
  /** Set by SUBSCRIBE: what the guest will be told the changes of. */
  promises: Promises | undefined;
  /** Calls the guest, over the connection that it has opened; undefined before there is one. */
  guest: GuestCaller | undefined;
  /** Whether HELLO was said. */
  isFgdp = false;
  /** Set by CLIENT: whose calls these are, over all of its connections. */
  clientId: string | undefined;
  /** Whether the guest can be told of a lock that it waited for: LOCK_GRANTED. */
  hearsOfLocks = false;
  /** Whether listings say which files have no ACL. */
  wantsAclMarks = false;
  /** Whether modes of new files come with what the umask has taken off. */
  sendsUmask = false;
  /** Callers that CREDENTIAL has told about. */
  readonly shorthands = new Shorthands();
  /** Grants not released yet. */
  readonly grants = new Set<bigint>();
  /** Room for its bulk replies. */
  readonly replies: ReplyAccount;
  /** Whether it has mounted or used an export that it may use. */
  usesExports = false;
  readonly #endListeners: (() => void)[] = [];
  /** Whether its address is in a list of networks, as far as that was asked. */
  readonly #isAmong = new WeakMap<readonly string[], boolean>();

  constructor(peer: Peer, name: string, replies = new ReplyAccount(new ReplyBudget())) {
    this.peer = peer;
    this.name = name;
    this.replies = replies;
  }

  /** Whether a TCP peer's address is in one of the networks (CIDR, or addresses). */
  isAmong(networks: readonly string[]): boolean {
    const { peer } = this;
    if (peer.kind !== 'tcp') return false;
    let isAmong = this.#isAmong.get(networks);
    if (isAmong === undefined) {
      const address = peer.address.replace(/^::ffff:(?=\d+\.)/i, '');
      isAmong = networksOf(networks).check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
      this.#isAmong.set(networks, isAmong);
    }
    return isAmong;
  }

  /** @param listener is told when the connection has ended */
  onEnd(listener: () => void): void {
    this.#endListeners.push(listener);
  }

  /** Releases everything the client held. */
  end(): void {
    for (const listener of this.#endListeners.splice(0)) listener();
    this.promises?.end();
    this.pages?.close();
    this.channel?.close();
    this.grants.clear();
    this.replies.close();
  }
}

/**
 * A call that must take effect once, however often it is sent. Before the procedure changes anything, in the same turn, it
 * says what the change starts from.
 */
export interface Intent {
  /**
   * Keeps `before`, so that it outlives the server.
   *
   * @returns undefined where this call is carried out for the first time. Otherwise what the first execution had kept
   * when the server died under it: the procedure looks whether that one had taken effect, and answers as it would have
   */
  begin(before: Uint8Array): Uint8Array | undefined;
}

/** What every procedure receives beside its arguments. */
export interface ServerContext {
  readonly call: CallInfo;
  readonly session: ClientSession;
  /** Set for calls that are not idempotent, from clients that send the same call again after the server died. */
  readonly intent?: Intent | undefined;
}

/** Ports below this one need root (CAP_NET_BIND_SERVICE) at the client: IPPORT_RESERVED. */
const RESERVED_PORT_END = 1024;

function anonymousIdentity({ anonymousUid, anonymousGid }: ExportOptions): Identity {
  return { uid: anonymousUid, gid: anonymousGid, groups: [] };
}

/**
 * Who the call says it is, before the export squashes it. AUTH_SYS is a mere claim: it counts from root on this
 * machine, and from the networks that the export trusts by name.
 */
function claimedIdentity({ call, session }: ServerContext, options: ExportOptions): Identity {
  const { peer } = session;
  if (!canSwitchIdentity()) return serverIdentity();
  if (peer.kind === 'tcp' && options.clients === undefined) return anonymousIdentity(options);
  // A peer that could not become others is only ever itself, whatever AUTH_SYS claims.
  const claims = peer.kind === 'unix' ? peer.claims : 'any';
  if (peer.kind === 'unix' && claims === 'itself') return withoutRoot(peer.identity, options);
  const { credential } = call;
  if (credential.flavor === 'none') return anonymousIdentity(options);
  const { uid, gid, groups } = credential;
  const claimed = { uid, gid, groups };
  if (typeof claims === 'string') return claimed;
  return withoutRoot(outsideIdentity(claims, claimed) ?? anonymousIdentity(options), options);
}

/** Uid 0 without root's powers, as in a user namespace, is not what uid 0 is here: it is squashed on every export. */
function withoutRoot(identity: Identity, options: ExportOptions): Identity {
  return identity.uid === 0 ? squashIdentity({ ...options, squash: 'root' }, identity) : identity;
}

/** Who the caller is to an export. A server without root serves everybody as its own uid. */
export function callerIdentity(context: ServerContext, options: ExportOptions): Identity {
  const claimed = claimedIdentity(context, options);
  return canSwitchIdentity() ? squashIdentity(options, claimed) : claimed;
}

/**
 * Whether the connection may use an export at all: `clients=` and `secure` limit TCP peers, a Unix peer is on this
 * machine.
 */
export function mayUseExport(session: ClientSession, options: ExportOptions): boolean {
  const { peer } = session;
  if (peer.kind === 'unix') return true;
  if (options.secure && peer.port >= RESERVED_PORT_END) return false;
  return options.clients === undefined || session.isAmong(options.clients);
}

const networkLists = new WeakMap<readonly string[], BlockList>();

function networksOf(clients: readonly string[]): BlockList {
  let networks = networkLists.get(clients);
  if (networks === undefined) {
    networks = new BlockList();
    for (const network of clients) {
      const [address = '', bits] = network.split('/');
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (bits === undefined) networks.addAddress(address, family);
      else networks.addSubnet(address, Number(bits), family);
    }
    networkLists.set(clients, networks);
  }
  return networks;
}
