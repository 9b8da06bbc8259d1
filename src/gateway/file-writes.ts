/** Writing to open files: bytes are taken and sent behind; flush and fsync wait, and tell what failed. */
import { constants } from 'node:fs';
import type { ServerLink } from '../client/link.ts';
import { STABLE_HOW } from '../nfs3/nfs.ts';
import { DirtyBytes, type Interruptible } from './dirty-bytes.ts';
import { FileWriter } from './file-writer.ts';
import type { stable_how } from './gathered-bytes.ts';
import { errnoOfSystemError } from './held-errors.ts';
import type { Inode, InodeTable } from './inodes.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Knowledge } from './knowledge.ts';
import { FAR_HOLE_BYTES, GATHER_COPY_BYTES } from './limits.ts';
import type { OpenFile } from './open-file.ts';
import { heldIn, type HeldFile } from './open-inode.ts';
import type { Answer, Errno, WriteData } from './operations.ts';
import type { WritingSite } from './writing-site.ts';

const EBADF = 9;
const EFBIG = 27;
/** Largest file: off_t is signed. */
const FILE_BYTES_MAX = 0x7fff_ffff_ffff_ffffn;
/** O_SYNC of Linux is O_DSYNC and a bit of its own. */
const O_SYNC_ONLY = constants.O_SYNC & ~constants.O_DSYNC;

export interface FileWritesOptions {
  /** Bytes of one WRITE, 4 KiB to 1 MiB. */
  readonly wsizeBytes: number;
  /** What programs see when a soft mount gives up; default EIO. */
  readonly timedOutErrno?: Errno | undefined;
  readonly onWarning: (message: string, error: unknown) => void;
  /** Other bounds than those of limits.ts. */
  readonly dirty?: DirtyBytes | undefined;
}

interface Written {
  readonly writtenBytes: number;
}

export class FileWrites {
  /** Bytes that servers have acknowledged WRITE by WRITE. */
  writtenBytes = 0n;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;
  readonly #dirty: DirtyBytes;
  readonly #site: WritingSite;
  readonly #filesOf: (inode: Inode) => Iterable<OpenFile>;

  /** @param filesOf the open files of an inode, which are told what was lost */
  constructor(
    link: ServerLink,
    inodes: InodeTable,
    knowledge: Knowledge,
    options: FileWritesOptions,
    filesOf: (inode: Inode) => Iterable<OpenFile>,
  ) {
    this.#inodes = inodes;
    this.#knowledge = knowledge;
    this.#filesOf = filesOf;
    this.#dirty = options.dirty ?? new DirtyBytes();
    this.#site = {
      link,
      knowledge,
      dirty: this.#dirty,
      wsizeBytes: options.wsizeBytes,
      timedOutErrno: options.timedOutErrno,
      onWritten: (bytes) => {
        this.writtenBytes += BigInt(bytes);
      },
      onLost: (inode, errno, _lostBytes, error) => {
        options.onWarning('bytes that were written are lost', error);
        for (const file of this.#filesOf(inode)) file.error ??= errno;
      },
    };
  }

  /** Bytes that no server has on stable storage yet, and what holding them takes. */
  get dirtyBytes(): number {
    return this.#dirty.bytes;
  }

