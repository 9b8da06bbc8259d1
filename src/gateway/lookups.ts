/** LOOKUP: from what is known, else from the server. */
import type { ServerLink } from '../client/link.ts';
import { errnoOfStatus } from '../nfs3/errno.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import type { AttributeTimes } from './attribute-times.ts';
import { S_IFMT, S_IFREG, attributesOfFattr3 } from './attributes.ts';
import type { AwaitedOpens } from './awaited-opens.ts';
import type { Caller } from './callers.ts';
import type { ChangeParts } from './change-calls.ts';
import { entryOf } from './entries.ts';
import type { Inode, InodeTable } from './inodes.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Knowledge } from './knowledge.ts';
import type { KnownDirectories } from './known-directories.ts';
import type { NameCache } from './name-cache.ts';
import type { Entry, Outcome } from './operations.ts';
import type { RecentNames } from './recent-names.ts';

export class Lookups {
  readonly #link: ServerLink;
  readonly #inodes: InodeTable;
  readonly #knowledge: Knowledge;
  readonly #names: NameCache;
  readonly #recent: RecentNames;
  readonly #directories: KnownDirectories;
  readonly #awaited: AwaitedOpens;
  readonly #times: AttributeTimes;

  constructor(parts: ChangeParts, times: AttributeTimes) {
    const { link, inodes, knowledge, names, recent, directories, silly } = parts;
    this.#link = link;
    this.#inodes = inodes;
    this.#knowledge = knowledge;
    this.#names = names;
    this.#recent = recent;
    this.#directories = directories;
    this.#awaited = silly.awaited;
    this.#times = times;
  }

  /**
   * What a listing has told about a name, as long as directory and file are believed, or that there is none in a directory
   * whose names are all known; undefined: the server is asked, as for an OPEN that failed by what was remembered.
   *
   * @param pid of the process that looks
   */
  remembered(directory: Inode, name: Uint8Array, pid: number): Entry | undefined {
    if (this.#awaited.isRetrying(pid)) return undefined;
    const absentMs = this.#directories.absentMs(directory, name);
    if (absentMs !== undefined) return { nodeId: 0n, entryValidMs: absentMs, attributes: undefined };
    const cached = this.#names.get(directory.nodeId, name);
    if (cached?.directoryVersion !== directory.version || directory.remainingMs === 0) return undefined;
    // Once: should the kernel forget the inode, then what was changed here since would be forgotten with it.
    this.#names.delete(directory.nodeId, name);
    const known = this.#inodes.find(cached.handle);
    // What is known of an inode is never older than what a listing said.
    if (known !== undefined) return known.remainingMs > 0 ? this.#told(directory, name, known) : undefined;
    const inode = this.#inodes.intern(cached.handle, cached.attributes);
    inode.believeUntil(cached.expiresMs);
    return this.#told(directory, name, inode);
  }

  /** Rejects with RpcError, and may with StatusError EINTR. */
  async ask(directory: Inode, name: Uint8Array, caller: Caller, pid: number): Promise<Outcome<Entry>> {
    for (;;) {
      const answer = await this.#ask(directory, name, caller);
      if (typeof answer === 'number' || !this.#awaited.isRetrying(pid)) return answer;
      const inode = this.#inodes.get(answer.nodeId);
      if (inode === undefined || (inode.attributes.mode & S_IFMT) !== S_IFREG) return answer;
      // From now on it is kept for the OPEN; what was begun before may still take its name.
      this.#awaited.expect(pid, inode);
      if (inode.isIdle) return answer;
      await unlessInterrupted(
        inode.inTurn(() => Promise.resolve()),
        caller,
      );
      if (this.#recent.find(directory, name) === inode) return answer;
      this.#inodes.forget(inode.nodeId, 1n);
    }
  }

  async #ask(directory: Inode, name: Uint8Array, caller: Caller): Promise<Outcome<Entry>> {
    let askedMs = performance.now();
    const reply = await this.#link.nfs('LOOKUP', { what: { dir: { data: directory.handle }, name } }, caller);
    this.#knowledge.learn(directory, reply.dir_attributes, askedMs);
    if (reply.status !== NFS3_OK) this.#forget(directory, name);
    if (reply.status === NFSSTAT3.NFS3ERR_NOENT) return this.#none(directory, name);
    if (reply.status !== NFS3_OK) return this.#knowledge.failed(directory, reply.status);
    let attributes = reply.obj_attributes;
    if (attributes === null) {
      askedMs = performance.now();
      const fetched = await this.#link.nfs('GETATTR', { object: reply.object }, caller);
      if (fetched.status !== NFS3_OK) return errnoOfStatus(fetched.status);
      attributes = fetched.obj_attributes;
    }
    const inode = this.#inodes.intern(
      reply.object.data,
      attributesOfFattr3(attributes),
      performance.now(),
      askedMs,
    );
    return this.#told(directory, name, inode);
  }

  #none(directory: Inode, name: Uint8Array): Entry {
    const { isCovered } = directory;
    if (isCovered) this.#recent.noteMissing(directory, name);
    const entryValidMs = Math.min(
      directory.tellableMs(true),
      isCovered ? this.#times.acdirmaxMs : this.#times.acregminMs,
    );
    return { nodeId: 0n, entryValidMs, attributes: undefined };
  }

  #told(directory: Inode, name: Uint8Array, inode: Inode): Entry {
    this.#recent.note(directory, name, inode);
    return entryOf(inode, directory);
  }

  #forget(directory: Inode, name: Uint8Array): void {
    this.#names.delete(directory.nodeId, name);
    this.#recent.delete(directory, name);
  }
}
