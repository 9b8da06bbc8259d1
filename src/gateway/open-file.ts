import { constants } from 'node:fs';
import { ACCESS3_EXECUTE, ACCESS3_EXTEND, ACCESS3_MODIFY, ACCESS3_READ } from '../nfs3/nfs.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Errno } from './operations.ts';
import type { PageReader } from './page-reader.ts';
import type { WireReader } from './wire-reader.ts';
import type { Author } from './write-author.ts';

/** include/linux/fs.h: the file is opened to run it. The kernel leaves the bit among the flags of OPEN. */
const FMODE_EXEC = 0x20;
const O_ACCMODE = 0o3;

/** One open(2) of a file. */
export interface OpenFile {
  readonly inode: Inode;
  readonly caller: Caller;
  /** In whose name it is written; undefined for a file opened for reading. */
  readonly author: Author | undefined;
  /** Opened with O_DIRECT: every read asks the server. */
  readonly direct: boolean;
  reader: WireReader | undefined;
  pageReader: PageReader | undefined;
  /** What became of bytes that were acknowledged and then lost: told once, by the next write, fsync or close. */
  error: Errno | undefined;
}

/** Whether a file is opened to be changed: for writing, or to be cut to nothing. */
export function changesFile(flags: number): boolean {
  return (flags & O_ACCMODE) !== constants.O_RDONLY || (flags & constants.O_TRUNC) !== 0;
}

/** Whoever may execute a file may be sent its bytes (RFC 1813 section 4.4), but only to run it. */
export function mayRead(rights: number, flags: number): boolean {
  if ((flags & O_ACCMODE) === constants.O_WRONLY) return true;
  const wanted = (flags & FMODE_EXEC) === 0 ? ACCESS3_READ : ACCESS3_READ | ACCESS3_EXECUTE;
  return (rights & wanted) !== 0;
}

/** Whether the flags of open(2) that change the file are covered. Files that are only appended to can be of their own kind. */
export function mayChange(rights: number, flags: number): boolean {
  if (!changesFile(flags) || (rights & ACCESS3_MODIFY) !== 0) return true;
  const onlyAppends = (flags & constants.O_APPEND) !== 0 && (flags & constants.O_TRUNC) === 0;
  return onlyAppends && (rights & ACCESS3_EXTEND) !== 0;
}
