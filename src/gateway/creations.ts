/** What is made in a directory: files, directories, symbolic links, special files. */
import { randomFillSync } from 'node:crypto';
import type { NfsArgs, NfsResult, OnceAnswer, ServerLink } from '../client/link.ts';
import { NFS3_CREATEVERFSIZE } from '../nfs3/limits.ts';
import { CREATEMODE3 } from '../nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import { FTYPE3, TIME_HOW } from '../nfs3/types.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './attributes.ts';
import type { Caller } from './callers.ts';
import { nameIn, type ChangeCalls, type ChangeParts } from './change-calls.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { KnownDirectories } from './known-directories.ts';
import { LINK_TARGET_BYTES_MAX } from './limits.ts';
import { NewObjects, initialAttributes, maskedMode } from './new-objects.ts';
import type { Errno, NewMode, Outcome } from './operations.ts';

const EINVAL = 22;
const ENAMETOOLONG = 36;
const ESTALE = 116;
const O_EXCL = 0o200;
const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFSOCK = 0o140000;
/** Symbolic links have no permissions of their own on Linux. */
const LINK_MODE = 0o777;

export interface Device {
  readonly major: number;
  readonly minor: number;
}

/** All of them reject with RpcError where a call has no result. */
export class Creations {
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;
  readonly #calls: ChangeCalls;
  readonly #directories: KnownDirectories;
  readonly #newObjects: NewObjects;
  /** RFC 1813 section 3.3.8: servers may do without EXCLUSIVE. */
  #knowsExclusive = true;

  constructor({ link, inodes, knowledge, directories }: ChangeParts, calls: ChangeCalls) {
    this.#link = link;
    this.#knowledge = knowledge;
    this.#calls = calls;
    this.#directories = directories;
    this.#newObjects = new NewObjects(link, inodes, knowledge);
  }

  /**
   * Makes a regular file, to be opened next. Where there is something already: EEXIST with O_EXCL; without it ESTALE, on
   * which the kernel looks the name up again and opens what it finds by an ordinary OPEN, with all its checks. (UNCHECKED
   * would save a call to those who are overtaken; but it skips the checks, and some servers set the mode of the file
   * that was there.)
   */
  async create(
    directory: Inode,
    name: Uint8Array,
    mode: NewMode,
    flags: number,
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    if ((flags & O_EXCL) !== 0) return this.#createFirst(directory, name, mode, caller);
    const sent = await this.#createGuarded(directory, name, mode, caller);
    const { result: reply, mayHaveRunBefore } = sent;
    if (reply.status === NFS3_OK) return this.#made(directory, name, S_IFREG, reply, caller);
    if (reply.status !== NFSSTAT3.NFS3ERR_EXIST) return this.#calls.failed(directory, reply.status);
    // Made by this very call, or by somebody else: either will do, as far as the server lets the caller open it.
    return mayHaveRunBefore ? this.#find(directory, name, S_IFREG, caller) : ESTALE;
  }

