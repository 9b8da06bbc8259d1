import fs from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import {
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { closeFd, openat2, statFd, type FileStatus } from '../system/files.ts';
import { nameToHandleAt, openByHandleAt } from '../system/handles.ts';
import { becomeServer } from '../system/identity.ts';
import { closeAfterTurn, DescriptorCache, type Retirable } from './descriptor-cache.ts';
import type { ExportOptions } from './export-options.ts';
import { ExportTree, type HandleKind } from './export-tree.ts';
import { FileChanges } from './file-changes.ts';
import {
  fileOfHandle,
  fitsFileHandle,
  loadHandleKey,
  sealFileHandle,
  sealFileKey,
  TABLE_HANDLE_TYPE,
  unsealFileHandle,
  type HandleParts,
} from './file-handle.ts';
import { HandleTable } from './handle-table.ts';
import { HeldDirectories } from './held-directories.ts';
import { OPEN_NODE_IDLE_MS, OPEN_NODES_MAX } from './limits.ts';
import { OpenFiles } from './open-file.ts';
import { changeKey } from './page-file.ts';
import { StoreError } from './store-error.ts';
import { WritableFiles } from './writable-files.ts';
import { WriteVerifier } from './write-verifier.ts';

/** A file of an export, of any type. Its descriptor belongs to the store and is good within this turn. */
export interface StoreNode {
  readonly store: Store;
  readonly export: ExportTree;
  readonly handle: Buffer;
  /** O_PATH. */
  readonly fd: number;
}

/** A file, and its attributes when it was found. */
export interface ResolvedNode {
  readonly node: StoreNode;
  readonly status: FileStatus;
}

/** A name in a directory. */
export interface NamePlace {
  readonly directory: StoreNode;
  readonly name: Uint8Array;
}

/** Who is told of what this server itself changes, in the turn of the change. */
export interface OwnChangeListener {
  /** A file's content or attributes, and whoever asked for it learns them by the answer. */
  changedHere(handle: Buffer): void;
  /** The same, where the answer does not show it. */
  changedHereUnseen(handle: Buffer): void;
  /** A file has lost its last name. */
  deletedHere(handle: Buffer): void;
  /** A name in a directory, and with it the directory. */
  nameChangedHere(directory: Buffer, name: Uint8Array): void;
}

export interface StoreSettings {
  /** Made with mode 0700 where it is missing: the key of the handles, and the handle table. */
  stateDirectory: string;
  exports: readonly ExportOptions[];
  /** Forces the kind of handle; by default the kernel's are taken where the file system has them. */
  handles?: HandleKind;
}

interface Opened {
  readonly fd: number;
  readonly status: FileStatus;
}

class OpenNode implements StoreNode, Retirable {
  readonly store: Store;
  readonly export: ExportTree;
  readonly handle: Buffer;
  readonly fd: number;
  /** As it was seen last; overlayfs changes it. */
  btimeNs: bigint | undefined;

  constructor(store: Store, tree: ExportTree, handle: Buffer, fd: number) {
    this.store = store;
    this.export = tree;
    this.handle = handle;
    this.fd = fd;
  }

  retire(): void {
    closeAfterTurn(this.fd);
  }
}

/** What became of the exports of a store, by name. */
export interface ExportChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Their options are others now, or their directory is. */
  readonly changed: readonly string[];
}

/** The exports of one server. Everything here is synchronous and done as the server, not as a caller. */
export class Store {
  readonly #key: Buffer;
  readonly #stateDirectory: string;
  readonly #forcedHandles: HandleKind | undefined;
  #trees = new Map<string, ExportTree>();
  #treesById = new Map<string, ExportTree>();
  readonly #nodes = new DescriptorCache<OpenNode>({ max: OPEN_NODES_MAX, idleMs: OPEN_NODE_IDLE_MS });
  readonly files = new OpenFiles();
  readonly writeVerifier = new WriteVerifier();
  readonly writing = new WritableFiles(this.writeVerifier);
  readonly directories = new HeldDirectories();
  readonly changes = new FileChanges();
  /** Told of every change made here. */
  ownChanges: OwnChangeListener | undefined;
  /** When it was opened, in nanoseconds since 1970. */
  readonly openedNs = BigInt(Date.now()) * 1_000_000n;
  #table: HandleTable | undefined;

