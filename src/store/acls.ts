import { S_IFDIR, S_IFLNK, S_IFMT } from '../system/constants.ts';
import { ErrnoError } from '../system/errno.ts';
import { statFd } from '../system/files.ts';
import { becomeServer, runAs, type Identity } from '../system/identity.ts';
import { getXattr, removeXattrIfAny, setXattr } from '../system/xattr.ts';
import type { StoreNode } from './store.ts';

/** Extended attributes in which the kernel keeps POSIX ACLs (acl(5)). */
const ACL_XATTRS = { access: 'system.posix_acl_access', default: 'system.posix_acl_default' } as const;

export type AclKind = keyof typeof ACL_XATTRS;

/** Whether an extended attribute's name is that of an ACL. */
export function isAclName(name: Buffer, kind: AclKind): boolean {
  return name.toString('latin1') === ACL_XATTRS[kind];
}

/** A POSIX ACL as the kernel keeps it (acl(5)); undefined where the file has none. A link never has one. */
export function readAcl(node: StoreNode, kind: AclKind): Buffer | undefined {
  if (typeOf(node) === S_IFLNK) return undefined;
  becomeServer();
  return getXattr(node.fd, ACL_XATTRS[kind]);
}

/** Whether an open file has an ACL, by its mode's type. */
export function hasAcl(fd: number, mode: number): boolean {
  const type = mode & S_IFMT;
  // A link has none, and nobody asks for it.
  if (type === S_IFLNK) return false;
  const names = type === S_IFDIR ? [ACL_XATTRS.access, ACL_XATTRS.default] : [ACL_XATTRS.access];
  try {
    return names.some((name) => getXattr(fd, name) !== undefined);
  } catch (error) {
    // A listing does not fail by it: whoever needs the ACL asks, and is told.
    if (error instanceof ErrnoError) return true;
    throw error;
  }
}

/**
 * Gives a file an ACL under the caller's identity, or takes it away; the kernel makes the mode follow. Synchronous, and to
 * be called in the turn that resolved the node. ErrnoError: EOPNOTSUPP for a link, or where the file system keeps none;
 * EPERM, EACCES (a default ACL of what is no directory), EINVAL, ENOSPC, EDQUOT.
 *
 * @param value as the kernel keeps it; one that says no more than a mode becomes the mode
 */
export function writeAcl(identity: Identity, node: StoreNode, kind: AclKind, value: Buffer | null): void {
  const type = typeOf(node);
  if (type === S_IFLNK) throw new ErrnoError('EOPNOTSUPP', 'setxattr', 'links have no ACL');
  // What is no directory has no default ACL to be taken away.
  if (value === null && kind === 'default' && type !== S_IFDIR) return;
  runAs(identity, () => {
    if (value === null) removeXattrIfAny(node.fd, ACL_XATTRS[kind]);
    else setXattr(node.fd, ACL_XATTRS[kind], value);
  });
  node.store.ownChanges?.changedHere(node.handle);
}

function typeOf(node: StoreNode): number {
  return statFd(node.fd).mode & S_IFMT;
}
