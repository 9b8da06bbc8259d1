/** The inodes the kernel knows: node id, file handle, attributes, and how they are open. */
import type { InodeAcls } from './acls.ts';
import { isDirectory, isOlder, samePermissions, sameVersion } from './attributes.ts';
import { nextAttributeTime, type AttributeTimes } from './attribute-times.ts';
import { ROOT_NODE_ID, type Attributes, type AttributesReply, type NodeId } from './operations.ts';
import type { OpenInode } from './open-inode.ts';
import { packAttributes, unpackAttributes, type PackedAttributes } from './packed-attributes.ts';

/** No epoch of a coverage. */
const NOT_COVERED = -1;

const SETTLED: Promise<unknown> = Promise.resolve();

/** A file handle's bytes as characters (latin1): a key of maps, and smaller than an array of bytes. */
type HandleKey = string;

function keyOf(handle: Uint8Array): HandleKey {
  return Buffer.from(handle.buffer, handle.byteOffset, handle.length).toString('latin1');
}

/** Kept small, because the kernel forgets inodes late: what few of them ever need is made with the first use. */
export class Inode {
  readonly nodeId: NodeId;
  #lookups = 0;
  /** Counts the versions of the file seen so far. */
  version = 0;
  /** The version whose attributes the kernel was told last. */
  toldVersion = 0;
  /**
   * Others have changed the file since the kernel was last given its size: it knows that its attributes are old, and asks
   * for them as soon as anybody wants to know. Who appends does not (fs/fuse/file.c, fuse_cache_write_iter).
   */
  isSizeOld = false;
  /** Threads whose open to append was answered ESTALE, to give the kernel the size: the kernel asks once more for each. */
  sentBack: Set<number> | undefined;
  /** Set while at least one file is open. */
  open: OpenInode | undefined;
  /** The version of the file that the kernel's page cache holds pages of. */
  cachedVersion: number | undefined;
  #handleKey: HandleKey;
  #attributes: PackedAttributes;
  #accessOf: Map<string, number> | undefined;
  #readers: Set<string> | undefined;
  #acls: InodeAcls | undefined;
  /** The version that a listing has said to have none. */
  #lacksAclsVersion = -1;
  #validMs: number | undefined;
  #expiresMs = 0;
  readonly #times: AttributeTimes;
  /** The epoch of the coverage that the attributes are under. */
  #coveredIn = NOT_COVERED;
  #updatedMs = 0;
  /** When the last reply to a change of our own came. */
  #changedMs = 0;
  #isRemoved = false;
  #turn = SETTLED;

  /** As update, but for the default of `asOfMs`. */
  constructor(
    nodeId: NodeId,
    handle: Uint8Array,
    attributes: Attributes,
    times: AttributeTimes,
    asOfMs?: number,
    askedMs?: number,
  ) {
    this.nodeId = nodeId;
    this.#handleKey = keyOf(handle);
    this.#attributes = packAttributes(attributes);
    this.#times = times;
    this.update(attributes, times, asOfMs, askedMs);
  }

