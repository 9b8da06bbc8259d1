/** What is remembered of the calls of FGDP clients, so that they take effect once. */
import {
  KEPT_BYTES_MAX,
  KEPT_CALLS_PER_CLIENT_MAX,
  KEPT_CLIENTS_MAX,
  KEPT_CLIENT_SILENT_MS,
} from './limits.ts';

/** One call that began. Without a reply it is under way, or its server died under it. */
export interface KeptCall {
  /** What the procedure kept before it changed anything; undefined where it changed nothing. */
  readonly before: Uint8Array | undefined;
  readonly reply: Uint8Array | undefined;
}

interface Client {
  /** Whom it came from last. */
  peer: string;
  /** The oldest first. */
  readonly calls: Map<string, KeptCall>;
  bytes: number;
  lastMs: number;
}

interface Peer {
  /** The one not heard of longest first. */
  readonly clients: Set<string>;
  bytes: number;
}

export interface KeptCallsLimits {
  readonly callsPerClient: number;
  readonly clients: number;
  readonly bytes: number;
  readonly silentMs: number;
}

const LIMITS: KeptCallsLimits = {
  callsPerClient: KEPT_CALLS_PER_CLIENT_MAX,
  clients: KEPT_CLIENTS_MAX,
  bytes: KEPT_BYTES_MAX,
  silentMs: KEPT_CLIENT_SILENT_MS,
};

/**
 * The newest calls of each client. Where all together are too much, the peer (address or user) that takes most loses the
 * client that it was not heard of for longest: who makes up clients pushes out his own.
 */
export class KeptCalls {
  readonly #limits: KeptCallsLimits;
  readonly #weigh: (call: KeptCall) => number;
  /** The one not heard of longest first. */
  readonly #clients = new Map<string, Client>();
  readonly #peers = new Map<string, Peer>();
  #bytes = 0;

  /** @param weigh what a call takes in the log, in bytes */
  constructor(weigh: (call: KeptCall) => number, limits: Partial<KeptCallsLimits> = {}) {
    this.#weigh = weigh;
    this.#limits = { ...LIMITS, ...limits };
  }

  get bytes(): number {
    return this.#bytes;
  }

  get clients(): number {
    return this.#clients.size;
  }

  find(clientId: string, key: string): KeptCall | undefined {
    return this.#clients.get(clientId)?.calls.get(key);
  }

  /** Remembers a call, in place of what was known of it; others are forgotten where that is too much. */
  keep(clientId: string, peer: string, key: string, call: KeptCall): void {
    const client = this.#heardOf(clientId, peer);
    this.#drop(client, key);
    client.calls.set(key, call);
    this.#weighIn(client, this.#weigh(call));
    if (client.calls.size > this.#limits.callsPerClient) {
      const [oldest] = client.calls.keys();
      if (oldest !== undefined) this.#drop(client, oldest);
    }
    const { clients, bytes } = this.#limits;
    while (
      this.#clients.size > clients &&
      this.#dropOneOfTheGreediest((peer) => peer.clients.size, clientId)
    );
    while (this.#bytes > bytes && this.#dropOneOfTheGreediest((peer) => peer.bytes, clientId));
  }

  forget(clientId: string, key: string): void {
    const client = this.#clients.get(clientId);
    if (client !== undefined) this.#drop(client, key);
  }

  /** Forgets clients until what is left takes at most so many bytes in the log. */
  shrinkTo(bytes: number): void {
    while (this.#bytes > bytes && this.#dropOneOfTheGreediest((peer) => peer.bytes));
  }

  /** Every call, those of a client in their order. */
  *[Symbol.iterator](): Generator<readonly [clientId: string, key: string, call: KeptCall]> {
    for (const [clientId, { calls }] of this.#clients) {
      for (const [key, call] of calls) yield [clientId, key, call];
    }
  }

  #heardOf(clientId: string, peer: string): Client {
    const nowMs = performance.now();
    let client = this.#clients.get(clientId);
    if (client === undefined) {
      this.#dropSilent(nowMs);
      client = { peer, calls: new Map(), bytes: 0, lastMs: nowMs };
    } else {
      this.#leave(clientId, client);
    }
    client.peer = peer;
    client.lastMs = nowMs;
    this.#clients.set(clientId, client);
    const own = this.#peers.get(peer) ?? { clients: new Set<string>(), bytes: 0 };
    this.#peers.set(peer, own);
    own.clients.add(clientId);
    own.bytes += client.bytes;
    return client;
  }

  #leave(clientId: string, client: Client): void {
    this.#clients.delete(clientId);
    const own = this.#peers.get(client.peer);
    if (own === undefined) return;
    own.clients.delete(clientId);
    own.bytes -= client.bytes;
    if (own.clients.size === 0) this.#peers.delete(client.peer);
  }

  #weighIn(client: Client, bytes: number): void {
    client.bytes += bytes;
    this.#bytes += bytes;
    const own = this.#peers.get(client.peer);
    if (own !== undefined) own.bytes += bytes;
  }

  #drop(client: Client, key: string): void {
    const call = client.calls.get(key);
    if (call === undefined) return;
    client.calls.delete(key);
    this.#weighIn(client, -this.#weigh(call));
  }

  #dropClient(clientId: string): void {
    const client = this.#clients.get(clientId);
    if (client === undefined) return;
    this.#leave(clientId, client);
    this.#bytes -= client.bytes;
  }

  #dropSilent(nowMs: number): void {
    for (const [clientId, { lastMs }] of this.#clients) {
      if (nowMs - lastMs < this.#limits.silentMs) return;
      this.#dropClient(clientId);
    }
  }

  /** @param spared a client that is not dropped */
  #dropOneOfTheGreediest(share: (peer: Peer) => number, spared?: string): boolean {
    let greediest: Peer | undefined;
    let greatest = -1;
    for (const peer of this.#peers.values()) {
      const hasOthers = peer.clients.size > 1 || spared === undefined || !peer.clients.has(spared);
      if (!hasOthers || share(peer) <= greatest) continue;
      greediest = peer;
      greatest = share(peer);
    }
    for (const clientId of greediest?.clients ?? []) {
      if (clientId === spared) continue;
      this.#dropClient(clientId);
      return true;
    }
    return false;
  }
}
