/** One connection, both roles: calls flow in either direction over the same records. */
import { XdrReader } from '../xdr/reader.ts';
import { XdrError } from '../xdr/error.ts';
import { Caller, type CallOptions } from './caller.ts';
import type { CallInfo, Dispatcher, FindShorthand } from './dispatcher.ts';
import { RpcError } from './error.ts';
import { CALLS_IN_FLIGHT_MAX } from './limits.ts';
import { MSG_TYPE, message_header } from './message.ts';
import type { ArgsOf, Procedures, Program, ResultOf } from './program.ts';

/** Moves whole records to and from one peer. Implemented in src/transport. */
export interface RecordTransport {
  /** Who is at the other end, for people. */
  readonly peerName: string;
  /** Sends one record. `onSent` runs once its memory may be reused, also when it will never be sent. */
  send(record: readonly Uint8Array[], onSent?: () => void): void;
  /** Starts delivery; called once. `onClose` runs exactly once. */
  start(onRecord: (record: Uint8Array[]) => void, onClose: (error: RpcError) => void): void;
  /** Stops reading from the peer, and goes on. */
  pause(): void;
  resume(): void;
  /** Ends the connection; `onClose` follows. */
  close(reason?: RpcError): void;
}

/** Keeps account of the memory of calls that were received and not carried out. Implemented in src/server. */
export interface CallMemory {
  /** No more calls are read for now. */
  readonly isFull: boolean;
  /** Set by the connection: to be called whenever `isFull` may have changed by what others do. */
  onRoom: () => void;
  take(bytes: number): void;
  give(bytes: number): void;
}

export interface Serving<Context> {
  readonly dispatcher: Dispatcher<Context>;
  readonly makeContext: (call: CallInfo) => Context;
  /** Where AUTH_SHORT is spoken. */
  readonly findShorthand?: FindShorthand;
  /** Default CALLS_IN_FLIGHT_MAX. */
  readonly callsInFlightMax?: number;
  /** Without it, only the number of calls is limited. */
  readonly memory?: CallMemory;
}

export class RpcConnection<Context = undefined> {
  readonly transport: RecordTransport;
  readonly #caller: Caller;
  readonly #serving: Serving<Context> | undefined;
  readonly #closeListeners: ((error: RpcError) => void)[] = [];
  #serviced = 0;
  #paused = false;
  #closed: RpcError | undefined;
  #lastActivityMs = performance.now();
  #onIdle: (() => void) | undefined;

  /** @param serving what to do with calls that arrive; without it they are answered PROG_UNAVAIL by closing */
  constructor(transport: RecordTransport, serving?: Serving<Context>) {
    this.transport = transport;
    this.#serving = serving;
    if (serving?.memory !== undefined) {
      serving.memory.onRoom = () => {
        this.#regulate();
      };
    }
    this.#caller = new Caller((chunks) => {
      if (this.#closed !== undefined) throw this.#closed;
      transport.send(chunks);
    });
    transport.start(
      (record) => {
        this.#receive(record);
      },
      (error) => {
        this.#end(error);
      },
    );
  }

  /** When the last record came or went, on the clock of performance.now(), in milliseconds. */
  get lastActivityMs(): number {
    return this.#lastActivityMs;
  }

  /** Calls received whose reply has not left yet. */
  get serviced(): number {
    return this.#serviced;
  }

  /** Calls made and not yet answered. */
  get inFlight(): number {
    return this.#caller.inFlight;
  }

  get closed(): RpcError | undefined {
    return this.#closed;
  }

  call<P extends Procedures, K extends keyof P & string>(
    program: Program<P>,
    name: K,
    args: ArgsOf<P[K]>,
    options?: CallOptions,
  ): Promise<ResultOf<P[K]>> {
    return this.#caller.call(program, name, args, options);
  }

  /** Runs once when the connection has ended; at once if it has. */
  onClose(listener: (error: RpcError) => void): void {
    if (this.#closed !== undefined) listener(this.#closed);
    else this.#closeListeners.push(listener);
  }

  close(reason = new RpcError('CONNECTION_LOST', 'closed here')): void {
    this.transport.close(reason);
  }

  /** Stops taking calls, waits until those taken are answered, then closes. */
  async drain(): Promise<void> {
    this.#paused = true;
    this.transport.pause();
    if (this.#serviced > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        this.onClose(() => {
          resolve();
        });
      });
    }
    this.close();
  }

  #receive(record: Uint8Array[]): void {
    this.#lastActivityMs = performance.now();
    try {
      const { mtype } = message_header.decode(new XdrReader(record));
      if (mtype === MSG_TYPE.REPLY) {
        this.#caller.receive(record);
        return;
      }
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      this.close(
        new RpcError(
          'BAD_RECORD',
          `record from ${this.transport.peerName} is no RPC message: ${error.message}`,
        ),
      );
      return;
    }
    void this.#serve(record);
  }

  async #serve(record: Uint8Array[]): Promise<void> {
    const serving = this.#serving;
    if (serving === undefined) {
      this.close(
        new RpcError('BAD_RECORD', `${this.transport.peerName} sent a call where only replies are expected`),
      );
      return;
    }
    const { memory } = serving;
    let bytes = 0;
    for (const piece of record) bytes += piece.length;
    memory?.take(bytes);
    this.#serviced += 1;
    this.#regulate();
    let isQueued = false;
    try {
      const reply = await serving.dispatcher
        .dispatch(record, serving.makeContext, serving.findShorthand)
        .finally(() => {
          memory?.give(bytes);
        });
      if (reply === undefined) {
        this.close(new RpcError('BAD_RECORD', `call from ${this.transport.peerName} does not decode`));
      } else if (this.#closed !== undefined) {
        reply.release();
      } else {
        this.#lastActivityMs = performance.now();
        isQueued = true;
        // It counts until it has left: a peer that takes no replies is not to have more and more of them made.
        this.transport.send(reply.chunks, () => {
          reply.release();
          this.#answered();
        });
      }
    } finally {
      if (!isQueued) this.#answered();
    }
  }

  /** Reads on, or does not. */
  #regulate(): void {
    const { callsInFlightMax = CALLS_IN_FLIGHT_MAX, memory } = this.#serving ?? {};
    // Asked in any case: an account that is full waits for room.
    const isFull = memory?.isFull === true;
    if (this.#paused || isFull || this.#serviced >= callsInFlightMax) this.transport.pause();
    else this.transport.resume();
  }

  #answered(): void {
    this.#serviced -= 1;
    this.#regulate();
    if (this.#serviced === 0) this.#onIdle?.();
  }

  #end(error: RpcError): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#caller.end(error);
    for (const listener of this.#closeListeners.splice(0)) listener(error);
  }
}
