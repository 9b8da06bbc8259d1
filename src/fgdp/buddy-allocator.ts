/** Runs of pages whose lengths are powers of two, each at a multiple of its length: halves that meet again merge. */
export class BuddyAllocator {
  readonly #free: Set<number>[] = [];
  /** Order of each run in use, by its first page. */
  readonly #used = new Map<number, number>();
  readonly #orderMax: number;
  #pagesUsed = 0;

  /**
   * @param pages a multiple of the largest run
   * @param orderMax the largest run has 2^orderMax pages
   */
  constructor(pages: number, orderMax: number) {
    const largest = 2 ** orderMax;
    if (pages <= 0 || pages % largest !== 0) throw new RangeError(`${pages} pages in runs of ${largest}`);
    this.#orderMax = orderMax;
    for (let order = 0; order <= orderMax; order += 1) this.#free.push(new Set());
    for (let page = 0; page < pages; page += largest) this.#freeOf(orderMax).add(page);
  }

  get pagesUsed(): number {
    return this.#pagesUsed;
  }

  /** First page of a run of 2^order pages, or undefined when no such run is free. */
  allocate(order: number): number | undefined {
    let from = order;
    while (from <= this.#orderMax && this.#freeOf(from).size === 0) from += 1;
    if (from > this.#orderMax) return undefined;
    const [page] = this.#freeOf(from);
    if (page === undefined) return undefined;
    this.#freeOf(from).delete(page);
    for (let split = from - 1; split >= order; split -= 1) this.#freeOf(split).add(page + 2 ** split);
    this.#used.set(page, order);
    this.#pagesUsed += 2 ** order;
    return page;
  }

  /** Takes back the run that begins with `page`. */
  free(page: number): void {
    const order = this.#used.get(page);
    if (order === undefined) throw new RangeError(`no run begins with page ${page}`);
    this.#used.delete(page);
    this.#pagesUsed -= 2 ** order;
    let first = page;
    let merged = order;
    for (; merged < this.#orderMax; merged += 1) {
      const buddy = first ^ (2 ** merged);
      if (!this.#freeOf(merged).delete(buddy)) break;
      first = Math.min(first, buddy);
    }
    this.#freeOf(merged).add(first);
  }

  #freeOf(order: number): Set<number> {
    const free = this.#free[order];
    if (free === undefined)
      throw new RangeError(`runs have 2^0 to 2^${this.#orderMax} pages, not 2^${order}`);
    return free;
  }
}
