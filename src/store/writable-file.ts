import { S_ISGID, S_ISUID } from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { fstatfs, statFd, type FileStatus } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import {
  lengthOf,
  startWriteback,
  syncOnPool,
  writeHere,
  writeNowait,
  writeOnPool,
  type Pieces,
  type Written,
} from '../system/write-file.ts';
import type { ClosingFiles } from './closing-files.ts';
import { closeAfterTurn, type Retirable } from './descriptor-cache.ts';
import type { DiskWork } from './disk-work.ts';
import { NEARLY_FULL_BYTES, WRITE_NOW_BYTES_MAX } from './limits.ts';
import { WriteOrder } from './write-order.ts';

/** TMPFS_MAGIC of include/uapi/linux/magic.h. */
const TMPFS = 0x01021994n;

/**
 * How a small write is done in the turn in which it arrives: `nowait` where the file system can say that it would have to
 * wait for a disk. Where it cannot (ext4), only what lies `beyond-end`: that takes nothing from a disk, and waits no
 * longer than making the file did.
 */
type AtOnce = 'in-memory' | 'nowait' | 'beyond-end';
/** Types of file systems of which is known that they cannot say it, as statfs(2) gives them. */
const WITHOUT_NOWAIT = new Set<bigint>();
const PAGE_BYTES = 4096n;
/** More bytes than a file can have: everything that is written overlaps with it. */
const WHOLE_FILE_BYTES = 2 ** 63;

/** A change of a file that no write can make. */
export interface SpaceChange<T> {
  /** How much space it may take, in bytes. */
  readonly takesBytes: bigint;
  /** Makes it on the pool, as the server; undefined where that failed, and `here` is to tell why. */
  readonly onPool: () => Promise<T | undefined>;
  /** Makes it, or a part of it, on this thread and in the name of the caller. Throws ErrnoError. */
  readonly here: () => T;
}

/** What files open for writing share. */
export interface WritingSupport {
  readonly work: DiskWork;
  readonly closing: ClosingFiles;
  /** What was written did not reach the disk, whoever wrote it. */
  readonly onLost: () => void;
}

/**
 * An exported file open for writing, by one descriptor for all callers: the kernel tells an error of write-back once for
 * each descriptor, so this one stays open until what it wrote is on the disk.
 */
export class WritableFile implements Retirable {
  /** O_WRONLY. Usable while the file is held. */
  readonly fd: number;
  readonly #support: WritingSupport;
  readonly #order = new WriteOrder((dataOnly) => this.#syncNow(dataOnly));
  readonly #type: bigint;
  #atOnce: AtOnce;
  #writes = 0;
  /** How many of the writes a sync has covered. */
  #writesSynced = 0;
  #holds = 0;
  /** Writes that the kernel has begun with. */
  readonly #begun = new Set<Promise<unknown>>();
  /** The last write, where it was done at once and no sync has covered it. */
  #writtenAtOnce: { readonly offset: bigint; readonly length: number } | undefined;
  #isStopped = false;

