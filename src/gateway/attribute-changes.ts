/** SETATTR: attributes as programs set them, in order with what they have written. RFC 1813 section 3.3.2. */
import { errnoOfRpcError } from '../client/errno.ts';
import type { ServerLink, Waiter } from '../client/link.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { TIME_HOW, type sattr3 } from '../nfs3/types.ts';
import { attributesOfFattr3, isDirectory, S_IFMT, SECONDS_MAX } from './attributes.ts';
import type { AttributeTimes } from './attribute-times.ts';
import type { Caller } from './callers.ts';
import { errnoOfSystemError } from './held-errors.ts';
import type { Inode } from './inodes.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Knowledge } from './knowledge.ts';
import { writableIn, type HeldFile } from './open-inode.ts';
import type {
  AttributeChanges,
  Attributes,
  AttributesReply,
  Errno,
  Outcome,
  Timestamp,
  TimeToSet,
} from './operations.ts';
import { StatusError } from './status-error.ts';
import type { Author } from './write-author.ts';

const EINTR = 4;
const EIO = 5;
const ESTALE = 116;
const MODE_BITS = 0o7777;
/** So often is asked for attributes of a file that changes all the time. */
const ASKS_MAX = 4;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o010;
const NANOSECONDS = 1_000_000_000n;

export class AttributeSetting {
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;
  readonly #times: AttributeTimes;

  readonly #timedOutErrno: Errno | undefined;

  /** @param timedOutErrno what programs see when a soft mount gives up; default EIO */
  constructor(link: ServerLink, knowledge: Knowledge, times: AttributeTimes, timedOutErrno?: Errno) {
    this.#link = link;
    this.#knowledge = knowledge;
    this.#times = times;
    this.#timedOutErrno = timedOutErrno;
  }

  /**
   * Changes attributes, after what was written before. Rejects with StatusError EINTR or RpcError.
   *
   * @param caller who asks, and waits
   * @param owner in whose name it is done: the one who opened the file, where it is asked through an open one
   * @param openers who opened the file for writing
   */
  async set(
    inode: Inode,
    changes: AttributeChanges,
    caller: Caller,
    owner: Caller,
    openers: readonly Caller[],
  ): Promise<Outcome<AttributesReply>> {
    const errno = await this.change(inode, changes, caller, owner);
    if (errno !== 0) return errno;
    // chown(2) leaves those of directories alone; the kernel asks all the same.
    const dropsSetIds = changes.dropsSetIds === true && !isDirectory(inode.attributes);
    const held = writableIn(inode.open);
    if (dropsSetIds && held !== undefined && openers.length > 0) {
      // The kernel writes as this process, which keeps set-id bits; no matter who writes, they go.
      const known = Number(held.file.status().mode);
      const mode = withoutSetIds(known);
      const failed = mode === (known & MODE_BITS) ? 0 : await changeHeld(held, { mode });
      if (failed !== 0) return failed;
    } else if (dropsSetIds) {
      // Where nothing else is asked for, the server has not been asked at all: as chown(2) of nothing.
      const isAlone = !isAboutInode(changes) && changes.size === undefined;
      const refused = await this.#dropSetIds(inode, caller, isAlone ? [caller, ...openers] : openers);
      // Where nobody can write the file it is no write that asks, and whoever may not change the mode is told.
      if (isAlone && openers.length === 0 && refused !== 0) return refused;
    }
    return this.attributes(inode, caller);
  }

