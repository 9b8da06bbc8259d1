/** One table of FUSE operations: how each request is read, which operation it calls, how its answer is written. */
import type { Answer, Errno, Operations, Outcome } from '../gateway/operations.ts';
import {
  FUSE_OPCODE,
  fuse_access_in,
  fuse_getxattr_in,
  fuse_getxattr_out,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_read_in,
  fuse_release_in,
} from './abi.ts';
import { CHANGE_HANDLERS } from './change-requests.ts';
import { DirectoryBuffer, nodeIdsOf } from './directory-buffer.ts';
import { encodeAttributes, encodeEntry, encodeOpened, encodeStatistics } from './encode.ts';
import {
  EMPTY,
  done,
  encoded,
  nameAfter,
  xattrNameOf,
  type ReplyBody,
  type Request,
  type RequestHandler,
} from './request-handler.ts';
import { LOCK_HANDLERS } from './lock-requests.ts';
import { WRITE_HANDLERS, mayWrite } from './write-requests.ts';

const ERANGE = 34;
const EINVAL = 22;
/** Largest directory buffer handed to the kernel in one reply, in bytes. */
const DIRECTORY_REPLY_BYTES_MAX = 1024 * 1024;

/** xattr(7): size 0 asks for the length; a buffer that is too small is ERANGE. */
function xattrReply(value: Uint8Array, sizeBytes: number): Outcome<ReplyBody> {
  if (sizeBytes === 0) return [fuse_getxattr_out.encode({ size: value.length, padding: 0 })];
  return value.length > sizeBytes ? ERANGE : [value];
}

/** listxattr(2): each name ends with a NUL. */
function listOf(names: readonly string[]): Uint8Array {
  return Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');
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
        done(operations.access(nodeId, fuse_access_in.decode(body).mask, context)),
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
      handle: (operations, { nodeId, body, context }) => {
        const { flags } = fuse_open_in.decode(body);
        return encoded(operations.open(nodeId, flags, context), (opened) => [
          encodeOpened(opened, mayWrite(flags) || operations.sharesLocks === true),
        ]);
      },
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
      isAwaited: false,
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
    FUSE_OPCODE.OPENDIR,
    {
      name: 'OPENDIR',
      handle: (operations, { nodeId, context }) =>
        encoded(operations.opendir(nodeId, context), (opened) => [encodeOpened(opened, false)]),
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
      isAwaited: false,
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
        const answer = operations.getxattr(nodeId, xattrNameOf(name), context);
        return encoded(answer, ({ value }) => xattrReply(value, size));
      },
    },
  ],
  [
    FUSE_OPCODE.LISTXATTR,
    {
      name: 'LISTXATTR',
      handle: (operations, { nodeId, body, context }) => {
        const { size } = fuse_getxattr_in.decode(body);
        return encoded(operations.listxattr(nodeId, context), ({ names }) => xattrReply(listOf(names), size));
      },
    },
  ],
  ...CHANGE_HANDLERS,
  ...LOCK_HANDLERS,
  ...WRITE_HANDLERS,
]);

/** Whose reply is an entry, which counts as a lookup of it. */
const ANSWERED_BY_ENTRY: ReadonlySet<number> = new Set([
  FUSE_OPCODE.LOOKUP,
  FUSE_OPCODE.MKNOD,
  FUSE_OPCODE.MKDIR,
  FUSE_OPCODE.SYMLINK,
  FUSE_OPCODE.LINK,
  FUSE_OPCODE.CREATE,
]);

/** What to undo when nobody takes the answer of an operation any more. */
export function discard(operations: Operations, opcode: number, body: ReplyBody): void {
  const [first, second] = body;
  if (first === undefined || first.length === 0) return;
  if (ANSWERED_BY_ENTRY.has(opcode)) {
    const nodeId = leadingId(first);
    // Before the inode is forgotten.
    if (opcode === FUSE_OPCODE.CREATE && second !== undefined) operations.release(leadingId(second));
    if (nodeId !== 0n) operations.forget(nodeId, 1n);
  } else if (opcode === FUSE_OPCODE.OPEN) operations.release(leadingId(first));
  else if (opcode === FUSE_OPCODE.OPENDIR) operations.releasedir(leadingId(first));
  else if (opcode === FUSE_OPCODE.READDIRPLUS) {
    for (const nodeId of nodeIdsOf(first)) operations.forget(nodeId, 1n);
  }
}

/** fuse_entry_out and fuse_open_out begin with the number of what they tell about. */
function leadingId(body: Uint8Array): bigint {
  return Buffer.from(body.buffer, body.byteOffset, body.length).readBigUInt64LE(0);
}
