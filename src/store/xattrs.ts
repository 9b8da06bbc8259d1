/**
 * Extended attributes of the `user.` namespace (xattr(7)), by their names without it. The kernel decides under the caller's
 * identity, and ErrnoError carries its answer: EACCES who may not read or write the file, ENODATA, EOPNOTSUPP where the file
 * system keeps none, EPERM and ENODATA for what is neither a regular file nor a directory. All are synchronous, and
 * must be called in the turn that resolved the node.
 */
import { ErrnoError } from '../system/errno.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import {
  listXattrs,
  readXattr,
  removeXattr,
  setXattr,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../system/xattr.ts';
import { isAclName, type AclKind } from './acls.ts';
import type { StoreNode } from './store.ts';

const NAMESPACE = Buffer.from('user.');

/** EINVAL for a name that is empty: the namespace alone is none. */
function fullName(key: Uint8Array): Buffer {
  if (key.length === 0) throw new ErrnoError('EINVAL', 'setxattr', 'an empty name');
  return Buffer.concat([NAMESPACE, key]);
}

export function getUserXattr(identity: Identity, node: StoreNode, key: Uint8Array): Buffer {
  const name = fullName(key);
  return runAs(identity, () => readXattr(node.fd, name));
}

/** Whether there is one of this name, whoever may read it. */
export function hasUserXattr(node: StoreNode, key: Uint8Array): boolean {
  const name = fullName(key);
  becomeServer();
  try {
    readXattr(node.fd, name);
    return true;
  } catch (error) {
    if (error instanceof ErrnoError) return false;
    throw error;
  }
}

/** What a file has. */
export interface XattrList {
  /** The names of the namespace. */
  readonly keys: readonly Buffer[];
  readonly acls: readonly AclKind[];
}

/** Who may look a file up may see what it has, as locally. */
export function listUserXattrs(identity: Identity, node: StoreNode): XattrList {
  const names = runAs(identity, () => listXattrs(node.fd));
  return {
    keys: names
      .filter((name) => name.subarray(0, NAMESPACE.length).equals(NAMESPACE))
      .map((name) => name.subarray(NAMESPACE.length)),
    acls: (['access', 'default'] as const).filter((kind) => names.some((name) => isAclName(name, kind))),
  };
}

/**
 * Sets one; also ENOSPC, EDQUOT, E2BIG for what the file system has no room for.
 *
 * @param how `create`: EEXIST where there is one; `replace`: ENODATA where there is none
 */
export function setUserXattr(
  identity: Identity,
  node: StoreNode,
  key: Uint8Array,
  value: Uint8Array,
  how: 'either' | 'create' | 'replace',
): void {
  const name = fullName(key);
  const flags = { either: 0, create: XATTR_CREATE, replace: XATTR_REPLACE }[how];
  runAs(identity, () => {
    setXattr(node.fd, name, value, flags);
  });
  node.store.ownChanges?.changedHere(node.handle);
}

export function removeUserXattr(identity: Identity, node: StoreNode, key: Uint8Array): void {
  const name = fullName(key);
  runAs(identity, () => {
    removeXattr(node.fd, name);
  });
  node.store.ownChanges?.changedHere(node.handle);
}