  /**
   * Clears set-user-id and set-group-id as far as the server would not. It does so itself, unless root writes; but bytes are
   * written in the name of who opened the file, which may be root, whoever has the descriptor now. Whom the server does
   * not let change the mode is not root there.
   *
   * @returns what the last of them was told, 0 where nothing is left to clear
   */
  async #dropSetIds(inode: Inode, caller: Caller, openers: readonly Caller[]): Promise<Errno> {
    const asked = new Set<string>();
    let errno: Errno = 0;
    for (const opener of openers) {
      const mode = withoutSetIds(inode.attributes.mode);
      if (mode === (inode.attributes.mode & MODE_BITS)) return 0;
      if (asked.has(opener.key)) continue;
      asked.add(opener.key);
      errno = await this.change(inode, { mode }, caller, opener);
    }
    return errno;
  }

  /** The same without looking at the file afterwards. */
  async change(
    inode: Inode,
    changes: AttributeChanges,
    caller: Caller,
    owner: Caller = caller,
  ): Promise<Errno> {
    const { size } = changes;
    if (!isAboutInode(changes) && size === undefined) return 0;
    const held = writableIn(inode.open);
    // Through an open file it is allowed, whatever its mode is now.
    if (
      held !== undefined &&
      size !== undefined &&
      changes.fileHandle !== undefined &&
      !isAboutInode(changes)
    ) {
      return changeHeld(held, { size });
    }
    const writer = inode.open?.writer;
    const waiter: Waiter = {
      credential: owner.credential,
      wide: owner.wide,
      get signal() {
        return caller.signal;
      },
    };
    const send = (): Promise<Errno> =>
      caller.signal.aborted ? Promise.resolve(EINTR) : this.#send(inode, changes, waiter);
    if (writer === undefined) return send();
    // Bytes that were sent again after a change of owner, mode or times would undo it.
    return unlessInterrupted(writer.exclusively(isAboutInode(changes), send), caller);
  }

  /** Changes attributes behind everything that was written, which is put on stable storage. Never rejects. */
  async setBehind(inode: Inode, changes: AttributeChanges, author: Author): Promise<Errno> {
    if (!isAboutInode(changes)) return 0;
    const send = (): Promise<Errno> => this.#send(inode, changes, author);
    try {
      return await (inode.open?.writer?.committingBefore(author, send) ?? send());
    } catch (error) {
      return error instanceof StatusError
        ? error.errno
        : (errnoOfRpcError(error, this.#timedOutErrno) ?? EIO);
    }
  }

  async #send(inode: Inode, changes: AttributeChanges, waiter: Waiter): Promise<Errno> {
    const args = { object: { data: inode.handle }, new_attributes: sattr3Of(changes), guard: null };
    const reply = await this.#link.nfs('SETATTR', args, waiter).catch((error: unknown) => {
      // It may have been done all the same.
      this.#knowledge.doubt(inode);
      throw error;
    });
    if (reply.status !== NFS3_OK) {
      this.#knowledge.learn(inode, reply.wcc.after);
      const errno = this.#knowledge.failed(inode, reply.status);
      const held = writableIn(inode.open);
      // Without a name there is nothing left to ask the server for.
      if (errno === ESTALE && held !== undefined) return changeHeld(held, changes);
      if (errno !== ESTALE || !inode.isRemoved) return errno;
      // Nobody else can see what is still open here.
      inode.adopt(changedAttributes(inode.attributes, changes), this.#times);
      return 0;
    }
    this.#knowledge.changed(inode, reply.wcc.after, true);
    if (changes.size !== undefined) inode.open?.writer?.truncated(changes.size);
    return 0;
  }

  /** Attributes that show everything written here: those that are believed, or fresh ones. */
  async attributes(inode: Inode, caller: Caller): Promise<Outcome<AttributesReply>> {
    if (this.#knowledge.look(inode, true)) return inode.reply();
    const writer = inode.open?.writer;
    const ask = () => this.#ask(inode, caller);
    return writer === undefined ? ask() : unlessInterrupted(writer.showing(ask), caller);
  }

  async #ask(inode: Inode, caller: Caller): Promise<Outcome<AttributesReply>> {
    if (inode.remainingMs > 0) return inode.reply();
    let askedMs = performance.now();
    let reply = await this.#link.nfs('GETATTR', { object: { data: inode.handle } }, caller);
    // What is known is older still.
    for (let asks = 1; asks < ASKS_MAX && inode.wasChangedSince(askedMs); asks += 1) {
      askedMs = performance.now();
      reply = await this.#link.nfs('GETATTR', { object: { data: inode.handle } }, caller);
    }
    if (reply.status !== NFS3_OK) {
      const errno = this.#knowledge.failed(inode, reply.status);
      // Whoever is still in a removed directory, or has the file open, may look at it: it is as it was, without a link.
      return errno === ESTALE && inode.isRemoved ? inode.reply() : errno;
    }
    inode.update(attributesOfFattr3(reply.obj_attributes), this.#times, performance.now(), askedMs);
    return inode.reply();
  }
}

