/** What the gateway believes of inodes: attributes and rights, brought up to date by every reply. */
import type { ServerLink } from '../client/link.ts';
import { errnoOfStatus } from '../nfs3/errno.ts';
import {
  ACCESS3_DELETE,
  ACCESS3_EXECUTE,
  ACCESS3_EXTEND,
  ACCESS3_LOOKUP,
  ACCESS3_MODIFY,
  ACCESS3_READ,
} from '../nfs3/nfs.ts';
import { NFS3_OK, type nfs3error } from '../nfs3/status.ts';
import type { post_op_attr } from '../nfs3/types.ts';
import { attributesOfFattr3 } from './attributes.ts';
import type { AttributeTimes } from './attribute-times.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import type { NameCache } from './name-cache.ts';
import type { Attributes, Errno, KernelServices } from './operations.ts';

const ESTALE = 116;
const EVERY_RIGHT =
  ACCESS3_READ | ACCESS3_LOOKUP | ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE | ACCESS3_EXECUTE;

/** ACCESS3_* bits, or why they could not be had. */
export type Rights = number | { readonly errno: Errno };

export class Knowledge {
  /** Set once the driver is ready. */
  kernel: KernelServices | undefined;
  readonly #link: ServerLink;
  readonly #names: NameCache;
  readonly #times: AttributeTimes;

  constructor(link: ServerLink, names: NameCache, times: AttributeTimes) {
    this.#link = link;
    this.#names = names;
    this.#times = times;
  }

  /** Takes in attributes that came with a reply. */
  learn(inode: Inode, attributes: post_op_attr): void {
    if (attributes !== null) this.refresh(inode, attributesOfFattr3(attributes));
  }

  /** Takes in attributes; the kernel is told when they show that it holds older ones. */
  refresh(inode: Inode, attributes: Attributes): void {
    inode.update(attributes, this.#times);
    if (inode.toldVersion === inode.version) return;
    inode.toldVersion = inode.version;
    this.kernel?.invalidateAttributes(inode.nodeId);
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
    const reply = await this.#link.nfs(
      'ACCESS',
      { object: { data: inode.handle }, access: EVERY_RIGHT },
      caller,
    );
    this.learn(inode, reply.obj_attributes);
    if (reply.status !== NFS3_OK) return { errno: this.failed(inode, reply.status) };
    inode.accessOf.set(caller.key, reply.access);
    return reply.access;
  }
}
