/** WRITE and COMMIT: RFC 1813 sections 3.3.7 and 3.3.21. */
import {
  STABLE_HOW,
  type COMMIT3res,
  type NFS_PROCEDURES,
  type WRITE3args,
  type WRITE3res,
} from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { fattr3, nfs_fh3, wcc_data } from '../nfs3/types.ts';
import type { Handlers } from '../rpc/program.ts';
import type { Store } from '../store/store.ts';
import { commit, write, type Stability } from '../store/write-operations.ts';
import { fattr3ToSend, postOpAttributes } from './attributes.ts';
import { asking } from './asking.ts';
import type { ServerContext } from './client-session.ts';
import { statusOfError } from './outcome.ts';
import { onFile, type Target } from './target.ts';

const STABILITY: Readonly<Record<WRITE3args['stable'], Stability>> = {
  [STABLE_HOW.UNSTABLE]: 'page-cache',
  [STABLE_HOW.DATA_SYNC]: 'data-on-disk',
  [STABLE_HOW.FILE_SYNC]: 'all-on-disk',
};

/**
 * Never with attributes of before: other programs may write at any moment between them and those of after, and a client
 * would take their change for its own.
 */
export function wccOf(after: fattr3 | null): wcc_data {
  return { before: null, after };
}

/** The attributes at the end of a call that took longer than its turn: the node it began with may be closed. */
function attributesLater(store: Store, handle: nfs_fh3): fattr3 | null {
  try {
    return postOpAttributes(store.resolve(handle.data));
  } catch (error) {
    if (statusOfError(error) === undefined) throw error;
    return null;
  }
}

/**
 * The data that `count` says; undefined where there is less. RFC 1813 leaves open what counts where they differ: the Linux
 * server refuses the one and leaves the rest of the other, too.
 */
function countedData({ count, data }: WRITE3args): readonly Uint8Array[] | undefined {
  let left = count;
  const counted: Uint8Array[] = [];
  for (const piece of data) {
    counted.push(piece.length <= left ? piece : piece.subarray(0, left));
    left -= Math.min(piece.length, left);
  }
  return left === 0 ? counted : undefined;
}

/**
 * Runs what begins with the file of a handle in this turn, and ends later. An expected failure at any time is answered with
 * its status.
 */
export async function onFileAsync<T>(
  store: Store,
  handle: nfs_fh3,
  context: ServerContext,
  body: (target: Target) => Promise<T>,
  fail: (status: nfs3error, after: fattr3 | null) => T,
): Promise<T> {
  const begun = onFile<{ readonly work: Promise<T> } | { readonly failed: T }>(
    store,
    handle,
    context,
    (target) => ({ work: body(target) }),
    (status, node) => ({ failed: fail(status, postOpAttributes(node)) }),
  );
  if ('failed' in begun) return begun.failed;
  try {
    return await begun.work;
  } catch (error) {
    const status = statusOfError(error);
    if (status === undefined) throw error;
    return fail(status, attributesLater(store, handle));
  }
}

type Writing = Pick<Handlers<typeof NFS_PROCEDURES, ServerContext>, 'WRITE' | 'COMMIT'>;

/**
 * A WRITE is answered when the page cache has its data, so that it outlives the server's process; `count` is less than asked
 * where an error came in between, which the client meets when it sends the rest.
 */
export function writeProcedures(store: Store): Writing {
  const writeTo = async (
    { node, status: before, identity }: Target,
    { offset, stable }: WRITE3args,
    data: readonly Uint8Array[],
    { session }: ServerContext,
  ): Promise<WRITE3res> => {
    const stability = STABILITY[stable];
    const written = write(identity, node, offset, data, stability, before);
    const { bytes, verifier, status } = await written.finally(() => {
      // One that failed may have written some of it.
      asking(session, () => node.store.ownChanges?.changedHere(node.handle));
    });
    // A file deleted meanwhile has no attributes that would be of use.
    const after = status.nlink === 0 ? null : fattr3ToSend(node, node.handle, status);
    return { status: NFS3_OK, wcc: wccOf(after), count: bytes, committed: stable, verf: verifier };
  };

  return {
    WRITE: (args, context): Promise<WRITE3res> =>
      onFileAsync<WRITE3res>(
        store,
        args.file,
        context,
        async (target) => {
          const data = countedData(args);
          if (data !== undefined) return writeTo(target, args, data, context);
          return { status: NFSSTAT3.NFS3ERR_INVAL, wcc: wccOf(postOpAttributes(target.node)) };
        },
        (status, after) => ({ status, wcc: wccOf(after) }),
      ),

    // Offset and count only say what the client wants least: all of the file is brought to the disk.
    COMMIT: (args, context): Promise<COMMIT3res> =>
      onFileAsync<COMMIT3res>(
        store,
        args.file,
        context,
        async ({ node }) => {
          const verf = await commit(node);
          return { status: NFS3_OK, wcc: wccOf(attributesLater(store, args.file)), verf };
        },
        (status, after) => ({ status, wcc: wccOf(after) }),
      ),
  };
}
