/**
 * Directories made by this mount, whose names are therefore all known: what is unpacked into them needs no LOOKUP of names
 * that cannot be there. A listing would not do instead: servers do not say which moment it shows.
 */
import type { AttributeTimes } from './attribute-times.ts';
import type { Inode } from './inodes.ts';
import { KNOWN_NAMES_MAX } from './limits.ts';
import type { Changer } from './knowledge.ts';
import type { NodeId } from './operations.ts';
import { SILLY_NAME } from './silly-names.ts';

interface Known {
  /** The version without changes of others. */
  readonly version: number;
  /** Every name that may be there; the characters are the bytes (latin1). Those removed since may be among them. */
  readonly names: Set<string>;
  /** On the clock of performance.now(), in milliseconds. */
  readonly expiresMs: number;
  /** When the server last showed that nobody else had changed it. */
  confirmedMs: number;
}

export class KnownDirectories {
  readonly #times: AttributeTimes;
  readonly #namesMax: number;
  /** Oldest first. */
  readonly #known = new Map<NodeId, Known>();
  #names = 0;

  /** @param namesMax names of all directories together; each directory counts as one, too */
  constructor(times: AttributeTimes, namesMax = KNOWN_NAMES_MAX) {
    this.#times = times;
    this.#namesMax = namesMax;
  }

  /** A directory was made by this mount: it is empty. */
  made(directory: Inode): void {
    const { acregminMs, acdirmaxMs } = this.#times;
    if (acregminMs === 0 || acdirmaxMs === 0) return;
    const nowMs = performance.now();
    this.#forget(directory.nodeId);
    this.#known.set(directory.nodeId, {
      version: directory.version,
      names: new Set(),
      expiresMs: nowMs + acdirmaxMs,
      confirmedMs: nowMs,
    });
    this.#count(1);
  }

  /**
   * This mount has changed a name.
   *
   * @param changer who changed the directory, as the reply shows
   */
  changed(directory: Inode, name: Uint8Array, changer: Changer): void {
    const known = this.#known.get(directory.nodeId);
    if (known === undefined) return;
    if (changer !== 'ours' || known.version !== directory.version) {
      this.#forget(directory.nodeId);
      return;
    }
    const before = known.names.size;
    known.names.add(keyOf(name));
    known.confirmedMs = performance.now();
    this.#count(known.names.size - before);
  }

  /**
   * How long the kernel may believe that there is no such name, in milliseconds; undefined where the server must be asked.
   * As every missing name it is believed for acregmin, from the last look at the directory on, and nothing longer than
   * acdirmax: two changes within one tick of the server's clock look like one.
   */
  absentMs(directory: Inode, name: Uint8Array): number | undefined {
    const known = this.#known.get(directory.nodeId);
    if (known === undefined) return undefined;
    const nowMs = performance.now();
    if (known.version !== directory.version || known.expiresMs <= nowMs) {
      this.#forget(directory.nodeId);
      return undefined;
    }
    const validMs = Math.min(known.confirmedMs + this.#times.acregminMs, known.expiresMs) - nowMs;
    if (validMs <= 0 || directory.remainingMs === 0) return undefined;
    const key = keyOf(name);
    // Silly names come and go on their own.
    if (known.names.has(key) || SILLY_NAME.test(key)) return undefined;
    return Math.min(validMs, directory.tellableMs(true));
  }

  /** Somebody else has changed names: they are not known any more. */
  forget(directory: Inode): void {
    this.#forget(directory.nodeId);
  }

  clear(): void {
    this.#known.clear();
    this.#names = 0;
  }

  #count(names: number): void {
    this.#names += names;
    while (this.#names > this.#namesMax) {
      const [oldest] = this.#known.keys();
      if (oldest === undefined) return;
      this.#forget(oldest);
    }
  }

  #forget(nodeId: NodeId): void {
    const known = this.#known.get(nodeId);
    if (known === undefined) return;
    this.#known.delete(nodeId);
    this.#names -= known.names.size + 1;
  }
}

function keyOf(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
}
