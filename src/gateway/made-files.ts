/**
 * What a program sets on a file that it has just made: tar and cp set owner, mode and times one by one, and then close
 * it. Like the file's bytes, they are kept until it is closed or synced, or somebody looks, and then set by one SETATTR.
 *
 * What is kept is answered before the server has allowed it, so it must be certain to be allowed, and nobody may be let in
 * meanwhile whom it would keep out. Should it fail all the same, then close(2) or fsync(2) says so.
 */
import { SECONDS_MAX } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode } from './inodes.ts';
import { ATTRIBUTES_BEHIND_MS } from './limits.ts';
import type { AttributeChanges, Attributes, CallContext, Errno, TimeToSet, Timestamp } from './operations.ts';
import { authorOf, type Author } from './write-author.ts';

const ROOT_UID = 0;
const SPECIAL_BITS = 0o7000;
const PERMISSION_BITS = 0o777;
const OTHERS_BITS = 0o077;
/** The smallest that programs write: tar's. */
const BLOCK_BYTES = 512n;

/** Who asks. */
export type Asker = Pick<CallContext, 'pid' | 'uid'>;

/** A file that was made by the only program that has it open. */
export class MadeFile {
  /** In whose name its attributes are set. */
  readonly author: Author;
  /** Set while they are sent. */
  settling: Promise<void> | undefined;
  timer: NodeJS.Timeout | undefined;
  /** Where the last byte ends that the program has written. */
  writtenEnd = 0n;
  readonly #maker: Asker;
  #kept: AttributeChanges | undefined;
  /** The file as it was when times were set. */
  #beforeTimes: Attributes | undefined;
  #hasLookedWhole = false;

  constructor(maker: Asker, caller: Caller) {
    this.#maker = { pid: maker.pid, uid: maker.uid };
    this.author = authorOf(caller);
  }

  /** What the server does not know yet. */
  get kept(): AttributeChanges | undefined {
    return this.#kept;
  }

  get isKeeping(): boolean {
    return this.#kept !== undefined;
  }

  /**
   * Whether a write looks like the program's last one: programs write multiples of blocks, and then what is left. Said once,
   * because who writes otherwise would have each write sent alone.
   *
   * @param end where the write ends in the file, in bytes
   */
  looksWhole(end: bigint): boolean {
    if (this.#hasLookedWhole || end % BLOCK_BYTES === 0n) return false;
    this.#hasLookedWhole = true;
    return true;
  }

  /** Whether a write would change what is kept: times that are set later than it is answered would undo its own. */
  get keepsTimes(): boolean {
    return this.#kept?.atime !== undefined || this.#kept?.mtime !== undefined;
  }

  /** The attributes as they will be. */
  seen(attributes: Attributes): Attributes {
    const kept = this.#kept;
    if (kept === undefined) return attributes;
    const { mode, uid, gid, atime, mtime } = kept;
    return {
      ...attributes,
      mode: mode === undefined ? attributes.mode : (attributes.mode & ~PERMISSION_BITS) | mode,
      uid: uid ?? attributes.uid,
      gid: gid ?? attributes.gid,
      atime: isMoment(atime) ? atime : attributes.atime,
      mtime: isMoment(mtime) ? mtime : attributes.mtime,
    };
  }

  /**
   * Keeps changes, if they can be kept.
   *
   * @param known the attributes as the server has them
   */
  keep(known: Attributes, changes: AttributeChanges, { pid, uid }: Asker): boolean {
    // Who asks is not told by fuse-native: then it is this process.
    const isTold = pid !== 0 && pid !== process.pid;
    const isMaker = isTold && pid === this.#maker.pid && uid === this.#maker.uid;
    if (!isMaker || this.settling !== undefined || !this.#isCertain(known, changes)) return false;
    const { mode, uid: owner, gid, atime, mtime } = changes;
    if ((atime ?? mtime) !== undefined) this.#beforeTimes = known;
    this.#kept = {
      ...this.#kept,
      ...(mode === undefined ? {} : { mode: mode & PERMISSION_BITS }),
      ...(owner === undefined ? {} : { uid: owner }),
      ...(gid === undefined ? {} : { gid }),
      ...(atime === undefined ? {} : { atime }),
      ...(mtime === undefined ? {} : { mtime }),
    };
    return true;
  }

  /**
   * What is kept, but for times that were set before the file was written again.
   *
   * @param now the file's attributes, which show all that was written
   */
  keptOf(now: Attributes): AttributeChanges {
    const before = this.#beforeTimes;
    const kept = this.#kept ?? {};
    if (before === undefined || (before.size === now.size && isSameTime(before.mtime, now.mtime)))
      return kept;
    const { atime: _atime, mtime: _mtime, ...others } = kept;
    return others;
  }

  /** The server knows it all. */
  settled(): void {
    this.#kept = undefined;
    this.#beforeTimes = undefined;
  }

  #isCertain(known: Attributes, { mode, uid, gid, size, atime, mtime }: AttributeChanges): boolean {
    // Who made the file owns it, unless the server takes him for somebody else: root that is squashed.
    if (known.uid !== this.#maker.uid || size !== undefined) return false;
    // Without set-id bits there are none to drop, as each chown(2) asks.
    if ((known.mode & SPECIAL_BITS) !== 0) return false;
    const seen = this.seen(known);
    if (mode !== undefined && ((mode & SPECIAL_BITS) !== 0 || !adds(seen.mode, mode))) return false;
    const isSameOwner = (uid ?? seen.uid) === seen.uid && (gid ?? seen.gid) === seen.gid;
    // Root may give it away; group and others must not be able to use it until then.
    const mayGive = this.#maker.uid === ROOT_UID && (known.mode & OTHERS_BITS) === 0;
    if (!isSameOwner && !mayGive) return false;
    return [atime, mtime].every((time) => time === undefined || isMoment(time));
  }
}

/** Whether a mode lets in whom the other lets in, and perhaps more. */
function adds(from: number, to: number): boolean {
  return (from & ~to & PERMISSION_BITS) === 0;
}

function isSameTime(a: Timestamp, b: Timestamp): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nanoseconds;
}

