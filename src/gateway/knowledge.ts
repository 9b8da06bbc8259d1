/** What the gateway believes of inodes: attributes and rights, brought up to date by every reply. */
import type { ServerLink } from '../client/link.ts';
import type { Session } from '../client/session.ts';
import { errnoOfStatus } from '../nfs3/errno.ts';
import {
  ACCESS3_DELETE,
  ACCESS3_EXECUTE,
  ACCESS3_EXTEND,
  ACCESS3_LOOKUP,
  ACCESS3_MODIFY,
  ACCESS3_READ,
} from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import { TIME_HOW, type post_op_attr, type sattr3, type wcc_data } from '../nfs3/types.ts';
import { attributesOfFattr3, attributesOfStat, isOlder, isVersion, sameVersion } from './attributes.ts';
import type { AttributeTimes } from './attribute-times.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { NameCache } from './name-cache.ts';
import { heldIn } from './open-inode.ts';
import type { Attributes, Errno, KernelServices } from './operations.ts';

const EACCES = 13;
const EROFS = 30;
const ESTALE = 116;
const EVERY_RIGHT =
  ACCESS3_READ | ACCESS3_LOOKUP | ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE | ACCESS3_EXECUTE;

const UNCHANGED = { set_it: TIME_HOW.DONT_CHANGE } as const;
const NOTHING: sattr3 = { mode: null, uid: null, gid: null, size: null, atime: UNCHANGED, mtime: UNCHANGED };
/** A time at which nothing was changed: SETATTR guarded by it does nothing (RFC 1813 section 3.3.2). */
const NO_CTIME = { seconds: 0, nseconds: 1 };

/** ACCESS3_* bits, or why they could not be had. */
export type Rights = number | { readonly errno: Errno };

/**
 * Who changed a file or directory, as weak cache consistency data shows it: this mount alone, somebody else as well, or
 * there was nothing to see it by.
 */
export type Changer = 'ours' | 'others' | 'unknown';

export class Knowledge {
  /** Set once the driver is ready. */
  kernel: KernelServices | undefined;
  readonly #link: ServerLink;
  readonly #names: NameCache;
  readonly #times: AttributeTimes;
  readonly #refusals = new WeakMap<Session, Errno>();

  constructor(link: ServerLink, names: NameCache, times: AttributeTimes) {
    this.#link = link;
    this.#names = names;
    this.#times = times;
  }

  /**
   * Takes in attributes that came with a reply.
   *
   * @param askedMs when the call was sent, on the clock of performance.now(): a change of ours that was answered since
   *   knows better. Default: now
   */
  learn(inode: Inode, attributes: post_op_attr, askedMs?: number): void {
    if (attributes !== null) this.refresh(inode, attributesOfFattr3(attributes), askedMs);
  }

  /**
   * Takes in what a change of ours did to a file or directory (RFC 1813 section 2.6, wcc_data). Where nobody else
   * changed it, what was learned of it before still holds, and the kernel is told nothing: it knows its own change. Where
   * somebody did, names learned of a directory are dropped, and the kernel asks again.
   *
   * Replies that overtake each other are taken for changes of others: that costs a call and is never wrong.
   */
  learnChange(inode: Inode, { before, after }: wcc_data): Changer {
    if (after === null) {
      this.doubt(inode);
      return 'unknown';
    }
    const attributes = attributesOfFattr3(after);
    const known = inode.attributes;
    if (before !== null && isVersion(known, before)) {
      inode.adopt(attributes, this.#times);
      return 'ours';
    }
    // Replies under way may still show what was before this change.
    inode.answeredChange();
    // A reply to a later call has told it already.
    if (sameVersion(known, attributes)) return before === null ? 'unknown' : 'ours';
    if (isOlder(attributes, known)) this.doubt(inode);
    else this.refresh(inode, attributes);
    return before === null ? 'unknown' : 'others';
  }

  /** Something changed an inode, and nobody said how: it is asked for again, by the kernel as well. */
  doubt(inode: Inode): void {
    inode.expire();
    inode.isSizeOld = true;
    this.kernel?.invalidateAttributes(inode.nodeId);
  }

  /**
   * Takes in what came with the reply to a change of our own. The kernel need not be told: it knows that its attributes
   * are old by what it asked for.
   *
   * @param isAlone whether no other change of the file was under way at the same time
   */
  changed(inode: Inode, attributes: post_op_attr, isAlone: boolean): void {
    const known = attributes === null ? undefined : attributesOfFattr3(attributes);
    inode.changedHere(known, this.#times, isAlone);
    inode.toldVersion = inode.version;
  }

  /** Takes in attributes; the kernel is told when they show that it holds older ones. */
  refresh(inode: Inode, attributes: Attributes, askedMs?: number): void {
    inode.update(attributes, this.#times, performance.now(), askedMs);
    if (inode.toldVersion === inode.version) return;
    inode.toldVersion = inode.version;
    inode.isSizeOld = true;
    this.kernel?.invalidateAttributes(inode.nodeId);
  }

  /**
   * Takes in what a file that is in our hands says about itself, which costs no call.
   *
   * @param isAsked whether the kernel is about to be told, since it asks
   * @returns false where the file is not in our hands
   */
  look(inode: Inode, isAsked = false): boolean {
    const held = heldIn(inode.open);
    if (held === undefined) return false;
    // Replies under way may show what was before a write that only the kernel knows of.
    if ((inode.open?.writers ?? 0) > 0) inode.answeredChange();
    const attributes = attributesOfStat(held.file.status());
    if (isAsked) inode.update(attributes, this.#times);
    else this.refresh(inode, attributes);
    return true;
  }

  /** The errno of a failed call; a stale inode is not believed any more, nor are names. */
  failed(inode: Inode, status: nfs3error): Errno {
    const errno = errnoOfStatus(status);
    if (errno === ESTALE) {
      inode.expire();
      this.#names.clear();
    }
    return errno;
  }

  /**
   * What the caller may do, as the server says.
   *
   * @param ask true asks even where the answer is remembered: it brings fresh attributes, as close-to-open wants
   */
  async rights(inode: Inode, caller: Caller, ask: boolean): Promise<Rights> {
    const remembered = inode.accessOf.get(caller.key);
    if (!ask && remembered !== undefined && inode.remainingMs > 0) return remembered;
    const askedMs = performance.now();
    const reply = await this.#link.nfs(
      'ACCESS',
      { object: { data: inode.handle }, access: EVERY_RIGHT },
      caller,
    );
    this.learn(inode, reply.obj_attributes, askedMs);
    if (reply.status !== NFS3_OK) return { errno: this.failed(inode, reply.status) };
    inode.accessOf.set(caller.key, reply.access);
    return reply.access;
  }

  /**
   * Why somebody who lacks the right to write may not: EROFS on a read-only export, else EACCES. ACCESS does not tell, so
   * the server is asked once a session to change nothing, where servers answer NFS3ERR_ROFS before anything else.
   * Rejects with RpcError.
   */
  async refusalOfWriting(inode: Inode, caller: Caller): Promise<Errno> {
    const { session } = this.#link;
    let errno = this.#refusals.get(session);
    if (errno === undefined) {
      const args = { object: { data: inode.handle }, new_attributes: NOTHING, guard: NO_CTIME };
      const { status } = await this.#link.nfs('SETATTR', args, caller);
      errno = status === NFSSTAT3.NFS3ERR_ROFS ? EROFS : EACCES;
      this.#refusals.set(session, errno);
    }
    return errno;
  }
}
