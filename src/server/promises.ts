/**
 * What guests are told of: a guest that has subscribed is promised, of every file that it is shown, to hear once when that
 * has changed (the callbacks of AFS). It may then keep what it was shown for long.
 */
import {
  FGDP_CALLBACK_PROGRAM,
  INVALID,
  INVALIDATE_KIND,
  type INVALIDATEargs,
  type invalidation,
} from '../fgdp/callback.ts';
import { INVALIDATE_NAMES_MAX, INVALIDATE_OBJECTS_MAX } from '../fgdp/limits.ts';
import type { ExportTree } from '../store/export-tree.ts';
import { fileKeyOf } from '../store/file-handle.ts';
import type { Identity } from '../store/identity.ts';
import { R_OK, access, type FileStatus } from '../store/operations.ts';
import type { OwnChangeListener, Store, StoreNode } from '../store/store.ts';
import { TreeWatch, type TreeListener } from '../store/tree-watch.ts';
import { asker } from './asking.ts';
import type { ClientSession, GuestCaller } from './client-session.ts';
import {
  INVALIDATE_NAMES_PER_CALL_MAX,
  INVALIDATIONS_WAITING_MAX,
  PROMISES_FORGOTTEN_AT_ONCE,
  PROMISES_MAX,
  PROMISES_PER_SESSION_MAX,
} from './limits.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const REASON_BYTES_MAX = 255;
/** Longest name on Linux's file systems, in bytes (NAME_MAX); longer ones are told as ALL_NAMES. */
const TOLD_NAME_BYTES_MAX = 255;

/** What is promised of one file: bits. */
const ATTRIBUTES = 0x1;
/** Each change of a name in the directory, until ALL_NAMES was told. */
const NAMES = 0x2;
/** Somebody of the guest may list the directory, so its names are no secret. */
const LISTABLE = 0x4;

/** Other limits than those of limits.ts. */
export interface PromiseLimits {
  readonly promisesMax?: number;
  readonly promisesPerSessionMax?: number;
  readonly invalidationsWaitingMax?: number;
}

/** What a guest is still to be told of a file. */
interface Waiting {
  what: number;
  /** Of a directory; undefined where there is none. The characters are the bytes (latin1). */
  names: Set<string> | undefined;
}

/** What one guest is promised. */
export class Promises {
  readonly tree: ExportTree;
  readonly #keeper: PromiseKeeper;
  readonly #guest: GuestCaller;
  /** By file key, the oldest first. */
  readonly #held = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting>();
  #isAnswered = true;
  #isScheduled = false;
  #isEnded = false;

  constructor(keeper: PromiseKeeper, tree: ExportTree, guest: GuestCaller) {
    this.#keeper = keeper;
    this.tree = tree;
    this.#guest = guest;
  }

  /** Files and directories promised now. */
  get size(): number {
    return this.#held.size;
  }

  /** The guest is about to be shown a file, in this turn or later: it hears of every change from now on. */
  shown(tree: ExportTree, handle: Buffer): void {
    if (tree === this.tree) this.#promise(fileKeyOf(handle), ATTRIBUTES);
  }