  /** References the kernel holds: one for each entry answered, taken back by FORGET. */
  get lookups(): bigint {
    return BigInt(this.#lookups);
  }

  set lookups(lookups: bigint) {
    this.#lookups = Number(lookups);
  }

  /** Changes for the root only, when another server takes over. */
  get handle(): Uint8Array {
    return Buffer.from(this.#handleKey, 'latin1');
  }

  set handle(handle: Uint8Array) {
    this.#handleKey = keyOf(handle);
  }

  get handleKey(): HandleKey {
    return this.#handleKey;
  }

  get attributes(): Attributes {
    return unpackAttributes(this.#attributes);
  }

  /** What each caller may do, by credential, as ACCESS answered it; cleared when attributes change. */
  get accessOf(): Map<string, number> {
    return (this.#accessOf ??= new Map());
  }

  /** Who was granted the file itself, by credential; cleared together with accessOf. */
  get readers(): Set<string> {
    return (this.#readers ??= new Set());
  }

  /** Its POSIX ACLs, once the server has told of them; of the version that they say. */
  get acls(): InodeAcls | undefined {
    if (this.#lacksAclsVersion !== this.version) return this.#acls;
    return { version: this.version, access: undefined, default: undefined };
  }

  set acls(acls: InodeAcls | undefined) {
    this.#acls = acls;
  }

  /**
   * Takes in attributes; returns whether they show another version of the file.
   *
   * @param asOfMs when the server gave them, on the clock of performance.now(); older than what is known is ignored
   * @param askedMs when it was asked for them: a change of our own that ended since may or may not show, so they are not
   * believed then, and asked for again. Where it is missing, the server need not tell when they change
   */
  update(
    attributes: Attributes,
    times: AttributeTimes,
    asOfMs = performance.now(),
    askedMs?: number,
  ): boolean {
    if (asOfMs < this.#updatedMs) return false;
    if ((askedMs ?? asOfMs) < this.#changedMs) {
      this.#expiresMs = 0;
      return false;
    }
    const wasCovered = this.isCovered;
    const ordinaryEndMs = this.#ordinaryEndMs;
    this.#updatedMs = asOfMs;
    // What is removed stays so, whoever tells of it.
    if (attributes.nlink > 0) this.#isRemoved = false;
    const known = this.attributes;
    const changed = !sameVersion(known, attributes);
    if (changed) this.version += 1;
    // Two changes within one tick of the server's clock are one version.
    if (changed || !samePermissions(known, attributes)) this.#forgetRights();
    // Several replies within one period are one look, not a reason to double it again and again.
    if (changed || this.#validMs === undefined || asOfMs >= ordinaryEndMs) {
      this.#validMs = nextAttributeTime(times, isDirectory(attributes), changed, this.#validMs);
    }
    const packed = packAttributes(attributes);
    // An equal string that is kept anew would make an old one garbage that is collected late.
    if (packed !== this.#attributes) this.#attributes = packed;
    if (attributes.lacksAcl === true) this.#lacksAclsVersion = this.version;
    const { coverage } = times;
    const isCovered = askedMs !== undefined && coverage?.covers(this.#handleKey, askedMs) === true;
    // What is covered already stays so, as long as nothing was told.
    if (isCovered || (wasCovered && !changed)) this.#cover(isDirectory(attributes), asOfMs);
    else this.#believe(asOfMs);
    return changed;
  }

  /** The server tells when the attributes change. */
  get isCovered(): boolean {
    return this.#coveredIn === this.#times.coverage?.epoch && this.#expiresMs > performance.now();
  }

  /** The server does not look after it any more: the attributes are believed for the ordinary time. */
  uncover(): void {
    this.#expiresMs = Math.min(this.#expiresMs, this.#ordinaryEndMs);
    this.#coveredIn = NOT_COVERED;
  }

  get #ordinaryEndMs(): number {
    return Math.min(this.#expiresMs, this.#updatedMs + (this.#validMs ?? 0));
  }

  #cover(isDirectory: boolean, asOfMs: number): void {
    const { coverage } = this.#times;
    if (coverage === undefined) return;
    this.#coveredIn = coverage.epoch;
    this.#expiresMs = asOfMs + Math.max(this.#validMs ?? 0, coverage.validMs(isDirectory));
  }

  #believe(asOfMs: number): void {
    this.#coveredIn = NOT_COVERED;
    this.#expiresMs = asOfMs + (this.#validMs ?? 0);
  }

  /**
   * Takes in what a change of this mount alone has left behind: the same version to everybody here, as the kernel knows
   * its own changes.
   */
  adopt(attributes: Attributes, times: AttributeTimes): void {
    if (!samePermissions(this.attributes, attributes)) {
      this.#forgetRights();
      this.#acls = undefined;
    }
    const { isCovered } = this;
    this.#changedMs = this.#updatedMs = performance.now();
    this.#validMs ??= nextAttributeTime(times, isDirectory(attributes), true, undefined);
    this.#attributes = packAttributes(attributes);
    if (isCovered) this.#cover(isDirectory(attributes), this.#updatedMs);
    else this.#believe(this.#updatedMs);
  }

  /**
   * The file was changed from here, or a try to do so failed half way: whatever was read of it before may be old, also where
   * no time stamp tells.
   *
   * @param attributes as they were after the change; undefined where they are not known
   * @param isAlone false where other changes were under way, whose replies may come in another order
   */
  changedHere(attributes?: Attributes, times?: AttributeTimes, isAlone = true): void {
    if (attributes !== undefined && times !== undefined) {
      const known = this.attributes;
      if (isAlone || !isOlder(attributes, known)) this.update(attributes, times);
    }
    this.version += 1;
    this.#changedMs = performance.now();
    if (!isAlone || attributes === undefined) this.expire();
    else if (attributes.lacksAcl === true) this.#lacksAclsVersion = this.version;
  }

  /** A change of ours was answered just now: replies to what was asked before are not believed. */
  answeredChange(): void {
    this.#changedMs = performance.now();
  }

  /** Whether the file was changed, or said to be, since a moment on the clock of performance.now(): see update. */
  wasChangedSince(askedMs: number): boolean {
    return askedMs < this.#changedMs;
  }

  /** How long the attributes are still believed, in milliseconds; 0 when they must be fetched. */
  get remainingMs(): number {
    if (this.open?.made?.isKeeping === true) return 0;
    const isOrdinary = this.#coveredIn === NOT_COVERED || this.#coveredIn === this.#times.coverage?.epoch;
    // With the end of a coverage nothing is done to each inode: it is seen here.
    return Math.max(0, (isOrdinary ? this.#expiresMs : this.#ordinaryEndMs) - performance.now());
  }

  /**
   * How long the kernel may believe the attributes, and of a directory its names, in milliseconds. Never longer than where
   * nothing is covered: then it need be told nothing of all that it knows when a session is lost.
   */
  tellableMs(isDirectory: boolean): number {
    const { remainingMs } = this;
    if (this.#coveredIn === NOT_COVERED) return remainingMs;
    const { acdirmaxMs, acregmaxMs } = this.#times;
    return Math.min(remainingMs, isDirectory ? acdirmaxMs : acregmaxMs);
  }

  /** The next GETATTR must ask the server; replies to what was asked before now are not believed. */
  expire(): void {
    this.#changedMs = performance.now();
    this.#expiresMs = 0;
    this.#forgetRights();
  }

  /**
   * The last name of a directory, or of a file that is not open here, was removed here: should the server not know it any
   * more, then it is gone as it should be. Somebody may still be in the directory, or have the file open all the same: the
   * kernel opens FIFOs, and everything with O_PATH, without telling.
   */
  removedHere(): void {
    this.#isRemoved = true;
  }

  /** Whether it was, and nothing was heard of it since: the name that was removed may have been another's by then. */
  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  #forgetRights(): void {
    this.#accessOf = undefined;
    this.#readers = undefined;
  }

  /** Attributes that are older than this moment are believed no longer than they would have been. */
  believeUntil(expiresMs: number): void {
    this.#expiresMs = Math.min(this.#expiresMs, expiresMs);
  }

  /**
   * The attributes for the kernel, which from then on knows this version of the file.
   *
   * @param validMaxMs bounds how long the kernel may keep them; default: as long as they are believed here
   */
  reply(validMaxMs = Infinity): AttributesReply {
    this.toldVersion = this.version;
    this.isSizeOld = false;
    const { open } = this;
    let attributes = open?.made?.seen(this.attributes) ?? this.attributes;
    const hiddenEnd = open?.writer?.hiddenEnd;
    // A smaller size would make the kernel cut off what was just written.
    if (hiddenEnd !== undefined && attributes.size < hiddenEnd)
      attributes = { ...attributes, size: hiddenEnd };
    // The name it is kept under is nobody's: without it there is one link less.
    if (open?.unlinked === true) attributes = { ...attributes, nlink: Math.max(0, attributes.nlink - 1) };
    if (this.#isRemoved) attributes = { ...attributes, nlink: 0 };
    // What is written past us shows in the file, and to look at it costs no call.
    const isWrittenPast = (open?.writers ?? 0) > 0 && open?.writer === undefined;
    const isKept = hiddenEnd === undefined && !isWrittenPast;
    return {
      attributes,
      validMs: isKept ? Math.min(this.tellableMs(isDirectory(attributes)), validMaxMs) : 0,
    };
  }

  /** Whether no step is under way or waits. */
  get isIdle(): boolean {
    return this.#turn === SETTLED;
  }

  /** Runs steps that open or close this inode, or take its last name, one after the other. */
  inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(step);
    const turn = result
      .catch(() => undefined)
      .then(() => {
        if (this.#turn === turn) this.#turn = SETTLED;
      });
    this.#turn = turn;
    return result;
  }
}

export class InodeTable {
  readonly #times: AttributeTimes;
  readonly #byNodeId = new Map<NodeId, Inode>();
  readonly #byHandle = new Map<HandleKey, Inode>();
  /** Inodes that others have taken the place of, as long as anybody refers to them. */
  readonly #retired = new Map<HandleKey, Set<Inode>>();
  #nextNodeId: NodeId = ROOT_NODE_ID + 1n;
  #onDropped: ((inode: Inode) => void) | undefined;

  constructor(rootHandle: Uint8Array, rootAttributes: Attributes, times: AttributeTimes) {
    this.#times = times;
    const root = new Inode(ROOT_NODE_ID, rootHandle, rootAttributes, times);
    root.lookups = 1n;
    this.#byNodeId.set(ROOT_NODE_ID, root);
    this.#byHandle.set(root.handleKey, root);
  }

  /** @param listener is told of each inode that is gone */
  onDropped(listener: (inode: Inode) => void): void {
    this.#onDropped = listener;
  }

  get size(): number {
    return this.#byNodeId.size;
  }

  get(nodeId: NodeId): Inode | undefined {
    return this.#byNodeId.get(nodeId);
  }

  values(): IterableIterator<Inode> {
    return this.#byNodeId.values();
  }

  /** The inode of a file handle, made on first sight, with its attributes brought up to date. */
  intern(handle: Uint8Array, attributes: Attributes, asOfMs?: number, askedMs?: number): Inode {
    const key = keyOf(handle);
    const known = this.#byHandle.get(key);
    if (known !== undefined) {
      known.update(attributes, this.#times, asOfMs, askedMs);
      return known;
    }
    const inode = new Inode(this.#nextNodeId, handle, attributes, this.#times, asOfMs, askedMs);
    this.#nextNodeId += 1n;
    this.#byNodeId.set(inode.nodeId, inode);
    this.#byHandle.set(inode.handleKey, inode);
    return inode;
  }

  /** The inode of a file handle, where there is one already. */
  find(handle: Uint8Array): Inode | undefined {
    return this.#byHandle.get(keyOf(handle));
  }

  /** Every inode of a file handle, those that others have taken the place of as well. */
  findAll(handle: Uint8Array): Inode[] {
    const key = keyOf(handle);
    const current = this.#byHandle.get(key);
    return [...(current === undefined ? [] : [current]), ...(this.#retired.get(key) ?? [])];
  }

  /**
   * Gives the file of an inode a new one with the next LOOKUP: it must be opened in another way than it is open now. The
   * old one stays as long as the kernel knows it.
   */
  retire(inode: Inode): void {
    const key = inode.handleKey;
    if (this.#byHandle.get(key) !== inode) return;
    this.#byHandle.delete(key);
    const retired = this.#retired.get(key) ?? new Set();
    this.#retired.set(key, retired.add(inode));
  }

  isRetired(inode: Inode): boolean {
    return this.#retired.get(inode.handleKey)?.has(inode) === true;
  }

  /** The inode that the file of a retired one has now, where there is one already; the inode itself otherwise. */
  inPlaceOf(inode: Inode): Inode {
    return this.isRetired(inode) ? (this.#byHandle.get(inode.handleKey) ?? inode) : inode;
  }

  /** The other inodes of the same file: where it was retired, or those in whose place it is. */
  othersOf(inode: Inode): Inode[] {
    const retired = this.#retired.get(inode.handleKey);
    if (retired === undefined) return [];
    const present = this.#byHandle.get(inode.handleKey);
    return [...retired, ...(present === undefined ? [] : [present])].filter((other) => other !== inode);
  }

  /** Whether the file of an inode is also open by one that was retired. */
  isOpenElsewhere(inode: Inode): boolean {
    const retired = this.#retired.get(inode.handleKey);
    if (retired === undefined) return false;
    for (const other of retired) if (other !== inode && other.open !== undefined) return true;
    return false;
  }

  /** Another server took over: its handles are others, so the root gets its new one and nothing is believed. */
  replaceRoot(handle: Uint8Array): void {
    for (const inode of this.#byNodeId.values()) inode.expire();
    const root = this.#byNodeId.get(ROOT_NODE_ID);
    if (root === undefined) return;
    this.#byHandle.delete(root.handleKey);
    root.handle = handle;
    this.#byHandle.set(root.handleKey, root);
  }

  /** Takes back `lookups` references; an inode without any, and not open, is gone. */
  forget(nodeId: NodeId, lookups: bigint): void {
    const inode = this.#byNodeId.get(nodeId);
    if (inode === undefined || nodeId === ROOT_NODE_ID) return;
    inode.lookups -= lookups;
    this.drop(inode);
  }

  /** Removes an inode nobody refers to any more. */
  drop(inode: Inode): void {
    if (inode.lookups > 0n || inode.open !== undefined || inode.nodeId === ROOT_NODE_ID) return;
    this.#byNodeId.delete(inode.nodeId);
    if (this.#byHandle.get(inode.handleKey) === inode) this.#byHandle.delete(inode.handleKey);
    const retired = this.#retired.get(inode.handleKey);
    if (retired?.delete(inode) === true && retired.size === 0) this.#retired.delete(inode.handleKey);
    this.#onDropped?.(inode);
  }
}
