/**
 * POSIX ACLs of files. The guest's kernel decides by them (FUSE_POSIX_ACL) and asks where the mode's group bits, which
 * are the mask of an ACL, leave it open. An answer holds as long as the version of the file it was given for.
 */
import type { ServerLink } from '../client/link.ts';
import { NFS_ACL, NFS_DFACL } from '../nfs3/nfsacl.ts';
import { ACCESS_ACL_XATTR, DEFAULT_ACL_XATTR, xattrOfAcl } from '../nfs3/posix-acl.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { Outcome } from './operations.ts';

const EIO = 5;
const ENODATA = 61;

/** Values of the two extended attributes; undefined where there is none beyond the mode. */
export interface InodeAcls {
  /** The version of the file they belong to. */
  readonly version: number;
  readonly access: Uint8Array | undefined;
  readonly default: Uint8Array | undefined;
}

type AclValue = Outcome<{ readonly value: Uint8Array }>;

export class Acls {
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;

  constructor(link: ServerLink, knowledge: Knowledge) {
    this.#link = link;
    this.#knowledge = knowledge;
  }

  /** Whether the name is one of the two extended attributes that hold ACLs. */
  static isName(name: string): boolean {
    return name === ACCESS_ACL_XATTR || name === DEFAULT_ACL_XATTR;
  }

  /** What is known without a call; undefined when the server must be asked. ENODATA: the mode says it all. */
  known(inode: Inode, name: string): AclValue | undefined {
    const type = inode.attributes.mode & S_IFMT;
    if (type === S_IFLNK || (name === DEFAULT_ACL_XATTR && type !== S_IFDIR)) return ENODATA;
    const { acls } = inode;
    if (acls?.version !== inode.version || inode.remainingMs === 0) return undefined;
    return valueOf(acls, name);
  }

  /** Asks the server; ENODATA for one that knows no ACLs, where the mode and its word on each open decide. */
  async ask(inode: Inode, name: string, caller: Caller): Promise<AclValue> {
    const reply = await this.#link.getAcl(inode.handle, NFS_ACL | NFS_DFACL, caller);
    if (reply === undefined) return ENODATA;
    this.#knowledge.learn(inode, reply.obj_attributes);
    if (reply.status !== NFS3_OK) return this.#knowledge.failed(inode, reply.status);
    const access = xattrOfAcl(reply.access.entries, false);
    const fallback = xattrOfAcl(reply.default.entries, true);
    // Nothing is given away on the strength of an ACL that cannot be read.
    if (access === undefined || fallback === undefined) return EIO;
    const acls = { version: inode.version, access: access ?? undefined, default: fallback ?? undefined };
    inode.acls = acls;
    return valueOf(acls, name);
  }
}

function valueOf(acls: InodeAcls, name: string): AclValue {
  const value = name === ACCESS_ACL_XATTR ? acls.access : acls.default;
  return value === undefined ? ENODATA : { value };
}
