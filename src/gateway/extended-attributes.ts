/**
 * Extended attributes that a mount has: those of the server's files in the `user.` namespace, where the server speaks of
 * them, the POSIX ACLs of files, and its own word on how one is reached.
 */
import { FileCalls, type ChangeAnswer, type Refusal, type SetXattrHow } from '../client/file-calls.ts';
import type { ServerLink } from '../client/link.ts';
import { NFS_ACL, NFS_DFACL } from '../nfs3/nfsacl.ts';
import { ACCESS_ACL_XATTR, DEFAULT_ACL_XATTR } from '../nfs3/posix-acl.ts';
import type { post_op_attr } from '../nfs3/types.ts';
import { Acls } from './acls.ts';
import { attributesOfFattr3, sameVersion } from './attributes.ts';
import type { Caller } from './callers.ts';
import { explain } from './explanations.ts';
import type { Inode } from './inodes.ts';
import type { Knowledge } from './knowledge.ts';
import { XATTR_KEY_BYTES_MAX } from './limits.ts';
import type { Errno, Outcome } from './operations.ts';
import { XattrCache } from './xattr-cache.ts';

const EPERM = 1;
const EINVAL = 22;
const ERANGE = 34;
const ENODATA = 61;
const EOPNOTSUPP = 95;
const NAMESPACE = 'user.';
const OWN_PREFIX = 'user.nearmount.';
/** Flags of setxattr(2). */
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

type Value = Outcome<{ readonly value: Uint8Array }>;
type Names = Outcome<{ readonly names: readonly string[] }>;

/**
 * user.nearmount.route, .datapath and .why are answered when asked for and not listed, so that programs which copy all
 * attributes do not carry them away. Names are bytes, as latin1. What makes calls rejects with RpcError.
 */
export class ExtendedAttributes {
  readonly #link: ServerLink;
  readonly #calls: FileCalls;
  readonly #knowledge: Knowledge;
  readonly #acls: Acls;
  readonly #routeWhy: string;
  readonly #cache = new XattrCache();

  /** @param routeWhy why the route in use was taken */
  constructor(link: ServerLink, knowledge: Knowledge, routeWhy: string) {
    this.#link = link;
    this.#calls = new FileCalls(link);
    this.#knowledge = knowledge;
    this.#acls = new Acls(link, knowledge);
    this.#routeWhy = routeWhy;
  }

  /** What is known without a call, and whoever asks; undefined when the server must be asked. */
  known(inode: Inode, name: string): Value | undefined {
    if (Acls.isName(name)) return this.#acls.known(inode, name);
    // Before a write the kernel asks for security.capability, and others for what NFS does not carry.
    if (!name.startsWith(NAMESPACE)) return EOPNOTSUPP;
    if (!name.startsWith(OWN_PREFIX)) return this.#calls.knowsXattrs ? undefined : ENODATA;
    const text = explain(inode, name.slice(OWN_PREFIX.length), this.#link, this.#routeWhy);
    return text === undefined ? ENODATA : { value: Buffer.from(text) };
  }

  async ask(inode: Inode, name: string, caller: Caller): Promise<Value> {
    if (Acls.isName(name)) return this.#acls.ask(inode, name, caller);
    const key = name.slice(NAMESPACE.length);
    if (key.length > XATTR_KEY_BYTES_MAX) return ERANGE;
    const kept = this.#cache.value(inode, caller.key, name);
    if (kept !== undefined) return kept.value === undefined ? ENODATA : { value: kept.value };
    const { changes } = this.#cache;
    const askedMs = performance.now();
    const answer = await this.#calls.getXattr(inode.handle, Buffer.from(key, 'latin1'), caller);
    if (answer === undefined) return ENODATA;
    const mayKeep = this.#learn(inode, answer.attributes, askedMs) && changes === this.#cache.changes;
    const { outcome } = answer;
    if ('value' in outcome) {
      if (mayKeep) this.#cache.keepValue(inode, caller.key, name, outcome.value);
      return { value: outcome.value };
    }
    const errno = this.#refused(inode, outcome.refused);
    if (errno === ENODATA && mayKeep) this.#cache.keepValue(inode, caller.key, name, undefined);
    return errno;
  }

  /** The names that a file has; of a server that speaks of no extended attributes, those of its ACLs. */
  async list(inode: Inode, caller: Caller): Promise<Names> {
    const kept = this.#cache.names(inode, caller.key);
    if (kept !== undefined) return { names: kept };
    const { changes } = this.#cache;
    const askedMs = performance.now();
    const answer = this.#calls.knowsXattrs ? await this.#calls.listXattrs(inode.handle, caller) : undefined;
    if (answer === undefined) return this.#listAcls(inode, caller);
    const mayKeep = this.#learn(inode, answer.attributes, askedMs) && changes === this.#cache.changes;
    const { outcome } = answer;
    if ('refused' in outcome) return this.#refused(inode, outcome.refused);
    const names = outcome.value.names
      .map((name) => `${NAMESPACE}${Buffer.from(name).toString('latin1')}`)
      .filter((name) => !name.startsWith(OWN_PREFIX));
    const { acls } = outcome.value;
    if ((acls & NFS_ACL) !== 0) names.push(ACCESS_ACL_XATTR);
    if ((acls & NFS_DFACL) !== 0) names.push(DEFAULT_ACL_XATTR);
    if (mayKeep) this.#cache.keepNames(inode, caller.key, names);
    return { names };
  }

  async #listAcls(inode: Inode, caller: Caller): Promise<Names> {
    const names: string[] = [];
    for (const name of [ACCESS_ACL_XATTR, DEFAULT_ACL_XATTR]) {
      const value = this.#acls.known(inode, name) ?? (await this.#acls.ask(inode, name, caller));
      if (typeof value !== 'number') names.push(name);
      else if (value !== ENODATA) return value;
    }
    return { names };
  }

