/** Names the kernel was told of lately, with their inodes: what a change of a name is about, without asking the server. */
import type { Inode, InodeTable } from './inodes.ts';
import { RECENT_NAMES_MAX } from './limits.ts';
import { nameKeyOf, nameOfKey, namesPrefixOf } from './name-cache.ts';
import type { NodeId } from './operations.ts';

/** Of no inode: the name is missing. */
const NO_NODE: NodeId = 0n;

/**
 * Bounded, the oldest go first. As the kernel's own names, these may be another file's by now where somebody else changes
 * the directory.
 */
export class RecentNames {
  readonly #inodes: InodeTable;
  readonly #youngMax: number;
  #young = new Map<string, NodeId>();
  #old = new Map<string, NodeId>();

  /** @param maxEntries at least 2; at least half of them are the last ones noted */
  constructor(inodes: InodeTable, maxEntries = RECENT_NAMES_MAX) {
    this.#inodes = inodes;
    this.#youngMax = Math.floor(maxEntries / 2);
  }

  note(directory: Inode, name: Uint8Array, inode: Inode): void {
    this.#note(nameKeyOf(directory.nodeId, name), inode.nodeId);
  }

  #note(key: string, nodeId: NodeId): void {
    if (this.#young.size >= this.#youngMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, nodeId);
  }

  /**
   * The inode of a name, or the one that has taken its place; undefined where the name, or its inode, is not known any
   * more.
   */
  find(directory: Inode, name: Uint8Array): Inode | undefined {
    const key = nameKeyOf(directory.nodeId, name);
    const nodeId = this.#young.get(key) ?? this.#old.get(key);
    const inode = nodeId === undefined ? undefined : this.#inodes.get(nodeId);
    return inode === undefined ? undefined : this.#inodes.inPlaceOf(inode);
  }

  /** The kernel was told that there is no such name. */
  noteMissing(directory: Inode, name: Uint8Array): void {
    this.#note(nameKeyOf(directory.nodeId, name), NO_NODE);
  }

  /** The names of a directory that the kernel was told of lately, missing ones too. Looks at everything there is. */
  namesIn(directory: Inode): Buffer[] {
    const prefix = namesPrefixOf(directory.nodeId);
    const keys = new Set<string>();
    for (const map of [this.#young, this.#old]) {
      for (const key of map.keys()) if (key.startsWith(prefix)) keys.add(key);
    }
    return [...keys].map(nameOfKey);
  }

  delete(directory: Inode, name: Uint8Array): void {
    const key = nameKeyOf(directory.nodeId, name);
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
