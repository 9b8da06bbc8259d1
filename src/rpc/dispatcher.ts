/** Where calls are decided: RFC 5531 section 9, from the program tables alone. */
import type { Codec } from '../xdr/codec.ts';
import { decodeAll } from '../xdr/codec.ts';
import { XdrError } from '../xdr/error.ts';
import { XdrReader } from '../xdr/reader.ts';
import { XdrWriter } from '../xdr/writer.ts';
import {
  AUTH_BADCRED,
  AUTH_REJECTEDCRED,
  AUTH_SHORT,
  NO_AUTH,
  readCredential,
  type Credential,
} from './auth.ts';
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
import type { Handlers, Procedures, Program } from './program.ts';

/** What the dispatcher knows about a call before its arguments are decoded. */
export interface CallInfo {
  readonly xid: number;
  readonly program: string;
  readonly procedure: string;
  readonly credential: Credential;
  /** Runs `callback` once the reply has left the process, or will never leave it: give pooled memory back here. */
  afterReply(callback: () => void): void;
}

export interface Reply {
  readonly chunks: Uint8Array[];
  /** To be called once when the chunks are no longer needed. */
  readonly release: () => void;
}

interface BoundProcedure<Context> {
  readonly number: number;
  readonly name: string;
  readonly args: Codec<unknown>;
  readonly result: Codec<unknown>;
  readonly idempotent: boolean;
  readonly handler: (args: unknown, context: Context) => unknown;
}

interface BoundProgram<Context> {
  readonly name: string;
  readonly number: number;
  readonly version: number;
  readonly procedures: ReadonlyMap<number, BoundProcedure<Context>>;
}

/** A call that is not idempotent, with what tells it from others. */
export interface OnceCall {
  readonly info: CallInfo;
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** As they came: they have been decoded without an error. */
  readonly args: readonly Uint8Array[];
}

/** What became of a call that was carried out. */
export interface Executed {
  /** As the handler gave it. */
  readonly result: unknown;
  /** The result as it is sent. */
  readonly body: readonly Uint8Array[];
}

/**
 * Sees to it that a call which comes again takes effect once: gives the result to be sent, by `execute` or from memory.
 * `execute` runs the handler with the context it is given, and keeps its turn: what is no promise was done in the same
 * one.
 */
export type TakeOnce<Context> = (
  call: OnceCall,
  context: Context,
  execute: (context: Context) => Executed | Promise<Executed>,
) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>;

export interface DispatcherHooks<Context> {
  /** A handler threw: the caller is answered SYSTEM_ERR, the reason belongs in the log. */
  readonly onFailure: (call: CallInfo, error: unknown) => void;
  /** A call was answered. */
  readonly onCall?: (call: CallInfo) => void;
  /** Runs the calls of procedures that are not idempotent; default: each is carried out whenever it comes. */
  readonly once?: TakeOnce<Context>;
}

/** The credential that a shorthand of AUTH_SHORT stands for on a connection; undefined for one not known (any more). */
export type FindShorthand = (shorthand: Uint8Array) => Credential | undefined;

/**
 * Runs calls against the registered programs. PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS,
 * RPC_MISMATCH and AUTH_ERROR are decided here and nowhere else.
 */
export class Dispatcher<Context> {
  readonly #programs = new Map<number, Map<number, BoundProgram<Context>>>();
  readonly #hooks: DispatcherHooks<Context>;

  constructor(hooks: DispatcherHooks<Context>) {
    this.#hooks = hooks;
  }

  register<P extends Procedures>(program: Program<P>, handlers: Handlers<P, Context>): void {
    const procedures = new Map<number, BoundProcedure<Context>>();
    for (const [name, declared] of Object.entries(program.procedures)) {
      const { number, args, result, idempotent } = declared;
      procedures.set(number, {
        number,
        name,
        args,
        result,
        idempotent,
        handler: handlers[name] as BoundProcedure<Context>['handler'],
      });
    }
    const versions = this.#programs.get(program.number) ?? new Map<number, BoundProgram<Context>>();
    const { name, number, version } = program;
    versions.set(version, { name, number, version, procedures });
    this.#programs.set(program.number, versions);
  }

