/** Requests that change names and attributes. */
import type { Answer, AttributeChanges, NewMode, Operations, TimeToSet } from '../gateway/operations.ts';
import {
  FATTR,
  FUSE_OPCODE,
  fuse_create_in,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_rename2_in,
  fuse_rename_in,
  fuse_setattr_in,
  fuse_setxattr_in,
} from './abi.ts';
import { encodeAttributes, encodeEntry, encodeOpened } from './encode.ts';
import {
  done,
  encoded,
  nameAfter,
  namesAfter,
  xattrNameOf,
  type HandlerEntries,
  type ReplyBody,
  type Request,
} from './request-handler.ts';
import { mayWrite } from './write-requests.ts';

const EINVAL = 22;
const PERMISSION_BITS = 0o7777;

function changesOf(asked: fuse_setattr_in): AttributeChanges {
  const has = (bit: number): boolean => (asked.valid & bit) !== 0;
  // The kernel's clock is not the server's: "now" is left to the server.
  const time = (bit: number, nowBit: number, seconds: bigint, nanoseconds: number): TimeToSet | undefined => {
    if (!has(bit)) return undefined;
    return has(nowBit) ? 'now' : { seconds: Number(seconds), nanoseconds };
  };
  const atime = time(FATTR.ATIME, FATTR.ATIME_NOW, asked.atime, asked.atimensec);
  const mtime = time(FATTR.MTIME, FATTR.MTIME_NOW, asked.mtime, asked.mtimensec);
  return {
    ...(has(FATTR.MODE) ? { mode: asked.mode & PERMISSION_BITS } : {}),
    ...(has(FATTR.UID) ? { uid: asked.uid } : {}),
    ...(has(FATTR.GID) ? { gid: asked.gid } : {}),
    ...(has(FATTR.SIZE) ? { size: asked.size } : {}),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
    // Before a write the kernel asks for nothing, and means this (fuse_setattr of fs/fuse/dir.c).
    ...(has(FATTR.KILL_SUIDGID) || asked.valid === 0 ? { dropsSetIds: true } : {}),
    ...(has(FATTR.FH) ? { fileHandle: asked.fh } : {}),
  };
}

/** With DONT_MASK the kernel leaves the umask to whoever knows of default ACLs. */
function newMode(mode: number, umask: number): NewMode {
  return { masked: mode & ~umask, asked: mode };
}

/** new_decode_dev of include/linux/kdev_t.h. */
export function decodeDevice(rdev: number): { readonly major: number; readonly minor: number } {
  return { major: (rdev & 0xfff00) >>> 8, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) };
}

function rename(
  operations: Operations,
  { nodeId, body, context }: Request,
  skipBytes: number,
  { newdir, flags }: { readonly newdir: bigint; readonly flags: number },
): Answer<ReplyBody> {
  const names = namesAfter(body, skipBytes);
  if (names === undefined) return EINVAL;
  return done(operations.rename(nodeId, names[0], newdir, names[1], flags, context));
}

