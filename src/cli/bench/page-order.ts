/** A random order of a file's pages, each once: a page read twice would come from the reader's own cache. */

/**
 * The first `count` of a shuffle of the numbers below `pages`, the same for the same seed (any number but 0).
 * Returns fewer where there are fewer.
 */
export function pageOrder(pages: number, count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: pages }, (_none, index) => index);
  const wanted = Math.min(pages, count);
  let state = seed | 0;
  for (let at = 0; at < wanted; at += 1) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = at + ((state >>> 0) % (pages - at));
    const page = order[at] ?? 0;
    order[at] = order[other] ?? 0;
    order[other] = page;
  }
  return order.subarray(0, wanted);
}