  /**
   * Answers one CALL record.
   *
   * @param makeContext builds what handlers receive; it may use the credential and register afterReply
   * @param findShorthand where AUTH_SHORT is spoken
   * @returns the reply, or undefined when the record is not a call that can be answered (no xid to answer to)
   */
  async dispatch(
    record: readonly Uint8Array[],
    makeContext: (call: CallInfo) => Context,
    findShorthand?: FindShorthand,
  ): Promise<Reply | undefined> {
    const reader = new XdrReader(record);
    let xid: number;
    let call: call_body;
    try {
      const header = message_header.decode(reader);
      if (header.mtype !== MSG_TYPE.CALL) return undefined;
      xid = header.xid;
      if (peekVersion(reader, record) !== RPC_VERSION) {
        return reply(xid, {
          reply: REPLY_STAT.MSG_DENIED,
          reject: REJECT_STAT.RPC_MISMATCH,
          low: RPC_VERSION,
          high: RPC_VERSION,
        });
      }
      call = call_body.decode(reader);
    } catch (error) {
      if (error instanceof XdrError) return undefined;
      throw error;
    }

    let credential: Credential | undefined;
    const isShort = call.cred.flavor === AUTH_SHORT && findShorthand !== undefined;
    try {
      credential = isShort ? findShorthand(call.cred.body) : readCredential(call.cred);
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
    }
    if (credential === undefined) {
      const why = isShort ? AUTH_REJECTEDCRED : AUTH_BADCRED;
      return reply(xid, { reply: REPLY_STAT.MSG_DENIED, reject: REJECT_STAT.AUTH_ERROR, why });
    }

    const versions = this.#programs.get(call.prog);
    if (versions === undefined) return accepted(xid, { stat: ACCEPT_STAT.PROG_UNAVAIL });
    const program = versions.get(call.vers);
    if (program === undefined) {
      const known = [...versions.keys()];
      return accepted(xid, {
        stat: ACCEPT_STAT.PROG_MISMATCH,
        low: Math.min(...known),
        high: Math.max(...known),
      });
    }
    const target = program.procedures.get(call.proc);
    if (target === undefined) return accepted(xid, { stat: ACCEPT_STAT.PROC_UNAVAIL });

    const cleanups: (() => void)[] = [];
    const info: CallInfo = {
      xid,
      program: program.name,
      procedure: target.name,
      credential,
      afterReply: (callback) => {
        cleanups.push(callback);
      },
    };
    const release = (): void => {
      for (const cleanup of cleanups.splice(0)) cleanup();
    };
    let args: unknown;
    const encoded = reader.takeChunks(reader.remaining);
    try {
      args = decodeAll(target.args, encoded);
    } catch (error) {
      if (error instanceof XdrError) return accepted(xid, { stat: ACCEPT_STAT.GARBAGE_ARGS });
      throw error;
    }
    try {
      const context = makeContext(info);
      const { once } = this.#hooks;
      const writer = startReply(xid, { stat: ACCEPT_STAT.SUCCESS });
      if (target.idempotent || once === undefined) {
        target.result.encode(writer, await target.handler(args, context));
        this.#hooks.onCall?.(info);
        return { chunks: writer.finish(), release };
      }
      const { number, version } = program;
      const call = { info, program: number, version, procedure: target.number, args: encoded };
      const body = await once(call, context, (given) => execute(target, args, given));
      this.#hooks.onCall?.(info);
      return { chunks: [...writer.finish(), ...body], release };
    } catch (error) {
      release();
      this.#hooks.onFailure(info, error);
      return accepted(xid, { stat: ACCEPT_STAT.SYSTEM_ERR });
    }
  }
}

function execute<Context>(
  target: BoundProcedure<Context>,
  args: unknown,
  context: Context,
): Executed | Promise<Executed> {
  const encode = (result: unknown): Executed => {
    const writer = new XdrWriter();
    target.result.encode(writer, result);
    return { result, body: writer.finish() };
  };
  const result = target.handler(args, context);
  return result instanceof Promise ? result.then(encode) : encode(result);
}

/** RFC 5531 wants RPC_MISMATCH even where the rest of the call has another shape, so the version is read first. */
function peekVersion(reader: XdrReader, record: readonly Uint8Array[]): number {
  reader.require(4);
  const ahead = new XdrReader(record);
  ahead.take(8);
  return ahead.u32();
}

type AcceptedData = Extract<reply_body, { reply: typeof REPLY_STAT.MSG_ACCEPTED }>['data'];

const nothingToRelease = (): void => undefined;

function accepted(xid: number, data: AcceptedData): Reply {
  return { chunks: startReply(xid, data).finish(), release: nothingToRelease };
}

function startReply(xid: number, data: AcceptedData): XdrWriter {
  return writeReply(xid, { reply: REPLY_STAT.MSG_ACCEPTED, verf: NO_AUTH, data });
}

function reply(xid: number, body: reply_body): Reply {
  return { chunks: writeReply(xid, body).finish(), release: nothingToRelease };
}

function writeReply(xid: number, body: reply_body): XdrWriter {
  const writer = new XdrWriter();
  message_header.encode(writer, { xid, mtype: MSG_TYPE.REPLY });
  reply_body.encode(writer, body);
  return writer;
}