export const CHANGE_HANDLERS: HandlerEntries = [
  [
    FUSE_OPCODE.SETATTR,
    {
      name: 'SETATTR',
      handle: (operations, { nodeId, body, context }) =>
        encoded(operations.setattr(nodeId, changesOf(fuse_setattr_in.decode(body)), context), (reply) => [
          encodeAttributes(reply),
        ]),
    },
  ],
  [
    FUSE_OPCODE.CREATE,
    {
      name: 'CREATE',
      handle: (operations, { nodeId, body, context }) => {
        const { flags, mode, umask } = fuse_create_in.decode(body);
        const name = nameAfter(body, fuse_create_in.sizeBytes);
        if (name === undefined) return EINVAL;
        const answer = operations.create(
          ...([nodeId, name, newMode(mode & PERMISSION_BITS, umask), flags, context] as const),
        );
        return encoded(answer, ({ entry, opened }) => [
          encodeEntry(entry),
          encodeOpened(opened, mayWrite(flags) || operations.sharesLocks === true),
        ]);
      },
    },
  ],
  [
    FUSE_OPCODE.MKNOD,
    {
      name: 'MKNOD',
      handle: (operations, { nodeId, body, context }) => {
        const { mode, umask, rdev } = fuse_mknod_in.decode(body);
        const name = nameAfter(body, fuse_mknod_in.sizeBytes);
        if (name === undefined) return EINVAL;
        const answer = operations.mknod(
          ...([nodeId, name, newMode(mode, umask), decodeDevice(rdev), context] as const),
        );
        return encoded(answer, (entry) => [encodeEntry(entry)]);
      },
    },
  ],
  [
    FUSE_OPCODE.MKDIR,
    {
      name: 'MKDIR',
      handle: (operations, { nodeId, body, context }) => {
        const { mode, umask } = fuse_mkdir_in.decode(body);
        const name = nameAfter(body, fuse_mkdir_in.sizeBytes);
        if (name === undefined) return EINVAL;
        return encoded(
          operations.mkdir(nodeId, name, newMode(mode & PERMISSION_BITS, umask), context),
          (entry) => [encodeEntry(entry)],
        );
      },
    },
  ],
  [
    FUSE_OPCODE.SYMLINK,
    {
      name: 'SYMLINK',
      handle: (operations, { nodeId, body, context }) => {
        const names = namesAfter(body, 0);
        if (names === undefined) return EINVAL;
        const [name, target] = names;
        return encoded(operations.symlink(nodeId, name, target, context), (entry) => [encodeEntry(entry)]);
      },
    },
  ],
  [
    FUSE_OPCODE.LINK,
    {
      name: 'LINK',
      handle: (operations, { nodeId: newParent, body, context }) => {
        const { oldnodeid } = fuse_link_in.decode(body);
        const name = nameAfter(body, fuse_link_in.sizeBytes);
        if (name === undefined) return EINVAL;
        return encoded(operations.link(oldnodeid, newParent, name, context), (entry) => [encodeEntry(entry)]);
      },
    },
  ],
  [
    FUSE_OPCODE.UNLINK,
    {
      name: 'UNLINK',
      handle: (operations, { nodeId, body, context }) => {
        const name = nameAfter(body, 0);
        return name === undefined ? EINVAL : done(operations.unlink(nodeId, name, context));
      },
    },
  ],
  [
    FUSE_OPCODE.RMDIR,
    {
      name: 'RMDIR',
      handle: (operations, { nodeId, body, context }) => {
        const name = nameAfter(body, 0);
        return name === undefined ? EINVAL : done(operations.rmdir(nodeId, name, context));
      },
    },
  ],
  [
    FUSE_OPCODE.RENAME,
    {
      name: 'RENAME',
      handle: (operations, request) => {
        const { newdir } = fuse_rename_in.decode(request.body);
        return rename(operations, request, fuse_rename_in.sizeBytes, { newdir, flags: 0 });
      },
    },
  ],
  [
    FUSE_OPCODE.RENAME2,
    {
      name: 'RENAME2',
      handle: (operations, request) =>
        rename(operations, request, fuse_rename2_in.sizeBytes, fuse_rename2_in.decode(request.body)),
    },
  ],
  [
    FUSE_OPCODE.SETXATTR,
    {
      name: 'SETXATTR',
      handle: (operations, { nodeId, body, context }) => {
        const { size, flags } = fuse_setxattr_in.decode(body);
        const name = nameAfter(body, fuse_setxattr_in.sizeBytes);
        if (name === undefined) return EINVAL;
        const value = body.subarray(fuse_setxattr_in.sizeBytes + name.length + 1);
        if (value.length !== size) return EINVAL;
        // The request's memory is used again.
        return done(operations.setxattr(nodeId, xattrNameOf(name), Uint8Array.from(value), flags, context));
      },
    },
  ],
  [
    FUSE_OPCODE.REMOVEXATTR,
    {
      name: 'REMOVEXATTR',
      handle: (operations, { nodeId, body, context }) => {
        const name = nameAfter(body, 0);
        return name === undefined ? EINVAL : done(operations.removexattr(nodeId, xattrNameOf(name), context));
      },
    },
  ],
];
