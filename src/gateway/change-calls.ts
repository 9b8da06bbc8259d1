/** Calls that change a directory: made in the caller's name, and followed by what the gateway knows of it. */
import type { NfsArgs, NfsResult, OnceAnswer, ServerLink } from '../client/link.ts';
import { NFS3_OK, NFSSTAT3, type nfsstat3 } from '../nfs3/status.ts';
import type { diropargs3, wcc_data } from '../nfs3/types.ts';
import type { Caller } from './callers.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { KnownDirectories } from './known-directories.ts';
import { NAME_BYTES_MAX } from './limits.ts';
import type { NameCache } from './name-cache.ts';
import type { Errno, Outcome } from './operations.ts';
import type { RecentNames } from './recent-names.ts';
import type { SillyNames } from './silly-names.ts';

const EBUSY = 16;
const ENAMETOOLONG = 36;

export type ChangingProcedure =
  'CREATE' | 'MKDIR' | 'SYMLINK' | 'MKNOD' | 'LINK' | 'REMOVE' | 'RMDIR' | 'RENAME';

export interface ChangeParts {
  readonly link: ServerLink;
  readonly inodes: InodeTable;
  readonly knowledge: Knowledge;
  /** Names learned from listings. */
  readonly names: NameCache;
  /** Names the kernel was told. */
  readonly recent: RecentNames;
  /** Directories whose names are all known. */
  readonly directories: KnownDirectories;
  readonly silly: SillyNames;
}

/** A name in a directory, as the calls want it. */
export function nameIn(directory: Inode, name: Uint8Array): diropargs3 {
  return { dir: { data: directory.handle }, name };
}

export class ChangeCalls {
  readonly #parts: ChangeParts;

  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  /**
   * Why a name cannot be changed, without a call: ENAMETOOLONG, or EBUSY for one under which a file of this mount is kept
   * until its last close.
   */
  refuse(directory: Inode, name: Uint8Array): Errno | undefined {
    if (name.length > NAME_BYTES_MAX) return ENAMETOOLONG;
    return this.#parts.silly.owns(directory, name) ? EBUSY : undefined;
  }

  /**
   * Makes a call.
   *
   * @param touched what it may have changed should it have no result: asked for again then
   */
  async send<K extends ChangingProcedure>(
    procedure: K,
    args: NfsArgs<K>,
    caller: Caller,
    ...touched: readonly Inode[]
  ): Promise<OnceAnswer<NfsResult<K>>> {
    const { link, knowledge } = this.#parts;
    try {
      return await link.nfsOnce(procedure, args, caller);
    } catch (error) {
      for (const inode of touched) knowledge.doubt(inode);
      throw error;
    }
  }

  /** A call about a name was answered: what was remembered of the name is gone, and the directory is another one. */
  changed(directory: Inode, name: Uint8Array, wcc: wcc_data): void {
    this.forget(directory, name);
    const { knowledge, directories } = this.#parts;
    directories.changed(directory, name, knowledge.learnChange(directory, wcc));
  }

  /** A name leads elsewhere, or nowhere. */
  forget(directory: Inode, name: Uint8Array): void {
    const { names, recent } = this.#parts;
    names.delete(directory.nodeId, name);
    recent.delete(directory, name);
  }

  /** The kernel is about to be told that a name leads to an inode. */
  noted(directory: Inode, name: Uint8Array, outcome: Outcome<Inode>): Outcome<Inode> {
    if (typeof outcome !== 'number') this.#parts.recent.note(directory, name, outcome);
    return outcome;
  }

  failed(inode: Inode, status: Exclude<nfsstat3, typeof NFS3_OK>): Errno {
    return this.#parts.knowledge.failed(inode, status);
  }

  /** The inode a name leads to, where the kernel has heard of it lately. */
  recent(directory: Inode, name: Uint8Array): Inode | undefined {
    return this.#parts.recent.find(directory, name);
  }

  /** What a name leads to at the server: an inode that is known here, undefined for another file, or the errno. */
  async lookUp(directory: Inode, name: Uint8Array, caller: Caller): Promise<Inode | undefined | Errno> {
    const { link, inodes, knowledge } = this.#parts;
    const askedMs = performance.now();
    const reply = await link.nfs('LOOKUP', { what: nameIn(directory, name) }, caller);
    knowledge.learn(directory, reply.dir_attributes, askedMs);
    if (reply.status !== NFS3_OK) return this.failed(directory, reply.status);
    const inode = inodes.find(reply.object.data);
    if (inode !== undefined) knowledge.learn(inode, reply.obj_attributes, askedMs);
    return inode;
  }

  /** Removes a name of something that is no directory. */
  async remove(directory: Inode, name: Uint8Array, caller: Caller): Promise<Errno> {
    const object = nameIn(directory, name);
    const sent = await this.send('REMOVE', { object }, caller, directory);
    this.changed(directory, name, sent.result.wcc);
    return this.removed(directory, sent);
  }

  /** The errno of a removal: what an earlier transmission has removed is gone, as was asked. */
  removed(directory: Inode, { result, mayHaveRunBefore }: OnceAnswer<NfsResult<'REMOVE' | 'RMDIR'>>): Errno {
    const { status } = result;
    if (status === NFS3_OK || (status === NFSSTAT3.NFS3ERR_NOENT && mayHaveRunBefore)) return 0;
    return this.failed(directory, status);
  }
}
