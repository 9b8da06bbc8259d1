/**
 * POSIX ACLs of files. The guest's kernel decides by them (FUSE_POSIX_ACL) and asks where the mode's group bits, which
 * are the mask of an ACL, leave it open. An answer holds as long as the version of the file it was given for.
 */
import type { ServerLink } from '../client/link.ts';
import { NFS_ACL, NFS_DFACL, type aclent, type SETACL3args } from '../nfs3/nfsacl.ts';
import {
  ACCESS_ACL_XATTR,
  aclOfMode,
  aclOfXattr,
  DEFAULT_ACL_XATTR,
  modeOfXattr,
  xattrOfAcl,
} from '../nfs3/posix-acl.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Errno, Outcome } from './operations.ts';

const EINTR = 4;
const EIO = 5;
const EACCES = 13;
const EINVAL = 22;
const ENODATA = 61;
const EOPNOTSUPP = 95;
/** Set-user-id, set-group-id, sticky. */
const SPECIAL_BITS = 0o7000;

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

  /**
   * The mode to be set in place of an access ACL that says no more, as cp and others set it: of a file that is known to have no
   * ACL, and on servers that are asked about it because they may set none. Undefined where the ACL is to be set.
   */
  async modeInstead(
    inode: Inode,
    name: string,
    value: Uint8Array,
    caller: Caller,
  ): Promise<number | undefined> {
    const permissions = name === ACCESS_ACL_XATTR ? modeOfXattr(value) : undefined;
    if (permissions === undefined) return undefined;
    const isNone = await this.#lacks(inode, name, caller);
    return isNone ? (inode.attributes.mode & SPECIAL_BITS) | permissions : undefined;
  }

  /** Whether there is no such ACL; servers of ours, which can set them, are not asked only for that. */
  async #lacks(inode: Inode, name: string, caller: Caller): Promise<boolean> {
    const isOurs = this.#link.session.isNearmount;
    const known = this.known(inode, name) ?? (isOurs ? undefined : await this.ask(inode, name, caller));
    return known === ENODATA;
  }

  /**
   * Sets or takes away an ACL. EOPNOTSUPP where the server knows none, EINVAL for what is none; who may is for the server to
   * say. The mode follows an access ACL.
   *
   * @param value undefined takes it away
   */
  async set(inode: Inode, name: string, value: Uint8Array | undefined, caller: Caller): Promise<Errno> {
    const type = inode.attributes.mode & S_IFMT;
    if (type === S_IFLNK) return EOPNOTSUPP;
    const isDefault = name === DEFAULT_ACL_XATTR;
    if (isDefault && type !== S_IFDIR) return value === undefined ? 0 : EACCES;
    // cp(1) takes away what is not there from each directory that it makes; servers that can set no ACLs fail at it.
    const takesAway = value === undefined || aclOfXattr(value, inode.attributes, isDefault)?.length === 0;
    if (takesAway && (await this.#lacks(inode, name, caller))) return 0;
    const writer = inode.open?.writer;
    const send = (): Promise<Errno> =>
      caller.signal.aborted ? Promise.resolve(EINTR) : this.#send(inode, isDefault, value, caller);
    // Bytes that were sent again after a change of the mode could undo it.
    return writer === undefined ? send() : unlessInterrupted(writer.exclusively(true, send), caller);
  }

  async #send(
    inode: Inode,
    isDefault: boolean,
    value: Uint8Array | undefined,
    caller: Caller,
  ): Promise<Errno> {
    const { attributes } = inode;
    const entries = value === undefined ? [] : aclOfXattr(value, attributes, isDefault);
    if (entries === undefined) return EINVAL;
    const list = listOf(entries);
    const object = { data: inode.handle };
    const args = isDefault
      ? { object, mask: NFS_DFACL, access: NO_LIST, default: list }
      : { object, mask: NFS_ACL, access: list, default: NO_LIST };
    const isOurs = this.#link.session.isNearmount;
    const complete = isOurs ? args : await this.#completed(inode, args, caller);
    if (typeof complete === 'number') return complete;
    const reply = await this.#link.setAcl(complete, caller).catch((error: unknown) => {
      // It may have been done all the same.
      this.#knowledge.doubt(inode);
      throw error;
    });
    if (reply === undefined) return EOPNOTSUPP;
    if (reply.status !== NFS3_OK) {
      this.#knowledge.learn(inode, reply.obj_attributes);
      // Servers that know ACLs and can set none say so in their own ways.
      if (!isOurs && CANNOT_SET.has(reply.status)) return EOPNOTSUPP;
      return this.#knowledge.failed(inode, reply.status);
    }
    inode.acls = undefined;
    this.#knowledge.changed(inode, reply.obj_attributes, true);
    return 0;
  }

  /**
   * Both lists: servers may take the one that is not sent for an empty one, as that of Linux does (nfsd3_proc_setacl of
   * fs/nfsd/nfs3acl.c). An access ACL that is taken away leaves what the mode says.
   */
  async #completed(inode: Inode, args: SETACL3args, caller: Caller): Promise<Outcome<SETACL3args>> {
    const { attributes } = inode;
    const isDirectory = (attributes.mode & S_IFMT) === S_IFDIR;
    const takesAccess = (args.mask & NFS_ACL) !== 0 && args.access.count === 0;
    const access = takesAccess ? listOf(aclOfMode(attributes.mode, attributes)) : args.access;
    if (!isDirectory) return { ...args, access };
    const reply = await this.#link.getAcl(inode.handle, NFS_ACL | NFS_DFACL, caller);
    if (reply === undefined) return EOPNOTSUPP;
    if (reply.status !== NFS3_OK) return this.#knowledge.failed(inode, reply.status);
    const isDefault = (args.mask & NFS_DFACL) !== 0;
    return {
      object: args.object,
      mask: NFS_ACL | NFS_DFACL,
      access: isDefault ? listOf(reply.access.entries) : access,
      default: isDefault ? args.default : listOf(reply.default.entries),
    };
  }
}

const CANNOT_SET: ReadonlySet<nfs3error> = new Set<nfs3error>([
  NFSSTAT3.NFS3ERR_IO,
  NFSSTAT3.NFS3ERR_NOTSUPP,
  NFSSTAT3.NFS3ERR_SERVERFAULT,
]);

const NO_LIST = { count: 0, entries: [] } as const;

function listOf(entries: readonly aclent[]): SETACL3args['access'] {
  return { count: entries.length, entries };
}

function valueOf(acls: InodeAcls, name: string): AclValue {
  const value = name === ACCESS_ACL_XATTR ? acls.access : acls.default;
  return value === undefined ? ENODATA : { value };
}
