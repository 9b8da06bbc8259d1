/** What became of MAP calls, over all sessions since the server started. */
import type { page_handle } from '../fgdp/program.ts';

export class PageCounters {
  #maps = 0;
  #bytes = 0n;
  #refusals = 0;
  #lastRefusal: string | undefined;

  get isUsed(): boolean {
    return this.#maps + this.#refusals > 0;
  }

  mapped(handles: readonly page_handle[]): void {
    this.#maps += 1;
    for (const { length } of handles) this.#bytes += length;
  }

  /** The guest has to take bytes. */
  refused(reason: string): void {
    this.#refusals += 1;
    this.#lastRefusal = reason;
  }

  summary(): {
    readonly maps: number;
    readonly bytesMapped: string;
    readonly refusals: number;
    readonly lastRefusal: string | undefined;
  } {
    return {
      maps: this.#maps,
      bytesMapped: this.#bytes.toString(),
      refusals: this.#refusals,
      lastRefusal: this.#lastRefusal,
    };
  }
}