  writerFor(inode: Inode): FileWriter {
    return new FileWriter(inode, this.#site);
  }

  /** Takes bytes to write; see Operations.write. Rejects with StatusError EINTR for a waiter that gives up. */
  write(
    file: OpenFile,
    offset: bigint,
    data: WriteData,
    flags: number,
    waiter: Interruptible,
  ): Answer<Written> {
    const { author, inode } = file;
    const writer = inode.open?.writer;
    if (author === undefined || writer === undefined) return EBADF;
    const errno = tell(file);
    if (errno !== 0) return errno;
    const writtenBytes = data.bytes.length;
    if (offset + BigInt(writtenBytes) > FILE_BYTES_MAX) return EFBIG;
    const stable = stableHow(flags);
    const isAnsweredLate =
      stable !== STABLE_HOW.UNSTABLE || leavesFarHole(inode, offset) || this.#isSeenAtOnce(file, flags);
    const take = (bytes: Uint8Array, isOwn: boolean): number => {
      const release = isOwn && data.release !== undefined ? (): void => data.release?.() : undefined;
      return writer.write(offset, bytes, isOwn, author, stable, release);
    };
    const finish = async (sequence: number): Promise<Written | Errno> => {
      // With O_SYNC nothing is left for COMMIT, unless the server did less than it was asked for.
      const isDone = stable === STABLE_HOW.UNSTABLE ? writer.settle(sequence) : writer.commit(sequence);
      await unlessInterrupted(isDone, waiter);
      const failed = tell(file);
      return failed === 0 ? { writtenBytes } : failed;
    };
    if (this.#dirty.admits(writtenBytes)) {
      const isLarge = writtenBytes > GATHER_COPY_BYTES;
      const sequence = take(isLarge ? data.take() : data.bytes, isLarge);
      // The disk is at work while the program sets attributes, and closes the file.
      if (inode.open?.made?.looksWhole(offset + BigInt(writtenBytes)) === true) void writer.commit();
      return isAnsweredLate ? finish(sequence) : { writtenBytes };
    }
    const bytes = data.take();
    return this.#dirty
      .admit(writtenBytes, waiter, () => take(bytes, true))
      .then((sequence) => (isAnsweredLate ? finish(sequence) : { writtenBytes }));
  }

  /**
   * Whether others see the bytes without asking us, so that they must be at the server before the answer: with O_DIRECT,
   * and where the file is also open in a way that the kernel reads the server's own pages.
   */
  #isSeenAtOnce(file: OpenFile, flags: number): boolean {
    return file.direct || (flags & constants.O_DIRECT) !== 0 || this.#inodes.isOpenElsewhere(file.inode);
  }

  /**
   * close(2) of a descriptor: what was written is put on stable storage before it is answered, as the kernel's own client
   * does, so that close tells of a full disk. Rejects with StatusError EINTR; what was taken is written all the same.
   */
  async flush(file: OpenFile, waiter: Interruptible): Promise<Errno> {
    if (file.author === undefined) return 0;
    // What the kernel itself has written is where everybody sees it, as on a local file system.
    return this.#knowledge.look(file.inode) ? tell(file) : this.sync(file, false, waiter);
  }

  /** fsync(2) or fdatasync(2): the same, through any open file. */
  async sync(file: OpenFile, dataOnly: boolean, waiter: Interruptible): Promise<Errno> {
    const held = heldIn(file.inode.open);
    if (held !== undefined) return unlessInterrupted(this.#syncHeld(file, held, dataOnly), waiter);
    const writer = file.inode.open?.writer;
    if (writer !== undefined && !writer.isClean) await unlessInterrupted(writer.commit(), waiter);
    return tell(file);
  }

  /** The disk tells of a failure once: it is passed on to everybody who has the file open. */
  async #syncHeld(file: OpenFile, { file: granted }: HeldFile, dataOnly: boolean): Promise<Errno> {
    try {
      await granted.sync(dataOnly);
    } catch (error) {
      const errno = errnoOfSystemError(error);
      for (const other of this.#filesOf(file.inode)) if (other !== file) other.error ??= errno;
      return errno;
    }
    return tell(file);
  }

  /** Has everything written so far put on stable storage; resolves when it is, or is lost. */
  async drain(): Promise<void> {
    await Promise.all(Array.from(this.#dirty.files, (file) => file.commit()));
  }
}

/** What there is to tell to a file, once. */
function tell(file: OpenFile): Errno {
  const errno = file.error ?? 0;
  file.error = undefined;
  return errno;
}

function leavesFarHole(inode: Inode, offset: bigint): boolean {
  if (offset < FAR_HOLE_BYTES) return false;
  return offset > inode.attributes.size && offset > (inode.open?.writer?.hiddenEnd ?? 0n);
}

function stableHow(flags: number): stable_how {
  if ((flags & O_SYNC_ONLY) !== 0) return STABLE_HOW.FILE_SYNC;
  return (flags & constants.O_DSYNC) !== 0 ? STABLE_HOW.DATA_SYNC : STABLE_HOW.UNSTABLE;
}
