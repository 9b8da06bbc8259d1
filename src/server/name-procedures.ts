/** The procedures that change names and attributes: RFC 1813 sections 3.3.2 and 3.3.8 to 3.3.15. */
import { CREATEMODE3, type CREATE3args, type MKNOD3args, type NFS_PROCEDURES } from '../nfs3/nfs.ts';
import type { LINK3args, LINK3res, RENAME3args, RENAME3res, SETATTR3args } from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import { FTYPE3, type diropargs3, type nfs_fh3, type wcc_attr, type wcc_data } from '../nfs3/types.ts';
import type { Handlers } from '../rpc/program.ts';
import type { Identity } from '../store/identity.ts';
import {
  checkNameToRemove,
  checkNameToRename,
  checkNewName,
  findName,
  linkName,
  removeName,
  renameName,
  type NewNode,
} from '../store/name-operations.ts';
import { changeKey } from '../store/page-file.ts';
import { setAttributes } from '../store/set-attributes.ts';
import type { NamePlace, Store, StoreNode } from '../store/store.ts';
import { requireWritable } from '../store/writable.ts';
import { nfsTime, postOpAttributes } from './attributes.ts';
import type { ServerContext } from './client-session.ts';
import { makeExclusive, makeGuarded, makeUnchecked, newModeOf, type Making } from './create.ts';
import { newAttributes } from './new-attributes.ts';
import { StatusError } from './outcome.ts';
import { begin, isSameFile } from './starting-point.ts';
import { onFile, type Target } from './target.ts';
import { preOpAttributes, wccData } from './weak-cache-consistency.ts';

interface Failed {
  readonly status: nfs3error;
  readonly wcc: wcc_data;
}

/** Runs a change of one file or directory; the reply has its attributes from before and after, also when that fails. */
function changing<Reply extends object>(
  store: Store,
  handle: nfs_fh3,
  context: ServerContext,
  change: (found: Target) => Reply,
): (Reply & { readonly wcc: wcc_data }) | Failed {
  let before: wcc_attr | null = null;
  return onFile<(Reply & { readonly wcc: wcc_data }) | Failed>(
    store,
    handle,
    context,
    (found) => {
      requireWritable(found.node);
      before = preOpAttributes(found.status);
      const reply = change(found);
      return { ...reply, wcc: wccData(before, found.node) };
    },
    (status, node) => ({ status, wcc: wccData(before, node) }),
  );
}

function setattr(store: Store, { object, new_attributes, guard }: SETATTR3args, context: ServerContext) {
  return changing(store, object, context, ({ node, status, identity }) => {
    const wanted = newAttributes(new_attributes);
    const { size, ctimeNs } = status;
    const ctime = nfsTime(ctimeNs);
    const isRefused =
      guard !== null && (guard.seconds !== ctime.seconds || guard.nseconds !== ctime.nseconds);
    const earlier = begin(context, { isRefused, size });
    // What an earlier execution changed has moved ctime, too.
    if (earlier === undefined ? isRefused : earlier.isRefused) {
      throw new StatusError(NFSSTAT3.NFS3ERR_NOT_SYNC);
    }
    // It has set the size: what was written since then must not be cut.
    const isSizeSet = earlier !== undefined && earlier.size !== size;
    setAttributes(identity, node, isSizeSet ? { ...wanted, size: undefined } : wanted, status);
    return { status: NFS3_OK };
  });
}

/** Makes something in a directory. */
function making(
  store: Store,
  where: diropargs3,
  context: ServerContext,
  make: (making: Making) => StoreNode,
) {
  return changing(store, where.dir, context, ({ node: directory, identity }) => {
    const made = make({ identity, context, place: { directory, name: where.name } });
    return { status: NFS3_OK, obj: { data: made.handle }, obj_attributes: postOpAttributes(made) };
  });
}

function create(store: Store, { where, how }: CREATE3args, context: ServerContext) {
  return making(store, where, context, (making) => {
    if (how.mode === CREATEMODE3.EXCLUSIVE) return makeExclusive(making, how.verf);
    const wanted = newAttributes(how.obj_attributes);
    if (how.mode === CREATEMODE3.UNCHECKED) return makeUnchecked(making, wanted);
    return makeGuarded(making, { type: 'file', ...newModeOf(how.obj_attributes, context, 'other') }, wanted);
  });
}

function mknod(store: Store, { where, what }: MKNOD3args, context: ServerContext) {
  return making(store, where, context, (making) => {
    switch (what.type) {
      case FTYPE3.NF3CHR:
      case FTYPE3.NF3BLK: {
        const wanted = newAttributes(what.dev_attributes);
        const { specdata1: major, specdata2: minor } = what.spec;
        const type = what.type === FTYPE3.NF3CHR ? 'character' : 'block';
        const node: NewNode = {
          type,
          ...newModeOf(what.dev_attributes, context, 'other'),
          device: { major, minor },
        };
        return makeGuarded(making, node, { ...wanted, size: undefined });
      }
      case FTYPE3.NF3SOCK:
      case FTYPE3.NF3FIFO: {
        const wanted = newAttributes(what.pipe_attributes);
        const type = what.type === FTYPE3.NF3SOCK ? 'socket' : 'fifo';
        const node: NewNode = { type, ...newModeOf(what.pipe_attributes, context, 'other') };
        return makeGuarded(making, node, { ...wanted, size: undefined });
      }
      case FTYPE3.NF3REG:
      case FTYPE3.NF3DIR:
      case FTYPE3.NF3LNK:
        throw new StatusError(NFSSTAT3.NFS3ERR_BADTYPE);
    }
  });
}

