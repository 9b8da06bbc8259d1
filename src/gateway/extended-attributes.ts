/** Extended attributes that a mount has: the POSIX ACLs of files, and its own word on how one is reached. */
import type { ServerLink } from '../client/link.ts';
import { Acls } from './acls.ts';
import type { Caller } from './callers.ts';
import { explain } from './explanations.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import type { Outcome } from './operations.ts';

const ENODATA = 61;
const EOPNOTSUPP = 95;
const OWN_PREFIX = 'user.nearmount.';

type Value = Outcome<{ readonly value: Uint8Array }>;

/**
 * user.nearmount.route, .datapath and .why are answered when asked for and not listed, so that programs which copy all
 * attributes do not carry them away.
 */
export class ExtendedAttributes {
  readonly #link: ServerLink;
  readonly #acls: Acls;
  readonly #routeWhy: string;

  /** @param routeWhy why the route in use was taken */
  constructor(link: ServerLink, knowledge: Knowledge, routeWhy: string) {
    this.#link = link;
    this.#acls = new Acls(link, knowledge);
    this.#routeWhy = routeWhy;
  }

  /** What is known without a call; undefined when the server must be asked. */
  known(inode: Inode, name: string): Value | undefined {
    if (Acls.isName(name)) return this.#acls.known(inode, name);
    // EOPNOTSUPP makes ls and others stop asking for file after file: NFSv3 has no attributes for them.
    if (!name.startsWith(OWN_PREFIX)) return name.startsWith('user.') ? ENODATA : EOPNOTSUPP;
    const text = explain(inode, name.slice(OWN_PREFIX.length), this.#link, this.#routeWhy);
    return text === undefined ? ENODATA : { value: Buffer.from(text) };
  }

  /** Rejects with RpcError. */
  ask(inode: Inode, name: string, caller: Caller): Promise<Value> {
    return this.#acls.ask(inode, name, caller);
  }
}
