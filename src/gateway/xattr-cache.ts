/** Extended attributes that servers have told of, by file and caller: who may read a file differs. */
import type { Inode } from './inodes.ts';
import { XATTR_CACHE_BYTES_MAX, XATTR_FILES_MAX, XATTR_KEPT_BYTES_MAX } from './limits.ts';
import type { NodeId } from './operations.ts';

/** What one caller knows of one version of a file. */
interface Known {
  /** All there are, once they were listed. */
  names: readonly string[] | undefined;
  /** Undefined: there is none of this name. */
  readonly values: Map<string, Uint8Array | undefined>;
}

interface KnownFile {
  readonly version: number;
  readonly callers: Map<string, Known>;
  bytes: number;
}

/** What an entry takes beside its text and value, in bytes. */
const ENTRY_BYTES = 100;

/**
 * An answer holds as long as the version of the file that it was given for. The file not asked about for longest is
 * forgotten first.
 */
export class XattrCache {
  readonly #files = new Map<NodeId, KnownFile>();
  #bytes = 0;
  #changes = 0;

  /** Goes up with each change made here: an answer to what was asked before one is not kept after it. */
  get changes(): number {
    return this.#changes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A value that is known, `undefined` within it where there is none; undefined where the server must be asked. */
  value(inode: Inode, caller: string, name: string): { readonly value: Uint8Array | undefined } | undefined {
    const known = this.#find(inode)?.callers.get(caller);
    if (known === undefined) return undefined;
    if (known.values.has(name)) return { value: known.values.get(name) };
    return known.names?.includes(name) === false ? { value: undefined } : undefined;
  }

  /** The names, where they are known. */
  names(inode: Inode, caller: string): readonly string[] | undefined {
    return this.#find(inode)?.callers.get(caller)?.names;
  }

  /** Keeps what a caller was answered about the version that is known now: a value, or that there is none. */
  keepValue(inode: Inode, caller: string, name: string, value: Uint8Array | undefined): void {
    if ((value?.length ?? 0) > XATTR_KEPT_BYTES_MAX) return;
    const file = this.#begin(inode);
    const { values } = knownOf(file, caller);
    const before = values.has(name) ? name.length + (values.get(name)?.length ?? 0) + ENTRY_BYTES : 0;
    values.set(name, value);
    this.#weigh(file, name.length + (value?.length ?? 0) + ENTRY_BYTES - before);
  }

  keepNames(inode: Inode, caller: string, names: readonly string[]): void {
    const weight = names.reduce((sum, name) => sum + name.length, ENTRY_BYTES);
    if (weight > XATTR_KEPT_BYTES_MAX) return;
    const file = this.#begin(inode);
    const known = knownOf(file, caller);
    if (known.names !== undefined) return;
    known.names = names;
    this.#weigh(file, weight);
  }

  /** A file's attributes were changed here, or may have been. */
  changed(inode: Inode): void {
    this.#changes += 1;
    this.#drop(inode.nodeId);
  }

  #find(inode: Inode): KnownFile | undefined {
    const file = this.#files.get(inode.nodeId);
    if (file === undefined || inode.remainingMs === 0) return undefined;
    if (file.version !== inode.version) {
      this.#drop(inode.nodeId);
      return undefined;
    }
    // The one asked about last stands last.
    this.#files.delete(inode.nodeId);
    this.#files.set(inode.nodeId, file);
    return file;
  }

  #begin(inode: Inode): KnownFile {
    const known = this.#files.get(inode.nodeId);
    if (known?.version === inode.version) return known;
    this.#drop(inode.nodeId);
    const file = { version: inode.version, callers: new Map<string, Known>(), bytes: 0 };
    this.#files.set(inode.nodeId, file);
    return file;
  }

  #weigh(file: KnownFile, bytes: number): void {
    file.bytes += bytes;
    this.#bytes += bytes;
    for (const nodeId of this.#files.keys()) {
      if (this.#files.size <= XATTR_FILES_MAX && this.#bytes <= XATTR_CACHE_BYTES_MAX) return;
      this.#drop(nodeId);
    }
  }

  #drop(nodeId: NodeId): void {
    const file = this.#files.get(nodeId);
    if (file === undefined) return;
    this.#files.delete(nodeId);
    this.#bytes -= file.bytes;
  }
}

function knownOf(file: KnownFile, caller: string): Known {
  let known = file.callers.get(caller);
  if (known === undefined) {
    known = { names: undefined, values: new Map() };
    file.callers.set(caller, known);
  }
  return known;
}