/** Not the server's present time, which nobody knows here, and no time that NFSv3 cannot say. */
function isMoment(time: TimeToSet | undefined): time is Timestamp {
  return time !== undefined && time !== 'now' && time.seconds >= 0 && time.seconds <= SECONDS_MAX;
}

/** Sets attributes behind everything that was written, and has it all put on stable storage; never rejects. */
export type SetBehind = (inode: Inode, changes: AttributeChanges, author: Author) => Promise<Errno>;

/** The files of a mount that keep attributes. */
export class MadeFiles {
  readonly #setBehind: SetBehind;
  readonly #onLost: (inode: Inode, errno: Errno) => void;
  /** Also those of files that the end of the mount has closed. */
  readonly #keeping = new Map<Inode, MadeFile>();

  /** @param onLost is told of attributes that could not be set: whoever has the file open is to be told */
  constructor(setBehind: SetBehind, onLost: (inode: Inode, errno: Errno) => void) {
    this.#setBehind = setBehind;
    this.#onLost = onLost;
  }

  /** Whether anything is kept. */
  get isKeeping(): boolean {
    return this.#keeping.size > 0;
  }

  /** Keeps changes of an open file; false where they must be sent. */
  keep(inode: Inode, changes: AttributeChanges, asker: Asker): boolean {
    const made = inode.open?.made;
    const known = inode.attributes;
    const hiddenEnd = inode.open?.writer?.hiddenEnd ?? 0n;
    // The kernel takes the size from the answer: some servers answer WRITE without attributes.
    if (made === undefined || made.writtenEnd > (hiddenEnd > known.size ? hiddenEnd : known.size))
      return false;
    if (!made.keep(known, changes, asker)) return false;
    // Such a program writes no more: its bytes go ahead while it sets the rest.
    if (!this.#keeping.has(inode)) void inode.open?.writer?.commit();
    this.#keeping.set(inode, made);
    made.timer ??= setTimeout(() => {
      void this.settled(inode);
    }, ATTRIBUTES_BEHIND_MS).unref();
    return true;
  }

  /** Has the server told what is kept of a file; undefined where nothing is. Never rejects. */
  settled(inode: Inode): Promise<void> | undefined {
    const made = this.#keeping.get(inode);
    if (made?.kept === undefined) return undefined;
    made.settling ??= this.#settle(inode, made, made.kept);
    return made.settling;
  }

  /** The same for all files; undefined where nothing is kept. */
  allSettled(): Promise<unknown> | undefined {
    if (this.#keeping.size === 0) return undefined;
    return Promise.all(Array.from(this.#keeping.keys(), async (inode) => this.settled(inode)));
  }

  /** From now on attributes of the file are set when they are asked for. Rejects never. */
  async end(inode: Inode): Promise<void> {
    await this.settled(inode);
    if (inode.open?.made?.isKeeping === false) inode.open.made = undefined;
  }

  async #settle(inode: Inode, made: MadeFile, kept: AttributeChanges): Promise<void> {
    clearTimeout(made.timer);
    made.timer = undefined;
    const errno = await this.#setBehind(inode, kept, made.author);
    made.settled();
    made.settling = undefined;
    this.#keeping.delete(inode);
    if (errno !== 0) this.#onLost(inode, errno);
  }
}
