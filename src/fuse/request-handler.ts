/** What the tables of requests have in common: how a request is read and its answer written. */
import type { Answer, CallContext, Operations, Outcome } from '../gateway/operations.ts';
import type { GiveBack } from './request-memory.ts';

/** A request as the handler sees it; `body` is only good until the handler returns. */
export interface Request {
  readonly nodeId: bigint;
  readonly body: Uint8Array;
  readonly context: CallContext;
  /** Makes the memory under `body` good until it is given back, or nothing refers to it. */
  readonly keepMemory: () => GiveBack;
}

/** The body of a reply: nothing, or what follows fuse_out_header. */
export type ReplyBody = readonly Uint8Array[];

export interface RequestHandler {
  readonly name: string;
  /** False where no program waits for the answer. */
  readonly isAwaited?: false;
  /** True where the operation may wait long, and answers an interruption by itself at once. */
  readonly heedsInterrupts?: true;
  /** Runs the operation; the returned value is the errno or the reply's body. */
  handle(operations: Operations, request: Request): Answer<ReplyBody>;
}

/** Handlers by FUSE_OPCODE. */
export type HandlerEntries = readonly (readonly [number, RequestHandler])[];

export const EMPTY: ReplyBody = [];

/** Turns an operation's value into a reply once it is there; an errno passes through. */
export function encoded<T>(
  answer: Answer<T>,
  encode: (value: Exclude<T, number>) => Outcome<ReplyBody>,
): Answer<ReplyBody> {
  const finish = (outcome: Outcome<T>): Outcome<ReplyBody> => {
    if (typeof outcome === 'number') return outcome === 0 ? EMPTY : outcome;
    return encode(outcome as Exclude<T, number>);
  };
  return answer instanceof Promise ? answer.then(finish) : finish(answer);
}

/** The reply of an operation that only succeeds or fails. */
export function done(answer: Answer<0>): Answer<ReplyBody> {
  return encoded(answer, () => EMPTY);
}

/** A name behind a structure: bytes up to the final NUL, copied because the request's memory is used again. */
export function nameAfter(body: Uint8Array, skipBytes: number): Uint8Array | undefined {
  const end = body.indexOf(0, skipBytes);
  return end < 0 ? undefined : Uint8Array.from(body.subarray(skipBytes, end));
}

/** Two names, one behind the other. */
export function namesAfter(
  body: Uint8Array,
  skipBytes: number,
): readonly [Uint8Array, Uint8Array] | undefined {
  const first = nameAfter(body, skipBytes);
  if (first === undefined) return undefined;
  const second = nameAfter(body, skipBytes + first.length + 1);
  return second === undefined ? undefined : [first, second];
}

/** An extended attribute's name as operations take it. */
export function xattrNameOf(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
}