  /** The same of a file that a call names: of a directory it may learn names. */
  asked(node: StoreNode, status: FileStatus, identity: Identity): void {
    if (node.export !== this.tree || this.#isEnded) return;
    const key = fileKeyOf(node.handle);
    if ((status.mode & S_IFMT) !== S_IFDIR) {
      this.#promise(key, ATTRIBUTES);
      return;
    }
    let bits = ATTRIBUTES | NAMES;
    // Who may only search it is not to learn what else is in it.
    const isKnown = ((this.#held.get(key) ?? 0) & LISTABLE) !== 0;
    if (!isKnown && access(identity, node, R_OK) === R_OK) bits |= LISTABLE;
    this.#promise(key, bits);
  }

  /** A file has changed. `isSeen`: by this guest itself, which learns it by the answer to its call. */
  changed(key: string, isSeen: boolean): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    if (isSeen) {
      // Rights may have changed with it: who may list it is asked again.
      if ((held & LISTABLE) !== 0) this.#held.set(key, held & ~LISTABLE);
      return;
    }
    this.#drop(key);
    let what = 0;
    if ((held & ATTRIBUTES) !== 0) what |= INVALID.ATTRIBUTES;
    // Whoever could list it may not be allowed to any more.
    if ((held & NAMES) !== 0) what |= INVALID.ALL_NAMES;
    this.#tell(key, what);
  }

  /** This guest itself has deleted a file: there is nothing more to be told. */
  deleted(key: string): void {
    this.#drop(key);
  }

  /** A name in a directory has changed, and the directory with it. */
  nameChanged(key: string, name: Uint8Array, isSeen: boolean): void {
    const held = this.#held.get(key);
    if (held === undefined || isSeen) return;
    const what = (held & ATTRIBUTES) !== 0 ? INVALID.ATTRIBUTES : 0;
    if ((held & NAMES) === 0) {
      this.#drop(key);
      this.#tell(key, what);
      return;
    }
    const known = this.#waiting.get(key)?.names?.size ?? 0;
    if ((held & LISTABLE) === 0 || known >= INVALIDATE_NAMES_MAX || name.length > TOLD_NAME_BYTES_MAX) {
      this.#drop(key);
      this.#tell(key, what | INVALID.ALL_NAMES);
      return;
    }
    this.#held.set(key, held & ~ATTRIBUTES);
    this.#tell(key, what, name);
  }

  /** Ends the promises that were made first. */
  forgetOldest(count: number): void {
    let left = count;
    for (const key of this.#held.keys()) {
      if (left === 0) return;
      left -= 1;
      this.#drop(key);
      this.#tell(key, INVALID.FORGOTTEN);
    }
  }

  /** Changes may have been missed, or are too many to be told: the guest hears that, and nothing more. */
  lapse(reason: string): void {
    if (this.#isEnded) return;
    this.end();
    this.#call({
      kind: INVALIDATE_KIND.EVERYTHING,
      reason: Buffer.from(reason).subarray(0, REASON_BYTES_MAX),
    });
  }

  /** Promises nothing any more, and tells nothing. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#keeper.ended(this);
    this.#held.clear();
    this.#waiting.clear();
  }

  #promise(key: string, bits: number): void {
    if (this.#isEnded) return;
    const held = this.#held.get(key);
    if (held !== undefined) {
      if ((held & bits) !== bits) this.#held.set(key, held | bits);
      return;
    }
    this.#held.set(key, bits);
    this.#keeper.promised(this);
  }

  #drop(key: string): void {
    if (this.#held.delete(key)) this.#keeper.dropped();
  }

  #tell(key: string, what: number, name?: Uint8Array): void {
    let waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      if (this.#waiting.size >= this.#keeper.waitingMax) {
        this.lapse('more has changed than this guest has taken notice of');
        return;
      }
      this.#waiting.set(key, (waiting = { what: 0, names: undefined }));
    }
    waiting.what |= what;
    if ((waiting.what & INVALID.ALL_NAMES) !== 0) waiting.names = undefined;
    else if (name !== undefined) (waiting.names ??= new Set()).add(Buffer.from(name).toString('latin1'));
    this.#schedule();
  }

  /** Together with what else changes in this turn. */
  #schedule(): void {
    if (this.#isScheduled || !this.#isAnswered) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#isEnded || this.#waiting.size === 0) return;
    const objects: invalidation[] = [];
    let names = 0;
    for (const [key, { what, names: changed = new Set<string>() }] of this.#waiting) {
      names += changed.size;
      if (objects.length > 0 && names > INVALIDATE_NAMES_PER_CALL_MAX) break;
      this.#waiting.delete(key);
      objects.push({
        object: { data: this.#keeper.handleOf(key) },
        what,
        names: [...changed].map((each) => Buffer.from(each, 'latin1')),
      });
      if (objects.length >= INVALIDATE_OBJECTS_MAX) break;
    }
    this.#isAnswered = false;
    this.#call({ kind: INVALIDATE_KIND.OBJECTS, objects });
  }

  #call(args: INVALIDATEargs): void {
    this.#guest.call(FGDP_CALLBACK_PROGRAM, 'INVALIDATE', args).then(
      () => {
        this.#isAnswered = true;
        if (this.#waiting.size > 0) this.#schedule();
      },
      () => {
        // It does not understand, or is gone: nothing it was told counts.
        this.end();
      },
    );
  }
}

/** The promises of a server to all of its guests. */
export class PromiseKeeper implements OwnChangeListener, TreeListener {
  readonly #store: Store;
  readonly #watch: TreeWatch;
  readonly #all = new Set<Promises>();
  readonly #max: number;
  readonly #perSessionMax: number;
  readonly waitingMax: number;
  #size = 0;

