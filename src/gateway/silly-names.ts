/**
 * Files whose last name is removed while they are open. An NFSv3 server knows of no open files: it would delete them, and
 * their readers and writers would get ESTALE. So the file gets a name that nobody uses, `.nfs` with 16 hexadecimal digits
 * of its inode number and 8 of a counter, as NFS clients name them, until its last close.
 */
import { randomInt } from 'node:crypto';
import type { ServerLink, Waiter } from '../client/link.ts';
import { NFS3_OK, NFSSTAT3, statusName } from '../nfs3/status.ts';
import { isDirectory, isSticky } from './attributes.ts';
import { AwaitedOpens } from './awaited-opens.ts';
import type { Caller } from './callers.ts';
import type { Interruptible } from './dirty-bytes.ts';
import type { Inode, InodeTable } from './inodes.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Knowledge } from './knowledge.ts';
import { nameKeyOf } from './name-cache.ts';
import type { CallContext, Errno, Outcome } from './operations.ts';

const ESTALE = 116;
const COUNTER_LIMIT = 0x1_0000_0000;
const INODE_DIGITS = 16;
const COUNTER_DIGITS = 8;

/** What a name must look like to be removed without being asked to. */
export const SILLY_NAME = /^\.nfs[0-9a-f]{24}$/;

/** What it takes to remove a silly name, later or by another process. */
export interface SillyEntry {
  readonly name: string;
  /** Handle of the directory it is in. */
  readonly directory: Uint8Array;
  /** Whose call it was that removed the name before: this one is made as the same. */
  readonly credential: Waiter['credential'];
}

/** Remembers silly names beyond the end of this process. None of it throws: what cannot be remembered stays behind. */
export interface SillyJournal {
  /** A name is about to be made. */
  add(entry: SillyEntry): void;
  /** A name is gone, or was never made. */
  done(entry: SillyEntry): void;
  /** What processes that are gone have left at this server, each to be reported by `done` as well. */
  takeLeftovers(): readonly SillyEntry[];
  close(): void;
}

/** A name that a file of this mount is kept under. */
interface Kept {
  readonly entry: SillyEntry;
  readonly key: string;
  readonly inode: Inode;
}

/** A silly name that is being removed. */
interface Removal {
  readonly entry: SillyEntry;
  /** Settles when it is over; never rejects. */
  readonly done: Promise<void>;
}

/** How a file that is about to be replaced was kept. */
export type Keeping =
  /** It has a second name now. */
  | 'linked'
  /** It has another name now, and what is to replace it finds nothing. */
  | 'renamed';

export class SillyNames {
  /** What is kept although it is not open yet. */
  readonly awaited: AwaitedOpens;
  readonly #link: ServerLink;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;
  readonly #journal: SillyJournal | undefined;
  readonly #onWarning: (message: string, error: unknown) => void;
  readonly #kept = new Map<Inode, Kept[]>();
  /** By directory and name. */
  readonly #names = new Map<string, Kept>();
  readonly #removals = new Set<Removal>();
  /** Files that lost their last name before they were opened. */
  readonly #nameless = new WeakSet<Inode>();
  // Where it starts nobody can guess, so that nobody makes the next name first.
  #counter = randomInt(COUNTER_LIMIT);

