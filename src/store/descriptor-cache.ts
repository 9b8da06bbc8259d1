import { closeFd } from '../system/files.ts';

/** What a cache holds; `retire` is called once, when the cache lets go of it. */
export interface Retirable {
  retire(): void;
}

interface Slot<Value> {
  value: Value;
  usedAtMs: number;
}

/** The last `max` values used, each until it was unused for `idleMs`. */
export class DescriptorCache<Value extends Retirable> {
  readonly #max: number;
  readonly #idleMs: number;
  /** From the least to the most recently used. */
  readonly #slots = new Map<string, Slot<Value>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: { max: number; idleMs: number }) {
    this.#max = limits.max;
    this.#idleMs = limits.idleMs;
  }

  get size(): number {
    return this.#slots.size;
  }

  get(key: string): Value | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    slot.usedAtMs = performance.now();
    this.#slots.delete(key);
    this.#slots.set(key, slot);
    return slot.value;
  }

  /** What goes next where one more comes; undefined while there is room. */
  get next(): Value | undefined {
    if (this.#slots.size < this.#max) return undefined;
    const [slot] = this.#slots.values();
    return slot?.value;
  }

  /** Takes the place of an earlier value, which is retired. */
  set(key: string, value: Value): void {
    this.delete(key);
    this.#slots.set(key, { value, usedAtMs: performance.now() });
    if (this.#slots.size > this.#max) {
      const [oldest] = this.#slots.keys();
      if (oldest !== undefined) this.delete(oldest);
    }
    this.#timer ??= setTimeout(() => this.#retireIdle(), this.#idleMs).unref();
  }

  /** Gives a value back to whoever asks: the cache forgets it, and does not retire it. */
  take(key: string): Value | undefined {
    const slot = this.#slots.get(key);
    this.#slots.delete(key);
    return slot?.value;
  }

  delete(key: string): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    this.#slots.delete(key);
    slot.value.retire();
  }

  /** Lets go of every value that is meant. */
  deleteWhere(isMeant: (value: Value) => boolean): void {
    for (const [key, { value }] of [...this.#slots]) if (isMeant(value)) this.delete(key);
  }

  /** Lets go of every value whose key begins so. */
  deletePrefix(prefix: string): void {
    for (const key of [...this.#slots.keys()]) if (key.startsWith(prefix)) this.delete(key);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const key of [...this.#slots.keys()]) this.delete(key);
  }

  #retireIdle(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const [key, slot] of this.#slots) {
      const leftMs = slot.usedAtMs + this.#idleMs - now;
      if (leftMs > 0) {
        this.#timer = setTimeout(() => this.#retireIdle(), Math.ceil(leftMs)).unref();
        return;
      }
      this.delete(key);
    }
  }
}

const closing: number[] = [];

/** Closes the descriptor after the present synchronous turn, in which somebody may still use its number. */
export function closeAfterTurn(fd: number): void {
  if (closing.push(fd) > 1) return;
  queueMicrotask(() => {
    for (const due of closing.splice(0)) closeFd(due);
  });
}