  constructor(store: Store, limits: PromiseLimits = {}) {
    this.#store = store;
    this.#watch = new TreeWatch(this);
    this.#max = limits.promisesMax ?? PROMISES_MAX;
    this.#perSessionMax = limits.promisesPerSessionMax ?? PROMISES_PER_SESSION_MAX;
    this.waitingMax = limits.invalidationsWaitingMax ?? INVALIDATIONS_WAITING_MAX;
    store.ownChanges = this;
  }

  /** Files and directories promised to all guests. */
  get size(): number {
    return this.#size;
  }

  /**
   * Promises a guest to tell what changes of what it is shown from now on; an earlier subscription of it ends.
   *
   * @returns why that cannot be had, for people
   */
  subscribe(session: ClientSession, tree: ExportTree): string | undefined {
    session.promises?.end();
    session.promises = undefined;
    if (session.guest === undefined) return 'this connection cannot be called';
    const reason = this.#watch.add(tree);
    if (reason !== undefined) return reason;
    session.promises = new Promises(this, tree, session.guest);
    this.#all.add(session.promises);
    return undefined;
  }

  /** Ends what was promised of some exports, and says so. */
  endWhere(isMeant: (tree: ExportTree) => boolean, reason: string): void {
    for (const promises of [...this.#all]) if (isMeant(promises.tree)) promises.lapse(reason);
  }

  close(): void {
    for (const promises of [...this.#all]) promises.end();
    this.#watch.close();
    this.#store.ownChanges = undefined;
  }

  /** The handle of a file by its key. */
  handleOf(key: string): Buffer {
    return this.#store.handleOfKey(key);
  }

  /** A guest was promised one file more. */
  promised(promises: Promises): void {
    this.#size += 1;
    if (promises.size > this.#perSessionMax) promises.forgetOldest(this.#share(promises));
    if (this.#size <= this.#max) return;
    let largest = promises;
    for (const each of this.#all) if (each.size > largest.size) largest = each;
    largest.forgetOldest(this.#share(largest));
  }

  /** Never all of them: the one just made is to last. */
  #share({ size }: Promises): number {
    return Math.min(PROMISES_FORGOTTEN_AT_ONCE, Math.ceil(size / 4));
  }

  dropped(): void {
    this.#size -= 1;
  }

  /** Before its promises are let go of. */
  ended(promises: Promises): void {
    this.#size -= promises.size;
    if (this.#all.delete(promises)) this.#watch.remove(promises.tree);
  }

  changed(_tree: ExportTree, fileKey: string): void {
    this.#changed(fileKey, undefined);
  }

  nameChanged(_tree: ExportTree, directoryKey: string, name: Buffer): void {
    this.#nameChanged(directoryKey, name, undefined);
  }

  changedHere(handle: Buffer): void {
    if (this.#all.size > 0) this.#changed(fileKeyOf(handle), asker());
  }

  changedHereUnseen(handle: Buffer): void {
    if (this.#all.size > 0) this.#changed(fileKeyOf(handle), undefined);
  }

  deletedHere(handle: Buffer): void {
    if (this.#all.size === 0) return;
    const key = fileKeyOf(handle);
    asker()?.promises?.deleted(key);
    this.#changed(key, undefined);
  }

  nameChangedHere(directory: Buffer, name: Uint8Array): void {
    if (this.#all.size > 0) this.#nameChanged(fileKeyOf(directory), name, asker());
  }

  lost(reason: string): void {
    this.endWhere(() => true, reason);
  }

  #changed(key: string, by: ClientSession | undefined): void {
    for (const promises of this.#all) promises.changed(key, promises === by?.promises);
  }

  #nameChanged(key: string, name: Uint8Array, by: ClientSession | undefined): void {
    for (const promises of this.#all) promises.nameChanged(key, name, promises === by?.promises);
  }
}