/** Changes the file itself, which is in our hands for writing. */
async function changeHeld({ file }: HeldFile, changes: AttributeChanges): Promise<Errno> {
  const { mode, uid, gid, size, atime, mtime } = changes;
  try {
    if (size !== undefined) await file.truncate(size);
    file.change({ mode, uid, gid, atime: newTime(atime), mtime: newTime(mtime) });
    return 0;
  } catch (error) {
    return errnoOfSystemError(error);
  }
}

function newTime(time: TimeToSet | undefined): bigint | 'now' | undefined {
  if (time === undefined || time === 'now') return time;
  return BigInt(time.seconds) * NANOSECONDS + BigInt(time.nanoseconds);
}

/** Whether more than the size is changed. */
function isAboutInode({ mode, uid, gid, atime, mtime }: AttributeChanges): boolean {
  return [mode, uid, gid, atime, mtime].some((value) => value !== undefined);
}

/** What a file that is nowhere but here looks like after a change. */
function changedAttributes(
  attributes: Attributes,
  { mode, uid, gid, size, atime, mtime }: AttributeChanges,
): Attributes {
  const nowMs = Date.now();
  const now = { seconds: Math.floor(nowMs / 1000), nanoseconds: (nowMs % 1000) * 1_000_000 };
  const time = (wanted: TimeToSet | undefined, known: Timestamp): Timestamp =>
    wanted === 'now' ? now : (wanted ?? known);
  return {
    ...attributes,
    mode: mode === undefined ? attributes.mode : (attributes.mode & S_IFMT) | (mode & MODE_BITS),
    uid: uid ?? attributes.uid,
    gid: gid ?? attributes.gid,
    size: size ?? attributes.size,
    atime: time(atime, attributes.atime),
    mtime: time(mtime, attributes.mtime),
    ctime: now,
  };
}

/** should_remove_suid of fs/inode.c: set-group-id without group execution means something else. */
function withoutSetIds(mode: number): number {
  const kept = (mode & S_IXGRP) === 0 ? S_ISGID : 0;
  return mode & MODE_BITS & ~(S_ISUID | (S_ISGID & ~kept));
}

export function sattr3Of({ mode, uid, gid, size, atime, mtime }: AttributeChanges): sattr3 {
  return {
    mode: mode === undefined ? null : mode & MODE_BITS,
    uid: uid ?? null,
    gid: gid ?? null,
    size: size ?? null,
    atime: set_time(atime),
    mtime: set_time(mtime),
  };
}

/** NFSv3 knows seconds from 1970 to 2106: what lies outside becomes the nearest of them, as in the kernel's own client. */
function set_time(time: TimeToSet | undefined): sattr3['atime'] {
  if (time === undefined) return { set_it: TIME_HOW.DONT_CHANGE };
  if (time === 'now') return { set_it: TIME_HOW.SET_TO_SERVER_TIME };
  const { seconds, nanoseconds } = time;
  const value =
    seconds < 0
      ? { seconds: 0, nseconds: 0 }
      : { seconds: Math.min(seconds, SECONDS_MAX), nseconds: nanoseconds };
  return { set_it: TIME_HOW.SET_TO_CLIENT_TIME, time: value };
}
