/** What CREATE, MKDIR, SYMLINK and MKNOD have made, as an inode: RFC 1813 lets servers leave out handle and attributes. */
import type { ServerLink } from '../client/link.ts';
import { errnoOfStatus } from '../nfs3/errno.ts';
import { modeToSend } from '../nfs3/posix-acl.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { TIME_HOW, type nfs_fh3, type post_op_attr, type sattr3 } from '../nfs3/types.ts';
import { S_IFMT, attributesOfFattr3 } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { NewMode, Outcome } from './operations.ts';

const EIO = 5;
const PERMISSION_BITS = 0o7777;

const UNCHANGED = { set_it: TIME_HOW.DONT_CHANGE } as const;

/** The mode as the umask leaves it. */
export function maskedMode(mode: NewMode): number {
  return typeof mode === 'number' ? mode : mode.masked;
}

/**
 * Attributes of a new object: its mode. Owner and group follow from the credential and the directory.
 *
 * @param takesUmask whether the server applies the umask itself, where there is no default ACL
 */
export function initialAttributes(mode: NewMode, takesUmask = false): sattr3 {
  return {
    mode:
      typeof mode === 'object' && takesUmask
        ? modeToSend(mode.masked, mode.asked)
        : maskedMode(mode) & PERMISSION_BITS,
    uid: null,
    gid: null,
    size: null,
    atime: UNCHANGED,
    mtime: UNCHANGED,
  };
}

export class NewObjects {
  readonly #link: ServerLink;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;

  constructor(link: ServerLink, inodes: InodeTable, knowledge: Knowledge) {
    this.#link = link;
    this.#inodes = inodes;
    this.#knowledge = knowledge;
  }

  /**
   * The inode of what a reply says was made; asks for what the reply leaves out. EIO for a server that hands out what
   * cannot be: nothing, another type of file, or the very directory.
   *
   * @param type of S_IFMT that was asked for
   */
  async inode(
    directory: Inode,
    name: Uint8Array,
    type: number,
    made: { readonly obj: nfs_fh3 | null; readonly obj_attributes: post_op_attr },
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    if (made.obj === null) return this.find(directory, name, type, caller);
    return this.#intern(directory, type, made.obj.data, made.obj_attributes, caller);
  }

  /** The inode a name leads to now, where it has the type that is wanted; EIO where it has another. */
  async find(directory: Inode, name: Uint8Array, type: number, caller: Caller): Promise<Outcome<Inode>> {
    const what = { dir: { data: directory.handle }, name };
    const reply = await this.#link.nfs('LOOKUP', { what }, caller);
    if (reply.status !== NFS3_OK) return this.#knowledge.failed(directory, reply.status);
    return this.#intern(directory, type, reply.object.data, reply.obj_attributes, caller);
  }

  async #intern(
    directory: Inode,
    type: number,
    handle: Uint8Array,
    known: post_op_attr,
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    if (handle.length === 0 || directory.handleKey === Buffer.from(handle).toString('latin1')) return EIO;
    // The reply's bytes are good until something is awaited only.
    const data = Uint8Array.from(handle);
    let attributes = known;
    if (attributes === null) {
      const fetched = await this.#link.nfs('GETATTR', { object: { data } }, caller);
      if (fetched.status !== NFS3_OK) return errnoOfStatus(fetched.status);
      attributes = fetched.obj_attributes;
    }
    const shown = attributesOfFattr3(attributes);
    const before = this.#inodes.find(data);
    const isAsWanted = (mode: number): boolean => (mode & S_IFMT) === type;
    if (!isAsWanted(shown.mode) || (before !== undefined && !isAsWanted(before.attributes.mode))) return EIO;
    return this.#inodes.intern(data, shown);
  }
}
