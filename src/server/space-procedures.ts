/** ALLOCATE, SEEK and COPY: RFC 7862 sections 15.1, 15.4, 15.11 and 15.2, as fgdp/space.ts declares them. */
import { COPY_BYTES_MAX } from '../fgdp/limits.ts';
import type { FGDP_PROCEDURES } from '../fgdp/program.ts';
import { SEEK_WHAT, type ALLOCATEres, type COPYargs, type COPYres, type SEEKres } from '../fgdp/space.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import type { Handlers } from '../rpc/program.ts';
import type { FileStatus } from '../store/operations.ts';
import { allocate, copy, seekIn } from '../store/space-operations.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { asking } from './asking.ts';
import { attributesOf, fattr3ToSend, postOpAttributes } from './attributes.ts';
import type { ClientSession, ServerContext } from './client-session.ts';
import { StatusError } from './outcome.ts';
import { onFile, type Target } from './target.ts';
import { onFileAsync, wccOf } from './write-procedures.ts';

type Names = 'ALLOCATE' | 'SEEK' | 'COPY';

/** A file that was deleted meanwhile has no attributes that would be of use. */
function after(node: StoreNode, status: FileStatus): fattr3 | null {
  return status.nlink === 0 ? null : fattr3ToSend(node, node.handle, status);
}

/** Other guests are told; also of what failed half way. */
function changed(session: ClientSession, { node }: Target): void {
  asking(session, () => node.store.ownChanges?.changedHere(node.handle));
}

export function spaceProcedures(store: Store): Pick<Handlers<typeof FGDP_PROCEDURES, ServerContext>, Names> {
  const copyTo = async (
    found: Target,
    { source, source_offset, offset, count }: COPYargs,
    { session }: ServerContext,
  ): Promise<COPYres> => {
    const from = store.resolveStatus(source.data);
    // Exports need not squash the caller alike.
    if (from.node.export !== found.node.export) throw new StatusError(NFSSTAT3.NFS3ERR_XDEV);
    if (count === 0n) return { status: NFS3_OK, wcc: wccOf(attributesOf(found.node)), count: 0n };
    const countBytes = count < BigInt(COPY_BYTES_MAX) ? Number(count) : COPY_BYTES_MAX;
    const copied = await copy(
      found.identity,
      { found: from, offset: source_offset },
      { found, offset },
      countBytes,
    ).finally(() => {
      changed(session, found);
    });
    return {
      status: NFS3_OK,
      wcc: wccOf(after(found.node, copied.status)),
      count: BigInt(copied.count),
    };
  };

  return {
    ALLOCATE: ({ file, mode, offset, length }, context) =>
      onFileAsync<ALLOCATEres>(
        store,
        file,
        context,
        async (found) => {
          const status = await allocate(found.identity, found, { mode, offset, length }).finally(() => {
            changed(context.session, found);
          });
          return { status: NFS3_OK, wcc: wccOf(after(found.node, status)) };
        },
        (status, attributes) => ({ status, wcc: wccOf(attributes) }),
      ),
    SEEK: ({ file, offset, what }, context) =>
      onFile<SEEKres>(
        store,
        file,
        context,
        (found) => {
          const place = seekIn(found.identity, found, offset, what === SEEK_WHAT.DATA ? 'data' : 'hole');
          return { status: NFS3_OK, obj_attributes: attributesOf(found.node), offset: place };
        },
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),
    COPY: (args, context) =>
      onFileAsync<COPYres>(
        store,
        args.file,
        context,
        (found) => copyTo(found, args, context),
        (status, attributes) => ({ status, wcc: wccOf(attributes) }),
      ),
  };
}
