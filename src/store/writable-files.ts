import {
  AT_FDCWD,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  W_OK,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { checkAccess, closeFd, openat, statFd, type FileStatus } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import { syncOnPool } from '../system/write-file.ts';
import { ClosingFiles } from './closing-files.ts';
import { DescriptorCache } from './descriptor-cache.ts';
import { DiskWork } from './disk-work.ts';
import { OPEN_WRITER_IDLE_MS, OPEN_WRITERS_MAX } from './limits.ts';
import { regularFileStatus, type FileToOpen } from './open-file.ts';
import { WritableFile } from './writable-file.ts';
import type { WriteVerifier } from './write-verifier.ts';

/** The files that a store has open for writing, one descriptor a file. */
export class WritableFiles {
  readonly #work = new DiskWork();
  readonly #closing = new ClosingFiles();
  /** Held by somebody, by their keys. */
  readonly #busy = new Map<string, WritableFile>();
  readonly #idle = new DescriptorCache<WritableFile>({ max: OPEN_WRITERS_MAX, idleMs: OPEN_WRITER_IDLE_MS });
  readonly #verifier: WriteVerifier;
  #isClosed = false;

  /** @param verifier is renewed when something that was written did not reach its disk */
  constructor(verifier: WriteVerifier) {
    this.#verifier = verifier;
  }

  /** Files that are open now, also those that close when their contents are on the disk. */
  get count(): number {
    return this.#busy.size + this.#idle.size + this.#closing.size;
  }

  /** To be awaited by whoever has written, so that not more and more files wait for the disk. */
  room(): Promise<void> {
    return this.#closing.room();
  }

  /**
   * Opens a regular file for writing, or finds it open, and keeps it open until release(). As RFC 1813 section 4.4 advises,
   * the owner may always write. EISDIR, EINVAL for what is no regular file; EACCES, EPERM, EROFS, ETXTBSY; EAGAIN while a
   * lease is being broken; StoreError STALE for a deleted file.
   */
  open(identity: Identity, file: FileToOpen): WritableFile {
    const status = regularFileStatus(file);
    const known = this.#busy.get(file.key) ?? this.#idle.take(file.key);
    if (known !== undefined) this.#busy.set(file.key, known);
    try {
      if (known !== undefined) {
        checkMayWrite(identity, file.fd, status);
        known.hold();
        return known;
      }
      const fd = openForWriting(identity, file.fd, status);
      return this.#add(file.key, fd);
    } finally {
      if (known?.holds === 0) this.#rest(file.key, known);
    }
  }

  /**
   * Takes over a descriptor (O_WRONLY) of a file that was just made, and keeps it as if the file had been written and
   * released; not in the place of one that would have to be synced for it. Where that cannot be done, it is closed.
   */
  adopt(key: string, fd: number): void {
    if (this.#isClosed || this.#busy.has(key) || this.#idle.next?.isUnsynced === true) {
      closeFd(fd);
      return;
    }
    try {
      this.#idle.set(key, this.#opened(fd));
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
    }
  }

  release(key: string, file: WritableFile): void {
    file.release();
    if (file.holds === 0) this.#rest(key, file);
  }

  /** Resolves when the page cache has what was sent to a file before now; undefined where that is so already. */
  settled(key: string): Promise<void> | undefined {
    return this.#busy.get(key)?.settled();
  }

  /**
   * Brings to the disk what was written to a regular file or a directory, by anybody, before now. The descriptor (O_PATH)
   * is used within this turn only. Rejects with an errno: EIO, ENOSPC, EDQUOT; then the verifier is another.
   */
  async sync({ fd, key }: FileToOpen): Promise<void> {
    const known = this.#busy.get(key) ?? this.#idle.take(key);
    if (known === undefined) {
      await this.#syncUnwritten(fd);
      return;
    }
    this.#busy.set(key, known);
    known.hold();
    try {
      await known.sync();
    } finally {
      this.release(key, known);
    }
  }

  /** Lets go of the files that nobody writes right now. */
  closeIdle(): void {
    this.#idle.clear();
  }

  /** Lets go of a file that has no name any more: its blocks are to be free, and need not go to the disk before. */
  forget(key: string): void {
    const idle = this.#idle.take(key);
    (idle ?? this.#busy.get(key))?.abandon();
    idle?.retire();
  }

  /**
   * Begins no more writes, and waits for those that the kernel has begun with: a server that comes after this one is not
   * to be overtaken by what this one was sent long ago.
   */
  async stop(): Promise<void> {
    await Promise.all([...this.#busy.values()].map((file) => file.stop()));
  }

  /** Lets go of every file; those being written close when that has ended. What is not on the disks is left to the kernel. */
  close(): void {
    this.#isClosed = true;
    this.#idle.deleteWhere((file) => {
      file.abandon();
      return true;
    });
    this.#idle.clear();
  }

  #add(key: string, fd: number): WritableFile {
    const file = this.#opened(fd);
    file.hold();
    this.#busy.set(key, file);
    return file;
  }

  /** Takes over the descriptor; it is closed also when this throws. */
  #opened(fd: number): WritableFile {
    try {
      return new WritableFile(fd, {
        work: this.#work,
        closing: this.#closing,
        onLost: () => {
          this.#verifier.renew();
        },
      });
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  #rest(key: string, file: WritableFile): void {
    this.#busy.delete(key);
    if (this.#isClosed) file.abandon();
    if (file.isAbandoned) file.retire();
    else this.#idle.set(key, file);
  }

  /** By a descriptor of its own, as the server: who may not write has nothing of his own to sync, and harms nobody. */
  async #syncUnwritten(pathFd: number): Promise<void> {
    const type = statFd(pathFd).mode & S_IFMT;
    if (type !== S_IFREG && type !== S_IFDIR) throw new ErrnoError('EINVAL', 'fsync');
    becomeServer();
    const fd = openat(AT_FDCWD, `/proc/self/fd/${pathFd}`, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    try {
      await this.#work.run(() => syncOnPool(fd));
    } catch (error) {
      this.#verifier.renew();
      throw error;
    } finally {
      closeFd(fd);
    }
  }
}

function openForWriting(identity: Identity, pathFd: number, status: FileStatus): number {
  // A file under a lease makes an open wait, unless it is non-blocking.
  const open = () => openat(AT_FDCWD, `/proc/self/fd/${pathFd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  try {
    return runAs(identity, open);
  } catch (error) {
    if (!mayAsOwner(error, identity, status)) throw error;
    becomeServer();
    return open();
  }
}

/** What may have changed since the file was opened: its mode, owner and ACL, and whether it is immutable. */
function checkMayWrite(identity: Identity, pathFd: number, status: FileStatus): void {
  try {
    runAs(identity, () => {
      checkAccess(pathFd, W_OK);
    });
  } catch (error) {
    if (!mayAsOwner(error, identity, status)) throw error;
  }
}

function mayAsOwner(error: unknown, identity: Identity, status: FileStatus): boolean {
  return error instanceof ErrnoError && error.code === 'EACCES' && identity.uid === status.uid;
}
