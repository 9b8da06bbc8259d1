/** One table of FUSE operations: how each request is read, which operation it calls, how its answer is written. */
import type { Answer, CallContext, Errno, Operations, Outcome } from '../gateway/operations.ts';
import {
  FUSE_OPCODE,
  fuse_access_in,
  fuse_flush_in,
  fuse_getxattr_in,
  fuse_getxattr_out,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_read_in,
  fuse_release_in,
} from './abi.ts';
import { DirectoryBuffer, nodeIdsOf } from './directory-buffer.ts';
import { encodeAttributes, encodeEntry, encodeOpened, encodeStatistics } from './encode.ts';

const ERANGE = 34;
const EINVAL = 22;
/** Largest directory buffer handed to the kernel in one reply, in bytes. */
const DIRECTORY_REPLY_BYTES_MAX = 1024 * 1024;

/** A request as the handler sees it; `body` is only good until the handler returns. */
export interface Request {
  readonly nodeId: bigint;
  readonly body: Uint8Array;
  readonly context: CallContext;
}

/** The body of a reply: nothing, or what follows fuse_out_header. */
export type ReplyBody = readonly Uint8Array[];

export interface RequestHandler {
  readonly name: string;
  /** Runs the operation; the returned value is the errno or the reply's body. */
  handle(operations: Operations, request: Request): Answer<ReplyBody>;
}

const EMPTY: ReplyBody = [];

/** Turns an operation's value into a reply once it is there; an errno passes through. */
function encoded<T>(
  answer: Answer<T>,
  encode: (value: Exclude<T, number>) => Outcome<ReplyBody>,
): Answer<ReplyBody> {
  const finish = (outcome: Outcome<T>): Outcome<ReplyBody> => {
    if (typeof outcome === 'number') return outcome === 0 ? EMPTY : outcome;
    return encode(outcome as Exclude<T, number>);
  };
  return answer instanceof Promise ? answer.then(finish) : finish(answer);
}

/** A name behind a structure: bytes up to the final NUL, copied because the request buffer is used again. */
function nameAfter(body: Uint8Array, skipBytes: number): Uint8Array | undefined {
  const end = body.indexOf(0, skipBytes);
  return end < 0 ? undefined : Uint8Array.from(body.subarray(skipBytes, end));
}

/** xattr(7): size 0 asks for the length; a buffer that is too small is ERANGE. */
function xattrReply(value: Uint8Array, sizeBytes: number): Outcome<ReplyBody> {
  if (sizeBytes === 0) return [fuse_getxattr_out.encode({ size: value.length, padding: 0 })];
  return value.length > sizeBytes ? ERANGE : [value];
}

function readDirectory(operations: Operations, request: Request, plus: boolean): Answer<ReplyBody> {
  const { fh, offset, size } = fuse_read_in.decode(request.body);
  const buffer = new DirectoryBuffer(Math.min(size, DIRECTORY_REPLY_BYTES_MAX), plus);
  const answer = operations.readdir(fh, offset, buffer, request.context);
  const finish = (outcome: Errno): Outcome<ReplyBody> => (outcome === 0 ? [buffer.finish()] : outcome);
  return answer instanceof Promise ? answer.then(finish) : finish(answer);
}

