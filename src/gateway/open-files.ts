/** Open files, from the first open of an inode to its last close. */
import { constants } from 'node:fs';
import type { ServerLink } from '../client/link.ts';
import { AttributeSetting } from './attribute-changes.ts';
import type { AttributeTimes } from './attribute-times.ts';
import type { Caller } from './callers.ts';
import type { DirtyBytes, Interruptible } from './dirty-bytes.ts';
import { FileReads } from './file-reads.ts';
import { FileSpace } from './file-space.ts';
import { FileWrites } from './file-writes.ts';
import { GrantedFiles } from './granted-files.ts';
import type { Inode, InodeTable } from './inodes.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Knowledge } from './knowledge.ts';
import { MadeFile, MadeFiles, type Asker } from './made-files.ts';
import { MappedFiles } from './mapped-files.ts';
import type { OpenFile } from './open-file.ts';
import { countsByDataPath, dataPathOf, heldIn, type DataPath, type OpenInode } from './open-inode.ts';
import { Openings, type Opening, type OpeningOptions } from './openings.ts';
import type {
  Answer,
  AttributeChanges,
  AttributesReply,
  Errno,
  FilePosition,
  Opened,
  Outcome,
  SpaceRange,
  WriteData,
} from './operations.ts';
import { authorOf, type Author } from './write-author.ts';

const EIO = 5;
const EBADF = 9;
const ESTALE = 116;
const O_ACCMODE = 0o3;

export interface OpenFilesOptions extends OpeningOptions {
  /** Bytes of one READ, 4 KiB to 1 MiB. */
  readonly rsizeBytes: number;
  /** Bytes of one WRITE, 4 KiB to 1 MiB. */
  readonly wsizeBytes: number;
  readonly attributeTimes: AttributeTimes;
  /** What programs see when a soft mount gives up; default EIO. */
  readonly timedOutErrno?: Errno | undefined;
  readonly onWarning: (message: string, error: unknown) => void;
  /** Another bound on written bytes than that of limits.ts. */
  readonly dirty?: DirtyBytes | undefined;
}

export class OpenFiles {
  /** Opens since the mount, by data path. */
  readonly opens = countsByDataPath();
  readonly reads: FileReads;
  readonly writes: FileWrites;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;
  readonly #files = new Map<bigint, OpenFile>();
  readonly #granted: GrantedFiles;
  readonly #mapped: MappedFiles;
  readonly #attributes: AttributeSetting;
  readonly #openings: Openings;
  readonly #made: MadeFiles;
  readonly #space: FileSpace;
  readonly #closedListeners: ((inode: Inode) => void)[] = [];
  #nextFileHandle = 1n;

  constructor(link: ServerLink, inodes: InodeTable, knowledge: Knowledge, options: OpenFilesOptions) {
    this.#inodes = inodes;
    this.#knowledge = knowledge;
    const noPassthrough = options.dataPath === 'passthrough' ? undefined : 'the mount has datapath=mapped';
    this.#mapped = new MappedFiles(link, knowledge);
    this.#granted = new GrantedFiles(link, knowledge, noPassthrough, options.onWarning);
    const { attributeTimes, timedOutErrno } = options;
    this.#attributes = new AttributeSetting(link, knowledge, attributeTimes, timedOutErrno);
    this.#made = new MadeFiles(
      (inode, changes, author) => this.#setBehind(inode, changes, author),
      (inode, errno) => {
        options.onWarning(`attributes that were set are lost (errno ${errno})`, undefined);
        for (const file of this.#filesOf(inode)) file.error ??= errno;
      },
    );
    this.reads = new FileReads(link, knowledge, options.rsizeBytes);
    this.#space = new FileSpace(link, knowledge);
    this.writes = new FileWrites(link, inodes, knowledge, options, (inode) => this.#filesOf(inode));
    this.#openings = new Openings(
      {
        link,
        inodes,
        knowledge,
        granted: this.#granted,
        mapped: this.#mapped,
        attributes: this.#attributes,
        reads: this.reads,
        writes: this.writes,
      },
      options,
    );
    inodes.onDropped((inode) => {
      this.#granted.drop(inode);
    });
  }

