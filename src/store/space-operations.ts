import { ErrnoError } from '../system/errno.ts';
import { seek, type FileStatus } from '../system/files.ts';
import type { Identity } from '../system/identity.ts';
import {
  checkSpaceRange,
  copyRangeHere,
  copyRangeOnPool,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  fallocateHere,
  fallocateOnPool,
  SEEK_DATA,
  SEEK_HOLE,
  type SpaceRange,
} from '../system/space.ts';
import { COPY_HERE_BYTES_MAX } from './limits.ts';
import { changeKey } from './page-file.ts';
import type { ResolvedNode, StoreNode } from './store.ts';
import { requireWritable } from './writable.ts';

/*
 * Space of regular files, and bytes that are copied between them. As with writing, all begin in the turn that resolved the
 * nodes; only the nodes' handles, stores and exports are used later.
 */

export type { SpaceRange };

/** What fallocate(2) may be asked for here: what moves the bytes behind it would have to be undone where it is lost. */
const MODES: ReadonlySet<number> = new Set([
  0,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_ZERO_RANGE,
  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
]);

/**
 * Gives a range of a file space, or takes it away, as a caller who may write; it is on stable storage when this resolves,
 * and guests that share the file's pages have lost them. Rejects as `write` does, and with EOPNOTSUPP for a mode that is
 * not known, or that the file system does not know; EINVAL for an empty range.
 *
 * @returns the attributes now
 */
export async function allocate(
  identity: Identity,
  { node, status }: ResolvedNode,
  range: SpaceRange,
): Promise<FileStatus> {
  const { store, handle } = node;
  requireWritable(node);
  const key = changeKey(handle);
  const file = store.writing.open(identity, { fd: node.fd, key, status });
  try {
    checkSpaceRange(range);
    if (!MODES.has(range.mode)) throw new ErrnoError('EOPNOTSUPP', 'fallocate');
    const isTaken = (range.mode & FALLOC_FL_PUNCH_HOLE) === 0;
    try {
      await file.change(identity, {
        takesBytes: isTaken ? range.length : 0n,
        onPool: async () => ((await fallocateOnPool(file.fd, range)) ? true : undefined),
        here: () => {
          fallocateHere(file.fd, range);
          return true;
        },
      });
    } finally {
      // Some of it may have been done.
      store.changes.changed(key);
    }
    await file.sync();
    return file.status();
  } finally {
    store.writing.release(key, file);
  }
}

/**
 * Where data or a hole begins, at or behind an offset, for a caller who may read: lseek(2). Throws as OpenFiles.open
 * does; ErrnoError ENXIO behind the end.
 */
export function seekIn(
  identity: Identity,
  { node, status }: ResolvedNode,
  offset: bigint,
  what: 'data' | 'hole',
): bigint {
  const { store, handle } = node;
  const file = store.files.open(identity, { fd: node.fd, key: changeKey(handle), status });
  return seek(file.fd, offset, what === 'data' ? SEEK_DATA : SEEK_HOLE);
}

/** A place in a file. */
export interface FilePlace {
  readonly found: ResolvedNode;
  /** Bytes. */
  readonly offset: bigint;
}

export interface CopyOutcome {
  /** Bytes that were copied: 0 at the end of the source, fewer than asked for any reason. */
  readonly count: number;
  /** Of the file that was written. */
  readonly status: FileStatus;
}

/**
 * Copies bytes from one file to another, or within one, for a caller who may read the one and write the other; they are
 * on stable storage when this resolves, and guests that share pages of what was written have lost them. Rejects as
 * reading and writing do; EINVAL for a range that overlaps with itself; EXDEV.
 *
 * @param countBytes at most so many
 */
export async function copy(
  identity: Identity,
  from: FilePlace,
  to: FilePlace,
  countBytes: number,
): Promise<CopyOutcome> {
  const target = to.found.node;
  const { store } = target;
  requireWritable(target);
  const source = openSource(identity, from.found.node, from.found.status);
  const key = changeKey(target.handle);
  try {
    const file = store.writing.open(identity, { fd: target.fd, key, status: to.found.status });
    try {
      const length = BigInt(countBytes);
      checkSpaceRange({ offset: from.offset, length });
      checkSpaceRange({ offset: to.offset, length });
      const [read, written] = [
        { fd: source.fd, offset: from.offset },
        { fd: file.fd, offset: to.offset },
      ];
      // What was acknowledged of the source is in the page cache, so its writes need not be waited for.
      const count = await file.change(identity, {
        takesBytes: length,
        onPool: () => copyRangeOnPool(read, written, countBytes),
        here: () => copyRangeHere(read, written, Math.min(countBytes, COPY_HERE_BYTES_MAX)),
      });
      if (count > 0) {
        store.changes.changed(key);
        await file.sync();
      }
      return { count, status: file.status() };
    } finally {
      store.writing.release(key, file);
    }
  } finally {
    source.release();
  }
}

function openSource(identity: Identity, { store, fd, handle }: StoreNode, status: FileStatus) {
  return store.files.open(identity, { fd, key: changeKey(handle), status }).hold();
}
