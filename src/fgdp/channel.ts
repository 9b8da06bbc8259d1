/**
 * The descriptor channel of a near session: a SOCK_SEQPACKET socket beside the RPC stream, because the runtime's
 * sockets drop passed descriptors. Order replaces waiting: the guest sends its token before HELLO, the server sends a
 * descriptor before the reply that names it, so the receiver's non-blocking read always finds what it looks for.
 */
import { fstatSync, readSync } from 'node:fs';
import { decodeAll, encodeAll } from '../xdr/codec.ts';
import {
  acceptChannel,
  connectChannel,
  listenChannel,
  receivePacket,
  sendPacket,
} from '../system/channel.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd } from '../system/files.ts';
import { createSealedMemory } from '../system/memory.ts';
import {
  CHANNELS_PENDING_MAX,
  CHANNEL_DRAIN_PACKETS_MAX,
  CHANNEL_PACKET_BYTES_MAX,
  CHANNEL_PENDING_MS,
  GRANTS_UNTAKEN_MAX,
} from './limits.ts';
import { GuestSegments, type SharedPages } from './guest-segments.ts';
import { CHANNEL_PACKET, TOKEN_BYTES, channel_packet, type page_handle } from './program.ts';

/** Where the channel of the server at `socketPath` listens. */
export function channelPath(socketPath: string): string {
  return `${socketPath}.channel`;
}

function encodePacket(packet: channel_packet): Buffer {
  return Buffer.concat(encodeAll(channel_packet, packet));
}

interface Message {
  readonly packet: channel_packet;
  /** The receiver's to close. */
  readonly fds: readonly number[];
}

/** The next packet; `broken` when it does not decode or came in part: then none of its descriptors is left open. */
function receiveMessage(fd: number): Message | 'empty' | 'closed' | 'broken' {
  let received: ReturnType<typeof receivePacket>;
  try {
    received = receivePacket(fd, CHANNEL_PACKET_BYTES_MAX);
  } catch (error) {
    if (error instanceof ErrnoError && (error.code === 'EMSGSIZE' || error.code === 'EMFILE'))
      return 'broken';
    throw error;
  }
  if (received === 'empty' || received === 'closed') return received;
  const { bytes, fds } = received;
  try {
    return { packet: decodeAll(channel_packet, [bytes]), fds };
  } catch {
    fds.forEach(closeFd);
    return 'broken';
  }
}

/** The guest's end. */
export class GuestChannel {
  readonly token: Uint8Array;
  readonly #segments = new GuestSegments();
  readonly #fd: number;
  readonly #granted = new Map<bigint, number>();
  #proven = false;
  #open = true;

  private constructor(fd: number, token: Uint8Array) {
    this.#fd = fd;
    this.token = token;
  }

  /** Connects to the channel beside `socketPath` and sends the token. Throws ErrnoError when nobody listens. */
  static connect(socketPath: string, token: Uint8Array): GuestChannel {
    const fd = connectChannel(channelPath(socketPath));
    const channel = new GuestChannel(fd, token);
    if (sendPacket(fd, encodePacket({ kind: CHANNEL_PACKET.TOKEN, token })) !== 'sent') channel.close();
    return channel;
  }

  /** Whether a descriptor holding our token has come: only a server on this kernel can send one. */
  isProven(): boolean {
    this.#drain();
    return this.#proven;
  }

  /** The descriptor of a grant, now the caller's to close; undefined when none came. */
  take(grantId: bigint): number | undefined {
    let fd = this.#granted.get(grantId);
    if (fd === undefined) {
      this.#drain();
      fd = this.#granted.get(grantId);
    }
    this.#granted.delete(grantId);
    return fd;
  }

  /** The pages of a handle; undefined where they are not in a segment that came over this channel. */
  pages(handle: page_handle): SharedPages | undefined {
    const found = this.#segments.find(handle);
    if (found !== undefined) return found;
    this.#drain();
    return this.#segments.find(handle);
  }

  /** Closes the channel and every descriptor nobody has taken, and unmaps its segments. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#segments.close();
    for (const fd of this.#granted.values()) closeFd(fd);
    this.#granted.clear();
    closeFd(this.#fd);
  }

  #drain(): void {
    // A hostile server could send faster than they are taken.
    for (let packets = 0; this.#open && packets < CHANNEL_DRAIN_PACKETS_MAX; packets += 1) {
      const message = receiveMessage(this.#fd);
      if (message === 'empty' || message === 'closed') return;
      if (message === 'broken') continue;
      const { packet } = message;
      const [fd, ...extra] = message.fds;
      extra.forEach(closeFd);
      if (fd === undefined) continue;
      const isFull = this.#granted.size >= GRANTS_UNTAKEN_MAX;
      if (packet.kind === CHANNEL_PACKET.GRANT && !this.#granted.has(packet.grant_id) && !isFull) {
        this.#granted.set(packet.grant_id, fd);
        continue;
      }
      if (packet.kind === CHANNEL_PACKET.SEGMENT) {
        this.#segments.adopt(packet.segment, packet.pages, fd);
        continue;
      }
      if (packet.kind === CHANNEL_PACKET.PROOF && holdsToken(fd, this.token)) this.#proven = true;
      closeFd(fd);
    }
  }
}

function holdsToken(fd: number, token: Uint8Array): boolean {
  if (!fstatSync(fd).isFile()) return false;
  const contents = Buffer.alloc(TOKEN_BYTES);
  return readSync(fd, contents, 0, TOKEN_BYTES, 0) === TOKEN_BYTES && contents.equals(token);
}

/** The server's end of one guest's channel. */
export class ServerChannel {
  readonly #fd: number;
  #open = true;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Sends the token back with a descriptor that holds it; false when the guest cannot take it. */
  prove(token: Uint8Array): boolean {
    let sealed: number;
    try {
      sealed = createSealedMemory('nearmount-proof', token);
    } catch (error) {
      // No descriptor or memory is left just now: then there is no channel.
      if (error instanceof ErrnoError) return false;
      throw error;
    }
    try {
      return this.#send({ kind: CHANNEL_PACKET.PROOF, token }, sealed);
    } finally {
      closeFd(sealed);
    }
  }

