/** Records over a stream socket: TCP or Unix. */
import type { Socket } from 'node:net';
import type { RecordTransport } from '../rpc/connection.ts';
import { RpcError } from '../rpc/error.ts';
import { RecordDecoder, frameInto, frameRecord } from '../rpc/record.ts';
import { sendNow } from '../system/socket-send.ts';
import { CLOSE_FLUSH_MS, CLOSE_LINGER_MS, SEND_BUFFER_BYTES_MAX, SEND_NOW_BYTES_MAX } from './limits.ts';
import type { ReceiveSlabs } from './receive-slabs.ts';

/** Where small records are put together to be sent: used within one turn only. */
const sending = Buffer.allocUnsafeSlow(SEND_NOW_BYTES_MAX);

export interface StreamOptions {
  /** Where the socket was made to receive into; without it, the chunks are the socket's own. */
  readonly slabs?: ReceiveSlabs;
  /**
   * Read on whatever waits to be sent: so does who calls, because what comes are the replies to calls that were made, and
   * two ends that each wait until the other reads wait for ever. Default false: who is called reads no more than it can answer.
   */
  readonly readsAlways?: boolean;
}

export class StreamTransport implements RecordTransport {
  readonly peerName: string;
  readonly socket: Socket;
  /** Runs when more of a record has come, complete or not. */
  onProgress: (() => void) | undefined;
  readonly #slabs: ReceiveSlabs | undefined;
  readonly #readsAlways: boolean;
  #reason: RpcError | undefined;
  #pausedByOwner = false;
  #pausedBySending = false;
  #deliver: (record: Uint8Array[]) => void = () => undefined;
  #onClose: ((error: RpcError) => void) | undefined;
  #ended = false;
  /** Records of the last chunk read that came after `pause`. */
  #held: Uint8Array[][] = [];
  readonly #decoder: RecordDecoder;
  #recordBeganMs: number | undefined;
  #sentBytes = 0;
  #lastSentMs = 0;

