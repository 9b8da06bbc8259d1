import type { GrantedFile, Session } from '../client/session.ts';
import type { FileWriter } from './file-writer.ts';
import type { MadeFile } from './made-files.ts';
import type { FilePages } from './mapped-files.ts';

/**
 * How the bytes of an open file move. `passthrough`: the kernel reads and writes the server's own pages through
 * a granted descriptor. `mapped`: the gateway copies them once, by pread(2) on that descriptor or out of shared memory. `wire`:
 * READ and WRITE messages.
 * The kernel wants one kind for all opens of an inode, so it is fixed while any file is open.
 */
export type DataPath = 'passthrough' | 'mapped' | 'wire';

/** Highest first. */
export const DATA_PATHS: readonly DataPath[] = ['passthrough', 'mapped', 'wire'];

/** A granted file, held while its inode is open, and kept a little longer. */
export interface HeldFile {
  readonly file: GrantedFile;
  /** Set where the kernel has it as the pages of the inode. */
  readonly backingId: number | undefined;
  /** Whether the kernel also writes these pages; false as well where it only reads them through us. */
  readonly passesWrites: boolean;
  /** Whose grant it is; the descriptor outlives it. */
  readonly session: Session;
  /** Why this data path, for people. */
  readonly why: string;
}

/** How an inode is open, shared by all its open files. */
export interface OpenInode {
  files: number;
  /** Those of them that were opened for writing. */
  writers: number;
  readonly held: HeldFile | undefined;
  /** Set where the server shares the file's pages in memory instead. */
  readonly pages: FilePages | undefined;
  /** True once the file's last name was removed here: it is kept under a silly name until the last close. */
  unlinked?: boolean;
  /** Set once the inode was opened for writing: all its bytes go by wire from then on. */
  writer?: FileWriter | undefined;
  /** Set while the only program that has the file open is the one that made it. */
  made?: MadeFile | undefined;
  /** Why this data path, for people. */
  why: string;
}

export function dataPathOf({ held, pages, writer }: OpenInode): DataPath {
  if (writer !== undefined) return 'wire';
  if (held === undefined) return pages === undefined ? 'wire' : 'mapped';
  return held.backingId === undefined ? 'mapped' : 'passthrough';
}

/** How an inode is open that no file has opened yet; without a granted file and shared pages, by wire. */
export function openAs(why: string, held?: HeldFile, pages?: FilePages): OpenInode {
  return { files: 0, writers: 0, held, pages, why };
}

/**
 * The file itself, where its bytes are read and written by the kernel or read out of a granted descriptor: what it says
 * about itself is what is true.
 */
export function heldIn(open: OpenInode | undefined): HeldFile | undefined {
  return open?.writer === undefined ? open?.held : undefined;
}

/** The same where it can be changed as well. */
export function writableIn(open: OpenInode | undefined): HeldFile | undefined {
  const held = heldIn(open);
  return held?.passesWrites === true ? held : undefined;
}

/** A counter for each data path, all zero. */
export function countsByDataPath(): Record<DataPath, number> {
  return { passthrough: 0, mapped: 0, wire: 0 };
}
