/** access(2), asked of the server. */
import {
  ACCESS3_DELETE,
  ACCESS3_EXECUTE,
  ACCESS3_EXTEND,
  ACCESS3_LOOKUP,
  ACCESS3_MODIFY,
  ACCESS3_READ,
} from '../nfs3/nfs.ts';
import { isDirectory } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { Errno } from './operations.ts';

const EACCES = 13;
const R_OK = 4;
const W_OK = 2;
const X_OK = 1;
const WRITE_FILE = ACCESS3_MODIFY | ACCESS3_EXTEND;
const WRITE_DIRECTORY = WRITE_FILE | ACCESS3_DELETE;

/**
 * Whether a caller may do all of what is asked: 0, EACCES, or EROFS where it may do nothing but write, because the
 * export is read-only. Rejects with RpcError.
 *
 * @param mask of R_OK, W_OK and X_OK
 */
export async function checkAccess(
  inode: Inode,
  mask: number,
  knowledge: Knowledge,
  caller: Caller,
): Promise<Errno> {
  const ofDirectory = isDirectory(inode.attributes);
  let reading = 0;
  if ((mask & R_OK) !== 0) reading |= ACCESS3_READ;
  if ((mask & X_OK) !== 0) reading |= ofDirectory ? ACCESS3_LOOKUP : ACCESS3_EXECUTE;
  const granted = await knowledge.rights(inode, caller, false);
  if (typeof granted === 'object') return granted.errno;
  if ((granted & reading) !== reading) return EACCES;
  const writing = (mask & W_OK) === 0 ? 0 : ofDirectory ? WRITE_DIRECTORY : WRITE_FILE;
  return (granted & writing) === writing ? 0 : knowledge.refusalOfWriting(inode, caller);
}
