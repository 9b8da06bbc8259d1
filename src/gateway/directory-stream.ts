/** One open directory: pages of entries from the server, handed on as the kernel asks for them. */
import type { ServerLink } from '../client/link.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { entryplus3 } from '../nfs3/nfs.ts';
import type { post_op_attr } from '../nfs3/types.ts';
import type { Caller } from './callers.ts';
import { DIRECTORY_PAGE_BYTES } from './limits.ts';

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
  readonly directoryAttributes: post_op_attr;
}

export class DirectoryStream {
  readonly #link: ServerLink;
  readonly #handle: Uint8Array;
  #verifier: Uint8Array = NO_VERIFIER;
  #page: DirectoryPage | undefined;
  /** False for servers that answer READDIRPLUS with NFS3ERR_NOTSUPP. */
  #plus = true;

  constructor(link: ServerLink, handle: Uint8Array) {
    this.#link = link;
    this.#handle = handle;
  }

  /**
   * The entries that follow `cookie` (0n: from the start), at least one unless at the end.
   *
   * @param onPage sees each page that was fetched for it
   */
  async after(
    cookie: bigint,
    caller: Caller,
    onPage: (page: DirectoryPage) => void,
  ): Promise<Pick<DirectoryPage, 'entries' | 'eof' | 'fetchedMs'> | nfs3error> {
    const page = this.#page;
    if (page !== undefined) {
      if (cookie === page.after && page.after !== 0n) return page;
      const at = page.entries.findIndex((entry) => entry.cookie === cookie);
      const isLast = at === page.entries.length - 1;
      if (at >= 0 && cookie !== 0n && (!isLast || page.eof))
        return { ...page, entries: page.entries.slice(at + 1) };
    }
    const fetched = await this.#fetch(cookie, caller);
    if (typeof fetched === 'number') return fetched;
    this.#page = fetched;
    onPage(fetched);
    return fetched;
  }

  async #fetch(cookie: bigint, caller: Caller): Promise<DirectoryPage | nfs3error> {
    if (cookie === 0n) this.#verifier = NO_VERIFIER;
    const dir = { data: this.#handle };
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
      directoryAttributes: reply.dir_attributes,
    };
  }
}