function removing(store: Store, where: diropargs3, context: ServerContext, kind: 'directory' | 'other') {
  return changing(store, where.dir, context, ({ node: directory, identity }) => {
    checkNameToRemove(where.name);
    const place = { directory, name: where.name };
    const victim = findName(identity, place);
    const earlier = begin(context, { file: victim?.handle });
    // The name was removed; what has it now is another's.
    if (earlier?.file !== undefined && !isSameFile(earlier.file, victim)) return { status: NFS3_OK };
    const wasMissing = earlier !== undefined && earlier.file === undefined;
    if (victim === undefined || wasMissing) throw new StatusError(NFSSTAT3.NFS3ERR_NOENT);
    removeName(identity, place, kind, victim);
    return { status: NFS3_OK };
  });
}

/** In which order it fails: a wrong handle of the two, a read-only export, everything else. */
function rename(store: Store, { from, to }: RENAME3args, context: ServerContext): RENAME3res {
  let fromBefore: wcc_attr | null = null;
  let toBefore: wcc_attr | null = null;
  const reply = <S extends RENAME3res['status']>(status: S, source?: StoreNode, target?: StoreNode) => ({
    status,
    fromdir_wcc: wccData(fromBefore, source),
    todir_wcc: wccData(toBefore, target),
  });
  return onFile<RENAME3res>(
    store,
    from.dir,
    context,
    ({ node: source, status: sourceStatus, identity }) =>
      onFile<RENAME3res>(
        store,
        to.dir,
        context,
        ({ node: target, status: targetStatus }) => {
          for (const node of [source, target]) requireWritable(node);
          fromBefore = preOpAttributes(sourceStatus);
          toBefore = preOpAttributes(targetStatus);
          const places = [
            { directory: source, name: from.name },
            { directory: target, name: to.name },
          ] as const;
          renameOnce(identity, places, context);
          return reply(NFS3_OK, source, target);
        },
        (status, target) => reply(status, source, target),
      ),
    (status, source) => reply(status, source),
  );
}

function renameOnce(
  identity: Identity,
  [from, to]: readonly [NamePlace, NamePlace],
  context: ServerContext,
): void {
  checkNameToRename(from.name);
  checkNameToRename(to.name);
  const source = findName(identity, from);
  const target = findName(identity, to);
  const earlier = begin(context, { file: source?.handle, target: target?.handle });
  if (earlier?.file !== undefined && !isSameFile(earlier.file, source)) {
    // What was to be replaced is still there, so nothing was renamed: the old name went in another way since then.
    const wasNot = isSameFile(earlier.target, target);
    if (wasNot && !isSameFile(earlier.file, target)) throw new StatusError(NFSSTAT3.NFS3ERR_NOENT);
    return;
  }
  const wasMissing = earlier !== undefined && earlier.file === undefined;
  if (source === undefined || wasMissing) throw new StatusError(NFSSTAT3.NFS3ERR_NOENT);
  renameName(identity, from, to, source, target);
}

function link(store: Store, args: LINK3args, context: ServerContext): LINK3res {
  let before: wcc_attr | null = null;
  const reply = <S extends LINK3res['status']>(status: S, file?: StoreNode, directory?: StoreNode) => ({
    status,
    file_attributes: postOpAttributes(file),
    linkdir_wcc: wccData(before, directory),
  });
  return onFile<LINK3res>(
    store,
    args.file,
    context,
    ({ node: file }) =>
      onFile<LINK3res>(
        store,
        args.link.dir,
        context,
        ({ node: directory, status, identity }) => {
          for (const node of [file, directory]) requireWritable(node);
          before = preOpAttributes(status);
          const place = { directory, name: args.link.name };
          checkNewName(place.name);
          const found = findName(identity, place);
          const earlier = begin(context, { file: found?.handle });
          const isDone =
            earlier !== undefined && earlier.file === undefined && isSameFile(file.handle, found);
          if (!isDone) linkName(identity, file, place);
          return reply(NFS3_OK, file, directory);
        },
        (status, directory) => reply(status, file, directory),
      ),
    (status, file) => reply(status, file),
  );
}

type Names = 'SETATTR' | 'CREATE' | 'MKDIR' | 'SYMLINK' | 'MKNOD' | 'REMOVE' | 'RMDIR' | 'RENAME' | 'LINK';

export function nameProcedures(store: Store): Pick<Handlers<typeof NFS_PROCEDURES, ServerContext>, Names> {
  return {
    // After the WRITEs that came before it, which would undo times that are set, and set-id bits.
    SETATTR: (args, context) => {
      const written = store.writing.settled(changeKey(Buffer.from(args.object.data)));
      return written === undefined
        ? setattr(store, args, context)
        : written.then(() => setattr(store, args, context));
    },
    CREATE: (args, context) => create(store, args, context),
    MKDIR: ({ where, attributes }, context) =>
      making(store, where, context, (making) => {
        const wanted = { ...newAttributes(attributes), size: undefined };
        return makeGuarded(
          making,
          { type: 'directory', ...newModeOf(attributes, context, 'directory') },
          wanted,
        );
      }),
    SYMLINK: ({ where, symlink_attributes, symlink_data }, context) =>
      making(store, where, context, (making) => {
        // A link has no mode of its own.
        const wanted = { ...newAttributes(symlink_attributes), size: undefined, mode: undefined };
        return makeGuarded(making, { type: 'symlink', target: symlink_data }, wanted);
      }),
    MKNOD: (args, context) => mknod(store, args, context),
    REMOVE: ({ object }, context) => removing(store, object, context, 'other'),
    RMDIR: ({ object }, context) => removing(store, object, context, 'directory'),
    RENAME: (args, context) => rename(store, args, context),
    LINK: (args, context) => link(store, args, context),
  };
}
