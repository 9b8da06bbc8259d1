/** Open files: which data path each inode takes, reads by wire, and what is given back at the last close. */
import { constants, fstatSync } from 'node:fs';
import type { ServerLink } from '../client/link.ts';
import { ACCESS3_EXECUTE, ACCESS3_READ } from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import { attributesOfStat } from './attributes.ts';
import type { Caller } from './callers.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge, Rights } from './knowledge.ts';
import { dataPathOf, type Backing, type DataPath } from './open-inode.ts';
import type { Errno, Opened, Outcome } from './operations.ts';
import { WireReader, type WireRead } from './wire-reader.ts';

const EPERM = 1;
const EIO = 5;
const EBADF = 9;
const EACCES = 13;
const EINVAL = 22;
const ELOOP = 40;
const EOPNOTSUPP = 95;
const ESTALE = 116;

export interface OpenFilesOptions {
  /** Bytes of one READ, 4 KiB to 1 MiB. */
  readonly rsizeBytes: number;
  /** The highest data path allowed. */
  readonly dataPath: DataPath;
  readonly onWarning: (message: string, error: unknown) => void;
}

interface OpenFile {
  readonly inode: Inode;
  readonly caller: Caller;
  /** Opened with O_DIRECT: every read asks the server. */
  readonly direct: boolean;
  reader: WireReader | undefined;
}

/** Carries an errno out of a read that several readers may share. */
export class StatusError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

export class OpenFiles {
  /** Opens since the mount, by data path. */
  readonly opens: Record<DataPath, number> = { passthrough: 0, wire: 0 };
  /** Bytes handed on by `read`. What passes through is never seen by the gateway. */
  wireBytes = 0n;
  /** Why the last file that had to use the wire did. */
  lastWireReason: string | undefined;
  readonly #link: ServerLink;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;
  readonly #options: OpenFilesOptions;
  readonly #files = new Map<bigint, OpenFile>();
  #nextFileHandle = 1n;
  /** Set once the kernel has refused passthrough for a reason that holds for every file. */
  #noPassthrough: string | undefined;

  constructor(link: ServerLink, inodes: InodeTable, knowledge: Knowledge, options: OpenFilesOptions) {
    this.#link = link;
    this.#inodes = inodes;
    this.#knowledge = knowledge;
    this.#options = options;
  }

  /** Files open now, by data path. */
  count(): Record<DataPath, number> {
    const files: Record<DataPath, number> = { passthrough: 0, wire: 0 };
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
    if (inode.open?.backing !== undefined) {
      const stat = fstatSync(inode.open.backing.descriptor, { bigint: true });
      // The name the kernel remembers may be another file's by now: ESTALE makes it look again.
      if (stat.nlink === 0n) return ESTALE;
      this.#knowledge.refresh(inode, attributesOfStat(stat));
      const rights = await this.#knowledge.rights(inode, caller, false);
      return mayRead(rights) ?? this.#add(inode, flags, caller);
    }
    let why = this.#noPassthrough ?? 'the mount has datapath=wire';
    if (inode.open !== undefined) {
      why = inode.open.why;
    } else if (this.#options.dataPath === 'passthrough' && this.#noPassthrough === undefined) {
      const granted = await this.#obtainBacking(inode, caller);
      if (typeof granted === 'number') return granted;
      if (typeof granted !== 'string') {
        inode.open = { files: 0, backing: granted, why: 'the kernel reads the server’s own pages' };
        return this.#add(inode, flags, caller);
      }
      why = granted;
    }
    const refused = mayRead(await this.#knowledge.rights(inode, caller, true));
    if (refused !== undefined) return refused;
    this.lastWireReason = why;
    inode.open ??= { files: 0, backing: undefined, why };
    const keepCache = inode.cachedVersion === inode.version;
    inode.cachedVersion = inode.version;
    return this.#add(inode, flags, caller, keepCache);
  }

  /** A grant turned into a backing of the kernel; a string says why the wire serves instead. */
  async #obtainBacking(inode: Inode, caller: Caller): Promise<Outcome<Backing> | string> {
    const granted = await this.#link.grant(inode.handle, caller);
    if (granted === undefined) return `the ${this.#link.session.route} route has no grants`;
    const { session, outcome } = granted;
    if (outcome.kind === 'failed') {
      // The server cannot grant just now; READs wait for it.
      if (outcome.status === NFSSTAT3.NFS3ERR_JUKEBOX) return 'the server has no descriptor to spare';
      return this.#knowledge.failed(inode, outcome.status);
    }
    this.#knowledge.learn(inode, outcome.attributes);
    if (outcome.kind === 'wire') return outcome.reason;
    const { descriptor, grantId } = outcome;
    const backing = this.#knowledge.kernel?.openBacking(descriptor) ?? EOPNOTSUPP;
    if (typeof backing === 'object') return { backingId: backing.backingId, descriptor, grantId, session };
    session.release(grantId, descriptor);
    return this.#explainNoBacking(backing);
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

  #add(inode: Inode, flags: number, caller: Caller, keepCache = false): Outcome<Opened> {
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
    });
    if (open.backing === undefined) return { fileHandle, keepCache };
    return { fileHandle, backingId: open.backing.backingId, keepCache: false };
  }

  /** Reads by wire. Rejects with StatusError or RpcError. */
  async read(fileHandle: bigint, offset: bigint, sizeBytes: number): Promise<Outcome<readonly Uint8Array[]>> {
    const file = this.#files.get(fileHandle);
    if (file === undefined) return EBADF;
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
    // A reply without data that is not the end would be asked again for ever.
    return { pieces: reply.data, lengthBytes, eof: reply.eof || lengthBytes === 0 };
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
        if (open.files === 0) {
          inode.open = undefined;
          this.#giveBack(open.backing);
          this.#inodes.drop(inode);
        }
      }
      return Promise.resolve();
    });
  }

  #giveBack(backing: Backing | undefined): void {
    if (backing === undefined) return;
    try {
      this.#knowledge.kernel?.closeBacking(backing.backingId);
    } catch (error) {
      this.#options.onWarning('a backing could not be closed', error);
    }
    backing.session.release(backing.grantId, backing.descriptor);
  }

  /** Lets go of everything at the end of the mount: the kernel drops its backings with the connection. */
  close(): void {
    for (const { inode } of this.#files.values()) {
      const backing = inode.open?.backing;
      inode.open = undefined;
      if (backing !== undefined) backing.session.release(backing.grantId, backing.descriptor);
    }
    this.#files.clear();
  }
}

/** Execute permission lets a client read, so that it can run programs: RFC 1813 section 4.4. */
function mayRead(rights: Rights): Errno | undefined {
  if (typeof rights === 'object') return rights.errno;
  return (rights & (ACCESS3_READ | ACCESS3_EXECUTE)) === 0 ? EACCES : undefined;
}
