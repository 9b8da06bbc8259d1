/** Inodes by path, for a driver that is asked by path: what the kernel's own cache of names does for the other one. */
import {
  ROOT_NODE_ID,
  type CallContext,
  type Entry,
  type NodeId,
  type Operations,
} from '../gateway/operations.ts';
import type { Outcome } from '../gateway/operations.ts';

const ENOENT = 2;

/** A name and its inode, as LOOKUP answered. Its lookups are given back once it is neither remembered nor pinned. */
export class KnownName {
  /** 0n: the name does not exist. */
  readonly nodeId: NodeId;
  lookups = 0n;
  /** How many operations and open files use it. */
  pins = 0;
  isRemembered = true;
  /** On the clock of performance.now(). */
  expiresMs: number;

  constructor(nodeId: NodeId, expiresMs: number) {
    this.nodeId = nodeId;
    this.expiresMs = expiresMs;
  }
}

export class NativeNames {
  readonly #operations: Pick<Operations, 'lookup' | 'forget'>;
  readonly #entriesMax: number;
  readonly #root = new KnownName(ROOT_NODE_ID, Infinity);
  /** In the order of their last use. Node ids are never used twice, so a key never means another directory. */
  readonly #known = new Map<string, KnownName>();

  /** @param entriesMax names remembered, at least 1 */
  constructor(operations: Pick<Operations, 'lookup' | 'forget'>, entriesMax: number) {
    this.#operations = operations;
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#known.size;
  }

  /**
   * The inode at an absolute path without dots, pinned: the caller unpins it.
   *
   * @returns or the errno of the first name that could not be looked up
   */
  async resolve(path: string, context: CallContext): Promise<Outcome<KnownName>> {
    let node = this.#root;
    node.pins += 1;
    for (const name of namesOf(path)) {
      const child = await this.#child(node, name, context);
      this.unpin(node);
      if (typeof child === 'number') return child;
      node = child;
    }
    return node;
  }

  unpin(node: KnownName): void {
    node.pins -= 1;
    this.#giveBack(node);
  }

  /** Looks every name of a path up again the next time. */
  forget(path: string): void {
    let { nodeId } = this.#root;
    for (const name of namesOf(path)) {
      const key = keyOf(nodeId, name);
      const known = this.#known.get(key);
      if (known === undefined) return;
      this.#drop(key, known);
      nodeId = known.nodeId;
    }
  }

  /** Looks one name up again the next time. */
  forgetName(parent: NodeId, name: string): void {
    const key = keyOf(parent, name);
    const known = this.#known.get(key);
    if (known !== undefined) this.#drop(key, known);
  }

  /**
   * Remembers what making or linking a name has answered, which counts as a lookup, too.
   *
   * @returns pinned: the caller unpins it
   */
  remember(parent: NodeId, name: string, entry: Entry): KnownName {
    const known = this.#learn(keyOf(parent, name), entry);
    known.pins += 1;
    return known;
  }

  async #child(parent: KnownName, name: string, context: CallContext): Promise<Outcome<KnownName>> {
    const key = keyOf(parent.nodeId, name);
    const remembered = this.#known.get(key);
    if (remembered !== undefined && remembered.expiresMs > performance.now()) {
      this.#known.delete(key);
      this.#known.set(key, remembered);
      return pinned(remembered);
    }
    const entry = await this.#operations.lookup(parent.nodeId, Buffer.from(name), context);
    return typeof entry === 'number' ? entry : pinned(this.#learn(key, entry));
  }

  #learn(key: string, { nodeId, entryValidMs }: Entry): KnownName {
    const expiresMs = performance.now() + entryValidMs;
    // Asked for again, because another request may have learned it meanwhile.
    let known = this.#known.get(key);
    if (known !== undefined && known.nodeId !== nodeId) {
      this.#drop(key, known);
      known = undefined;
    }
    known ??= new KnownName(nodeId, expiresMs);
    known.expiresMs = expiresMs;
    known.lookups += 1n;
    this.#known.delete(key);
    this.#known.set(key, known);
    for (const [oldest, name] of this.#known) {
      if (this.#known.size <= this.#entriesMax) break;
      if (name !== known) this.#drop(oldest, name);
    }
    return known;
  }

  #drop(key: string, known: KnownName): void {
    this.#known.delete(key);
    known.isRemembered = false;
    this.#giveBack(known);
  }

  #giveBack(known: KnownName): void {
    if (known === this.#root || known.isRemembered || known.pins > 0) return;
    if (known.nodeId !== 0n && known.lookups > 0n) this.#operations.forget(known.nodeId, known.lookups);
    known.lookups = 0n;
  }
}

function pinned(known: KnownName): Outcome<KnownName> {
  if (known.nodeId === 0n) return ENOENT;
  known.pins += 1;
  return known;
}

function keyOf(parent: NodeId, name: string): string {
  return `${parent}/${name}`;
}

/** The directory a path lies in, and its last name. */
export function splitPath(path: string): { readonly directory: string; readonly name: string } {
  const slash = path.lastIndexOf('/');
  return { directory: path.slice(0, slash) || '/', name: path.slice(slash + 1) };
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '');
}
