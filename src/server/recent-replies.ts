/** Replies to clients that say no name, remembered for a while: the duplicate request cache that NFS servers have. */
import { RECENT_REPLIES_MAX, RECENT_REPLY_MS } from './limits.ts';

interface Recent {
  readonly reply: Uint8Array;
  readonly atMs: number;
}

export class RecentReplies {
  readonly #max: number;
  readonly #keptMs: number;
  /** The oldest first. */
  readonly #replies = new Map<string, Recent>();

  constructor({ max = RECENT_REPLIES_MAX, keptMs = RECENT_REPLY_MS } = {}) {
    this.#max = max;
    this.#keptMs = keptMs;
  }

  get size(): number {
    return this.#replies.size;
  }

  find(key: string): Uint8Array | undefined {
    const recent = this.#replies.get(key);
    return recent !== undefined && performance.now() - recent.atMs < this.#keptMs ? recent.reply : undefined;
  }

  keep(key: string, reply: Uint8Array): void {
    const atMs = performance.now();
    this.#replies.delete(key);
    this.#replies.set(key, { reply, atMs });
    for (const [oldest, recent] of this.#replies) {
      if (this.#replies.size <= this.#max && atMs - recent.atMs < this.#keptMs) return;
      this.#replies.delete(oldest);
    }
  }
}
