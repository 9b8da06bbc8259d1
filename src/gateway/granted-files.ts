/** Files that near servers hand over: asked for, registered with the kernel, kept for a while, given back. */
import { constants } from 'node:fs';
import type { ServerLink } from '../client/link.ts';
import { NFSSTAT3 } from '../nfs3/status.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import { KeptFiles } from './kept-files.ts';
import type { Knowledge } from './knowledge.ts';
import { changesFile } from './open-file.ts';
import type { HeldFile } from './open-inode.ts';
import type { Errno, Outcome } from './operations.ts';

const EPERM = 1;
const EINVAL = 22;
const ELOOP = 40;
const EOPNOTSUPP = 95;

const O_ACCMODE = 0o3;

function reads(flags: number): boolean {
  return (flags & O_ACCMODE) !== constants.O_WRONLY;
}

export class GrantedFiles {
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;
  readonly #onWarning: (message: string, error: unknown) => void;
  readonly #kept = new KeptFiles((held) => {
    this.giveBack(held);
  });
  /** Why no file can be passed through: the option, or what the kernel refused for every file. */
  #noPassthrough: string | undefined;

  /** @param noPassthrough why no file is to be passed through */
  constructor(
    link: ServerLink,
    knowledge: Knowledge,
    noPassthrough: string | undefined,
    onWarning: (message: string, error: unknown) => void,
  ) {
    this.#link = link;
    this.#knowledge = knowledge;
    this.#noPassthrough = noPassthrough;
    this.#onWarning = onWarning;
  }

  /** The file of an inode that was open lately, where it is still in our hands. */
  take(inode: Inode): HeldFile | undefined {
    return this.#kept.take(inode);
  }

  /** Whether a file can be had that is written by the kernel itself. */
  get canPassWrites(): boolean {
    return this.#noPassthrough === undefined && this.#link.session.canGrant;
  }

  /**
   * The file itself, by a grant; a string says why the wire serves instead.
   *
   * @param flags of open(2): what the caller is to be allowed
   */
  async obtain(inode: Inode, flags: number, caller: Caller): Promise<Outcome<HeldFile> | string> {
    const askedMs = performance.now();
    const wish = { reads: reads(flags), writes: changesFile(flags), writable: this.canPassWrites };
    const outcome = await this.#link.grant(inode.handle, wish, caller);
    if (outcome === undefined) {
      const { route, levelReason } = this.#link.session;
      return levelReason === '' ? `the ${route} route has no grants` : levelReason;
    }
    if (outcome.kind === 'failed') {
      // The server cannot grant just now; READs wait for it.
      if (outcome.status === NFSSTAT3.NFS3ERR_JUKEBOX) return 'the server has no descriptor to spare';
      return this.#knowledge.failed(inode, outcome.status);
    }
    this.#knowledge.learn(inode, outcome.attributes, askedMs);
    if (outcome.kind === 'wire') return outcome.reason;
    if (reads(flags)) inode.readers.add(caller.key);
    inode.accessOf.set(caller.key, outcome.access);
    const { file, session, writable } = outcome;
    const mapped = (why: string): HeldFile => ({
      file,
      session,
      backingId: undefined,
      passesWrites: false,
      why,
    });
    const refusal = this.#noPassthrough;
    if (refusal !== undefined) return mapped(refusal);
    const backing = this.#knowledge.kernel?.openBacking(file.descriptor) ?? EOPNOTSUPP;
    if (typeof backing === 'number') return mapped(this.#explainNoBacking(backing));
    const why = `the kernel reads ${writable ? 'and writes ' : ''}the server’s own pages`;
    return { file, session, backingId: backing.backingId, passesWrites: writable, why };
  }

  #explainNoBacking(errno: Errno): string {
    if (errno === ELOOP) {
      return 'the server’s file system is stacked on another one (overlayfs), which passthrough cannot use';
    }
    if (errno === EPERM) {
      this.#noPassthrough = 'passthrough needs CAP_SYS_ADMIN in the initial user namespace';
    } else if (errno === EOPNOTSUPP || errno === EINVAL) {
      this.#noPassthrough = 'this kernel or driver has no FUSE passthrough';
    }
    return this.#noPassthrough ?? `the kernel refused passthrough (errno ${errno})`;
  }

  /** Nobody has the file open any more: it is kept for the next open, as long as the grant and the file last. */
  closed(inode: Inode, held: HeldFile): void {
    if (inode.attributes.nlink > 0 && held.session.closed === undefined) this.#kept.keep(inode, held);
    else this.giveBack(held);
  }

  /** The file of an inode is not kept any longer. */
  drop(inode: Inode): void {
    this.#kept.drop(inode);
  }

  giveBack({ file, backingId }: HeldFile): void {
    try {
      if (backingId !== undefined) this.#knowledge.kernel?.closeBacking(backingId);
    } catch (error) {
      this.#onWarning('a backing could not be closed', error);
    }
    file.release();
  }

  /** Lets go of what is kept, at the end of the mount. */
  close(): void {
    this.#kept.close();
  }
}
