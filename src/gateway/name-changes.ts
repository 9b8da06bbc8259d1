/** Changes of names: what is made, linked, renamed and removed in a directory. */
import type { ServerLink } from '../client/link.ts';
import type { Caller } from './callers.ts';
import type { Inode, InodeTable } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { NameCache } from './name-cache.ts';
import type { Errno, Outcome } from './operations.ts';

const EROFS = 30;

/** All of them reject with RpcError where a call has no result. */
export class NameChanges {
  protected readonly server: ServerLink;
  protected readonly inodes: InodeTable;
  protected readonly names: NameCache;
  protected readonly knowledge: Knowledge;

  constructor(link: ServerLink, inodes: InodeTable, names: NameCache, knowledge: Knowledge) {
    this.server = link;
    this.inodes = inodes;
    this.names = names;
    this.knowledge = knowledge;
  }

  /** The inode of a regular file that was made, or that was there without O_EXCL; to be opened next. */
  create(
    _directory: Inode,
    _name: Uint8Array,
    _mode: number,
    _flags: number,
    _caller: Caller,
  ): Promise<Outcome<Inode>> {
    return Promise.resolve(EROFS);
  }

  mknod(
    _directory: Inode,
    _name: Uint8Array,
    _mode: number,
    _device: { readonly major: number; readonly minor: number },
    _caller: Caller,
  ): Promise<Outcome<Inode>> {
    return Promise.resolve(EROFS);
  }

  mkdir(_directory: Inode, _name: Uint8Array, _mode: number, _caller: Caller): Promise<Outcome<Inode>> {
    return Promise.resolve(EROFS);
  }

  symlink(
    _directory: Inode,
    _name: Uint8Array,
    _target: Uint8Array,
    _caller: Caller,
  ): Promise<Outcome<Inode>> {
    return Promise.resolve(EROFS);
  }

  link(_inode: Inode, _directory: Inode, _name: Uint8Array, _caller: Caller): Promise<Outcome<Inode>> {
    return Promise.resolve(EROFS);
  }

  unlink(_directory: Inode, _name: Uint8Array, _caller: Caller): Promise<Outcome<0>> {
    return Promise.resolve(EROFS);
  }

  rmdir(_directory: Inode, _name: Uint8Array, _caller: Caller): Promise<Outcome<0>> {
    return Promise.resolve(EROFS);
  }

  rename(
    _from: Inode,
    _name: Uint8Array,
    _to: Inode,
    _newName: Uint8Array,
    _flags: number,
    _caller: Caller,
  ): Promise<Outcome<0>> {
    return Promise.resolve(EROFS);
  }

  /** Puts what was changed in a directory on stable storage. */
  syncDirectory(_directory: Inode, _caller: Caller): Promise<Errno> {
    return Promise.resolve(0);
  }
}