  /** Sends a copy of `fd` under `grantId`; false when the channel is full or gone: then the wire serves. */
  grant(grantId: bigint, fd: number): boolean {
    return this.#send({ kind: CHANNEL_PACKET.GRANT, grant_id: grantId }, fd);
  }

  /** Sends a copy of a segment's descriptor; false as with `grant`. */
  segment(id: bigint, pages: number, fd: number): boolean {
    return this.#send({ kind: CHANNEL_PACKET.SEGMENT, segment: id, pages }, fd);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#fd);
  }

  #send(packet: channel_packet, fd: number): boolean {
    if (!this.#open) return false;
    try {
      return sendPacket(this.#fd, encodePacket(packet), [fd]) === 'sent';
    } catch (error) {
      // Whatever is wrong with the channel, it never fails a call.
      if (error instanceof ErrnoError) return false;
      throw error;
    }
  }
}

interface PendingChannel {
  readonly fd: number;
  readonly sinceMs: number;
}

/** Accepts channels and hands each to the HELLO that names its token. */
export class ChannelListener {
  readonly path: string;
  readonly #fd: number;
  readonly #byToken = new Map<string, PendingChannel>();
  /** Accepted, token not sent yet: a well-behaved guest sends it before HELLO, so these are few. */
  #silent: PendingChannel[] = [];
  #open = true;

  private constructor(fd: number, path: string) {
    this.#fd = fd;
    this.path = path;
  }

  /** @param mode permission bits of the socket file; only who may write to it can ask for descriptors */
  static listen(path: string, mode: number): ChannelListener {
    return new ChannelListener(listenChannel(path, mode), path);
  }

  /** The channel whose guest sent `token`, or undefined. A token serves once. */
  claim(token: Uint8Array): ServerChannel | undefined {
    this.#acceptWaiting();
    const key = Buffer.from(token).toString('hex');
    const pending = this.#byToken.get(key);
    if (pending === undefined) return undefined;
    this.#byToken.delete(key);
    return new ServerChannel(pending.fd);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const { fd } of [...this.#byToken.values(), ...this.#silent]) closeFd(fd);
    this.#byToken.clear();
    this.#silent = [];
    closeFd(this.#fd);
  }

  #acceptWaiting(): void {
    const nowMs = performance.now();
    for (let fd = this.#acceptOne(); fd !== undefined; fd = this.#acceptOne()) {
      this.#silent.push({ fd, sinceMs: nowMs });
    }
    const stillSilent: PendingChannel[] = [];
    for (const pending of this.#silent) {
      const token = readToken(pending.fd);
      if (token === null) stillSilent.push(pending);
      else if (token === undefined || this.#byToken.has(token)) closeFd(pending.fd);
      else this.#byToken.set(token, pending);
    }
    this.#silent = stillSilent;
    this.#expire(nowMs);
  }

  /** A waiting channel; none where no descriptor is left for it, and then its guest does without. */
  #acceptOne(): number | undefined {
    try {
      return acceptChannel(this.#fd);
    } catch (error) {
      if (error instanceof ErrnoError && (error.code === 'EMFILE' || error.code === 'ENFILE'))
        return undefined;
      throw error;
    }
  }

  #expire(nowMs: number): void {
    const isOld = (pending: PendingChannel): boolean => nowMs - pending.sinceMs > CHANNEL_PENDING_MS;
    while (
      this.#silent[0] !== undefined &&
      (isOld(this.#silent[0]) || this.#silent.length > CHANNELS_PENDING_MAX)
    ) {
      closeFd(this.#silent[0].fd);
      this.#silent.shift();
    }
    for (const [token, pending] of this.#byToken) {
      if (!isOld(pending) && this.#byToken.size <= CHANNELS_PENDING_MAX) break;
      closeFd(pending.fd);
      this.#byToken.delete(token);
    }
  }
}

/** The token in hexadecimal; null while the guest is silent, undefined when it is no guest. */
function readToken(fd: number): string | null | undefined {
  const message = receiveMessage(fd);
  if (message === 'empty') return null;
  if (message === 'closed' || message === 'broken') return undefined;
  message.fds.forEach(closeFd);
  if (message.packet.kind !== CHANNEL_PACKET.TOKEN) return undefined;
  return Buffer.from(message.packet.token).toString('hex');
}