  /** See Acls.modeInstead. */
  modeInstead(inode: Inode, name: string, value: Uint8Array, caller: Caller): Promise<number | undefined> {
    return this.#acls.modeInstead(inode, name, value, caller);
  }

  /** @param flags of setxattr(2) */
  async set(inode: Inode, name: string, value: Uint8Array, flags: number, caller: Caller): Promise<Errno> {
    if (Acls.isName(name)) return this.#acls.set(inode, name, value, caller);
    const how = howOf(flags);
    if (how === undefined) return EINVAL;
    return this.#change(inode, name, (key) => this.#calls.setXattr(inode.handle, key, value, how, caller));
  }

  async remove(inode: Inode, name: string, caller: Caller): Promise<Errno> {
    if (Acls.isName(name)) return this.#acls.set(inode, name, undefined, caller);
    return this.#change(inode, name, (key) => this.#calls.removeXattr(inode.handle, key, caller));
  }

  async #change(
    inode: Inode,
    name: string,
    call: (key: Uint8Array) => Promise<ChangeAnswer<true> | undefined>,
  ): Promise<Errno> {
    if (!name.startsWith(NAMESPACE)) return EOPNOTSUPP;
    if (name.startsWith(OWN_PREFIX)) return EPERM;
    if (name.length > NAMESPACE.length + XATTR_KEY_BYTES_MAX) return ERANGE;
    try {
      const answer = await call(Buffer.from(name.slice(NAMESPACE.length), 'latin1'));
      if (answer === undefined) return EOPNOTSUPP;
      const { outcome, wcc } = answer;
      if ('value' in outcome) {
        this.#knowledge.learnChange(inode, wcc);
        return 0;
      }
      this.#knowledge.learn(inode, wcc.after);
      return this.#refused(inode, outcome.refused);
    } catch (error) {
      // It may have been done all the same.
      this.#knowledge.doubt(inode);
      throw error;
    } finally {
      this.#cache.changed(inode);
    }
  }

  /** Takes in what came with an answer; whether it is the version that is known now that the answer tells of. */
  #learn(inode: Inode, attributes: post_op_attr, askedMs: number): boolean {
    this.#knowledge.learn(inode, attributes, askedMs);
    return attributes !== null && sameVersion(inode.attributes, attributesOfFattr3(attributes));
  }

  #refused(inode: Inode, { errno, status }: Refusal): Errno {
    return status === undefined ? errno : this.#knowledge.failed(inode, status);
  }
}

function howOf(flags: number): SetXattrHow | undefined {
  if (flags === 0) return 'either';
  if (flags === XATTR_CREATE) return 'create';
  return flags === XATTR_REPLACE ? 'replace' : undefined;
}
