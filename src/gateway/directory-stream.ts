/** One open directory: pages of entries from the server, handed on as the kernel asks for them. */
import type { ServerLink } from '../client/link.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { entryplus3 } from '../nfs3/nfs.ts';
import type { post_op_attr } from '../nfs3/types.ts';
import type { Caller } from './callers.ts';
import {
  DIRECTORY_PAGE_BYTES,
  LISTING_EMPTY_PAGES_MAX,
  LISTING_PAGES_SEEN_MAX,
  NAME_BYTES_MAX,
} from './limits.ts';
import { StatusError } from './status-error.ts';

const EIO = 5;
const ELOOP = 40;

const NO_VERIFIER = new Uint8Array(8);
/** Share of a READDIRPLUS reply that may be names, in bytes; RFC 1813 section 3.3.17 counts them apart. */
const DIRECTORY_NAMES_BYTES = DIRECTORY_PAGE_BYTES / 2;

export interface DirectoryPage {
  /** The cookie this page follows. */
  readonly after: bigint;
  readonly entries: readonly entryplus3[];
  readonly eof: boolean;
  /** When the server gave it, on the clock of performance.now(), in milliseconds. */
  readonly fetchedMs: number;
  /** When it was asked for. */
  readonly askedMs: number;
  readonly directoryAttributes: post_op_attr;
}

export class DirectoryStream {
  readonly #link: ServerLink;
  readonly #handle: Uint8Array;
  #verifier: Uint8Array = NO_VERIFIER;
  #page: DirectoryPage | undefined;
  /** Where the pages of this pass through the directory ended. */
  readonly #ends = new Set<bigint>();
  #lastEnd: bigint | undefined;
  /** False for servers that answer READDIRPLUS with NFS3ERR_NOTSUPP. */
  #plus = true;

  constructor(link: ServerLink, handle: Uint8Array) {
    this.#link = link;
    this.#handle = handle;
  }

  /**
   * The entries that follow `cookie` (0n: from the start), at least one unless at the end. Names that no file can have
   * here are left out. Throws StatusError ELOOP where the server leads in a circle, EIO where it names nothing usable.
   *
   * @param onPage sees each page that was fetched for it
   */
  async after(
    cookie: bigint,
    caller: Caller,
    onPage: (page: DirectoryPage) => void,
  ): Promise<Pick<DirectoryPage, 'entries' | 'eof' | 'fetchedMs' | 'askedMs'> | nfs3error> {
    const page = this.#page;
    if (page !== undefined) {
      if (cookie === page.after && page.after !== 0n) return page;
      const at = page.entries.findIndex((entry) => entry.cookie === cookie);
      const isLast = at === page.entries.length - 1;
      if (at >= 0 && cookie !== 0n && (!isLast || page.eof))
        return { ...page, entries: page.entries.slice(at + 1) };
    }
    const fetched = await this.#fetchUsable(cookie, caller);
    if (typeof fetched === 'number') return fetched;
    this.#page = fetched;
    onPage(fetched);
    return fetched;
  }

  async #fetchUsable(cookie: bigint, caller: Caller): Promise<DirectoryPage | nfs3error> {
    let position = cookie;
    for (let pages = 0; pages < LISTING_EMPTY_PAGES_MAX; pages += 1) {
      const page = await this.#fetch(position, caller);
      if (typeof page === 'number') return page;
      checkCookies(page.entries);
      const end = page.entries.at(-1)?.cookie;
      if (end !== undefined && !page.eof) this.#noteEnd(position, end);
      const entries = page.entries.filter(({ name }) => isUsable(name));
      if (entries.length > 0 || page.eof) return { ...page, after: cookie, entries };
      if (end === undefined) break;
      position = end;
    }
    throw new StatusError(EIO);
  }

  /** A page that ends where an earlier one of the same pass did would be followed by the same pages again, for ever. */
  #noteEnd(start: bigint, end: bigint): void {
    // A program that seeks begins another pass.
    if (start !== this.#lastEnd || this.#ends.size >= LISTING_PAGES_SEEN_MAX) this.#ends.clear();
    this.#ends.add(start);
    if (this.#ends.has(end)) throw new StatusError(ELOOP);
    this.#ends.add(end);
    this.#lastEnd = end;
  }

  async #fetch(cookie: bigint, caller: Caller): Promise<DirectoryPage | nfs3error> {
    if (cookie === 0n) this.#verifier = NO_VERIFIER;
    const dir = { data: this.#handle };
    const askedMs = performance.now();
    const where = { dir, cookie, cookieverf: this.#verifier };
    if (this.#plus) {
      const reply = await this.#link.nfs(
        'READDIRPLUS',
        { ...where, dircount: DIRECTORY_NAMES_BYTES, maxcount: DIRECTORY_PAGE_BYTES },
        caller,
      );
      if (reply.status === NFS3_OK) {
        this.#verifier = Uint8Array.from(reply.cookieverf);
        return {
          after: cookie,
          entries: reply.entries,
          eof: reply.eof,
          fetchedMs: performance.now(),
          askedMs,
          directoryAttributes: reply.dir_attributes,
        };
      }
      if (reply.status !== NFSSTAT3.NFS3ERR_NOTSUPP) return reply.status;
      this.#plus = false;
    }
    const reply = await this.#link.nfs('READDIR', { ...where, count: DIRECTORY_PAGE_BYTES }, caller);
    if (reply.status !== NFS3_OK) return reply.status;
    this.#verifier = Uint8Array.from(reply.cookieverf);
    const entries = reply.entries.map((entry) => ({ ...entry, name_attributes: null, name_handle: null }));
    return {
      after: cookie,
      entries,
      eof: reply.eof,
      fetchedMs: performance.now(),
      askedMs,
      directoryAttributes: reply.dir_attributes,
    };
  }
}

/** Each entry says where the listing goes on after it: a page that says so twice, or names the start, has no end. */
function checkCookies(entries: DirectoryPage['entries']): void {
  const cookies = new Set(entries.map(({ cookie }) => cookie));
  if (cookies.size < entries.length || cookies.has(0n)) throw new StatusError(ELOOP);
}

/** Names that Linux knows: the kernel refuses a whole listing for one that is none. */
function isUsable(name: Uint8Array): boolean {
  const SLASH = 0x2f;
  return name.length > 0 && name.length <= NAME_BYTES_MAX && !name.includes(SLASH) && !name.includes(0);
}
