import { peerCredentials, peerGroups, socketDescriptor } from '../system/channel.ts';
import type { StreamTransport } from './stream.ts';

/** Ids of a process, as the kernel vouches for them. */
export interface PeerIdentity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Who connected over a Unix socket: SO_PEERCRED, SO_PEERGROUPS of unix(7). Throws ErrnoError when it is gone. */
export function peerIdentity(transport: StreamTransport): PeerIdentity {
  const fd = socketDescriptor(transport.socket);
  const { uid, gid } = peerCredentials(fd);
  return { uid, gid, groups: peerGroups(fd) };
}
