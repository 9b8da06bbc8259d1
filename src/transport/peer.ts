import { peerCredentials, peerGroups, socketDescriptor } from '../system/channel.ts';
import { outsideId, peerProcess, type IdRange } from '../system/peer-process.ts';
import type { StreamTransport } from './stream.ts';

/** Ids of a process, as the kernel vouches for them. */
export interface PeerIdentity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/**
 * In whose name a peer may speak: `any` (root, which could become anybody), `itself` only, or everybody in the user
 * namespace that it is root of, by the ids that they have there.
 */
export type PeerClaims = 'any' | 'itself' | PeerNamespace;

export interface PeerNamespace {
  readonly uidMap: readonly IdRange[];
  readonly gidMap: readonly IdRange[];
}

export interface UnixPeer {
  readonly identity: PeerIdentity;
  readonly claims: PeerClaims;
}

const ROOT = 0;

/** Who connected over a Unix socket: SO_PEERCRED, SO_PEERGROUPS of unix(7). Throws ErrnoError when it is gone. */
export function unixPeer(transport: StreamTransport): UnixPeer {
  const fd = socketDescriptor(transport.socket);
  const { uid, gid } = peerCredentials(fd);
  return { identity: { uid, gid, groups: peerGroups(fd) }, claims: claimsOf(uid, peerProcess(fd)) };
}

/** A peer never gets more than the process could take for itself by setuid(2) and setgroups(2). */
export function claimsOf(uid: number, process: ReturnType<typeof peerProcess>): PeerClaims {
  if (process === 'unknown') return uid === ROOT ? 'any' : 'itself';
  // What may hide its capabilities from us gets nothing by them.
  if (process === 'gone' || process === 'unseen' || !process.maySwitch) return 'itself';
  if (process.sharesUserNamespace) return uid === ROOT ? 'any' : 'itself';
  const { uidMap, gidMap } = process;
  return outsideId(uidMap, ROOT) === uid ? { uidMap, gidMap } : 'itself';
}

/**
 * An identity of a peer's namespace in our ids. Groups that do not exist there are left out; undefined for a user or
 * group that does not.
 */
export function outsideIdentity(
  { uidMap, gidMap }: PeerNamespace,
  identity: PeerIdentity,
): PeerIdentity | undefined {
  const uid = outsideId(uidMap, identity.uid);
  const gid = outsideId(gidMap, identity.gid);
  if (uid === undefined || gid === undefined) return undefined;
  const groups = identity.groups
    .map((group) => outsideId(gidMap, group))
    .filter((group) => group !== undefined);
  return { uid, gid, groups };
}
