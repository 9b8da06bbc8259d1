/** Which connections a server holds when more come than it can. */
import { readFileSync } from 'node:fs';
import { CLOSING_WRITERS_MAX, OPEN_FILES_MAX, OPEN_NODES_MAX, OPEN_WRITERS_MAX } from '../store/limits.ts';
import { CONNECTIONS_MAX, CONNECTIONS_MIN, CONNECTIONS_PER_PEER_MAX, DESCRIPTORS_SPARE } from './limits.ts';

/** What is looked at when a place is needed. */
export interface Admitted {
  /** Connections of one peer have the same: its address, or the user at the other end of a Unix socket. */
  readonly peerKey: string;
  /** Whether it has mounted or used an export: then it is never put out. */
  readonly isInUse: () => boolean;
  /** When its last record came or went, on one clock. */
  readonly lastActivityMs: () => number;
  /** Ends it at once, to give its place to another. */
  readonly evict: () => void;
}

export interface AdmissionLimits {
  /** Default: CONNECTIONS_MAX, or fewer where the process may open fewer files. */
  readonly connectionsMax?: number;
  /** Default CONNECTIONS_PER_PEER_MAX. */
  readonly perPeerMax?: number;
}

export class ConnectionAdmission<Connection extends Admitted> {
  readonly #connectionsMax: number;
  readonly #perPeerMax: number;
  readonly #all = new Set<Connection>();
  readonly #byPeer = new Map<string, Set<Connection>>();

  constructor(limits: AdmissionLimits = {}) {
    this.#connectionsMax = limits.connectionsMax ?? connectionsPossible();
    this.#perPeerMax = limits.perPeerMax ?? CONNECTIONS_PER_PEER_MAX;
  }

  get all(): ReadonlySet<Connection> {
    return this.#all;
  }

  /**
   * Takes a connection in. Where its peer has too many, or all together are too many, the one that has been silent
   * longest and never used an export makes room.
   *
   * @returns why it was not taken, when all others are in use
   */
  admit(connection: Connection): string | undefined {
    const own = this.#byPeer.get(connection.peerKey);
    if (own !== undefined && own.size >= this.#perPeerMax && !this.#makeRoom(own)) {
      return `its peer has ${own.size} connections in use`;
    }
    if (this.#all.size >= this.#connectionsMax && !this.#makeRoom(this.#all)) {
      return `${this.#all.size} connections are in use`;
    }
    this.#all.add(connection);
    const peers = this.#byPeer.get(connection.peerKey);
    if (peers === undefined) this.#byPeer.set(connection.peerKey, new Set([connection]));
    else peers.add(connection);
    return undefined;
  }

  /** A connection has ended. */
  remove(connection: Connection): void {
    this.#all.delete(connection);
    const own = this.#byPeer.get(connection.peerKey);
    own?.delete(connection);
    if (own?.size === 0) this.#byPeer.delete(connection.peerKey);
  }

  #makeRoom(among: ReadonlySet<Connection>): boolean {
    let victim: Connection | undefined;
    for (const candidate of among) {
      if (candidate.isInUse()) continue;
      if (victim === undefined || candidate.lastActivityMs() < victim.lastActivityMs()) victim = candidate;
    }
    if (victim === undefined) return false;
    this.remove(victim);
    victim.evict();
    return true;
  }
}

/** CONNECTIONS_MAX, as far as RLIMIT_NOFILE leaves room for it beside the files of the exports. */
export function connectionsPossible(limits: string = readFileSync('/proc/self/limits', 'latin1')): number {
  const openFiles = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
  const ofExports = OPEN_NODES_MAX + OPEN_FILES_MAX + OPEN_WRITERS_MAX + CLOSING_WRITERS_MAX;
  const left = openFiles - ofExports - DESCRIPTORS_SPARE;
  return Math.max(CONNECTIONS_MIN, Math.min(CONNECTIONS_MAX, left));
}