  /** Takes over a connected socket. */
  constructor(socket: Socket, peerName: string, { slabs, readsAlways = false }: StreamOptions = {}) {
    this.socket = socket;
    this.#slabs = slabs;
    this.#readsAlways = readsAlways;
    this.peerName = peerName;
    this.#decoder = new RecordDecoder((record) => {
      this.#recordBeganMs = undefined;
      if (this.#isPaused) this.#held.push(record);
      else if (this.#reason === undefined) this.#deliver(record);
    });
    // From the first moment: an error event that nobody hears would end the process.
    socket.on('error', (error) => {
      this.#reason ??= new RpcError('CONNECTION_LOST', `connection to ${peerName} failed: ${error.message}`, {
        cause: error,
      });
    });
    socket.once('close', () => {
      this.#ended = true;
      this.#onClose?.(this.#endReason());
    });
  }

  /**
   * How long the peer has been sending the record that is not complete yet, in milliseconds; 0 between records, and
   * while it is not read from.
   */
  get recordAgeMs(): number {
    if (this.#recordBeganMs === undefined || this.#isPaused) return 0;
    return performance.now() - this.#recordBeganMs;
  }

  /** Bytes kept of a record that is not complete yet. */
  get recordBytes(): number {
    return this.#decoder.keptBytes;
  }

  /**
   * How long the peer has taken no byte of what is due, in milliseconds, as far as this was asked before; 0 while nothing
   * waits to be sent.
   */
  get sendStalledMs(): number {
    if (this.socket.writableLength === 0) return 0;
    // Writes that wait together end together, so their ends say nothing of a peer that is slow: what the kernel took does.
    const sentBytes = bytesTaken(this.socket);
    if (sentBytes !== this.#sentBytes) {
      this.#sentBytes = sentBytes;
      this.#lastSentMs = performance.now();
    }
    return performance.now() - this.#lastSentMs;
  }

  start(onRecord: (record: Uint8Array[]) => void, onClose: (error: RpcError) => void): void {
    const { socket } = this;
    this.#deliver = onRecord;
    const receive = (chunk: Uint8Array): void => {
      if (this.#reason !== undefined) return;
      try {
        this.#decoder.push(chunk);
        if (this.#decoder.isWithin) this.#recordBeganMs ??= performance.now();
        this.onProgress?.();
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        this.close(error);
      }
    };
    if (this.#slabs === undefined) socket.on('data', receive);
    else this.#slabs.receiver = receive;
    socket.on('drain', () => {
      this.#pausedBySending = false;
      this.#deliverHeld();
      this.#update();
    });
    socket.on('end', () => {
      socket.destroy();
    });
    if (this.#ended) queueMicrotask(() => onClose(this.#endReason()));
    else this.#onClose = onClose;
    this.#update();
  }

  send(record: readonly Uint8Array[], onSent?: () => void): void {
    const { socket } = this;
    if (!socket.writable) {
      onSent?.();
      return;
    }
    if (socket.writableLength === 0) {
      if (this.#sendNow(record, onSent)) return;
      this.#lastSentMs = performance.now();
    }
    const chunks = frameRecord(record);
    const last = chunks.length - 1;
    socket.cork();
    chunks.forEach((chunk, index) => {
      if (index === last) {
        socket.write(chunk, () => onSent?.());
      } else {
        socket.write(chunk);
      }
    });
    socket.uncork();
    if (socket.writableLength > SEND_BUFFER_BYTES_MAX && !this.#pausedBySending && !this.#readsAlways) {
      this.#pausedBySending = true;
      this.#update();
    }
  }

  /**
   * Sends a small record while nothing else waits, without what a stream of Node's has to do for each; false where it is
   * to go the usual way.
   */
  #sendNow(record: readonly Uint8Array[], onSent: (() => void) | undefined): boolean {
    const fd = descriptorOf(this.socket);
    const length = frameInto(sending, record);
    const sent = fd === undefined || length === 0 ? 0 : sendNow(fd, sending, length);
    if (sent === 0) return false;
    if (sent === length) {
      onSent?.();
      return true;
    }
    this.#lastSentMs = performance.now();
    this.socket.write(Buffer.from(sending.subarray(sent, length)), () => onSent?.());
    return true;
  }

  pause(): void {
    this.#pausedByOwner = true;
    this.#update();
  }

  resume(): void {
    if (!this.#pausedByOwner) return;
    this.#pausedByOwner = false;
    this.#deliverHeld();
    this.#update();
  }

  /**
   * Sends what is queued, for at most CLOSE_FLUSH_MS, and then ends; a broken or hostile peer is cut off at once.
   * Records that arrive after this are dropped.
   */
  close(reason = new RpcError('CONNECTION_LOST', 'closed here')): void {
    const { socket } = this;
    const isPaused = this.#isPaused;
    const isClosing = this.#reason !== undefined;
    this.#reason ??= reason;
    this.#held = [];
    if (reason.code !== 'CONNECTION_LOST') {
      socket.destroy();
      return;
    }
    if (isClosing || socket.destroyed) return;
    this.#cutOffAfter(CLOSE_FLUSH_MS);
    if (!isPaused) {
      socket.destroySoon();
      return;
    }
    // Closed with bytes unread, TCP resets the connection and loses what was sent: first they are read and dropped.
    socket.end(() => {
      this.#cutOffAfter(CLOSE_LINGER_MS);
    });
    this.#update();
  }

  #cutOffAfter(ms: number): void {
    const { socket } = this;
    const timer = setTimeout(() => {
      socket.destroy();
    }, ms);
    socket.once('close', () => {
      clearTimeout(timer);
    });
  }

  /** Taking a record may pause or close the connection again. */
  #deliverHeld(): void {
    while (!this.#isPaused) {
      const record = this.#held.shift();
      if (record === undefined) return;
      this.#deliver(record);
    }
  }

  get #isPaused(): boolean {
    return this.#pausedByOwner || this.#pausedBySending;
  }

  #endReason(): RpcError {
    return this.#reason ?? new RpcError('CONNECTION_LOST', `${this.peerName} closed the connection`);
  }

  #update(): void {
    if (this.#isPaused && this.#reason === undefined) {
      this.socket.pause();
      return;
    }
    // What the peer could not send while it was not read from is not its delay.
    if (this.#recordBeganMs !== undefined && this.socket.isPaused()) this.#recordBeganMs = performance.now();
    this.socket.resume();
  }
}

/** Node has no public way to it. */
interface SocketHandle {
  readonly fd?: number;
  readonly bytesWritten?: number;
  readonly writeQueueSize?: number;
}

function handleOf(socket: Socket): SocketHandle | undefined {
  return (socket as unknown as { readonly _handle?: SocketHandle | null })._handle ?? undefined;
}

/** Bytes the kernel has taken of what was sent in the usual way. */
function bytesTaken(socket: Socket): number {
  const handle = handleOf(socket);
  return (handle?.bytesWritten ?? 0) - (handle?.writeQueueSize ?? 0);
}

/** Of a socket that is open. */
function descriptorOf(socket: Socket): number | undefined {
  const fd = handleOf(socket)?.fd;
  return fd === undefined || fd < 0 ? undefined : fd;
}
