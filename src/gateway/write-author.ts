/** In whose name bytes are written: the open file's, long after its write(2) was answered. */
import type { Waiter } from '../client/link.ts';
import type { Caller } from './callers.ts';

/** Never gives up: what was acknowledged is sent, whether anybody waits for it or not. */
export interface Author extends Waiter {
  /** Equal for equal uid, gid and groups. */
  readonly key: string;
}

export function authorOf({ credential, wide, key }: Caller): Author {
  return {
    credential,
    wide,
    key,
    /** A fresh one for each call: listeners on one that all share would pile up. */
    get signal() {
      return new AbortController().signal;
    },
  };
}
