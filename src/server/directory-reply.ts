/** How many directory entries fit the reply a client asked for: RFC 1813 sections 3.3.16 and 3.3.17. */
import { DIRECTORY_REPLY_BYTES_MAX } from './limits.ts';

const WORD = 4;
const FATTR3_BYTES = 84;
/** status, post_op_attr, cookieverf3, end of list, eof. */
const REPLY_BYTES = WORD + (WORD + FATTR3_BYTES) + 8 + WORD + WORD;

function padded(lengthBytes: number): number {
  return (lengthBytes + 3) & ~3;
}

/** fileid, name and cookie: what dircount counts. */
function nameBytes(name: Uint8Array): number {
  return 8 + WORD + padded(name.length) + 8;
}

/** Counts a reply's bytes entry by entry. */
export class DirectoryReplyBudget {
  #left: number;
  #namesLeft: number;
  #isFirst = true;

  /**
   * @param maxBytes whole size of the result, as READDIR's count and READDIRPLUS's maxcount mean it
   * @param namesMaxBytes READDIRPLUS's dircount; at least one entry is given whatever it says
   */
  constructor(maxBytes: number, namesMaxBytes = Infinity) {
    this.#left = Math.min(maxBytes, DIRECTORY_REPLY_BYTES_MAX) - REPLY_BYTES;
    this.#namesLeft = namesMaxBytes;
  }

  /**
   * Takes the room of one entry; false when there is none left.
   *
   * @param details sizes of what READDIRPLUS adds: the handle, and whether there are attributes
   */
  take(name: Uint8Array, details?: { readonly handleBytes: number | undefined }): boolean {
    let bytes = WORD + nameBytes(name);
    if (details !== undefined) {
      bytes += 2 * WORD;
      if (details.handleBytes !== undefined) bytes += FATTR3_BYTES + WORD + padded(details.handleBytes);
    }
    if (bytes > this.#left || (this.#namesLeft <= 0 && !this.#isFirst)) return false;
    this.#isFirst = false;
    this.#left -= bytes;
    this.#namesLeft -= nameBytes(name);
    return true;
  }
}