  constructor(
    link: ServerLink,
    inodes: InodeTable,
    knowledge: Knowledge,
    journal: SillyJournal | undefined,
    onWarning: (message: string, error: unknown) => void,
  ) {
    this.#link = link;
    this.#inodes = inodes;
    this.awaited = new AwaitedOpens((inode) => void this.#notOpened(inode));
    this.#knowledge = knowledge;
    this.#journal = journal;
    this.#onWarning = onWarning;
  }

  /** Whether a name is one under which this mount keeps a file. */
  owns(directory: Inode, name: Uint8Array): boolean {
    return this.#names.size > 0 && this.#names.has(nameKeyOf(directory.nodeId, name));
  }

  /**
   * Whether a file would be lost to those who have it open, were this name removed: it is open here, or about to be, not read
   * by a descriptor of ours alone, and has no other name. (A handle is good as long as any name exists, so files with more names
   * are simply removed, where other NFS clients would leave a silly name for them, too.)
   */
  async wouldBeLost(inode: Inode, caller: Caller): Promise<Outcome<boolean>> {
    const { open, attributes } = inode;
    if (isDirectory(attributes)) return false;
    // Who writes does so by its handle, whatever descriptor is there besides.
    const isAtHand = open?.held !== undefined && open.writer === undefined;
    if ((open === undefined || isAtHand) && !this.awaited.has(inode)) return false;
    if (attributes.nlink <= 1) return true;
    // What is believed may be older than the removal of the other names.
    const askedMs = performance.now();
    const reply = await this.#link.nfs('GETATTR', { object: { data: inode.handle } }, caller);
    if (reply.status !== NFS3_OK) {
      const errno = this.#knowledge.failed(inode, reply.status);
      return errno === ESTALE ? false : errno;
    }
    this.#knowledge.learn(inode, reply.obj_attributes, askedMs);
    return inode.attributes.nlink <= 1;
  }

  /** Takes a name from a file that stays open. */
  async rename(directory: Inode, name: Uint8Array, inode: Inode, caller: Caller): Promise<Errno> {
    const kept = this.#begin(directory, inode, caller);
    const dir = { data: directory.handle };
    const to = { dir, name: Buffer.from(kept.entry.name) };
    const { result: reply, mayHaveRunBefore } = await this.#doubting(
      directory,
      this.#link.nfsOnce('RENAME', { from: { dir, name }, to }, caller),
    );
    this.#knowledge.learnChange(directory, reply.fromdir_wcc);
    const wasDone = reply.status === NFSSTAT3.NFS3ERR_NOENT && mayHaveRunBefore;
    if (reply.status !== NFS3_OK && !wasDone) {
      this.#end(kept);
      return this.#knowledge.failed(directory, reply.status);
    }
    this.#unlinked(inode);
    return 0;
  }

