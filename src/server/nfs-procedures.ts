/** The NFS program: RFC 1813 section 3.3. What changes anything is in name-procedures.ts and write-procedures.ts. */
import {
  ACCESS3_DELETE,
  ACCESS3_EXECUTE,
  ACCESS3_EXTEND,
  ACCESS3_LOOKUP,
  ACCESS3_MODIFY,
  ACCESS3_READ,
  FSF3_CANSETTIME,
  FSF3_HOMOGENEOUS,
  FSF3_LINK,
  FSF3_SYMLINK,
  type ACCESS3res,
  type FSINFO3res,
  type FSSTAT3res,
  type GETATTR3res,
  type LOOKUP3res,
  type NFS_PROCEDURES,
  type PATHCONF3res,
  type READ3args,
  type READ3res,
  type READDIR3res,
  type READDIRPLUS3res,
  type READLINK3res,
  type entry3,
  type entryplus3,
} from '../nfs3/nfs.ts';
import { TRANSFER_BYTES_MAX } from '../nfs3/limits.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { MODE_WITHOUT_ACL } from '../nfs3/posix-acl.ts';
import { FTYPE3, type fattr3 } from '../nfs3/types.ts';
import type { Handlers } from '../rpc/program.ts';
import {
  R_OK,
  W_OK,
  X_OK,
  access,
  fileSystem,
  lookup,
  lookupEntry,
  openFile,
  readlink,
  type EntryDetails,
} from '../store/operations.ts';
import { fileSystemKind } from '../store/file-system-kinds.ts';
import { NAME_BYTES_MAX } from '../store/limits.ts';
import { readDirectory, type DirectoryPosition } from '../store/read-directory.ts';
import { readSource, type PageSource } from '../store/open-file.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { attributesOf, fattr3ToSend, postOpAttributes } from './attributes.ts';
import type { ServerContext } from './client-session.ts';
import { DirectoryReplyBudget } from './directory-reply.ts';
import { DIRECTORY_REPLY_BYTES_MAX } from './limits.ts';
import { withReplyRoom } from './reply-room.ts';
import { nameProcedures } from './name-procedures.ts';
import { statusOfError } from './outcome.ts';
import { onFile, type Target } from './target.ts';
import { writeProcedures } from './write-procedures.ts';

const TRANSFER_MULTIPLE_BYTES = 4096;
const FILE_SIZE_MAX = 0x7fff_ffff_ffff_ffffn;

/** Those of the ACCESS3_* bits in `wanted` that the caller has. */
export function grantedRights(wanted: number, { node, identity }: Target, isDirectory: boolean): number {
  const search = isDirectory ? ACCESS3_LOOKUP : ACCESS3_EXECUTE;
  const change = ACCESS3_MODIFY | ACCESS3_EXTEND | (isDirectory ? ACCESS3_DELETE : 0);
  const rights = [
    [ACCESS3_READ, R_OK],
    [search, X_OK],
    // Names are changed in a directory that one may also search.
    [change, isDirectory ? W_OK | X_OK : W_OK],
  ] as const;
  let bits = 0;
  for (const [right, needed] of rights) if ((wanted & right) !== 0) bits |= needed;
  const allowed = access(identity, node, bits);
  let granted = 0;
  for (const [right, needed] of rights) if ((allowed & needed) === needed) granted |= wanted & right;
  return granted;
}

/** Where the bytes of a READ lie. The encoding of the route turns it into bytes, or into a page handle. */
export function pageSource({ node, identity }: Target, offset: bigint, count: number): PageSource {
  return openFile(identity, node).source(offset, Math.min(count, TRANSFER_BYTES_MAX));
}