  async mknod(
    directory: Inode,
    name: Uint8Array,
    mode: NewMode,
    device: Device,
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    const type = maskedMode(mode) & S_IFMT;
    // mknod(2): no type at all asks for a regular file.
    if (type === S_IFREG || type === 0) return this.#createFirst(directory, name, mode, caller);
    const what = nodeOf(type, initialAttributes(mode, this.#takesUmask), device);
    if (what === undefined) return EINVAL;
    const args = { where: nameIn(directory, name), what };
    const { result: reply } = await this.#calls.send('MKNOD', args, caller, directory);
    this.#calls.changed(directory, name, reply.wcc);
    if (reply.status !== NFS3_OK) return this.#calls.failed(directory, reply.status);
    return this.#made(directory, name, type, reply, caller);
  }

  async mkdir(directory: Inode, name: Uint8Array, mode: NewMode, caller: Caller): Promise<Outcome<Inode>> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    const args = { where: nameIn(directory, name), attributes: initialAttributes(mode, this.#takesUmask) };
    const { result: reply } = await this.#calls.send('MKDIR', args, caller, directory);
    this.#calls.changed(directory, name, reply.wcc);
    // EEXIST even where a lost reply said otherwise: a directory is somebody's lock, and must not be made by two.
    if (reply.status !== NFS3_OK) return this.#calls.failed(directory, reply.status);
    const made = await this.#made(directory, name, S_IFDIR, reply, caller);
    // What had to be looked up by its name may be another's directory by now, with something in it.
    const isOurs = reply.obj !== null && reply.obj_attributes !== null;
    if (typeof made !== 'number' && isOurs) this.#directories.made(made);
    return made;
  }

  async symlink(
    directory: Inode,
    name: Uint8Array,
    target: Uint8Array,
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    const refused = this.#calls.refuse(directory, name);
    if (refused !== undefined) return refused;
    if (target.length > LINK_TARGET_BYTES_MAX) return ENAMETOOLONG;
    const args = {
      where: nameIn(directory, name),
      symlink_attributes: initialAttributes(LINK_MODE),
      symlink_data: target,
    };
    const sent = await this.#calls.send('SYMLINK', args, caller, directory);
    const { result: reply, mayHaveRunBefore } = sent;
    this.#calls.changed(directory, name, reply.wcc);
    if (reply.status === NFS3_OK) return this.#made(directory, name, S_IFLNK, reply, caller);
    if (reply.status === NFSSTAT3.NFS3ERR_EXIST && mayHaveRunBefore) {
      const found = await this.#find(directory, name, S_IFLNK, caller);
      if (typeof found !== 'number' && (await this.#leadsTo(found, target, caller))) return found;
    }
    return this.#calls.failed(directory, reply.status);
  }

  /** A server that does not know of it takes the mode as the umask leaves it, also should it take over under way. */
  get #takesUmask(): boolean {
    return this.#link.session.takesUmask;
  }

  async #leadsTo(link: Inode, target: Uint8Array, caller: Caller): Promise<boolean> {
    const reply = await this.#link.nfs('READLINK', { symlink: { data: link.handle } }, caller);
    return reply.status === NFS3_OK && Buffer.from(reply.data).equals(target);
  }

  /** Makes a file that must not exist yet: for one caller only, also where replies are lost. */
  async #createFirst(
    directory: Inode,
    name: Uint8Array,
    mode: NewMode,
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    if (!this.#link.takesEffectOnce && this.#knowsExclusive) {
      const made = await this.#createExclusive(directory, name, mode, caller);
      if (made !== undefined) return made;
      this.#knowsExclusive = false;
    }
    const { result: reply } = await this.#createGuarded(directory, name, mode, caller);
    if (reply.status !== NFS3_OK) return this.#calls.failed(directory, reply.status);
    return this.#made(directory, name, S_IFREG, reply, caller);
  }

  async #createGuarded(
    directory: Inode,
    name: Uint8Array,
    mode: NewMode,
    caller: Caller,
  ): Promise<OnceAnswer<NfsResult<'CREATE'>>> {
    const how = { mode: CREATEMODE3.GUARDED, obj_attributes: initialAttributes(mode, this.#takesUmask) };
    const sent = await this.#calls.send('CREATE', { where: nameIn(directory, name), how }, caller, directory);
    this.#calls.changed(directory, name, sent.result.wcc);
    return sent;
  }

  /**
   * CREATE with a verifier, by which the server knows its own file again when the call is sent twice, and SETATTR of what
   * CREATE then cannot say. Servers keep the verifier in the times, so these are set, too (RFC 1813 section 3.3.8).
   *
   * @returns undefined where the server does not support it
   */
  async #createExclusive(
    directory: Inode,
    name: Uint8Array,
    mode: NewMode,
    caller: Caller,
  ): Promise<Outcome<Inode> | undefined> {
    const verf = randomFillSync(new Uint8Array(NFS3_CREATEVERFSIZE));
    const how = { mode: CREATEMODE3.EXCLUSIVE, verf };
    const args = { where: nameIn(directory, name), how };
    const { result: reply } = await this.#calls.send('CREATE', args, caller, directory);
    this.#calls.changed(directory, name, reply.wcc);
    if (reply.status === NFSSTAT3.NFS3ERR_NOTSUPP) return undefined;
    if (reply.status !== NFS3_OK) return this.#calls.failed(directory, reply.status);
    const made = await this.#made(directory, name, S_IFREG, reply, caller);
    if (typeof made === 'number') return made;
    const errno = await this.#finish(made, mode, caller).catch(async (error: unknown) => {
      await this.#takeBack(directory, name, caller);
      throw error;
    });
    if (errno === 0) return made;
    await this.#takeBack(directory, name, caller);
    return errno;
  }

  async #finish(made: Inode, mode: NewMode, caller: Caller): Promise<Errno> {
    const now = { set_it: TIME_HOW.SET_TO_SERVER_TIME } as const;
    const args: NfsArgs<'SETATTR'> = {
      object: { data: made.handle },
      new_attributes: { ...initialAttributes(mode), atime: now, mtime: now },
      guard: null,
    };
    const reply = await this.#link.nfs('SETATTR', args, caller);
    this.#knowledge.learnChange(made, reply.wcc);
    return reply.status === NFS3_OK ? 0 : this.#calls.failed(made, reply.status);
  }

  /** Half a file is none: removed as far as the server can be reached, whatever its caller still waits for. */
  async #takeBack(directory: Inode, name: Uint8Array, caller: Caller): Promise<void> {
    if (!this.#link.isConnected) return;
    const { credential, wide, key, pid, passesModes } = caller;
    const { signal } = new AbortController();
    await this.#calls
      .remove(directory, name, { credential, wide, key, pid, passesModes, signal })
      .catch(() => undefined);
  }

  async #made(
    directory: Inode,
    name: Uint8Array,
    type: number,
    reply: Parameters<NewObjects['inode']>[3],
    caller: Caller,
  ): Promise<Outcome<Inode>> {
    return this.#calls.noted(
      directory,
      name,
      await this.#newObjects.inode(directory, name, type, reply, caller),
    );
  }

  async #find(directory: Inode, name: Uint8Array, type: number, caller: Caller): Promise<Outcome<Inode>> {
    return this.#calls.noted(directory, name, await this.#newObjects.find(directory, name, type, caller));
  }
}

function nodeOf(
  type: number,
  attributes: ReturnType<typeof initialAttributes>,
  device: Device,
): NfsArgs<'MKNOD'>['what'] | undefined {
  const spec = { specdata1: device.major, specdata2: device.minor };
  switch (type) {
    case S_IFCHR:
      return { type: FTYPE3.NF3CHR, dev_attributes: attributes, spec };
    case S_IFBLK:
      return { type: FTYPE3.NF3BLK, dev_attributes: attributes, spec };
    case S_IFIFO:
      return { type: FTYPE3.NF3FIFO, pipe_attributes: attributes };
    case S_IFSOCK:
      return { type: FTYPE3.NF3SOCK, pipe_attributes: attributes };
    default:
      return undefined;
  }
}