  /**
   * Keeps a file that is about to be replaced. A second name is tried first: then the file's own name leads to the old
   * file or to the new one all the time, for everybody.
   */
  async keep(directory: Inode, name: Uint8Array, inode: Inode, caller: Caller): Promise<Keeping | Errno> {
    const kept = this.#begin(directory, inode, caller);
    const link = { dir: { data: directory.handle }, name: Buffer.from(kept.entry.name) };
    const reply = await this.#doubting(
      directory,
      this.#link.nfs('LINK', { file: { data: inode.handle }, link }, caller),
    );
    this.#knowledge.learnChange(directory, reply.linkdir_wcc);
    if (reply.status === NFS3_OK) return 'linked';
    this.#end(kept);
    const errno = await this.rename(directory, name, inode, caller);
    return errno === 0 ? 'renamed' : errno;
  }

  /** The file was replaced: none of its names is left. */
  replaced(inode: Inode): void {
    this.#unlinked(inode);
  }

  /** The file was not replaced after all: it gets its name back, or loses its second one. */
  async undo(
    directory: Inode,
    name: Uint8Array,
    inode: Inode,
    keeping: Keeping,
    caller: Caller,
  ): Promise<void> {
    const kept = this.#kept.get(inode)?.at(-1);
    if (kept === undefined) return;
    if (keeping === 'linked') {
      this.#forget(kept);
      this.#remove(kept.entry);
      return;
    }
    const dir = { data: directory.handle };
    const from = { dir, name: Buffer.from(kept.entry.name) };
    const reply = await this.#doubting(
      directory,
      this.#link.nfs('RENAME', { from, to: { dir, name } }, caller),
    );
    this.#knowledge.learnChange(directory, reply.fromdir_wcc);
    // Else it stays where it is until its last close, as if it had been removed.
    if (reply.status !== NFS3_OK) return;
    this.#end(kept);
    if (inode.open !== undefined) inode.open.unlinked = false;
    this.#nameless.delete(inode);
    inode.expire();
  }

  /**
   * Has what is kept in a directory moved to the one above, so that it can be removed as if its files were gone. Nothing is
   * moved into a sticky directory, where not everybody could remove it. Rejects with StatusError EINTR for a caller that
   * gives up.
   *
   * @returns whether the directory may be empty now
   */
  async clear(directory: Inode, parent: Inode, caller: Caller): Promise<boolean> {
    const isInside = ({ entry }: { readonly entry: SillyEntry }): boolean =>
      Buffer.compare(entry.directory, directory.handle) === 0;
    const leaving = [...this.#removals].filter(isInside);
    await unlessInterrupted(Promise.all(leaving.map(({ done }) => done)), caller);
    const inside = isSticky(parent.attributes) ? [] : [...this.#names.values()].filter(isInside);
    let isAnyGone = leaving.length > 0;
    for (const kept of inside) isAnyGone = (await this.#move(kept, directory, parent, caller)) || isAnyGone;
    return isAnyGone;
  }

  /** Whether it is not there any more. */
  async #move(kept: Kept, directory: Inode, parent: Inode, caller: Caller): Promise<boolean> {
    const { inode } = kept;
    const moved = this.#begin(parent, inode, caller);
    const from = { dir: { data: directory.handle }, name: Buffer.from(kept.entry.name) };
    const to = { dir: { data: parent.handle }, name: Buffer.from(moved.entry.name) };
    const call = this.#doubting(directory, this.#link.nfsOnce('RENAME', { from, to }, caller));
    const { result: reply, mayHaveRunBefore } = await this.#doubting(parent, call);
    this.#knowledge.learnChange(directory, reply.fromdir_wcc);
    this.#knowledge.learnChange(parent, reply.todir_wcc);
    const isClosed = !this.#names.has(kept.key);
    const wasDone = reply.status === NFSSTAT3.NFS3ERR_NOENT && mayHaveRunBefore;
    if (reply.status !== NFS3_OK && !wasDone) {
      this.#end(moved);
      return isClosed;
    }
    inode.expire();
    this.#end(kept);
    if (isClosed) {
      // Its removal may have come too early for either name.
      this.#forget(moved);
      this.#remove(moved.entry);
    }
    return true;
  }

  /** Passes the answer of an OPEN on. The file may have lost its name when it was about to be opened. */
  opened<T>(inode: Inode, { pid }: CallContext, answer: Outcome<T>): Outcome<T> {
    if (this.#nameless.has(inode)) this.#unlinked(inode);
    return this.awaited.opened(pid, inode, answer);
  }

  /** The last file of an inode is closed: nobody needs its silly names any more, but for who is about to open it. */
  closed(inode: Inode): void {
    if (this.awaited.has(inode)) return;
    for (const kept of this.#kept.get(inode) ?? []) {
      this.#forget(kept);
      this.#remove(kept.entry);
    }
  }

  /**
   * Waits until a directory has no silly names of files that are closed: close(2) returns before they are removed, and a
   * program that looks at the directory then, or removes it, must not find them. Rejects with StatusError EINTR.
   */
  async settled(directory: Inode, caller: Interruptible): Promise<void> {
    if (this.#kept.size === 0 && this.#removals.size === 0) return;
    const isInside = (entry: SillyEntry): boolean => Buffer.compare(entry.directory, directory.handle) === 0;
    const closing = [...this.#kept]
      .filter(([inode, names]) => !inode.isIdle && names.some(({ entry }) => isInside(entry)))
      .map(([inode]) => inode.inTurn(() => Promise.resolve()));
    await unlessInterrupted(Promise.all(closing), caller);
    const removals = [...this.#removals].filter(({ entry }) => isInside(entry));
    await unlessInterrupted(Promise.all(removals.map(({ done }) => done)), caller);
  }

  #notOpened(inode: Inode): Promise<void> {
    return inode.inTurn(() => {
      if (inode.open === undefined) this.closed(inode);
      return Promise.resolve();
    });
  }

  /** Removes what gateways that are gone have left. */
  removeLeftovers(): void {
    for (const entry of this.#journal?.takeLeftovers() ?? []) this.#remove(entry);
  }

  /** Removes what is still kept, at the end of the mount; settles once nothing is under way. */
  async finish(): Promise<void> {
    this.awaited.clear();
    for (const inode of [...this.#kept.keys()]) this.closed(inode);
    while (this.#removals.size > 0) await Promise.all([...this.#removals].map(({ done }) => done));
    this.#journal?.close();
  }

  /** A call without a result may have been made all the same: then the last close removes the name. */
  async #doubting<T>(directory: Inode, call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      this.#knowledge.doubt(directory);
      throw error;
    }
  }

  #begin(directory: Inode, inode: Inode, caller: Caller): Kept {
    this.#counter = (this.#counter + 1) % COUNTER_LIMIT;
    const number = BigInt.asUintN(64, inode.attributes.ino).toString(16).padStart(INODE_DIGITS, '0');
    const name = `.nfs${number}${this.#counter.toString(16).padStart(COUNTER_DIGITS, '0')}`;
    const entry = { name, directory: directory.handle, credential: caller.credential };
    const kept = { entry, key: nameKeyOf(directory.nodeId, Buffer.from(name)), inode };
    this.#journal?.add(entry);
    this.#names.set(kept.key, kept);
    const names = this.#kept.get(inode);
    if (names === undefined) this.#kept.set(inode, [kept]);
    else names.push(kept);
    return kept;
  }

  /** A name was not made, or is gone. */
  #end(kept: Kept): void {
    this.#forget(kept);
    this.#journal?.done(kept.entry);
  }

  #forget(kept: Kept): void {
    this.#names.delete(kept.key);
    const names = this.#kept.get(kept.inode)?.filter((other) => other !== kept) ?? [];
    if (names.length === 0) this.#kept.delete(kept.inode);
    else this.#kept.set(kept.inode, names);
  }

  #unlinked(inode: Inode): void {
    if (inode.open === undefined) this.#nameless.add(inode);
    else inode.open.unlinked = true;
    inode.expire();
  }

  /** Removes a silly name in the background; what fails is left to the next mount. */
  #remove(entry: SillyEntry): void {
    const done = this.#removeNow(entry)
      .catch((error: unknown) => {
        this.#onWarning('a file that was deleted while open is left on the server', error);
      })
      .then(() => {
        this.#removals.delete(removal);
      });
    const removal: Removal = { entry, done };
    this.#removals.add(removal);
  }

  async #removeNow(entry: SillyEntry): Promise<void> {
    const object = { dir: { data: entry.directory }, name: Buffer.from(entry.name) };
    // Nobody waits for it, so nobody gives it up; the end of the link does.
    const waiter: Waiter = { credential: entry.credential, signal: new AbortController().signal };
    const reply = await this.#link.nfs('REMOVE', { object }, waiter);
    const directory = this.#inodes.find(entry.directory);
    if (directory !== undefined) this.#knowledge.learnChange(directory, reply.wcc);
    switch (reply.status) {
      case NFS3_OK:
      case NFSSTAT3.NFS3ERR_NOENT:
      case NFSSTAT3.NFS3ERR_STALE:
      case NFSSTAT3.NFS3ERR_BADHANDLE:
        // Gone, with its directory, or with the server that knew it.
        this.#journal?.done(entry);
        return;
      default:
        throw new Error(`${entry.name}: ${statusName(reply.status)}`);
    }
  }
}