  /** Takes the descriptor over. */
  constructor(fd: number, support: WritingSupport) {
    this.fd = fd;
    this.#support = support;
    this.#type = fstatfs(fd).type;
    if (this.#type === TMPFS) this.#atOnce = 'in-memory';
    else this.#atOnce = WITHOUT_NOWAIT.has(this.#type) ? 'beyond-end' : 'nowait';
  }

  get holds(): number {
    return this.#holds;
  }

  hold(): void {
    this.#holds += 1;
  }

  release(): void {
    this.#holds -= 1;
  }

  /** Whether something was written since the last sync. */
  get isUnsynced(): boolean {
    return this.#writesSynced < this.#writes;
  }

  status(): FileStatus {
    return statFd(this.fd);
  }

  /**
   * Writes as a caller who may: when this resolves, the page cache has the bytes, in the order of the calls where they
   * overlap. An error comes with how many were written before it. The offset and the end are below 2^63.
   */
  async write(identity: Identity, offset: bigint, pieces: Pieces): Promise<Written> {
    const length = lengthOf(pieces);
    if (length === 0) return { bytes: 0 };
    const atOnce = this.#writeAtOnce(identity, offset, pieces, length);
    if (atOnce !== undefined) {
      this.#writtenAtOnce = { offset, length };
      return atOnce;
    }
    return this.#order.write(offset, length, async () => {
      const written = await this.#writeInOrder(identity, offset, pieces, length);
      this.#writes += 1;
      return written;
    });
  }

  /**
   * Changes the file as a caller who may, in its turn among the writes: those that arrived before it have ended, and those
   * that arrive later wait. Rejects with an ErrnoError.
   */
  change<T>(identity: Identity, change: SpaceChange<T>): Promise<T> {
    return this.#order.write(0n, WHOLE_FILE_BYTES, () =>
      this.#support.work.run(async () => {
        if (this.#isStopped) throw new ErrnoError('EIO', 'write', 'the server stops');
        try {
          const isOnPool = !this.#needsIdentity(identity, 0n, change.takesBytes);
          const done = isOnPool ? await this.#onPool(change.onPool) : undefined;
          return done ?? runAs(identity, change.here);
        } finally {
          this.#writes += 1;
        }
      }),
    );
  }

  /** Resolves when the page cache has what arrived before, or it has failed; undefined where that is so already. */
  settled(): Promise<void> | undefined {
    return this.#order.settled();
  }

  /**
   * Brings to the disk what arrived before.
   *
   * @param dataOnly leaves out attributes that no reader needs (fdatasync(2))
   */
  sync(dataOnly = false): Promise<void> {
    return this.#order.sync(dataOnly);
  }

  /** Closes it; what is not on the disk by now goes there first, or is said to be lost. */
  retire(): void {
    if (this.isUnsynced) this.#support.closing.add(this.#syncAndClose());
    else closeAfterTurn(this.fd);
  }

  /** Nobody will ask what became of what was written, so it is not synced when this closes. */
  abandon(): void {
    this.#writesSynced = Infinity;
  }

  get isAbandoned(): boolean {
    return this.#writesSynced === Infinity;
  }

  /** Begins no more writes: those that wait fail with EIO. Resolves when those that the kernel has begun with have ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.abandon();
    await Promise.all(this.#begun);
  }

  async #syncAndClose(): Promise<void> {
    // Nobody waits for it.
    this.#writtenAtOnce = undefined;
    try {
      await this.sync();
    } catch {
      // onLost has been told.
    } finally {
      closeAfterTurn(this.fd);
    }
  }

  async #syncNow(dataOnly: boolean): Promise<void> {
    await this.#support.work.run(async () => {
      const covered = this.#writes;
      try {
        this.#startWriteback();
        await syncOnPool(this.fd, dataOnly);
      } catch (error) {
        // The kernel tells it once, and drops the pages: also those whose writers have not asked yet.
        this.#support.onLost();
        throw error;
      }
      this.#writesSynced = Math.max(this.#writesSynced, covered);
    });
  }

  /** While a thread of the pool wakes up, the disk can begin: with little, and where no disk has kept anybody waiting. */
  #startWriteback(): void {
    const { work } = this.#support;
    const small = this.#writtenAtOnce;
    this.#writtenAtOnce = undefined;
    if (small === undefined || this.#atOnce === 'in-memory') return;
    work.ahead(() => {
      startWriteback(this.fd, small.offset, small.length);
    });
  }

  /** On the main thread, in this turn; undefined where that might wait, or others come first. */
  #writeAtOnce(identity: Identity, offset: bigint, pieces: Pieces, length: number): Written | undefined {
    if (this.#isStopped || length > WRITE_NOW_BYTES_MAX) return undefined;
    if (!this.#order.isFree(offset, length)) return undefined;
    const written = this.#tryAtOnce(identity, offset, pieces);
    if (written === 'unsupported') {
      WITHOUT_NOWAIT.add(this.#type);
      this.#atOnce = 'beyond-end';
      return this.#writeAtOnce(identity, offset, pieces, length);
    }
    if (written === undefined) return undefined;
    if (written.bytes > 0) this.#writes += 1;
    // Some of it would have waited: all of it is written again, in its order.
    return written.bytes === length || written.error !== undefined ? written : undefined;
  }

  #tryAtOnce(identity: Identity, offset: bigint, pieces: Pieces): Written | 'unsupported' | undefined {
    switch (this.#atOnce) {
      case 'in-memory':
        return runAs(identity, () => writeHere(this.fd, pieces, offset));
      case 'nowait':
        return runAs(identity, () => writeNowait(this.fd, pieces, offset));
      case 'beyond-end':
        // A write under way has the file's lock in the kernel, and the file's last page may have to be read first.
        return this.#order.isIdle && offset % PAGE_BYTES === 0n && offset >= statFd(this.fd).size
          ? runAs(identity, () => writeHere(this.fd, pieces, offset))
          : undefined;
    }
  }

  #writeInOrder(identity: Identity, offset: bigint, pieces: Pieces, length: number): Promise<Written> {
    return this.#support.work.run(async () => {
      if (this.#isStopped) return { bytes: 0, error: new ErrnoError('EIO', 'write', 'the server stops') };
      if (this.#needsIdentity(identity, offset + BigInt(length)))
        return runAs(identity, () => writeHere(this.fd, pieces, offset));
      return this.#onPool(() => writeOnPool(this.fd, pieces, Number(offset)));
    });
  }

  async #onPool<T>(begin: () => Promise<T>): Promise<T> {
    becomeServer();
    const begun = begin();
    this.#begun.add(begun);
    try {
      return await begun;
    } finally {
      this.#begun.delete(begun);
    }
  }

  /**
   * Whether it matters in whose name the bytes are written, which on the pool is the server's: the kernel takes away
   * set-user-id and set-group-id bits, unless root writes, and keeps blocks in reserve for root. Also for offsets that
   * Node's calls cannot say.
   *
   * @param takesBytes space that is taken at once, rather than written in small pieces
   */
  #needsIdentity({ uid }: Identity, end: bigint, takesBytes = 0n): boolean {
    if (end > BigInt(Number.MAX_SAFE_INTEGER)) return true;
    if ((statFd(this.fd).mode & (S_ISUID | S_ISGID)) !== 0) return true;
    if (uid === 0) return false;
    const { blocksAvailable, blocksFree, fragmentSizeBytes } = fstatfs(this.fd);
    return (
      blocksAvailable < blocksFree && blocksAvailable * fragmentSizeBytes < NEARLY_FULL_BYTES + takesBytes
    );
  }
}