  private constructor(settings: StoreSettings) {
    becomeServer();
    fs.mkdirSync(settings.stateDirectory, { recursive: true, mode: 0o700 });
    this.#stateDirectory = settings.stateDirectory;
    this.#key = loadHandleKey(settings.stateDirectory);
    this.#forcedHandles = settings.handles;
    this.changeExports(settings.exports);
  }

  /** Throws ErrnoError for an export that cannot be opened. */
  static open(settings: StoreSettings): Store {
    return new Store(settings);
  }

  exports(): readonly ExportTree[] {
    return [...this.#trees.values()];
  }

  /**
   * Serves these exports from now on, in place of what was served before. Handles of an export that stays, by name and
   * directory, stay good; those of one that goes are stale.
   *
   * @throws ErrnoError for an export that cannot be opened: then everything is as it was
   */
  changeExports(exports: readonly ExportOptions[]): ExportChanges {
    const before = this.#trees;
    const opened: ExportTree[] = [];
    const trees = new Map<string, ExportTree>();
    try {
      for (const options of exports) {
        if (trees.has(options.name)) throw new Error(`export '${options.name}' is given twice`);
        const known = before.get(options.name);
        if (known?.serves(options) === true) {
          trees.set(options.name, known);
        } else {
          const tree = new ExportTree(options, this.#forcedHandles);
          opened.push(tree);
          trees.set(options.name, tree);
        }
      }
    } catch (error) {
      for (const tree of opened) tree.close();
      throw error;
    }
    const added: string[] = [];
    const changed: string[] = [];
    for (const options of exports) {
      const known = before.get(options.name);
      const tree = trees.get(options.name);
      if (known === undefined) added.push(options.name);
      else if (known !== tree || !isDeepStrictEqual(known.options, options)) changed.push(options.name);
      if (tree !== undefined) tree.options = options;
    }
    const removed = [...before.keys()].filter((name) => !trees.has(name));
    this.#trees = trees;
    this.#treesById = new Map([...trees.values()].map((tree) => [tree.id.toString('latin1'), tree]));
    const kept = new Set(trees.values());
    this.#nodes.deleteWhere((node) => !kept.has(node.export));
    this.writing.closeIdle();
    for (const tree of before.values()) if (!kept.has(tree)) tree.close();
    return { added, removed, changed };
  }

  export(name: string): ExportTree | undefined {
    return this.#trees.get(name);
  }

  /** The handle of an export's root; StoreError STALE without such an export. */
  rootHandle(name: string): Buffer {
    const tree = this.#trees.get(name);
    if (tree === undefined) throw new StoreError('STALE', `no export '${name}'`);
    return this.handleOf(tree, tree.rootFd);
  }

  /** Descriptors kept for nodes now. */
  get openNodes(): number {
    return this.#nodes.size;
  }

  /** The export that a handle is of, whatever became of its file; undefined for one that is gone, and for bytes that are no handle. */
  exportOf(handle: Uint8Array): ExportTree | undefined {
    const bytes = Buffer.from(handle.buffer, handle.byteOffset, handle.length);
    const known = this.#nodes.get(bytes.toString('latin1'));
    if (known !== undefined) return known.export;
    try {
      const { exportId } = unsealFileHandle(this.#key, bytes);
      return this.#treesById.get(Buffer.from(exportId).toString('latin1'));
    } catch (error) {
      if (error instanceof StoreError) return undefined;
      throw error;
    }
  }

  /**
   * A name for the file of a handle, whatever became of it: the same in all exports of its file system. Undefined as for
   * exportOf.
   */
  identify(handle: Uint8Array): string | undefined {
    const status = this.exportOf(handle)?.rootStatus;
    if (status === undefined) return undefined;
    return `${status.devMajor}:${status.devMinor}:${fileOfHandle(handle)}`;
  }

  /** The file of a handle: StoreError BADHANDLE when we never issued it, STALE when its file or export is gone. */
  resolve(handle: Uint8Array): StoreNode {
    return this.resolveStatus(handle).node;
  }

  /** The same with its attributes, which are those of now. */
  resolveStatus(handle: Uint8Array): ResolvedNode {
    const bytes = Buffer.from(handle.buffer, handle.byteOffset, handle.length);
    const key = bytes.toString('latin1');
    // The MAC of a known handle was checked before: the very same bytes are the key.
    const known = this.#nodes.get(key);
    if (known !== undefined) {
      const status = statFd(known.fd);
      if (status.nlink === 0) {
        this.#nodes.delete(key);
        throw new StoreError('STALE', 'the file was deleted');
      }
      // A handle of the table is good where a path inside leads to its file, however long that is open.
      if (!isTableHandle(known.handle) || known.export.relativePath(known.fd) !== undefined)
        return { node: known, status };
      this.#nodes.delete(key);
    }
    const parts = unsealFileHandle(this.#key, bytes);
    const tree = this.#treesById.get(Buffer.from(parts.exportId).toString('latin1'));
    if (tree === undefined) throw new StoreError('STALE', 'the export is gone');
    becomeServer();
    const { fd, status } =
      parts.type === TABLE_HANDLE_TYPE ? this.#openByTable(tree, parts) : openByKernel(tree, parts);
    const node = new OpenNode(this, tree, Buffer.from(bytes), fd);
    this.#nodes.set(key, node);
    return { node, status };
  }

  /** The handle of any open file of an export; StoreError STALE when it is deleted or was moved outside. */
  handleOf(tree: ExportTree, fd: number): Buffer {
    if (tree.handles === 'kernel') {
      const { type, bytes } = nameToHandleAt(fd);
      if (fitsFileHandle({ type, bytes })) {
        return sealFileHandle(this.#key, { type, exportId: tree.id, body: bytes });
      }
    }
    becomeServer();
    const filePath = tree.relativePath(fd);
    if (filePath === undefined) throw new StoreError('STALE', 'the file is not in the export any more');
    const body = this.#handleTable().register(tree.id, statFd(fd), filePath);
    return sealFileHandle(this.#key, { type: TABLE_HANDLE_TYPE, exportId: tree.id, body });
  }

  /** The handle of a file by its key (fileKeyOf): what was issued once. */
  handleOfKey(fileKey: string): Buffer {
    return sealFileKey(this.#key, fileKey);
  }

  /** Takes over an O_PATH descriptor of a file of the export; it is closed also when this throws. */
  adopt(tree: ExportTree, fd: number): StoreNode {
    let handle: Buffer;
    try {
      handle = this.handleOf(tree, fd);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    const key = handle.toString('latin1');
    const known = this.#nodes.get(key);
    if (known !== undefined) {
      closeFd(fd);
      return known;
    }
    const node = new OpenNode(this, tree, handle, fd);
    this.#nodes.set(key, node);
    return node;
  }

  /** Somebody looked at a node's attributes. Who writes to it on overlayfs may change what its id was made of. */
  saw(node: StoreNode, { devMajor, devMinor, ino, btimeNs }: FileStatus): void {
    if (!isTableHandle(node.handle) || !(node instanceof OpenNode) || node.btimeNs === btimeNs) return;
    node.btimeNs = btimeNs;
    becomeServer();
    this.#handleTable().reborn(node.export.id, this.#idIn(node.handle), { devMajor, devMinor, ino, btimeNs });
  }

  /** A file got one name more. */
  nameAdded(place: NamePlace, handle: Buffer): void {
    this.ownChanges?.nameChangedHere(place.directory.handle, place.name);
    this.ownChanges?.changedHere(handle);
    if (!isTableHandle(handle)) return;
    const filePath = pathOfName(place);
    if (filePath !== undefined)
      this.#handleTable().added(place.directory.export.id, filePath, this.#idIn(handle));
  }

  /** A name of a file is gone. With the last one, its descriptors are closed, so that its blocks are free. */
  nameRemoved(place: NamePlace, handle: Buffer, isLast: boolean): void {
    this.ownChanges?.nameChangedHere(place.directory.handle, place.name);
    if (isLast) this.ownChanges?.deletedHere(handle);
    else this.ownChanges?.changedHereUnseen(handle);
    if (isLast) {
      const key = handle.toString('latin1');
      this.#nodes.delete(key);
      this.files.forget(key);
      this.writing.forget(changeKey(handle));
    }
    if (!isTableHandle(handle)) return;
    const filePath = pathOfName(place);
    if (filePath === undefined) return;
    this.#handleTable().removed(place.directory.export.id, filePath, isLast ? this.#idIn(handle) : undefined);
  }

  /**
   * A name was changed to another, and took its place.
   *
   * @param handle of its file, before
   * @param status of its file, now
   */
  nameChanged(from: NamePlace, to: NamePlace, handle: Buffer, status: () => FileStatus): void {
    for (const { directory, name } of [from, to]) this.ownChanges?.nameChangedHere(directory.handle, name);
    this.ownChanges?.changedHereUnseen(handle);
    if (!isTableHandle(handle)) return;
    const tree = to.directory.export;
    const table = this.#handleTable();
    const before = pathOfName(from);
    const after = pathOfName(to);
    if (before === undefined || after === undefined) return;
    table.renamed(tree.id, before, after);
    table.reborn(tree.id, this.#idIn(handle), status());
  }

  #idIn(handle: Buffer): Buffer {
    return unsealFileHandle(this.#key, handle).body;
  }

  /** Closes everything; nodes and sources must not be in use. */
  close(): void {
    becomeServer();
    this.changes.close();
    this.files.close();
    this.writing.close();
    this.directories.close();
    this.#nodes.clear();
    for (const tree of this.#trees.values()) tree.close();
    this.#trees.clear();
    this.#treesById.clear();
    this.#table?.close();
    this.#table = undefined;
  }

  #handleTable(): HandleTable {
    return (this.#table ??= new HandleTable(this.#stateDirectory));
  }

  #openByTable(tree: ExportTree, parts: HandleParts): Opened {
    const table = this.#handleTable();
    const paths = table.find(parts.body);
    for (const filePath of paths) {
      const fd = tryOpenPath(tree, filePath);
      if (fd === undefined) continue;
      const status = statFd(fd);
      if (table.idOf(tree.id, status).equals(parts.body)) return { fd, status };
      closeFd(fd);
    }
    const why = paths.length === 0 ? 'the file is not known any more' : 'the file is not where it was';
    throw new StoreError('STALE', why);
  }
}

function isTableHandle(handle: Buffer): boolean {
  return handle[1] === TABLE_HANDLE_TYPE;
}

/** Relative to the export's root; undefined where the directory lies outside of it now. */
function pathOfName({ directory, name }: NamePlace): Buffer | undefined {
  becomeServer();
  const above = directory.export.relativePath(directory.fd);
  if (above === undefined) return undefined;
  return above.length === 0 ? Buffer.from(name) : Buffer.concat([above, Buffer.from('/'), name]);
}

function tryOpenPath(tree: ExportTree, filePath: Buffer): number | undefined {
  try {
    return openat2(tree.rootFd, filePath.length === 0 ? '.' : filePath, {
      flags: O_PATH | O_NOFOLLOW,
      resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    });
  } catch (error) {
    if (error instanceof ErrnoError && GONE_FROM_PATH.has(error.code)) return undefined;
    throw error;
  }
}

const GONE_FROM_PATH: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV']);

function openByKernel(tree: ExportTree, parts: HandleParts): Opened {
  let fd: number;
  try {
    fd = openByHandleAt(tree.rootFd, { type: parts.type, bytes: parts.body }, O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (error instanceof ErrnoError && error.code === 'ESTALE') {
      throw new StoreError('STALE', 'the file was deleted');
    }
    throw error;
  }
  // As long as anybody has a deleted file open, the kernel finds it by its handle.
  const status = statFd(fd);
  if (status.nlink > 0) return { fd, status };
  closeFd(fd);
  throw new StoreError('STALE', 'the file was deleted');
}
