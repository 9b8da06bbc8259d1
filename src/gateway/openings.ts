/** From a name that was found to a file that is open: who may open it, and which data path its inode takes. */
import { constants } from 'node:fs';
import type { ServerLink } from '../client/link.ts';
import { NFSSTAT3 } from '../nfs3/status.ts';
import type { AttributeSetting } from './attribute-changes.ts';
import type { Caller } from './callers.ts';
import type { FileReads } from './file-reads.ts';
import type { FileWrites } from './file-writes.ts';
import type { GrantedFiles } from './granted-files.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { SENT_BACK_MAX } from './limits.ts';
import type { MappedFiles } from './mapped-files.ts';
import { changesFile } from './open-file.ts';
import { heldIn, openAs, type DataPath, type HeldFile } from './open-inode.ts';
import { OpenRights } from './open-rights.ts';
import type { Errno } from './operations.ts';

const ESTALE = 116;
const WRITTEN_BY_WIRE = 'it was opened for writing: what is written goes by wire, and so does what is read';

export interface OpeningParts {
  readonly link: ServerLink;
  readonly inodes: InodeTable;
  readonly knowledge: Knowledge;
  readonly granted: GrantedFiles;
  readonly mapped: MappedFiles;
  readonly attributes: AttributeSetting;
  readonly reads: FileReads;
  readonly writes: FileWrites;
}

export interface OpeningOptions {
  /** The highest data path allowed. */
  readonly dataPath: DataPath;
  /** Whether every open asks the server for the file's attributes; false is nfs(5) nocto. */
  readonly closeToOpen: boolean;
}

/** One open(2). */
export interface Opening {
  readonly inode: Inode;
  /** Of open(2). */
  readonly flags: number;
  readonly caller: Caller;
  /** The caller has made the file: whatever mode it was given, it may open it. */
  readonly isCreated: boolean;
}

export class Openings {
  readonly #parts: OpeningParts;
  readonly #options: OpeningOptions;
  readonly #rights: OpenRights;

  constructor(parts: OpeningParts, options: OpeningOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#rights = new OpenRights(parts.knowledge);
  }

  /**
   * Readies an inode (`inode.open`) for one more file, which the caller counts; what it leaves without any file, the caller
   * closes, also when it is refused. Rejects with StatusError or RpcError.
   *
   * @returns why not; undefined where it may be opened
   */
  async prepare(opening: Opening): Promise<Errno | undefined> {
    const { inode, flags, caller, isCreated } = opening;
    const { granted } = this.#parts;
    const changes = changesFile(flags);
    const serves = (held: HeldFile): boolean => !changes || held.passesWrites;
    if (inode.open === undefined) {
      const kept = granted.take(inode);
      if (kept !== undefined && serves(kept)) inode.open = openAs(kept.why, kept);
      else if (kept !== undefined) granted.giveBack(kept);
    }
    const held = heldIn(inode.open);
    if (held !== undefined && serves(held)) {
      // The file itself says whether what we know still holds.
      this.#parts.knowledge.look(inode);
      return this.#useHeld(opening);
    }

    let why = inode.open?.why;
    const mayServe = !changes || granted.canPassWrites;
    if (why === undefined && mayServe && this.#options.dataPath !== 'wire') {
      const obtained = await granted.obtain(inode, flags, caller);
      if (typeof obtained === 'object' && serves(obtained)) {
        inode.open = openAs(obtained.why, obtained);
        return this.#useHeld(opening);
      }
      if (typeof obtained === 'object') granted.giveBack(obtained);
      else if (typeof obtained === 'number' && !isCreated) return obtained;
      else if (typeof obtained === 'string') why = obtained;
    }
    const refused = isCreated ? undefined : await this.#refuse(opening);
    if (refused !== undefined) return refused;
    if (changes) return this.#useWire(opening);
    inode.open ??= this.#openWithout(inode, why ?? 'the mount has datapath=wire');
    return undefined;
  }

  /** The file itself, which is in our hands. */
  async #useHeld(opening: Opening): Promise<Errno | undefined> {
    const { inode, flags, caller, isCreated } = opening;
    const gone = this.#whyGone(inode);
    if (gone !== undefined) return gone;
    // Of what has no name any more the server knows nothing.
    const isJudged = isCreated || inode.isRemoved;
    const refused = isJudged ? undefined : await this.#rights.refuseHeld(inode, flags, caller);
    return refused ?? this.#cut(opening);
  }

  /**
   * Writing by wire. What is open by passthrough stays so as long as it is open, since the kernel mixes no kinds of opens:
   * ESTALE makes it look the name up again, and it finds a new inode of the same file.
   *
   * ESTALE as well has the kernel learn the size of a file to append to where others have changed it: it appends where it
   * believes the end to be.
   */
  #useWire(opening: Opening): Promise<Errno | undefined> | Errno {
    const { inode, flags, caller, isCreated } = opening;
    const { inodes, writes, reads } = this.#parts;
    if (!isCreated && (flags & constants.O_APPEND) !== 0 && isSentBack(inode, caller.pid)) return ESTALE;
    if (inode.open?.held?.backingId !== undefined) {
      inodes.retire(inode);
      return ESTALE;
    }
    inode.open ??= openAs(WRITTEN_BY_WIRE);
    inode.open.why = WRITTEN_BY_WIRE;
    inode.open.writer ??= writes.writerFor(inode);
    reads.lastWireReason = WRITTEN_BY_WIRE;
    return this.#cut(opening);
  }

  /** O_TRUNC. */
  async #cut({ inode, flags, caller, isCreated }: Opening): Promise<Errno | undefined> {
    const isCut = (flags & constants.O_TRUNC) !== 0;
    if (!isCut || (isCreated && inode.attributes.size === 0n)) return undefined;
    const errno = await this.#parts.attributes.change(inode, { size: 0n }, caller);
    return errno === 0 ? undefined : errno;
  }

  /** Why a caller may not open a file, as the server says. */
  async #refuse({ inode, flags, caller }: Opening): Promise<Errno | undefined> {
    const ask = this.#options.closeToOpen;
    const refused = await this.#rights.refuse(inode, flags, caller, ask);
    return (ask ? this.#whyGone(inode) : undefined) ?? refused;
  }

  /**
   * ESTALE for a file without any name, which somebody else has open: the name the kernel remembers may be another file's by
   * now, and ESTALE makes it look again. What was removed here it can only mean itself, by way of a descriptor (/proc/PID/fd).
   */
  #whyGone(inode: Inode): Errno | undefined {
    if (inode.attributes.nlink > 0 || inode.isRemoved) return undefined;
    return this.#parts.knowledge.failed(inode, NFSSTAT3.NFS3ERR_STALE);
  }

  /** Without the file itself: its pages in shared memory, else the wire. */
  #openWithout(inode: Inode, why: string): ReturnType<typeof openAs> {
    const { link, mapped, reads } = this.#parts;
    if (this.#options.dataPath !== 'wire' && link.session.canMap)
      return openAs(`the server shares its pages in memory: ${why}`, undefined, mapped.of(inode));
    reads.lastWireReason = why;
    return openAs(why);
  }
}

/** Whether an open to append is to be answered ESTALE, so that the kernel is given the size first. */
function isSentBack(inode: Inode, pid: number): boolean {
  // Programs would see it the second time. Of whom nobody knows who it is, nobody knows that either.
  if (inode.sentBack?.delete(pid) === true || !inode.isSizeOld || pid === 0) return false;
  inode.sentBack ??= new Set();
  if (inode.sentBack.size >= SENT_BACK_MAX) inode.sentBack.clear();
  inode.sentBack.add(pid);
  return true;
}
