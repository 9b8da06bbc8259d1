import {
  O_NOCTTY,
  O_NONBLOCK,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  X_OK,
  AT_FDCWD,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { faccess, openat, statFd, type FileStatus } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import { readFully } from '../system/read-file.ts';
import { closeAfterTurn, DescriptorCache, type Retirable } from './descriptor-cache.ts';
import { OPEN_FILE_IDLE_MS, OPEN_FILES_MAX, READ_BYTES_MAX } from './limits.ts';
import { returnReadBuffer, takeReadBuffer } from './read-buffers.ts';
import { StoreError } from './store-error.ts';

/** An exported file, open for reading under somebody's identity. Open as long as somebody holds it. */
export class ReadFile implements Retirable {
  /** Usable in the turn in which the file was obtained, or while it is held. */
  readonly fd: number;
  /** When permissions were checked; a change of the file since then asks for a new check. */
  readonly checkedCtimeNs: bigint;
  readonly #closed: () => void;
  // The first hold is the cache's.
  #holds = 1;

  constructor(fd: number, checkedCtimeNs: bigint, closed: () => void) {
    this.fd = fd;
    this.checkedCtimeNs = checkedCtimeNs;
    this.#closed = closed;
  }

  /** Keeps the descriptor open until release(). */
  hold(): this {
    if (this.#holds === 0) throw new ErrnoError('EBADF', 'hold', 'the file is closed');
    this.#holds += 1;
    return this;
  }

  release(): void {
    if (this.#holds === 0) throw new ErrnoError('EBADF', 'release', 'the file is closed');
    this.#holds -= 1;
    if (this.#holds > 0) return;
    closeAfterTurn(this.fd);
    this.#closed();
  }

  retire(): void {
    this.release();
  }

  /** Where bytes are, without reading them: `length` bytes, at most READ_BYTES_MAX of them, from `offset` on. */
  source(offset: bigint, length: number): PageSource {
    return new PageSource(this, offset, Math.min(length, READ_BYTES_MAX));
  }
}

/** Bytes of a file that are still to be read, or to be pointed at. Holds the file until it is read or released. */
export class PageSource {
  readonly file: ReadFile;
  readonly offset: bigint;
  readonly length: number;
  #released = false;

  constructor(file: ReadFile, offset: bigint, length: number) {
    this.file = file.hold();
    this.offset = offset;
    this.length = length;
  }

  /** May be called again, without effect. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.file.release();
  }
}

export interface ReadBytes {
  /** Fewer than asked only at the end of the file. */
  bytes: Uint8Array;
  /** Nothing follows these bytes. */
  eof: boolean;
  /** Gives the memory back, once, when nobody looks at `bytes` any more. */
  release(): void;
}

/**
 * Reads a source and releases it. What the page cache has is copied at once; the rest is read by libuv's pool.
 * Rejects with ErrnoError or a system error of Node's, like EIO.
 */
export async function readSource(source: PageSource): Promise<ReadBytes> {
  const { file, offset } = source;
  try {
    const { size } = statFd(file.fd);
    const left = size - offset;
    if (left <= 0n) return { bytes: Buffer.alloc(0), eof: true, release: () => undefined };
    const wanted = left < BigInt(source.length) ? Number(left) : source.length;
    const buffer = takeReadBuffer(wanted);
    let length: number;
    try {
      length = await readFully(file.fd, buffer, offset);
    } catch (error) {
      returnReadBuffer(buffer);
      throw error;
    }
    return {
      bytes: buffer.subarray(0, length),
      // Short: somebody cut the file meanwhile.
      eof: length < wanted || offset + BigInt(length) >= size,
      release: () => returnReadBuffer(buffer),
    };
  } finally {
    source.release();
  }
}

/**
 * Reads the bytes of an open file into memory of the caller's, as readSource does. Returns how many: fewer than there is
 * room for only at the end of the file.
 */
export async function readInto(file: ReadFile, offset: bigint, target: Uint8Array): Promise<number> {
  file.hold();
  try {
    return await readFully(file.fd, target, offset);
  } finally {
    file.release();
  }
}

/** What is opened: an O_PATH descriptor, and the name under which its file is known. */
export interface FileToOpen {
  fd: number;
  key: string;
  /** Its attributes, where they were looked at in this turn. */
  status?: FileStatus | undefined;
}

/** The files that a store has open for reading, by handle and identity. */
export class OpenFiles {
  readonly #cache = new DescriptorCache<ReadFile>({ max: OPEN_FILES_MAX, idleMs: OPEN_FILE_IDLE_MS });
  #count = 0;

  /** Descriptors that are open now, held ones included. */
  get count(): number {
    return this.#count;
  }

  /**
   * Opens a regular file for reading, or finds it open. As RFC 1813 section 4.4 advises, the owner may always read,
   * and whoever may execute may read. EISDIR, EINVAL for what is no regular file; EACCES; EAGAIN while a lease
   * is being broken; StoreError STALE for a deleted file.
   */
  open(identity: Identity, file: FileToOpen): ReadFile {
    const status = regularFileStatus(file);
    const key = `${file.key}/${identity.uid}:${identity.gid}:${groupsKey(identity.groups)}`;
    const known = this.#cache.get(key);
    // Modes, owners and ACLs do not change without ctime.
    if (known?.checkedCtimeNs === status.ctimeNs) return known;
    const fd = openForReading(identity, file.fd, status);
    const opened = new ReadFile(fd, status.ctimeNs, () => {
      this.#count -= 1;
    });
    this.#count += 1;
    this.#cache.set(key, opened);
    return opened;
  }

  /** Lets go of one file, whoever opened it; held ones close when they are released. */
  forget(key: string): void {
    this.#cache.deletePrefix(`${key}/`);
  }

  /** Lets go of every file; held ones close when they are released. */
  close(): void {
    this.#cache.clear();
  }
}

const groupKeys = new WeakMap<readonly number[], string>();

/** The same for the same groups; a caller of hundreds of groups brings the same array each time. */
function groupsKey(groups: readonly number[]): string {
  let key = groupKeys.get(groups);
  if (key === undefined) {
    key = groups.join();
    groupKeys.set(groups, key);
  }
  return key;
}

/** EISDIR, EINVAL for what is no regular file, which must never be opened; StoreError STALE for a deleted one. */
export function regularFileStatus({ fd, status = statFd(fd) }: Omit<FileToOpen, 'key'>): FileStatus {
  if (status.nlink === 0) throw new StoreError('STALE', 'the file was deleted');
  const type = status.mode & S_IFMT;
  if (type !== S_IFREG) throw new ErrnoError(type === S_IFDIR ? 'EISDIR' : 'EINVAL', 'open');
  return status;
}

/**
 * Opens a regular file anew, with the checks of OpenFiles.open; the caller closes it.
 *
 * @param status of that file, of this turn
 */
export function openForReading(identity: Identity, pathFd: number, status: FileStatus): number {
  try {
    return runAs(identity, () => open(pathFd));
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.code !== 'EACCES') throw error;
    if (identity.uid !== status.uid && !runAs(identity, () => faccess(pathFd, X_OK))) throw error;
    return openAsServer(pathFd);
  }
}

/** The same for somebody of whom is known that they may have the file. */
export function openAsServer(pathFd: number): number {
  becomeServer();
  return open(pathFd);
}

function open(pathFd: number): number {
  // A file under a lease makes an open wait, unless it is non-blocking.
  return openat(AT_FDCWD, `/proc/self/fd/${pathFd}`, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}
