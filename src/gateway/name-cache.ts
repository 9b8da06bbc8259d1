/** Names learned from READDIRPLUS, for the LOOKUPs that follow a listing. The kernel's own cache comes first. */
import type { Attributes, NodeId } from './operations.ts';

export interface CachedName {
  readonly handle: Uint8Array;
  readonly attributes: Attributes;
  /** The directory's version that the name was seen in. */
  readonly directoryVersion: number;
  /** On the clock of performance.now(), in milliseconds. */
  readonly expiresMs: number;
}

/** A bounded map from (directory, name) to what a LOOKUP of it would find; the oldest entries go first. */
export class NameCache {
  readonly #entries = new Map<string, CachedName>();
  readonly #maxEntries: number;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  get(directory: NodeId, name: Uint8Array): CachedName | undefined {
    const key = keyOf(directory, name);
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresMs > performance.now()) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  set(directory: NodeId, name: Uint8Array, entry: CachedName): void {
    const key = keyOf(directory, name);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= this.#maxEntries) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }

  delete(directory: NodeId, name: Uint8Array): void {
    this.#entries.delete(keyOf(directory, name));
  }

  clear(): void {
    this.#entries.clear();
  }
}

function keyOf(directory: NodeId, name: Uint8Array): string {
  return `${directory}/${Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1')}`;
}
