/** Changes of names: what is linked, renamed and removed in a directory. */
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import { S_IFMT, isDirectory } from './attributes.ts';
import type { Caller } from './callers.ts';
import { nameIn, type ChangeCalls, type ChangeParts } from './change-calls.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { NewObjects } from './new-objects.ts';
import type { Errno, Outcome } from './operations.ts';
import type { SillyNames } from './silly-names.ts';

const EINTR = 4;
const EEXIST = 17;
const EINVAL = 22;
const ENOTEMPTY = 39;

/** All of them reject with RpcError where a call has no result, and may with StatusError EINTR. */
export class NameChanges {
  readonly #calls: ChangeCalls;
  readonly #knowledge: Knowledge;
  readonly #silly: SillyNames;
  readonly #newObjects: NewObjects;

  constructor({ link, inodes, knowledge, silly }: ChangeParts, calls: ChangeCalls) {
    this.#calls = calls;
    this.#knowledge = knowledge;
    this.#silly = silly;
    this.#newObjects = new NewObjects(link, inodes, knowledge);
  }

  async link(inode: Inode, directory: Inode, name: Uint8Array, caller: Caller): Promise<Outcome<Inode>> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    const args = { file: { data: inode.handle }, link: nameIn(directory, name) };
    const askedMs = performance.now();
    const sent = await this.#calls.send('LINK', args, caller, directory, inode);
    const { result: reply, mayHaveRunBefore } = sent;
    this.#calls.changed(directory, name, reply.linkdir_wcc);
    this.#knowledge.learn(inode, reply.file_attributes, askedMs);
    if (reply.status === NFSSTAT3.NFS3ERR_EXIST && mayHaveRunBefore) {
      const type = inode.attributes.mode & S_IFMT;
      const found = await this.#newObjects.find(directory, name, type, caller);
      return found === inode ? this.#calls.noted(directory, name, inode) : EEXIST;
    }
    if (reply.status !== NFS3_OK) return this.#calls.failed(inode, reply.status);
    if (reply.file_attributes === null) inode.expire();
    return this.#calls.noted(directory, name, inode);
  }

  async unlink(directory: Inode, name: Uint8Array, caller: Caller): Promise<Errno> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    const victim = this.#calls.recent(directory, name) ?? (await this.#calls.lookUp(directory, name, caller));
    if (typeof victim === 'number') return victim;
    if (victim === undefined) return this.#calls.remove(directory, name, caller);
    return inTurnOf(victim, caller, async () => {
      const isLost = await this.#silly.wouldBeLost(victim, caller);
      if (typeof isLost === 'number') return isLost;
      if (isLost) {
        this.#calls.forget(directory, name);
        return this.#silly.rename(directory, name, victim, caller);
      }
      const isLastName = victim.attributes.nlink <= 1;
      try {
        const errno = await this.#calls.remove(directory, name, caller);
        if (errno === 0 && isLastName) victim.removedHere();
        return errno;
      } finally {
        // One link less, for those who see it by another name or have it open.
        victim.expire();
      }
    });
  }

  async rmdir(directory: Inode, name: Uint8Array, caller: Caller): Promise<Errno> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    const victim = this.#calls.recent(directory, name);
    if (victim !== undefined) await this.#silly.settled(victim, caller);
    const errno = await this.#removeDirectory(directory, name, victim, caller);
    if (errno !== ENOTEMPTY || victim === undefined) return errno;
    // Files that are kept for those who have them open should be nobody else's concern.
    if (!(await this.#silly.clear(victim, directory, caller))) return errno;
    return this.#removeDirectory(directory, name, victim, caller);
  }

  async #removeDirectory(
    directory: Inode,
    name: Uint8Array,
    victim: Inode | undefined,
    caller: Caller,
  ): Promise<Errno> {
    const object = nameIn(directory, name);
    const sent = await this.#calls.send('RMDIR', { object }, caller, directory);
    this.#calls.changed(directory, name, sent.result.wcc);
    victim?.expire();
    const errno = this.#calls.removed(directory, sent);
    if (errno === 0) victim?.removedHere();
    else if (errno === ENOTEMPTY && victim !== undefined) this.#calls.noted(directory, name, victim);
    return errno;
  }

  /**
   * @param flags of renameat2(2): EINVAL for any, as NFS clients answer. NFSv3 has no such call, and to look first would be
   *   no promise; programs that ask know their way without (mv looks itself, systemd links and unlinks). A target that the
   *   kernel knows of is EEXIST before it comes here
   */
  async rename(
    from: Inode,
    name: Uint8Array,
    to: Inode,
    newName: Uint8Array,
    flags: number,
    caller: Caller,
  ): Promise<Errno> {
    if (flags !== 0) return EINVAL;
    const refused = this.#calls.refuse(from, name) ?? this.#calls.refuse(to, newName);
    if (refused !== undefined) return refused;
    const move = { from, name, to, newName };
    // Of what would be replaced the kernel has just asked.
    const target = this.#calls.recent(to, newName);
    if (target === undefined || isDirectory(target.attributes) || target === this.#calls.recent(from, name)) {
      return this.#rename(move, caller);
    }
    return inTurnOf(target, caller, async () => {
      const isLost = await this.#silly.wouldBeLost(target, caller);
      if (typeof isLost === 'number') return isLost;
      return isLost ? this.#replace(move, target, caller) : this.#rename(move, caller);
    });
  }

  /** Nothing to do: a server answers a change of names once it is on stable storage (RFC 1813 section 4.8). */
  syncDirectory(_directory: Inode, _caller: Caller): Promise<Errno> {
    return Promise.resolve(0);
  }

  /** Renames onto a file that is kept for those who have it open. */
  async #replace(move: Move, target: Inode, caller: Caller): Promise<Errno> {
    const { to, newName } = move;
    const keeping = await this.#silly.keep(to, newName, target, caller);
    if (typeof keeping === 'number') return keeping;
    const errno = await this.#rename(move, caller);
    if (errno === 0) this.#silly.replaced(target);
    else await this.#silly.undo(to, newName, target, keeping, caller);
    return errno;
  }

  async #rename({ from, name, to, newName }: Move, caller: Caller): Promise<Errno> {
    const source = this.#calls.recent(from, name);
    const target = this.#calls.recent(to, newName);
    const isDirectoryReplaced = target !== undefined && isDirectory(target.attributes);
    const replaced = isDirectoryReplaced || target?.attributes.nlink === 1 ? target : undefined;
    if (isDirectoryReplaced) await this.#silly.settled(target, caller);
    const args = { from: nameIn(from, name), to: nameIn(to, newName) };
    const sent = await this.#calls.send('RENAME', args, caller, from, to);
    const { result: reply, mayHaveRunBefore } = sent;
    this.#calls.changed(from, name, reply.fromdir_wcc);
    this.#calls.changed(to, newName, reply.todir_wcc);
    // Their times of change, and how many links there are, are other ones now.
    source?.expire();
    target?.expire();
    if (reply.status !== NFS3_OK) {
      // What the first transmission has renamed is where it should be.
      const mayBeDone = reply.status === NFSSTAT3.NFS3ERR_NOENT && mayHaveRunBefore;
      if (!mayBeDone) return this.#calls.failed(from, reply.status);
      const found = await this.#calls.lookUp(to, newName, caller);
      const isDone = source === undefined ? typeof found !== 'number' : found === source;
      if (!isDone) return this.#calls.failed(from, reply.status);
    }
    if (replaced !== source) replaced?.removedHere();
    if (source !== undefined) this.#calls.noted(to, newName, source);
    return 0;
  }
}

interface Move {
  readonly from: Inode;
  readonly name: Uint8Array;
  readonly to: Inode;
  readonly newName: Uint8Array;
}

/**
 * Takes a step in an inode's turn, so that no open of it is under way; EINTR for a caller who gives up while others are
 * at it.
 */
function inTurnOf(inode: Inode, caller: Caller, step: () => Promise<Errno>): Promise<Errno> {
  if (inode.isIdle) return inode.inTurn(step);
  return new Promise((resolve, reject) => {
    const { signal } = caller;
    let hasBegun = false;
    const onAbort = (): void => {
      if (!hasBegun) resolve(EINTR);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    inode
      .inTurn(() => {
        hasBegun = true;
        return signal.aborted ? Promise.resolve(EINTR) : step();
      })
      .then(resolve, reject)
      .finally(() => {
        signal.removeEventListener('abort', onAbort);
      });
  });
}
