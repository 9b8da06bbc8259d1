import { ErrnoError } from '../system/errno.ts';
import type { FileStatus } from '../system/files.ts';
import type { Identity } from '../system/identity.ts';
import { lengthOf, type Pieces } from '../system/write-file.ts';
import { changeKey } from './page-file.ts';
import type { StoreNode } from './store.ts';
import { requireWritable } from './writable.ts';

/*
 * Writing to nodes, and bringing it to the disk. As in operations.ts, both begin in the turn that resolved the node; only
 * the node's handle, store and export are used later.
 */

/** How far a write is to have come when it is answered. */
export type Stability = 'page-cache' | 'data-on-disk' | 'all-on-disk';

export interface WriteOutcome {
  /** How many bytes were written, from the first on: fewer than there were when then came an error, which a retry meets. */
  readonly bytes: number;
  /** As of before the write: with a newer one it might have been lost already. */
  readonly verifier: Uint8Array;
  /** The attributes now, taken when others may have written, too. */
  readonly status: FileStatus;
}

/** loff_t is signed (MAX_LFS_FILESIZE of include/linux/fs.h). */
const FILE_BYTES_MAX = 2n ** 63n - 1n;

/**
 * Writes to a regular file as the caller. Guests that share its pages have lost them when this resolves. Rejects with an
 * ErrnoError or a system error of Node's: those of WritableFiles.open at once; EFBIG, also where the bytes would
 * end beyond 2^63 - 1, with nothing written; ENOSPC, EDQUOT, EIO.
 *
 * @param status the attributes, where they were looked at in this turn
 */
export async function write(
  identity: Identity,
  node: StoreNode,
  offset: bigint,
  pieces: Pieces,
  stability: Stability,
  status?: FileStatus,
): Promise<WriteOutcome> {
  const { store, handle } = node;
  requireWritable(node);
  const key = changeKey(handle);
  const verifier = store.writeVerifier.bytes;
  const file = store.writing.open(identity, { fd: node.fd, key, status });
  try {
    const length = lengthOf(pieces);
    if (length > 0 && offset + BigInt(length) > FILE_BYTES_MAX) throw new ErrnoError('EFBIG', 'write');
    const { bytes, error } = await file.write(identity, offset, pieces);
    if (bytes > 0) store.changes.changed(key);
    else if (error !== undefined) throw error;
    if (stability !== 'page-cache') await file.sync(stability === 'data-on-disk');
    await store.writing.room();
    return { bytes, verifier, status: file.status() };
  } finally {
    store.writing.release(key, file);
  }
}

/**
 * Brings to the disk what was written to a file, or the names in a directory. Returns the verifier: where it is not that of
 * a write, the write may be lost. Rejects with EIO, ENOSPC, EDQUOT where something is; EROFS for a read-only export.
 */
export async function commit(node: StoreNode): Promise<Uint8Array> {
  const { store, handle } = node;
  requireWritable(node);
  await store.writing.sync({ fd: node.fd, key: changeKey(handle) });
  return store.writeVerifier.bytes;
}