async function read(store: Store, args: READ3args, context: ServerContext): Promise<READ3res> {
  const opened = onFile<{ source: PageSource; node: StoreNode } | READ3res>(
    store,
    args.file,
    context,
    (found) => ({ source: pageSource(found, args.offset, args.count), node: found.node }),
    (status, node) => ({ status, file_attributes: postOpAttributes(node) }),
  );
  if (!('source' in opened)) return opened;
  // Nodes are good for this turn only, and the bytes may take longer.
  const file_attributes = postOpAttributes(opened.node);
  try {
    const read = await readSource(opened.source);
    const { bytes, eof } = read;
    context.call.afterReply(() => {
      read.release();
    });
    return { status: NFS3_OK, file_attributes, count: bytes.length, eof, data: [bytes] };
  } catch (error) {
    const status = statusOfError(error);
    if (status === undefined) throw error;
    return { status, file_attributes };
  }
}

function positionOf(args: { readonly cookie: bigint; readonly cookieverf: Uint8Array }): DirectoryPosition {
  return { cookie: args.cookie, verifier: args.cookieverf };
}

function readdir(
  { node, identity }: Target,
  position: DirectoryPosition,
  budget: DirectoryReplyBudget,
): READDIR3res {
  const entries: entry3[] = [];
  const { isEnd, verifier } = readDirectory(identity, node, position, ({ fileid, cookie, name }) => {
    if (!budget.take(name)) return false;
    entries.push({ fileid, name, cookie });
    return true;
  });
  const dir_attributes = postOpAttributes(node);
  return { status: NFS3_OK, dir_attributes, cookieverf: verifier, entries, eof: isEnd };
}

function readdirplus(
  { node, identity }: Target,
  position: DirectoryPosition,
  budget: DirectoryReplyBudget,
  marksAcls: boolean,
): READDIRPLUS3res {
  const entries: entryplus3[] = [];
  const { isEnd, verifier } = readDirectory(identity, node, position, ({ fileid, cookie, name }) => {
    const details = lookupEntry(identity, node, name, marksAcls);
    if (details === 'vanished') return true;
    if (!budget.take(name, { handleBytes: details?.handle.length })) return false;
    entries.push({
      fileid,
      name,
      cookie,
      name_attributes: details === undefined ? null : entryAttributes(node, details),
      name_handle: details === undefined ? null : { data: details.handle },
    });
    return true;
  });
  const dir_attributes = postOpAttributes(node);
  return { status: NFS3_OK, dir_attributes, cookieverf: verifier, entries, eof: isEnd };
}

function propertiesOf(node: StoreNode): number {
  const { linksMax, hasSymbolicLinks } = fileSystemKind(node);
  const links = (linksMax > 1 ? FSF3_LINK : 0) | (hasSymbolicLinks ? FSF3_SYMLINK : 0);
  return links | FSF3_HOMOGENEOUS | FSF3_CANSETTIME;
}

function toCount(value: bigint): bigint {
  return value < 0n ? 0n : value;
}

function entryAttributes(directory: StoreNode, { handle, attributes, lacksAcl }: EntryDetails): fattr3 {
  const known = fattr3ToSend(directory, handle, attributes);
  return lacksAcl ? { ...known, mode: known.mode | MODE_WITHOUT_ACL } : known;
}

