import type { ServerLink } from '../client/link.ts';
import type { DirtyBytes } from './dirty-bytes.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { Errno } from './operations.ts';

/** What the writers of a mount share. */
export interface WritingSite {
  readonly link: ServerLink;
  readonly knowledge: Knowledge;
  readonly dirty: DirtyBytes;
  /** Bytes of one WRITE, 4 KiB to 1 MiB. */
  readonly wsizeBytes: number;
  /** What programs see when a soft mount gives up. */
  readonly timedOutErrno: Errno | undefined;
  /** Bytes were acknowledged to be written. */
  readonly onWritten: (bytes: number) => void;
  /** Bytes are lost: whoever has the file open is to be told. */
  readonly onLost: (inode: Inode, errno: Errno, lostBytes: number, error: unknown) => void;
}
