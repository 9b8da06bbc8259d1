/** statfs(2): sizes and free space of the exported file system, by FSSTAT. */
import type { ServerLink } from '../client/link.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { NAME_BYTES_MAX } from './limits.ts';
import type { FileSystemStatistics, Outcome } from './operations.ts';

const BLOCK_BYTES = 4096;

export class Statistics {
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;
  /** As the server said last; nothing before it was asked. */
  #last: FileSystemStatistics = {
    blockSizeBytes: BLOCK_BYTES,
    blocks: 0n,
    blocksFree: 0n,
    blocksAvailable: 0n,
    files: 0n,
    filesFree: 0n,
    nameBytesMax: NAME_BYTES_MAX,
  };

  constructor(link: ServerLink, knowledge: Knowledge) {
    this.#link = link;
    this.#knowledge = knowledge;
  }

  get last(): FileSystemStatistics {
    return this.#last;
  }

  /** Rejects with RpcError. */
  async ask(inode: Inode, caller: Caller): Promise<Outcome<FileSystemStatistics>> {
    const askedMs = performance.now();
    const reply = await this.#link.nfs('FSSTAT', { fsroot: { data: inode.handle } }, caller);
    this.#knowledge.learn(inode, reply.obj_attributes, askedMs);
    if (reply.status !== NFS3_OK) return this.#knowledge.failed(inode, reply.status);
    const blocks = (bytes: bigint): bigint => bytes / BigInt(BLOCK_BYTES);
    this.#last = {
      blockSizeBytes: BLOCK_BYTES,
      blocks: blocks(reply.tbytes),
      blocksFree: blocks(reply.fbytes),
      blocksAvailable: blocks(reply.abytes),
      files: reply.tfiles,
      filesFree: reply.ffiles,
      nameBytesMax: NAME_BYTES_MAX,
    };
    return this.#last;
  }
}
