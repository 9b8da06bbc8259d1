/** The calling half of a connection: encodes calls, matches replies by xid. */
import { randomInt } from 'node:crypto';
import type { Codec } from '../xdr/codec.ts';
import { XdrError } from '../xdr/error.ts';
import { XdrReader } from '../xdr/reader.ts';
import { XdrWriter } from '../xdr/writer.ts';
import { AUTH_REJECTEDCRED, NO_AUTH, type opaque_auth } from './auth.ts';
import { RpcError, type RpcErrorCode } from './error.ts';
import {
  ACCEPT_STAT,
  MSG_TYPE,
  REJECT_STAT,
  REPLY_STAT,
  RPC_VERSION,
  call_body,
  message_header,
  reply_body,
} from './message.ts';
import type { ArgsOf, Procedures, Program, ResultOf } from './program.ts';

export interface CallOptions {
  /** Default AUTH_NONE. */
  readonly credential?: opaque_auth;
  /** Reuse the xid of a call that is being sent again, which is ABORTED if it still waits; default a fresh one. */
  readonly xid?: number;
  /** Reject with TIMED_OUT after so many milliseconds; default: wait until the connection ends. */
  readonly timeoutMs?: number;
  /** Reject with ABORTED; a reply that still comes is dropped. */
  readonly signal?: AbortSignal;
}

interface PendingCall {
  readonly name: string;
  readonly result: Codec<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

let nextXid = randomInt(0x80000000);

/** A fresh transaction id, unique in this process for the next four thousand million calls. */
export function freshXid(): number {
  nextXid = (nextXid + 1) >>> 0;
  return nextXid;
}

const ACCEPT_ERRORS: Readonly<Record<number, RpcErrorCode>> = {
  [ACCEPT_STAT.PROG_UNAVAIL]: 'PROG_UNAVAIL',
  [ACCEPT_STAT.PROG_MISMATCH]: 'PROG_MISMATCH',
  [ACCEPT_STAT.PROC_UNAVAIL]: 'PROC_UNAVAIL',
  [ACCEPT_STAT.GARBAGE_ARGS]: 'GARBAGE_ARGS',
  [ACCEPT_STAT.SYSTEM_ERR]: 'SYSTEM_ERR',
};

export class Caller {
  readonly #pending = new Map<number, PendingCall>();
  readonly #send: (chunks: Uint8Array[]) => void;
  #ended: RpcError | undefined;

  /** @param send takes an encoded call; it may throw RpcError when the connection is gone */
  constructor(send: (chunks: Uint8Array[]) => void) {
    this.#send = send;
  }

  /** Calls that wait for their reply. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** Calls one procedure; rejects with RpcError, or XdrError when the arguments do not fit their declaration. */
  call<P extends Procedures, K extends keyof P & string>(
    program: Program<P>,
    name: K,
    args: ArgsOf<P[K]>,
    options: CallOptions = {},
  ): Promise<ResultOf<P[K]>> {
    const declared = program.procedures[name];
    if (declared === undefined) throw new TypeError(`${program.name} declares no ${name}`);
    const xid = options.xid ?? freshXid();
    return new Promise<ResultOf<P[K]>>((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      if (options.signal?.aborted === true) {
        reject(new RpcError('ABORTED', `${name} was given up`));
        return;
      }
      const writer = new XdrWriter();
      message_header.encode(writer, { xid, mtype: MSG_TYPE.CALL });
      call_body.encode(writer, {
        rpcvers: RPC_VERSION,
        prog: program.number,
        vers: program.version,
        proc: declared.number,
        cred: options.credential ?? NO_AUTH,
        verf: NO_AUTH,
      });
      declared.args.encode(writer, args);

      let timer: NodeJS.Timeout | undefined;
      const settle = (): void => {
        this.#pending.delete(xid);
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', onAbort);
      };
      const fail = (error: Error): void => {
        settle();
        reject(error);
      };
      const onAbort = (): void => {
        fail(new RpcError('ABORTED', `${name} was given up`));
      };
      if (options.timeoutMs !== undefined) {
        timer = setTimeout(() => {
          fail(new RpcError('TIMED_OUT', `no reply to ${name} within ${options.timeoutMs} ms`));
        }, options.timeoutMs);
      }
      options.signal?.addEventListener('abort', onAbort, { once: true });
      // One reply cannot settle two calls, and the older one's end must not take the newer one's place away.
      this.#pending.get(xid)?.reject(new RpcError('ABORTED', `${name} was sent again`));
      this.#pending.set(xid, {
        name,
        result: declared.result,
        resolve: (value) => {
          settle();
          resolve(value as ResultOf<P[K]>);
        },
        reject: fail,
      });
      try {
        this.#send(writer.finish());
      } catch (error) {
        fail(error instanceof Error ? error : new RpcError('CONNECTION_LOST', String(error)));
      }
    });
  }

  /** Takes a REPLY record. One that matches no call (given up, or never made) is dropped. */
  receive(record: readonly Uint8Array[]): void {
    const reader = new XdrReader(record);
    const { xid } = message_header.decode(reader);
    const call = this.#pending.get(xid);
    if (call === undefined) return;
    try {
      const body = reply_body.decode(reader);
      const error = replyError(call.name, body);
      if (error !== undefined) {
        call.reject(error);
        return;
      }
      const value = call.result.decode(reader);
      reader.expectEnd();
      call.resolve(value);
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      call.reject(
        new RpcError('BAD_REPLY', `reply to ${call.name} does not decode: ${error.message}`, {
          cause: error,
        }),
      );
    }
  }

  /** Fails every waiting call, and every later one. */
  end(error: RpcError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    for (const call of [...this.#pending.values()]) call.reject(error);
  }
}

function replyError(name: string, body: reply_body): RpcError | undefined {
  if (body.reply === REPLY_STAT.MSG_ACCEPTED) {
    const code = ACCEPT_ERRORS[body.data.stat];
    return code === undefined ? undefined : new RpcError(code, `the server answered ${name} with ${code}`);
  }
  if (body.reject === REJECT_STAT.RPC_MISMATCH) {
    return new RpcError(
      'RPC_MISMATCH',
      `the server speaks RPC versions ${body.low} to ${body.high}, not ${RPC_VERSION}`,
    );
  }
  const code = body.why === AUTH_REJECTEDCRED ? 'AUTH_REJECTEDCRED' : 'AUTH_ERROR';
  return new RpcError(code, `the server refuses the credential of ${name} (auth_stat ${body.why})`);
}
