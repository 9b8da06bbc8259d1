/** What the server tells of changes on its own account (INVALIDATE), and what becomes of it here and in the kernel. */
import type { Callbacks, Invalidation, InvalidationListener } from '../client/callbacks.ts';
import type { ServerLink, Waiter } from '../client/link.ts';
import type { Session } from '../client/session.ts';
import type { Coverage } from './coverage.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { KnownDirectories } from './known-directories.ts';
import { PUSH_RESUBSCRIBE_MS, PUSH_SUBSCRIBE_TIMEOUT_MS } from './limits.ts';
import type { NameCache } from './name-cache.ts';
import type { RecentNames } from './recent-names.ts';

/** For `status`. */
export interface PushStatus {
  /** Whether the server tells of changes, so that attributes and names are believed for long. */
  readonly on: boolean;
  /** Why not; undefined where it is on. */
  readonly why: string | undefined;
  /** Files and directories that it has told of since the mount. */
  readonly invalidations: number;
  /** How often it has told that everything may have changed. */
  readonly overflows: number;
}

export interface PushParts {
  readonly link: ServerLink;
  readonly inodes: InodeTable;
  readonly knowledge: Knowledge;
  readonly names: NameCache;
  readonly recent: RecentNames;
  readonly directories: KnownDirectories;
}

export interface PushOptions {
  /** Undefined where the mount does not want it; its option is nopush. */
  readonly callbacks: Callbacks | undefined;
  /** In whose name the server is asked. */
  readonly credential: Waiter['credential'] | undefined;
  readonly onWarning: (message: string, error: unknown) => void;
}

export class Push implements InvalidationListener {
  readonly #parts: PushParts;
  readonly #coverage: Coverage;
  readonly #options: PushOptions;
  #why: string | undefined = 'not asked for yet';
  #invalidations = 0;
  #overflows = 0;
  #again: NodeJS.Timeout | undefined;
  #isStopped = false;
  #watched: Session | undefined;

  constructor(parts: PushParts, coverage: Coverage, options: PushOptions) {
    this.#parts = parts;
    this.#coverage = coverage;
    this.#options = options;
    const { callbacks } = options;
    if (callbacks === undefined) {
      this.#why = 'the mount has nopush';
      return;
    }
    callbacks.listener = this;
  }

  get status(): PushStatus {
    return {
      on: this.#coverage.isOn,
      why: this.#coverage.isOn ? undefined : this.#why,
      invalidations: this.#invalidations,
      overflows: this.#overflows,
    };
  }

  /** The kernel is there, or a session is: asks the server to tell of changes. */
  start(): void {
    const { knowledge, link } = this.#parts;
    if (this.#options.callbacks === undefined || this.#isStopped || knowledge.kernel === undefined) return;
    this.#end('not asked for yet');
    if (knowledge.kernel.expireName === undefined) {
      this.#why = 'this driver cannot tell the kernel that a name has changed';
      return;
    }
    const { session } = link;
    if (this.#watched !== session) {
      this.#watched = session;
      session.onClose(() => {
        if (this.#watched === session) this.#end('the server is away');
      });
    }
    this.#subscribe(session).catch((error: unknown) => {
      this.#why = `the server could not be asked (${String(error)})`;
      this.#later();
    });
  }

  /** The mount ends. */
  stop(): void {
    this.#isStopped = true;
    this.#end('the mount has ended');
  }

  async #subscribe(session: Session): Promise<void> {
    const { credential } = this.#options;
    const timeoutMs = PUSH_SUBSCRIBE_TIMEOUT_MS;
    const refusal = await session.subscribe({ timeoutMs, ...(credential && { credential }) });
    // What the server had answered before is taken in by now, and does not count.
    await this.#parts.link.settled(session);
    if (this.#isStopped || session.closed !== undefined || this.#parts.link.session !== session) return;
    if (refusal !== undefined) {
      this.#why = refusal;
      return;
    }
    this.#coverage.begin();
  }

  #end(why: string): void {
    clearTimeout(this.#again);
    this.#coverage.end();
    this.#why = why;
  }

  #later(): void {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      if (this.#parts.link.isConnected) this.start();
    }, PUSH_RESUBSCRIBE_MS);
    this.#again.unref();
  }

  everythingInvalidated(reason: string): void {
    this.#overflows += 1;
    this.#end(reason);
    this.#options.onWarning('the server has missed changes: attributes are believed for their time', reason);
    this.#later();
  }

  invalidated(changes: readonly Invalidation[]): void {
    for (const change of changes) {
      this.#invalidations += 1;
      // Also of files that are not known here: what was asked of them may be under way, or in a listing that is open.
      this.#coverage.told(Buffer.from(change.handle).toString('latin1'));
      for (const inode of this.#parts.inodes.findAll(change.handle)) this.#invalidateInode(inode, change);
    }
  }

  #invalidateInode(inode: Inode, { isChanged, areNamesUnknown, isForgotten, names }: Invalidation): void {
    const { knowledge, directories, recent } = this.#parts;
    if (isForgotten) inode.uncover();
    // Names that were learned of a directory belong to a version of it.
    if (areNamesUnknown) inode.changedHere();
    if (isChanged || areNamesUnknown || names.length > 0) knowledge.doubt(inode);
    if (areNamesUnknown) {
      directories.forget(inode);
      for (const name of recent.namesIn(inode)) this.#expireName(inode, name);
    }
    for (const name of names) this.#expireName(inode, name);
  }

  #expireName(directory: Inode, name: Uint8Array): void {
    const { knowledge, names, recent, directories } = this.#parts;
    names.delete(directory.nodeId, name);
    recent.delete(directory, name);
    directories.forget(directory);
    knowledge.kernel?.expireName?.(directory.nodeId, name);
  }
}