  /** Files open now, by data path. */
  count(): Record<DataPath, number> {
    const files = countsByDataPath();
    for (const { inode } of this.#files.values()) {
      if (inode.open !== undefined) files[dataPathOf(inode.open)] += 1;
    }
    return files;
  }

  /** @param listener is told of each inode whose last file was closed, when nothing of it waits to be written any more */
  onClosed(listener: (inode: Inode) => void): void {
    this.#closedListeners.push(listener);
  }

  /** Opens a file; opens and closes of one inode happen one after the other. Rejects with StatusError or RpcError. */
  open(inode: Inode, flags: number, caller: Caller): Promise<Outcome<Opened>> {
    return inode.inTurn(async () => {
      await unlessInterrupted(this.#made.end(inode), caller);
      // The kernel found it before its successor was made: it has to look again.
      if (inode.open === undefined && this.#inodes.isRetired(inode)) return ESTALE;
      return this.#open({ inode, flags, caller, isCreated: false });
    });
  }

  /**
   * Opens a file that the caller has just made, or found by UNCHECKED: CREATE of FUSE opens in the same step. Nobody is asked
   * whether it may be opened: whoever makes a file may open it, whatever mode it was given (open(2)). In the rare case
   * that somebody else made it a moment before, the server judges each READ and WRITE.
   */
  openCreated(inode: Inode, flags: number, caller: Caller, asker: Asker): Promise<Outcome<Opened>> {
    return inode.inTurn(async () => {
      await this.#made.end(inode);
      const opened = await this.#open({ inode, flags, caller, isCreated: true });
      // Only the close of a file that can be written waits for what is kept.
      const isWritten = (flags & O_ACCMODE) !== constants.O_RDONLY;
      if (isWritten && inode.open?.files === 1) inode.open.made = new MadeFile(asker, caller);
      return opened;
    });
  }

  async #open(opening: Opening): Promise<Outcome<Opened>> {
    const { inode, flags, caller } = opening;
    try {
      return (await this.#openings.prepare(opening)) ?? this.#add(inode, flags, caller);
    } finally {
      // Refused: nobody keeps it open in vain; but what an earlier open has written may still be on its way.
      const { open } = inode;
      if (open?.files === 0) this.#closeWhenWritten(inode, open);
    }
  }

  #add(inode: Inode, flags: number, caller: Caller): Outcome<Opened> {
    const { open } = inode;
    if (open === undefined) return EIO;
    open.files += 1;
    this.opens[dataPathOf(open)] += 1;
    const fileHandle = this.#nextFileHandle;
    this.#nextFileHandle += 1n;
    const author = (flags & O_ACCMODE) === constants.O_RDONLY ? undefined : authorOf(caller);
    if (author !== undefined) open.writers += 1;
    this.#files.set(fileHandle, {
      inode,
      caller,
      author,
      direct: (flags & constants.O_DIRECT) !== 0,
      reader: undefined,
      pageReader: undefined,
      error: undefined,
    });
    const backingId = heldIn(open)?.backingId;
    if (backingId !== undefined) return { fileHandle, backingId, keepCache: false };
    const keepCache = inode.cachedVersion === inode.version;
    inode.cachedVersion = inode.version;
    return { fileHandle, keepCache };
  }

  /** The inode of an open file. */
  inodeOf(fileHandle: bigint): Inode | undefined {
    return this.#files.get(fileHandle)?.inode;
  }

  /** Whether closing a descriptor of an open file leaves nothing to do but for locks. */
  hasNothingToFlush(fileHandle: bigint): boolean {
    return this.#files.get(fileHandle)?.author === undefined;
  }

  /** Has what was written and set of a file so far put on stable storage, for others to see. Never rejects. */
  async syncForOthers(inode: Inode): Promise<void> {
    // What was open when somebody began to write has another inode.
    for (const each of new Set([inode, this.#inodes.inPlaceOf(inode)])) {
      await this.#made.settled(each);
      await each.open?.writer?.commit();
    }
  }

  /** See FileReads.readHeld. */
  readHeld(fileHandle: bigint, offset: bigint, sizeBytes: number): Answer<readonly Uint8Array[]> | undefined {
    const file = this.#files.get(fileHandle);
    return file === undefined ? undefined : this.reads.readHeld(file, offset, sizeBytes);
  }

  /** See FileReads.seek and FileSpace.seek. */
  seek(
    fileHandle: bigint,
    offset: bigint,
    whence: number,
    waiter: Interruptible,
  ): Answer<{ readonly offset: bigint }> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    return this.reads.seek(file, offset, whence) ?? this.#space.seek(file, offset, whence, waiter);
  }

  /** See FileSpace.allocate. */
  async allocate(fileHandle: bigint, range: SpaceRange, waiter: Interruptible): Promise<Errno> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    await this.settled(file.inode, waiter);
    return this.#space.allocate(file, range, waiter);
  }

  /** See FileSpace.copy. */
  async copy(
    from: FilePosition,
    to: FilePosition,
    lengthBytes: bigint,
    waiter: Interruptible,
  ): Promise<Outcome<{ readonly copiedBytes: number }>> {
    const source = this.#files.get(from.fileHandle);
    const target = this.#files.get(to.fileHandle);
    if (source === undefined || target === undefined) return EBADF;
    await this.settled(target.inode, waiter);
    return this.#space.copy(source, from.offset, target, to.offset, lengthBytes, waiter);
  }

  /** See FileReads.read. */
  async read(
    fileHandle: bigint,
    offset: bigint,
    sizeBytes: number,
    waiter: Interruptible,
  ): Promise<Outcome<readonly Uint8Array[]>> {
    const file = this.#files.get(fileHandle);
    return file === undefined ? EBADF : this.reads.read(file, offset, sizeBytes, waiter);
  }

  /** See FileWrites.write. */
  write(
    fileHandle: bigint,
    offset: bigint,
    data: WriteData,
    flags: number,
    waiter: Interruptible,
  ): Answer<{ readonly writtenBytes: number }> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    const made = file.inode.open?.made;
    const end = offset + BigInt(data.bytes.length);
    if (made !== undefined && end > made.writtenEnd) made.writtenEnd = end;
    if (made?.keepsTimes !== true) return this.writes.write(file, offset, data, flags, waiter);
    const bytes = data.take();
    // Times that are kept would undo those of this write.
    return this.settled(file.inode, waiter).then(() =>
      this.writes.write(file, offset, { bytes, take: () => bytes }, flags, waiter),
    );
  }

  /**
   * Waits until the server knows the attributes that are kept of a file: before it is asked about it. Rejects with StatusError
   * EINTR.
   */
  async settled(inode: Inode, waiter: Interruptible): Promise<void> {
    const settled = this.#made.settled(inode);
    if (settled !== undefined) await unlessInterrupted(settled, waiter);
  }

  /** Whether the server has everything that was written and set. */
  get isDrained(): boolean {
    return this.writes.dirtyBytes === 0 && !this.#made.isKeeping;
  }

  /** Has the server get everything that was written and set so far; resolves when it has, or it is lost. */
  async drain(): Promise<void> {
    await Promise.all([this.#made.allSettled(), this.writes.drain()]);
  }

  /** The same for all files: before names are changed, by which others may find them. */
  async allSettled(waiter: Interruptible): Promise<void> {
    const settled = this.#made.allSettled();
    if (settled !== undefined) await unlessInterrupted(settled, waiter);
  }

  /** See FileWrites.flush. */
  async flush(fileHandle: bigint, waiter: Interruptible): Promise<Errno> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    if (file.author !== undefined && file.inode.open?.made !== undefined)
      await unlessInterrupted(this.#made.end(file.inode), waiter);
    return this.writes.flush(file, waiter);
  }

  /** See FileWrites.sync. */
  async sync(fileHandle: bigint, dataOnly: boolean, waiter: Interruptible): Promise<Errno> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    await this.settled(file.inode, waiter);
    return this.writes.sync(file, dataOnly, waiter);
  }

  /** Keeps attributes of a file that the asker has just made, as MadeFiles does; undefined where they are to be set. */
  keepAttributes(inode: Inode, changes: AttributeChanges, asker: Asker): AttributesReply | undefined {
    if (inode.open?.made === undefined) return undefined;
    this.#knowledge.look(inode, true);
    return this.#made.keep(inode, changes, asker) ? inode.reply() : undefined;
  }

  #setBehind(inode: Inode, kept: AttributeChanges, author: Author): Promise<Errno> {
    const made = inode.open?.made;
    // The kernel does not tell when it writes a file itself; the file does.
    const changes = made !== undefined && this.#knowledge.look(inode) ? made.keptOf(inode.attributes) : kept;
    return this.#attributes.setBehind(inode, changes, author);
  }

  /** Changes attributes, after what was written before; see AttributeSetting.set. */
  async setattr(inode: Inode, changes: AttributeChanges, caller: Caller): Promise<Outcome<AttributesReply>> {
    await this.settled(inode, caller);
    const file = changes.fileHandle === undefined ? undefined : this.#files.get(changes.fileHandle);
    const owner = file?.author === undefined ? caller : file.caller;
    const openers = this.#filesOf(inode).flatMap((open) => (open.author === undefined ? [] : [open.caller]));
    const answer = await this.#attributes.set(inode, changes, caller, owner, openers);
    // To the kernel they are other files: it would go on to judge by their old modes.
    for (const other of this.#inodes.othersOf(inode)) this.#knowledge.doubt(other);
    return answer;
  }

  /** Attributes that show everything written here, with the calls it takes. */
  async attributes(inode: Inode, caller: Caller): Promise<Outcome<AttributesReply>> {
    await this.settled(inode, caller);
    return this.#attributes.attributes(inode, caller);
  }

  release(fileHandle: bigint): void {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return;
    this.#files.delete(fileHandle);
    const { inode } = file;
    void inode.inTurn(() => {
      const { open } = inode;
      if (open !== undefined) {
        open.files -= 1;
        if (file.author !== undefined) open.writers -= 1;
        if (open.files === 0) this.#closeWhenWritten(inode, open);
      }
      return Promise.resolve();
    });
  }

  /** After an interrupted close, or the end of a mapping, bytes may still wait to be written: the inode stays open for them. */
  #closeWhenWritten(inode: Inode, open: OpenInode): void {
    const { writer, made } = open;
    const left = made?.isKeeping === true ? this.#made.settled(inode) : undefined;
    if (left === undefined && (writer === undefined || writer.isClean)) {
      this.#closeInode(inode);
      return;
    }
    void (left ?? writer?.commit() ?? Promise.resolve()).then(() =>
      inode.inTurn(() => {
        if (inode.open === open && open.files === 0) this.#closeWhenWritten(inode, open);
        return Promise.resolve();
      }),
    );
  }

  /** The last file of an inode is closed. */
  #closeInode(inode: Inode): void {
    const { open } = inode;
    this.#knowledge.look(inode);
    inode.open = undefined;
    this.#mapped.closed(inode);
    if (open?.held !== undefined) {
      if (open.writer === undefined && !this.#inodes.isRetired(inode)) this.#granted.closed(inode, open.held);
      else this.#granted.giveBack(open.held);
    }
    for (const listener of this.#closedListeners) listener(inode);
    this.#inodes.drop(inode);
  }

  #filesOf(inode: Inode): OpenFile[] {
    return [...this.#files.values()].filter((file) => file.inode === inode);
  }

  /** Lets go of everything at the end of the mount: the kernel drops its backings with the connection. */
  close(): void {
    this.#granted.close();
    this.#mapped.close();
    // While their writers are there.
    void this.#made.allSettled();
    for (const { inode } of this.#files.values()) {
      const held = inode.open?.held;
      inode.open = undefined;
      held?.file.release();
    }
    this.#files.clear();
  }
}
