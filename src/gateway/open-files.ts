/** Open files: which data path each inode takes, reads by wire, and what is given back at the last close. */
import { constants } from 'node:fs';
import type { ServerLink } from '../client/link.ts';
import { ACCESS3_EXECUTE, ACCESS3_READ } from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import { attributesOfStat } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode, InodeTable } from './inodes.ts';
import { KeptFiles } from './kept-files.ts';
import type { Knowledge, Rights } from './knowledge.ts';
import { MappedFiles } from './mapped-files.ts';
import { countsByDataPath, dataPathOf, type DataPath, type HeldFile, type OpenInode } from './open-inode.ts';
import type {
  Answer,
  AttributeChanges,
  AttributesReply,
  Errno,
  Opened,
  Outcome,
  WriteData,
} from './operations.ts';
import { PageReader } from './page-reader.ts';
import { StatusError } from './status-error.ts';
import { WireReader, type WireRead } from './wire-reader.ts';

const EPERM = 1;
const EIO = 5;
const EBADF = 9;
const EACCES = 13;
const EINVAL = 22;
const EROFS = 30;
const ELOOP = 40;
const EOPNOTSUPP = 95;
/** include/linux/fs.h: the file is opened to run it. The kernel leaves the bit among the flags of OPEN. */
const FMODE_EXEC = 0x20;
const READ_FOR_ALL = 0o444;

export interface OpenFilesOptions {
  /** Bytes of one READ, 4 KiB to 1 MiB. */
  readonly rsizeBytes: number;
  /** The highest data path allowed. */
  readonly dataPath: DataPath;
  /** Whether every open asks the server for the file's attributes; false is nfs(5) nocto. */
  readonly closeToOpen: boolean;
  readonly onWarning: (message: string, error: unknown) => void;
}

interface OpenFile {
  readonly inode: Inode;
  readonly caller: Caller;
  /** Opened with O_DIRECT: every read asks the server. */
  readonly direct: boolean;
  reader: WireReader | undefined;
  pageReader: PageReader | undefined;
}

export class OpenFiles {
  /** Opens since the mount, by data path. */
  readonly opens = countsByDataPath();
  /** Bytes read by READ messages. What passes through is never seen by the gateway. */
  wireBytes = 0n;
  /** Bytes read from granted files, and from pages in shared memory. */
  mappedBytes = 0n;
  /** Reads by wire of files whose pages are shared otherwise. */
  mapFallbacks = 0;
  /** Why the last file, or read, that had to use the wire did. */
  lastWireReason: string | undefined;
  readonly #link: ServerLink;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;
  readonly #options: OpenFilesOptions;
  readonly #files = new Map<bigint, OpenFile>();
  readonly #kept: KeptFiles;
  readonly #mapped: MappedFiles;
  #nextFileHandle = 1n;
  #onClosed: ((inode: Inode) => void) | undefined;
  /** Why no file can be passed through: the option, or what the kernel refused for every file. */
  #noPassthrough: string | undefined;