/** The NFS procedures over one store. */
export function nfsProcedures(store: Store): Handlers<typeof NFS_PROCEDURES, ServerContext> {
  return {
    NULL: () => undefined,

    GETATTR: (args, context): GETATTR3res =>
      onFile<GETATTR3res>(
        store,
        args.object,
        context,
        ({ node }) => ({ status: NFS3_OK, obj_attributes: attributesOf(node) }),
        (status) => ({ status }),
      ),

    LOOKUP: ({ what }, context): LOOKUP3res =>
      onFile<LOOKUP3res>(
        store,
        what.dir,
        context,
        ({ node: directory, identity }) => {
          const node = lookup(identity, directory, what.name);
          return {
            status: NFS3_OK,
            object: { data: node.handle },
            obj_attributes: postOpAttributes(node),
            dir_attributes: postOpAttributes(directory),
          };
        },
        (status, directory) => ({ status, dir_attributes: postOpAttributes(directory) }),
      ),

    ACCESS: (args, context): ACCESS3res =>
      onFile<ACCESS3res>(
        store,
        args.object,
        context,
        (found) => {
          const attributes = attributesOf(found.node);
          const granted = grantedRights(args.access, found, attributes.type === FTYPE3.NF3DIR);
          return { status: NFS3_OK, obj_attributes: attributes, access: granted };
        },
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),

    READLINK: (args, context): READLINK3res =>
      onFile<READLINK3res>(
        store,
        args.symlink,
        context,
        ({ node, identity }) => ({
          status: NFS3_OK,
          data: readlink(identity, node),
          symlink_attributes: postOpAttributes(node),
        }),
        (status, node) => ({ status, symlink_attributes: postOpAttributes(node) }),
      ),

    READ: (args, context) =>
      withReplyRoom(context, Math.min(args.count, TRANSFER_BYTES_MAX), (count) =>
        read(store, { ...args, count }, context),
      ),

    READDIR: (args, context) =>
      withReplyRoom(context, Math.min(args.count, DIRECTORY_REPLY_BYTES_MAX), (replyBytes) =>
        onFile<READDIR3res>(
          store,
          args.dir,
          context,
          (directory) => readdir(directory, positionOf(args), new DirectoryReplyBudget(replyBytes)),
          (status, node) => ({ status, dir_attributes: postOpAttributes(node) }),
        ),
      ),

    READDIRPLUS: (args, context) =>
      withReplyRoom(context, Math.min(args.maxcount, DIRECTORY_REPLY_BYTES_MAX), (replyBytes) =>
        onFile<READDIRPLUS3res>(
          store,
          args.dir,
          context,
          (directory) =>
            readdirplus(
              directory,
              positionOf(args),
              new DirectoryReplyBudget(replyBytes, args.dircount),
              context.session.wantsAclMarks,
            ),
          (status, node) => ({ status, dir_attributes: postOpAttributes(node) }),
        ),
      ),

    FSSTAT: (args, context): FSSTAT3res =>
      onFile<FSSTAT3res>(
        store,
        args.fsroot,
        context,
        ({ node }) => {
          const numbers = fileSystem(node);
          const bytes = (blocks: bigint): bigint => toCount(blocks) * numbers.fragmentSizeBytes;
          return {
            status: NFS3_OK,
            obj_attributes: postOpAttributes(node),
            tbytes: bytes(numbers.blocks),
            fbytes: bytes(numbers.blocksFree),
            abytes: bytes(numbers.blocksAvailable),
            tfiles: toCount(numbers.files),
            ffiles: toCount(numbers.filesFree),
            afiles: toCount(numbers.filesFree),
            invarsec: 0,
          };
        },
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),

    FSINFO: (args, context): FSINFO3res =>
      onFile<FSINFO3res>(
        store,
        args.fsroot,
        context,
        ({ node }) => ({
          status: NFS3_OK,
          obj_attributes: postOpAttributes(node),
          rtmax: TRANSFER_BYTES_MAX,
          rtpref: TRANSFER_BYTES_MAX,
          rtmult: TRANSFER_MULTIPLE_BYTES,
          wtmax: TRANSFER_BYTES_MAX,
          wtpref: TRANSFER_BYTES_MAX,
          wtmult: TRANSFER_MULTIPLE_BYTES,
          dtpref: DIRECTORY_REPLY_BYTES_MAX,
          maxfilesize: FILE_SIZE_MAX,
          time_delta: { seconds: 0, nseconds: 1 },
          properties: propertiesOf(node),
        }),
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),

    PATHCONF: (args, context): PATHCONF3res =>
      onFile<PATHCONF3res>(
        store,
        args.object,
        context,
        ({ node }) => ({
          status: NFS3_OK,
          obj_attributes: postOpAttributes(node),
          linkmax: fileSystemKind(node).linksMax,
          name_max: Math.min(fileSystem(node).nameLengthMax, NAME_BYTES_MAX),
          no_trunc: true,
          chown_restricted: true,
          case_insensitive: false,
          case_preserving: true,
        }),
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),

    ...nameProcedures(store),
    ...writeProcedures(store),
  };
}
