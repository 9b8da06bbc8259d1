/** Names as the kernel is told of them. */
import type { Inode } from './inodes.ts';
import type { Entry } from './operations.ts';

/** Answers a name with its inode, which counts one more reference by it. */
export function entryOf(inode: Inode, directory: Inode): Entry {
  inode.lookups += 1n;
  return entryWithoutReference(inode, directory);
}

export function entryWithoutReference(inode: Inode, directory: Inode): Entry {
  return { nodeId: inode.nodeId, entryValidMs: directory.tellableMs(true), attributes: inode.reply() };
}
