/** Open directories: listings as the kernel reads them, and what they tell about names and files. */
import type { ServerLink } from '../client/link.ts';
import { ACCESS3_READ } from '../nfs3/nfs.ts';
import type { AttributeTimes } from './attribute-times.ts';
import { S_IFMT, attributesOfFattr3, isDirectory } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { ChangeParts } from './change-calls.ts';
import { DirectoryStream, type DirectoryPage } from './directory-stream.ts';
import { entryWithoutReference } from './entries.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { LISTED_INODES_MAX } from './limits.ts';
import type { NameCache } from './name-cache.ts';
import type { Attributes, DirectorySink, Opened, Outcome } from './operations.ts';
import type { RecentNames } from './recent-names.ts';
import type { SillyNames } from './silly-names.ts';

const EACCES = 13;
const ESTALE = 116;

export interface OpenDirectory {
  readonly inode: Inode;
  readonly stream: DirectoryStream;
  /** The directory's version that the stream's page shows. */
  pageVersion: number;
}

export class Listings {
  readonly #link: ServerLink;
  readonly #inodes: InodeTable;
  readonly #names: NameCache;
  readonly #recent: RecentNames;
  readonly #knowledge: Knowledge;
  readonly #silly: SillyNames;
  readonly #times: AttributeTimes;
  readonly #open = new Map<bigint, OpenDirectory>();
  #nextHandle = 1n;

  constructor({ link, inodes, names, recent, knowledge, silly }: ChangeParts, times: AttributeTimes) {
    this.#link = link;
    this.#inodes = inodes;
    this.#names = names;
    this.#recent = recent;
    this.#knowledge = knowledge;
    this.#silly = silly;
    this.#times = times;
  }

  /** Opens a directory whose reader is known to be allowed; undefined where the server must be asked. */
  openAtOnce(inode: Inode, caller: Caller): Opened | undefined {
    const rights = inode.accessOf.get(caller.key) ?? 0;
    return inode.remainingMs > 0 && (rights & ACCESS3_READ) !== 0 ? this.#add(inode) : undefined;
  }

  async open(inode: Inode, caller: Caller): Promise<Outcome<Opened>> {
    const rights = await this.#knowledge.rights(inode, caller, true);
    if (typeof rights === 'object') {
      // A removed directory opens for those who are in it, and is empty.
      return rights.errno === ESTALE && inode.isRemoved ? this.#add(inode) : rights.errno;
    }
    return (rights & ACCESS3_READ) === 0 ? EACCES : this.#add(inode);
  }

  find(fileHandle: bigint): OpenDirectory | undefined {
    return this.#open.get(fileHandle);
  }

  release(fileHandle: bigint): void {
    this.#open.delete(fileHandle);
  }

  /** Rejects with RpcError. */
  async read(open: OpenDirectory, cookie: bigint, sink: DirectorySink, caller: Caller): Promise<Outcome<0>> {
    const { inode: directory, stream } = open;
    if (directory.isRemoved) return 0;
    if (cookie === 0n) await this.#silly.settled(directory, caller);
    // One round trip for each call of the kernel: it asks again for what did not come.
    const page = await stream.after(cookie, caller, (fetched) => {
      this.#knowledge.learn(directory, fetched.directoryAttributes, fetched.askedMs);
      open.pageVersion = directory.version;
    });
    if (typeof page === 'number') return this.#knowledge.failed(directory, page);
    for (const entry of page.entries) {
      if (!this.#addEntry(open, entry, page, sink)) break;
    }
    return 0;
  }

  #add(inode: Inode): Opened {
    const fileHandle = this.#nextHandle;
    this.#nextHandle += 1n;
    const stream = new DirectoryStream(this.#link, inode.handle);
    this.#open.set(fileHandle, { inode, stream, pageVersion: inode.version });
    return { fileHandle, keepCache: false };
  }

  #addEntry(
    open: OpenDirectory,
    entry: DirectoryPage['entries'][number],
    { fetchedMs, askedMs }: Pick<DirectoryPage, 'fetchedMs' | 'askedMs'>,
    sink: DirectorySink,
  ): boolean {
    const { name, cookie, fileid, name_handle: handle, name_attributes: attributes } = entry;
    const known = attributes === null ? undefined : attributesOfFattr3(attributes);
    const type = known === undefined ? 0 : known.mode & S_IFMT;
    if (handle === null || known === undefined || isDots(name)) return sink.add(name, cookie, fileid, type);
    if (!sink.wantsEntries || this.#inodes.size >= LISTED_INODES_MAX) {
      if (!sink.add(name, cookie, fileid, type)) return false;
      this.#rememberName(open, name, handle.data, known, fetchedMs);
      return true;
    }
    const inode = this.#inodes.intern(handle.data, known, fetchedMs, askedMs);
    const { toldVersion, isSizeOld } = inode;
    if (sink.add(name, cookie, fileid, type, entryWithoutReference(inode, open.inode))) {
      inode.lookups += 1n;
      this.#recent.note(open.inode, name, inode);
      return true;
    }
    // The kernel was told nothing by an entry that had no room.
    inode.toldVersion = toldVersion;
    inode.isSizeOld = isSizeOld;
    this.#inodes.drop(inode);
    return false;
  }

  /** Remembers a name the kernel was told without its inode, for the LOOKUP that follows. */
  #rememberName(
    open: OpenDirectory,
    name: Uint8Array,
    handle: Uint8Array,
    attributes: Attributes,
    fetchedMs: number,
  ): void {
    const { acregminMs, acdirminMs } = this.#times;
    const validMs = isDirectory(attributes) ? acdirminMs : acregminMs;
    if (validMs === 0) return;
    this.#names.set(open.inode.nodeId, name, {
      handle,
      attributes,
      directoryVersion: open.pageVersion,
      expiresMs: fetchedMs + validMs,
    });
  }
}

function isDots(name: Uint8Array): boolean {
  const DOT = 0x2e;
  return (name.length === 1 && name[0] === DOT) || (name.length === 2 && name[0] === DOT && name[1] === DOT);
}