export const REQUEST_HANDLERS: ReadonlyMap<number, RequestHandler> = new Map<number, RequestHandler>([
  [
    FUSE_OPCODE.LOOKUP,
    {
      name: 'LOOKUP',
      handle: (operations, { nodeId, body, context }) => {
        const name = nameAfter(body, 0);
        return name === undefined
          ? EINVAL
          : encoded(operations.lookup(nodeId, name, context), (entry) => [encodeEntry(entry)]);
      },
    },
  ],
  [
    FUSE_OPCODE.GETATTR,
    {
      name: 'GETATTR',
      handle: (operations, { nodeId, context }) =>
        encoded(operations.getattr(nodeId, context), (reply) => [encodeAttributes(reply)]),
    },
  ],
  [
    FUSE_OPCODE.ACCESS,
    {
      name: 'ACCESS',
      handle: (operations, { nodeId, body, context }) =>
        encoded(operations.access(nodeId, fuse_access_in.decode(body).mask, context), () => EMPTY),
    },
  ],
  [
    FUSE_OPCODE.READLINK,
    {
      name: 'READLINK',
      handle: (operations, { nodeId, context }) =>
        encoded(operations.readlink(nodeId, context), ({ target }) => [target]),
    },
  ],
  [
    FUSE_OPCODE.OPEN,
    {
      name: 'OPEN',
      handle: (operations, { nodeId, body, context }) =>
        encoded(operations.open(nodeId, fuse_open_in.decode(body).flags, context), (opened) => [
          encodeOpened(opened),
        ]),
    },
  ],
  [
    FUSE_OPCODE.READ,
    {
      name: 'READ',
      handle: (operations, { body, context }) => {
        const { fh, offset, size } = fuse_read_in.decode(body);
        return encoded(operations.read(fh, offset, size, context), (pieces) => pieces);
      },
    },
  ],
  [
    FUSE_OPCODE.RELEASE,
    {
      name: 'RELEASE',
      handle: (operations, { body }) => {
        operations.release(fuse_release_in.decode(body).fh);
        return EMPTY;
      },
    },
  ],
  [
    FUSE_OPCODE.LSEEK,
    {
      name: 'LSEEK',
      handle: (operations, { body, context }) => {
        const { fh, offset, whence } = fuse_lseek_in.decode(body);
        return encoded(operations.lseek(fh, offset, whence, context), (found) => [
          fuse_lseek_out.encode({ offset: found.offset }),
        ]);
      },
    },
  ],
  [
    FUSE_OPCODE.FLUSH,
    {
      name: 'FLUSH',
      handle: (operations, { body, context }) =>
        encoded(operations.flush(fuse_flush_in.decode(body).fh, context), () => EMPTY),
    },
  ],
  [
    FUSE_OPCODE.OPENDIR,
    {
      name: 'OPENDIR',
      handle: (operations, { nodeId, context }) =>
        encoded(operations.opendir(nodeId, context), (opened) => [encodeOpened(opened)]),
    },
  ],
  [
    FUSE_OPCODE.READDIR,
    { name: 'READDIR', handle: (operations, request) => readDirectory(operations, request, false) },
  ],
  [
    FUSE_OPCODE.READDIRPLUS,
    { name: 'READDIRPLUS', handle: (operations, request) => readDirectory(operations, request, true) },
  ],
  [
    FUSE_OPCODE.RELEASEDIR,
    {
      name: 'RELEASEDIR',
      handle: (operations, { body }) => {
        operations.releasedir(fuse_release_in.decode(body).fh);
        return EMPTY;
      },
    },
  ],
  [
    FUSE_OPCODE.STATFS,
    {
      name: 'STATFS',
      handle: (operations, { nodeId, context }) =>
        encoded(operations.statfs(nodeId, context), (statistics) => [encodeStatistics(statistics)]),
    },
  ],
  [
    FUSE_OPCODE.GETXATTR,
    {
      name: 'GETXATTR',
      handle: (operations, { nodeId, body, context }) => {
        const { size } = fuse_getxattr_in.decode(body);
        const name = nameAfter(body, fuse_getxattr_in.sizeBytes);
        if (name === undefined) return EINVAL;
        const text = Buffer.from(name).toString('latin1');
        return encoded(operations.getxattr(nodeId, text, context), ({ value }) => xattrReply(value, size));
      },
    },
  ],
  [
    FUSE_OPCODE.LISTXATTR,
    {
      name: 'LISTXATTR',
      handle: (_operations, { body }) => xattrReply(new Uint8Array(0), fuse_getxattr_in.decode(body).size),
    },
  ],
]);

/** What to undo when nobody takes the answer of an operation any more. */
export function discard(operations: Operations, opcode: number, body: ReplyBody): void {
  const [first] = body;
  if (first === undefined || first.length === 0) return;
  const id = Buffer.from(first.buffer, first.byteOffset, first.length).readBigUInt64LE(0);
  if (opcode === FUSE_OPCODE.LOOKUP && id !== 0n) operations.forget(id, 1n);
  else if (opcode === FUSE_OPCODE.OPEN) operations.release(id);
  else if (opcode === FUSE_OPCODE.OPENDIR) operations.releasedir(id);
  else if (opcode === FUSE_OPCODE.READDIRPLUS) {
    for (const nodeId of nodeIdsOf(first)) operations.forget(nodeId, 1n);
  }
}