  constructor(link: ServerLink, inodes: InodeTable, knowledge: Knowledge, options: OpenFilesOptions) {
    this.#link = link;
    this.#inodes = inodes;
    this.#knowledge = knowledge;
    this.#options = options;
    this.#noPassthrough = options.dataPath === 'passthrough' ? undefined : 'the mount has datapath=mapped';
    this.#mapped = new MappedFiles(link, knowledge);
    this.#kept = new KeptFiles((held) => {
      this.#giveBack(held);
    });
    inodes.onDropped((inode) => {
      this.#kept.drop(inode);
    });
  }

  /** @param listener is told of each inode whose last file was closed */
  onClosed(listener: (inode: Inode) => void): void {
    this.#onClosed = listener;
  }

  /** Files open now, by data path. */
  count(): Record<DataPath, number> {
    const files = countsByDataPath();
    for (const { inode } of this.#files.values()) {
      if (inode.open !== undefined) files[dataPathOf(inode.open)] += 1;
    }
    return files;
  }

  /** Opens for reading; opens and closes of one inode happen one after the other. */
  open(inode: Inode, flags: number, caller: Caller): Promise<Outcome<Opened>> {
    return inode.inTurn(() => this.#open(inode, flags, caller));
  }

  async #open(inode: Inode, flags: number, caller: Caller): Promise<Outcome<Opened>> {
    if (inode.open === undefined) {
      const kept = this.#kept.take(inode);
      if (kept !== undefined) inode.open = { files: 0, held: kept, pages: undefined, why: kept.why };
    }
    if (inode.open?.held !== undefined) return this.#openHeld(inode, inode.open.held, flags, caller);

    let why = inode.open?.why;
    if (why === undefined && this.#options.dataPath !== 'wire') {
      const granted = await this.#obtainFile(inode, caller);
      if (typeof granted === 'number') return granted;
      if (typeof granted !== 'string') {
        inode.open = { files: 0, held: granted, pages: undefined, why: granted.why };
        return this.#addHeld(inode, flags, caller);
      }
      why = granted;
    }
    const refused = mayOpen(await this.#knowledge.rights(inode, caller, this.#options.closeToOpen), flags);
    if (refused !== undefined) return refused;
    inode.open ??= this.#openWithout(inode, why ?? 'the mount has datapath=wire');
    return this.#add(inode, flags, caller);
  }

  /** Without the file itself: its pages in shared memory, else the wire. */
  #openWithout(inode: Inode, why: string): OpenInode {
    if (this.#options.dataPath !== 'wire' && this.#link.session.canMap) {
      const pages = this.#mapped.of(inode);
      return { files: 0, held: undefined, pages, why: `the server shares its pages in memory: ${why}` };
    }
    this.lastWireReason = why;
    return { files: 0, held: undefined, pages: undefined, why };
  }

  /** Opens what is in our hands already: the file itself says whether what we know still holds. */
  async #openHeld(inode: Inode, held: HeldFile, flags: number, caller: Caller): Promise<Outcome<Opened>> {
    const stat = held.file.status();
    this.#knowledge.refresh(inode, attributesOfStat(stat));
    // The name the kernel remembers may be another file's by now: ESTALE makes it look again.
    const stale = stat.nlink === 0n ? this.#knowledge.failed(inode, NFSSTAT3.NFS3ERR_STALE) : undefined;
    return this.#addHeld(inode, flags, caller, stale);
  }

  /** One more open of a granted file, for whoever may; nobody keeps it open in vain. */
  async #addHeld(inode: Inode, flags: number, caller: Caller, refused?: Errno): Promise<Outcome<Opened>> {
    try {
      return refused ?? (await this.#refuseHeld(inode, flags, caller)) ?? this.#add(inode, flags, caller);
    } finally {
      if (inode.open?.files === 0) this.#closeInode(inode);
    }
  }

  /**
   * A grant says that its caller may read or execute. Which of them was checked by the guest's kernel, unless it lets
   * the caller past modes: then the server is asked, where the mode leaves it open.
   */
  async #refuseHeld(inode: Inode, flags: number, caller: Caller): Promise<Errno | undefined> {
    const isChecked = !caller.passesModes || (inode.attributes.mode & READ_FOR_ALL) === READ_FOR_ALL;
    if (isChecked && inode.readers.has(caller.key)) return undefined;
    return mayOpen(await this.#knowledge.rights(inode, caller, false), flags);
  }

  /** The file itself, by a grant; a string says why the wire serves instead. */
  async #obtainFile(inode: Inode, caller: Caller): Promise<Outcome<HeldFile> | string> {
    const outcome = await this.#link.grant(inode.handle, caller);
    if (outcome === undefined) {
      const { route, levelReason } = this.#link.session;
      return levelReason === '' ? `the ${route} route has no grants` : levelReason;
    }
    if (outcome.kind === 'failed') {
      // The server cannot grant just now; READs wait for it.
      if (outcome.status === NFSSTAT3.NFS3ERR_JUKEBOX) return 'the server has no descriptor to spare';
      return this.#knowledge.failed(inode, outcome.status);
    }
    this.#knowledge.learn(inode, outcome.attributes);
    if (outcome.kind === 'wire') return outcome.reason;
    inode.readers.add(caller.key);
    const { file, session } = outcome;
    const refusal = this.#noPassthrough;
    if (refusal !== undefined) return { file, session, backingId: undefined, why: refusal };
    const backing = this.#knowledge.kernel?.openBacking(file.descriptor) ?? EOPNOTSUPP;
    if (typeof backing === 'object')
      return { file, session, backingId: backing.backingId, why: 'the kernel reads the server’s own pages' };
    return { file, session, backingId: undefined, why: this.#explainNoBacking(backing) };
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

  #add(inode: Inode, flags: number, caller: Caller): Outcome<Opened> {
    const { open } = inode;
    if (open === undefined) return EIO;
    open.files += 1;
    this.opens[dataPathOf(open)] += 1;
    const fileHandle = this.#nextFileHandle;
    this.#nextFileHandle += 1n;
    this.#files.set(fileHandle, {
      inode,
      caller,
      direct: (flags & constants.O_DIRECT) !== 0,
      reader: undefined,
      pageReader: undefined,
    });
    const backingId = open.held?.backingId;
    if (backingId !== undefined) return { fileHandle, backingId, keepCache: false };
    const keepCache = inode.cachedVersion === inode.version;
    inode.cachedVersion = inode.version;
    return { fileHandle, keepCache };
  }

  /**
   * Reads a file that was granted, or what is held of one whose pages are shared; undefined where `read` serves. Bytes
   * that come at once are good until the next call only.
   */
  readHeld(fileHandle: bigint, offset: bigint, sizeBytes: number): Answer<readonly Uint8Array[]> | undefined {
    const file = this.#files.get(fileHandle);
    const held = file?.inode.open?.held;
    if (file === undefined || held === undefined) {
      const bytes =
        file === undefined || file.direct ? undefined : pageReaderOf(file)?.readHeld(offset, sizeBytes);
      if (bytes === undefined) return undefined;
      this.mappedBytes += BigInt(bytes.length);
      return [bytes];
    }
    const taken = (bytes: Uint8Array): readonly Uint8Array[] => {
      this.mappedBytes += BigInt(bytes.length);
      return [bytes];
    };
    try {
      const read = held.file.read(offset, sizeBytes);
      return read instanceof Promise ? read.then(taken, errnoOfSystemError) : taken(read);
    } catch (error) {
      return errnoOfSystemError(error);
    }
  }

  /**
   * Where data or a hole begins, as the granted file says. NFSv3 knows no holes, so on the wire this is EINVAL, as on a
   * file system without SEEK_HOLE: cp and tar then look for zeros, where the answer 'all data' would have them
   * write every hole out.
   */
  seek(fileHandle: bigint, offset: bigint, whence: number): Outcome<{ readonly offset: bigint }> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    const held = file.inode.open?.held;
    if (held === undefined) return EINVAL;
    try {
      return { offset: held.file.seek(offset, whence) };
    } catch (error) {
      return errnoOfSystemError(error);
    }
  }

  /** Reads with the calls it takes. Rejects with StatusError or RpcError. */
  async read(fileHandle: bigint, offset: bigint, sizeBytes: number): Promise<Outcome<readonly Uint8Array[]>> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
    const mapped = await pageReaderOf(file)?.read(offset, sizeBytes, file.direct);
    if (mapped instanceof Uint8Array) {
      this.mappedBytes += BigInt(mapped.length);
      return [mapped];
    }
    if (mapped !== undefined) {
      this.mapFallbacks += 1;
      this.lastWireReason = mapped.reason;
    }
    file.reader ??= new WireReader(
      (at, countBytes) => this.#fetch(file, at, countBytes),
      this.#options.rsizeBytes,
    );
    const { reader, inode } = file;
    const pieces = file.direct
      ? await reader.readDirect(offset, sizeBytes)
      : await reader.read(offset, sizeBytes, inode.version);
    for (const piece of pieces) this.wireBytes += BigInt(piece.length);
    return pieces;
  }

  async #fetch({ inode, caller }: OpenFile, offset: bigint, countBytes: number): Promise<WireRead> {
    const count = Math.min(countBytes, this.#options.rsizeBytes);
    const reply = await this.#link.nfs('READ', { file: { data: inode.handle }, offset, count }, caller);
    if (reply.status !== NFS3_OK) throw new StatusError(this.#knowledge.failed(inode, reply.status));
    let lengthBytes = 0;
    for (const piece of reply.data) lengthBytes += piece.length;
    // More than was asked would reach the kernel as bytes of another place in the file.
    if (lengthBytes > count || lengthBytes !== reply.count) throw new StatusError(EIO);
    // A reply without data that is not the end would be asked again for ever.
    return { pieces: reply.data, lengthBytes, eof: reply.eof || lengthBytes === 0 };
  }

  write(
    _fileHandle: bigint,
    _offset: bigint,
    _data: WriteData,
    _flags: number,
  ): Answer<{ readonly writtenBytes: number }> {
    return EBADF;
  }

  /** Sends what was written, and waits until it is at the server: close(2). */
  flush(_fileHandle: bigint, _signal: AbortSignal): Promise<Errno> {
    return Promise.resolve(0);
  }

  /** Sends what was written, and waits until it is on stable storage: fsync(2). */
  sync(_fileHandle: bigint, _signal: AbortSignal): Promise<Errno> {
    return Promise.resolve(0);
  }

  /** Changes attributes, after what was written before. */
  setattr(_inode: Inode, _changes: AttributeChanges, _caller: Caller): Promise<Outcome<AttributesReply>> {
    return Promise.resolve(EROFS);
  }

  /** Opens a file that the caller has just made, or found by UNCHECKED: CREATE of FUSE opens in the same step. */
  openCreated(inode: Inode, flags: number, caller: Caller): Promise<Outcome<Opened>> {
    return this.open(inode, flags, caller);
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
        if (open.files === 0) this.#closeInode(inode);
      }
      return Promise.resolve();
    });
  }

  /** The last file of an inode is closed. What was granted is kept for the next open, as long as the inode is known. */
  #closeInode(inode: Inode): void {
    const held = inode.open?.held;
    inode.open = undefined;
    this.#mapped.closed(inode);
    if (held !== undefined) {
      if (inode.attributes.nlink > 0 && held.session.closed === undefined) this.#kept.keep(inode, held);
      else this.#giveBack(held);
    }
    this.#onClosed?.(inode);
    this.#inodes.drop(inode);
  }

  #giveBack({ file, backingId }: HeldFile): void {
    try {
      if (backingId !== undefined) this.#knowledge.kernel?.closeBacking(backingId);
    } catch (error) {
      this.#options.onWarning('a backing could not be closed', error);
    }
    file.release();
  }

  /** Lets go of everything at the end of the mount: the kernel drops its backings with the connection. */
  close(): void {
    this.#kept.close();
    this.#mapped.close();
    for (const { inode } of this.#files.values()) {
      const held = inode.open?.held;
      inode.open = undefined;
      held?.file.release();
    }
    this.#files.clear();
  }
}

function pageReaderOf(file: OpenFile): PageReader | undefined {
  const pages = file.inode.open?.pages;
  if (pages === undefined) return undefined;
  return (file.pageReader ??= new PageReader(pages, file.caller));
}

/** The errno of a failed pread(2) or lseek(2); anything else is a fault of ours and passes on. */
function errnoOfSystemError(error: unknown): Errno {
  const { errno } = error as NodeJS.ErrnoException;
  if (typeof errno !== 'number') throw error;
  return Math.abs(errno);
}

/** Whoever may execute a file may be sent its bytes (RFC 1813 section 4.4), but only to run it. */
function mayOpen(rights: Rights, flags: number): Errno | undefined {
  if (typeof rights === 'object') return rights.errno;
  const wanted = (flags & FMODE_EXEC) === 0 ? ACCESS3_READ : ACCESS3_READ | ACCESS3_EXECUTE;
  return (rights & wanted) === 0 ? EACCES : undefined;
}
