import type { Session } from '../client/session.ts';

/**
 * `passthrough`: the kernel reads the server's own pages through a granted descriptor. `wire`: READ messages.
 * The kernel wants one kind for all opens of an inode, so it is fixed while any file is open.
 */
export type DataPath = 'passthrough' | 'wire';

/** What a passthrough inode holds until its last close. */
export interface Backing {
  readonly backingId: number;
  /** The exported file, read-only. */
  readonly descriptor: number;
  readonly grantId: bigint;
  /** Whose grant it is; the descriptor outlives it. */
  readonly session: Session;
}

/** How an inode is open, shared by all its open files. */
export interface OpenInode {
  files: number;
  readonly backing: Backing | undefined;
  /** Why this data path, for people. */
  readonly why: string;
}

export function dataPathOf(open: OpenInode): DataPath {
  return open.backing === undefined ? 'wire' : 'passthrough';
}
