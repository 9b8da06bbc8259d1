import { R_OK, S_IFLNK, S_IFMT, W_OK, X_OK } from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import {
  checkAccess,
  closeFd,
  faccess,
  fstatfs,
  isFixed,
  readlinkFd,
  statFd,
  type FileStatus,
  type FileSystemStatus,
} from '../system/files.ts';
import { runAs, type Identity } from '../system/identity.ts';
import { hasAcl } from './acls.ts';
import { openAsServer, openForReading, regularFileStatus, type ReadFile } from './open-file.ts';
import { openName, openNameIfAny } from './open-name.ts';
import { openInGrantMount } from './grant-mounts.ts';
import type { StoreNode } from './store.ts';
import { StoreError } from './store-error.ts';

/*
 * What callers do with nodes. An identity is the caller's after squashIdentity; the kernel decides under it, and
 * ErrnoError carries its answer. All are synchronous, and must be called in the turn that resolved the node.
 */

/**
 * A name of a directory; links are not followed. `.` is the directory; `..` its parent, but the export's root at the
 * root, and EACCES where no way up leads to it (the directory was moved out of the export). StoreError BAD_NAME,
 * NAME_TOO_LONG; ErrnoError ENOENT, ENOTDIR, EACCES, EXDEV (another file system, without a private mount).
 */
export function lookup(identity: Identity, directory: StoreNode, name: Uint8Array): StoreNode {
  return directory.store.adopt(directory.export, openName(identity, directory, name));
}

/** The attributes of a node; StoreError STALE when it is deleted. */
export function attributes(node: StoreNode): FileStatus {
  const status = statFd(node.fd);
  if (status.nlink === 0) throw new StoreError('STALE', 'the file was deleted');
  node.store.saw(node, status);
  return status;
}

export { R_OK, W_OK, X_OK, type FileStatus };

/** Those of the R_OK, W_OK, X_OK bits in `wanted` that the caller is granted. */
export function access(identity: Identity, node: StoreNode, wanted: number): number {
  const offered = node.export.options.readOnly ? wanted & ~W_OK : wanted;
  return runAs(identity, () =>
    [R_OK, W_OK, X_OK]
      .filter((bit) => (offered & bit) !== 0 && faccess(node.fd, bit))
      .reduce((granted, bit) => granted | bit, 0),
  );
}

/** The target of a symbolic link, as it is stored; ErrnoError EINVAL for anything else. Everybody may read it. */
export function readlink(identity: Identity, node: StoreNode): Buffer {
  if ((attributes(node).mode & S_IFMT) !== S_IFLNK) throw new ErrnoError('EINVAL', 'readlink');
  return runAs(identity, () => readlinkFd(node.fd));
}

export interface EntryDetails {
  handle: Buffer;
  attributes: FileStatus;
  /** Only where it was asked: true for a file that has none. */
  lacksAcl: boolean;
}

/**
 * Handle and attributes of a directory entry that readDirectory gave. `vanished` when it is not there any more: then it
 * need not be listed; undefined when the caller may not look it up: READDIRPLUS then gives the name alone.
 */
export function lookupEntry(
  identity: Identity,
  directory: StoreNode,
  name: Uint8Array,
  looksForAcl = false,
): EntryDetails | 'vanished' | undefined {
  let fd: number | undefined;
  try {
    fd = openNameIfAny(identity, directory, name);
    if (fd === undefined) return 'vanished';
  } catch (error) {
    if (error instanceof ErrnoError) return undefined;
    if (error instanceof StoreError) return undefined;
    throw error;
  }
  try {
    const { store, export: tree } = directory;
    const attributes = statFd(fd);
    const lacksAcl = looksForAcl && !hasAcl(fd, attributes.mode);
    return { attributes, handle: store.handleOf(tree, fd), lacksAcl };
  } catch (error) {
    if (error instanceof StoreError && error.code === 'STALE') return 'vanished';
    throw error;
  } finally {
    closeFd(fd);
  }
}

/** The numbers of the file system that a node lies on. */
export function fileSystem(node: StoreNode): FileSystemStatus {
  return fstatfs(node.fd);
}

/** Opens a regular file for reading, or finds it open: see OpenFiles.open. */
export function openFile(identity: Identity, node: StoreNode): ReadFile {
  return node.store.files.open(identity, { fd: node.fd, key: node.handle.toString('latin1') });
}

/** What a guest wants a file for. */
export interface GrantWish {
  /** The caller opens it to read it. */
  readonly reads: boolean;
  /** The caller opens it to change it. */
  readonly writes: boolean;
  /** The guest has a use for a file that can be written through it, now or later, by whomever. */
  readonly writable: boolean;
}

/** A file opened for handing it to a guest. */
export interface GrantedFile {
  /** Open for reading, shared with nobody: the receiver may change its flags. */
  readonly fd: number;
  readonly status: FileStatus;
  /**
   * Whether its holder can open it again for writing. The descriptor itself is for reading only in either case: one for
   * writing would keep everybody from executing the file (ETXTBSY).
   */
  readonly writable: boolean;
  /** Closes the descriptor here; copies that were sent stay open. */
  close(): void;
}

/**
 * Opens a regular file for a grant. Who reads it is checked as openFile does; to write it, the caller must be allowed to, or
 * own it, as RFC 1813 section 4.4 has it for WRITE: EACCES, EROFS. Other errors as of openFile.
 *
 * What is not writable cannot be reopened for writing in a private mount, also where the export is writable. What is, is
 * as good as its owner's to whoever holds it; it stays within what the export's squash= leaves to guests.
 */
export function openGrant(identity: Identity, node: StoreNode, wish: GrantWish): GrantedFile {
  const { export: tree } = node;
  const status = regularFileStatus(node);
  if (wish.writes) checkWritable(identity, node, status);
  const writableFd = wish.writable && !isFixed(node.fd) ? tree.writableFd(status) : undefined;
  const found = openInGrantMount(tree, writableFd ?? tree.readOnlyFd, node.fd);
  try {
    const fd = wish.reads || !wish.writes ? openForReading(identity, found, status) : openAsServer(found);
    return {
      fd,
      status,
      writable: writableFd !== undefined,
      close: () => {
        closeFd(fd);
      },
    };
  } finally {
    closeFd(found);
  }
}

function checkWritable(identity: Identity, node: StoreNode, status: FileStatus): void {
  if (node.export.options.readOnly) throw new ErrnoError('EROFS', 'open');
  if (identity.uid !== status.uid) runAs(identity, () => checkAccess(node.fd, W_OK));
}
