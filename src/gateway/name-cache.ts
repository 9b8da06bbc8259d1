/** Names learned from a listing, for the LOOKUPs that follow it. The kernel's own cache comes first. */
import { FILENAME_BYTES_MAX } from '../nfs3/limits.ts';
import type { Attributes, NodeId } from './operations.ts';
import { packAttributes, unpackAttributes, type PackedAttributes } from './packed-attributes.ts';

export interface CachedName {
  readonly handle: Uint8Array;
  readonly attributes: Attributes;
  /** The directory's version that the name was seen in. */
  readonly directoryVersion: number;
  /** On the clock of performance.now(), in milliseconds. */
  readonly expiresMs: number;
}

/** A CachedName in as few bytes as possible: there are many. */
interface Kept {
  /** The characters are the bytes (latin1). */
  readonly handle: string;
  readonly attributes: PackedAttributes;
  readonly directoryVersion: number;
  readonly expiresMs: number;
}

/** A bounded map from (directory, name) to what a LOOKUP of it would find; old entries go first. */
export class NameCache {
  /**
   * When the young half is full it becomes the old half, and what was old is gone. (Taking the oldest entry out of one
   * Map for each new one walks over all places that were emptied before.)
   */
  #young = new Map<string, Kept>();
  #old = new Map<string, Kept>();
  readonly #youngMax: number;

  /** @param maxEntries at least 2; at least half of them are the last ones set */
  constructor(maxEntries: number) {
    this.#youngMax = Math.floor(maxEntries / 2);
  }

  get(directory: NodeId, name: Uint8Array): CachedName | undefined {
    const key = nameKeyOf(directory, name);
    const kept = this.#young.get(key) ?? this.#old.get(key);
    if (kept === undefined) return undefined;
    const { handle, attributes, directoryVersion, expiresMs } = kept;
    if (expiresMs <= performance.now()) {
      this.#delete(key);
      return undefined;
    }
    return {
      handle: Buffer.from(handle, 'latin1'),
      attributes: unpackAttributes(attributes),
      directoryVersion,
      expiresMs,
    };
  }

  set(directory: NodeId, name: Uint8Array, entry: CachedName): void {
    if (this.#young.size >= this.#youngMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    const { handle, attributes, directoryVersion, expiresMs } = entry;
    this.#young.set(nameKeyOf(directory, name), {
      handle: latin1(handle),
      attributes: packAttributes(attributes),
      directoryVersion,
      expiresMs,
    });
  }

  delete(directory: NodeId, name: Uint8Array): void {
    this.#delete(nameKeyOf(directory, name));
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }

  #delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

const DIRECTORY_BYTES = 8;
const keyScratch = Buffer.alloc(DIRECTORY_BYTES + FILENAME_BYTES_MAX);

/** A key of maps for a name in a directory. One flat string: joined ones are kept as their parts. */
export function nameKeyOf(directory: NodeId, name: Uint8Array): string {
  keyScratch.writeBigUInt64LE(directory, 0);
  keyScratch.set(name, DIRECTORY_BYTES);
  return keyScratch.toString('latin1', 0, DIRECTORY_BYTES + name.length);
}

/** What the keys of all names in a directory begin with. */
export function namesPrefixOf(directory: NodeId): string {
  keyScratch.writeBigUInt64LE(directory, 0);
  return keyScratch.toString('latin1', 0, DIRECTORY_BYTES);
}

/** The name that a key is of. */
export function nameOfKey(key: string): Buffer {
  return Buffer.from(key.slice(DIRECTORY_BYTES), 'latin1');
}
