/** Calls of FGDP about one file, in terms of values and errnos: what servers beyond NFSv3 are asked. */
import { FEATURE_SPACE, FEATURE_XATTRS } from '../fgdp/program.ts';
import { SEEK_WHAT } from '../fgdp/space.ts';
import { errnoOfFgdpStatus, nfsStatusOf, type fgdperror } from '../fgdp/status.ts';
import { SETXATTR_OPTION } from '../fgdp/xattrs.ts';
import { NFS3_OK, type nfs3error } from '../nfs3/status.ts';
import type { post_op_attr, wcc_data } from '../nfs3/types.ts';
import type { ServerLink, Waiter } from './link.ts';

/** Why a call was refused. */
export interface Refusal {
  /** As programs are told. */
  readonly errno: number;
  /** Undefined for what NFS cannot say. */
  readonly status: nfs3error | undefined;
}

/** What came back about a file: the value, or why there is none, and the file's attributes. */
export interface FileAnswer<T> {
  readonly outcome: { readonly value: T } | { readonly refused: Refusal };
  readonly attributes: post_op_attr;
}

/** The same of a call that changes the file. */
export interface ChangeAnswer<T> {
  readonly outcome: FileAnswer<T>['outcome'];
  readonly wcc: wcc_data;
}

/** What a file has. */
export interface XattrList {
  /** Without `user.`. */
  readonly names: readonly Uint8Array[];
  /** NFS_ACL and NFS_DFACL: the POSIX ACLs it has. */
  readonly acls: number;
}

export type SetXattrHow = 'either' | 'create' | 'replace';

const OPTIONS = {
  either: SETXATTR_OPTION.EITHER,
  create: SETXATTR_OPTION.CREATE,
  replace: SETXATTR_OPTION.REPLACE,
} as const;

/** A place in a file: its handle, and bytes from its beginning on. */
export interface FilePlace {
  readonly handle: Uint8Array;
  readonly offset: bigint;
}

/** The bits of fallocate(2), and the range in bytes. */
export interface SpaceRange {
  readonly mode: number;
  readonly offset: bigint;
  readonly length: bigint;
}

/** All of them answer undefined where the server does not know the call, and reject with RpcError. */
export class FileCalls {
  readonly #link: ServerLink;

  constructor(link: ServerLink) {
    this.#link = link;
  }

  /** Whether the server keeps extended attributes, as far as is known: while it is away, it may. */
  get knowsXattrs(): boolean {
    return !this.#link.isConnected || this.#link.session.has(FEATURE_XATTRS);
  }

  /** The same of space and copies. */
  get knowsSpace(): boolean {
    return !this.#link.isConnected || this.#link.session.has(FEATURE_SPACE);
  }

  /** @param name without `user.`, as below */
  async getXattr(
    handle: Uint8Array,
    name: Uint8Array,
    waiter: Waiter,
  ): Promise<FileAnswer<Uint8Array> | undefined> {
    const args = { file: { data: handle }, name };
    const reply = await this.#link.fgdp('GETXATTR', FEATURE_XATTRS, args, waiter);
    if (reply === undefined) return undefined;
    const { obj_attributes: attributes } = reply;
    if (reply.status !== NFS3_OK) return { outcome: { refused: refusalOf(reply.status) }, attributes };
    return { outcome: { value: Uint8Array.from(reply.value) }, attributes };
  }

  async listXattrs(handle: Uint8Array, waiter: Waiter): Promise<FileAnswer<XattrList> | undefined> {
    const args = { file: { data: handle } };
    const reply = await this.#link.fgdp('LISTXATTRS', FEATURE_XATTRS, args, waiter);
    if (reply === undefined) return undefined;
    const { obj_attributes: attributes } = reply;
    if (reply.status !== NFS3_OK) return { outcome: { refused: refusalOf(reply.status) }, attributes };
    const names = reply.names.map((name) => Uint8Array.from(name));
    return { outcome: { value: { names, acls: reply.acls } }, attributes };
  }

  async setXattr(
    handle: Uint8Array,
    name: Uint8Array,
    value: Uint8Array,
    how: SetXattrHow,
    waiter: Waiter,
  ): Promise<ChangeAnswer<true> | undefined> {
    const args = { file: { data: handle }, option: OPTIONS[how], name, value };
    return changed(await this.#link.fgdp('SETXATTR', FEATURE_XATTRS, args, waiter));
  }

  async removeXattr(
    handle: Uint8Array,
    name: Uint8Array,
    waiter: Waiter,
  ): Promise<ChangeAnswer<true> | undefined> {
    const args = { file: { data: handle }, name };
    return changed(await this.#link.fgdp('REMOVEXATTR', FEATURE_XATTRS, args, waiter));
  }

  async allocate(
    handle: Uint8Array,
    range: SpaceRange,
    waiter: Waiter,
  ): Promise<ChangeAnswer<true> | undefined> {
    const args = { file: { data: handle }, ...range };
    return changed(await this.#link.fgdp('ALLOCATE', FEATURE_SPACE, args, waiter));
  }

  async seek(
    { handle, offset }: FilePlace,
    what: 'data' | 'hole',
    waiter: Waiter,
  ): Promise<FileAnswer<bigint> | undefined> {
    const args = {
      file: { data: handle },
      offset,
      what: what === 'data' ? SEEK_WHAT.DATA : SEEK_WHAT.HOLE,
    } as const;
    const reply = await this.#link.fgdp('SEEK', FEATURE_SPACE, args, waiter);
    if (reply === undefined) return undefined;
    const { obj_attributes: attributes } = reply;
    if (reply.status !== NFS3_OK) return { outcome: { refused: refusalOf(reply.status) }, attributes };
    return { outcome: { value: reply.offset }, attributes };
  }

  /** Copies bytes within the server; fewer than asked for any reason, 0 at the end of the source. */
  async copy(
    from: FilePlace,
    to: FilePlace,
    countBytes: bigint,
    waiter: Waiter,
  ): Promise<ChangeAnswer<bigint> | undefined> {
    const args = {
      file: { data: to.handle },
      offset: to.offset,
      source: { data: from.handle },
      source_offset: from.offset,
      count: countBytes,
    };
    const reply = await this.#link.fgdp('COPY', FEATURE_SPACE, args, waiter);
    if (reply === undefined) return undefined;
    if (reply.status !== NFS3_OK) return { outcome: { refused: refusalOf(reply.status) }, wcc: reply.wcc };
    return { outcome: { value: reply.count }, wcc: reply.wcc };
  }
}

function refusalOf(status: fgdperror): Refusal {
  return { errno: errnoOfFgdpStatus(status), status: nfsStatusOf(status) };
}

function changed(
  reply: { readonly status: fgdperror | typeof NFS3_OK; readonly wcc: wcc_data } | undefined,
): ChangeAnswer<true> | undefined {
  if (reply === undefined) return undefined;
  const { status, wcc } = reply;
  return { outcome: status === NFS3_OK ? { value: true } : { refused: refusalOf(status) }, wcc };
}
