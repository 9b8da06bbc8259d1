/** POSIX ACLs as Linux keeps them in extended attributes (include/uapi/linux/posix_acl_xattr.h), and as NFSACL sends them. */
import { NFS_ACL_DEFAULT, type aclent } from './nfsacl.ts';

/** Extended attributes that hold an ACL. */
export const ACCESS_ACL_XATTR = 'system.posix_acl_access';
export const DEFAULT_ACL_XATTR = 'system.posix_acl_default';

/**
 * A bit of fattr3's mode, beyond all that RFC 1813 defines: the file has no ACL. Sent to those who have asked for it, in
 * listings, so that `ls -l` needs no call for each file.
 */
export const MODE_WITHOUT_ACL = 0x0001_0000;

/**
 * Bits of sattr3's mode, beyond all that RFC 1813 defines: what mode_umask is to NFSv4.2 (RFC 8275). The twelve low bits are
 * the mode as the caller's umask leaves it, which counts unless the directory has a default ACL; the permissions that were
 * asked for stand above them. Who does not know of it takes the low bits.
 */
const MODE_HAS_ASKED = 0x8000_0000;
const MODE_ASKED_SHIFT = 16;
const MODE_BITS = 0o7777;
const MODE_PERMISSIONS = 0o777;

/**
 * @param masked the mode, with the umask applied
 * @param asked the mode without it
 */
export function modeToSend(masked: number, asked: number): number {
  const above = (asked & MODE_PERMISSIONS) << MODE_ASKED_SHIFT;
  return (MODE_HAS_ASKED | above | (masked & MODE_BITS)) >>> 0;
}

/** The other way; the umask is 0 where only a mode was sent. */
export function modeSent(mode: number): { readonly mode: number; readonly umask: number } {
  const masked = mode & MODE_BITS;
  if ((mode & MODE_HAS_ASKED) === 0) return { mode: masked, umask: 0 };
  const asked = (mode >>> MODE_ASKED_SHIFT) & MODE_PERMISSIONS;
  return { mode: masked | asked, umask: asked & ~masked };
}

/** include/uapi/linux/posix_acl.h; NFSACL uses the same numbers. */
const ACL_USER_OBJ = 0x01;
const ACL_USER = 0x02;
const ACL_GROUP_OBJ = 0x04;
const ACL_GROUP = 0x08;
const ACL_MASK = 0x10;
const ACL_OTHER = 0x20;
const TAGS: ReadonlySet<number> = new Set([
  ACL_USER_OBJ,
  ACL_USER,
  ACL_GROUP_OBJ,
  ACL_GROUP,
  ACL_MASK,
  ACL_OTHER,
]);

const XATTR_VERSION = 2;
const XATTR_HEADER_BYTES = 4;
const XATTR_ENTRY_BYTES = 8;
const UNDEFINED_ID = 0xffffffff;
const PERMISSION_BITS = 7;
/** Of an entry that is missing: more than there can be. */
const NO_PERMISSIONS = 8;
/** Owner, owning group, others: what the mode says already. */
const MINIMAL_ENTRIES = 3;

interface AclEntry {
  readonly tag: number;
  /** Counts for ACL_USER and ACL_GROUP. */
  readonly id: number;
  readonly perm: number;
}

/** Whose ids NFSACL tells beside the entries of owner and owning group. */
export interface AclOwner {
  readonly uid: number;
  readonly gid: number;
}

const isNamed = (tag: number): boolean => tag === ACL_USER || tag === ACL_GROUP;

/** The value of an ACL's extended attribute; undefined for bytes that are none. */
function parseXattr(value: Uint8Array): AclEntry[] | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  const body = bytes.length - XATTR_HEADER_BYTES;
  if (body < 0 || body % XATTR_ENTRY_BYTES !== 0 || bytes.readUInt32LE(0) !== XATTR_VERSION) return undefined;
  return Array.from({ length: body / XATTR_ENTRY_BYTES }, (_, index) => {
    const at = XATTR_HEADER_BYTES + index * XATTR_ENTRY_BYTES;
    return { tag: bytes.readUInt16LE(at), perm: bytes.readUInt16LE(at + 2), id: bytes.readUInt32LE(at + 4) };
  });
}

function formatXattr(entries: readonly AclEntry[]): Buffer {
  const bytes = Buffer.alloc(XATTR_HEADER_BYTES + entries.length * XATTR_ENTRY_BYTES);
  bytes.writeUInt32LE(XATTR_VERSION, 0);
  entries.forEach(({ tag, perm, id }, index) => {
    const at = XATTR_HEADER_BYTES + index * XATTR_ENTRY_BYTES;
    bytes.writeUInt16LE(tag, at);
    bytes.writeUInt16LE(perm, at + 2);
    bytes.writeUInt32LE(isNamed(tag) ? id : UNDEFINED_ID, at + 4);
  });
  return bytes;
}

/** What GETACL answers for a file without an access ACL, as other servers do: its mode, with a mask. */
export function aclOfMode(mode: number, owner: AclOwner): aclent[] {
  const perm = (shift: number): number => (mode >> shift) & PERMISSION_BITS;
  return [
    { type: ACL_USER_OBJ, id: owner.uid, perm: perm(6) },
    { type: ACL_GROUP_OBJ, id: owner.gid, perm: perm(3) },
    { type: ACL_MASK, id: 0, perm: perm(3) },
    { type: ACL_OTHER, id: 0, perm: perm(0) },
  ];
}

/** An extended attribute in NFSACL's form; undefined for a value that is no ACL. */
export function aclOfXattr(value: Uint8Array, owner: AclOwner, isDefault: boolean): aclent[] | undefined {
  const flag = isDefault ? NFS_ACL_DEFAULT : 0;
  const entries = parseXattr(value);
  if (entries === undefined) return undefined;
  const idOf = ({ tag, id }: AclEntry): number => {
    if (tag === ACL_USER_OBJ) return owner.uid;
    if (tag === ACL_GROUP_OBJ) return owner.gid;
    return isNamed(tag) ? id : 0;
  };
  const list = entries.map((entry) => ({ type: entry.tag | flag, id: idOf(entry), perm: entry.perm }));
  const group = entries.find(({ tag }) => tag === ACL_GROUP_OBJ);
  // NFSACL has a mask in every ACL that is not empty.
  if (entries.length === MINIMAL_ENTRIES && group !== undefined) {
    list.splice(2, 0, { type: ACL_MASK | flag, id: 0, perm: group.perm });
  }
  return list;
}

/** The permissions of an access ACL that says no more than a mode; undefined for one that says more, or none. */
export function modeOfXattr(value: Uint8Array): number | undefined {
  const entries = parseXattr(value);
  const permOf = (tag: number): number => entries?.find((entry) => entry.tag === tag)?.perm ?? NO_PERMISSIONS;
  const perms = [permOf(ACL_USER_OBJ), permOf(ACL_GROUP_OBJ), permOf(ACL_OTHER)];
  if (entries?.length !== MINIMAL_ENTRIES || perms.some((perm) => perm > PERMISSION_BITS)) return undefined;
  return perms.reduce((mode, perm) => (mode << 3) | perm, 0);
}

/**
 * NFSACL's entries as the value of an extended attribute, sorted as the kernel keeps them.
 *
 * @returns null where there is no ACL beyond the mode, undefined for entries that make no valid ACL
 */
export function xattrOfAcl(list: readonly aclent[], isDefault: boolean): Buffer | null | undefined {
  const entries = validEntries(list);
  if (entries === undefined) return undefined;
  if (entries.length === 0) return null;
  return isMinimal(entries) && !isDefault ? null : formatXattr(withoutIdleMask(entries));
}

/**
 * NFSACL's entries as setxattr(2) is to be given them: an access ACL that says no more than a mode is one, too, because it
 * sets the mode.
 *
 * @returns null for no entries: the ACL is to be taken away; undefined for entries that make no valid ACL
 */
export function xattrToSet(list: readonly aclent[]): Buffer | null | undefined {
  const entries = validEntries(list);
  if (entries === undefined) return undefined;
  return entries.length === 0 ? null : formatXattr(withoutIdleMask(entries));
}

/** Sorted as the kernel keeps them; undefined for what makes no valid ACL. */
function validEntries(list: readonly aclent[]): AclEntry[] | undefined {
  const entries = list.map(({ type, id, perm }) => ({ tag: type & ~NFS_ACL_DEFAULT, id, perm }));
  if (entries.some(({ tag, perm }) => !TAGS.has(tag) || (perm & ~PERMISSION_BITS) !== 0)) return undefined;
  if (entries.length === 0) return entries;
  entries.sort((a, b) => a.tag - b.tag || (isNamed(a.tag) ? a.id - b.id : 0));
  const count = (tag: number): number => entries.filter((entry) => entry.tag === tag).length;
  const single = [ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER].every((tag) => count(tag) === 1);
  const hasNamed = entries.some(({ tag }) => isNamed(tag));
  if (!single || count(ACL_MASK) > 1 || (hasNamed && count(ACL_MASK) === 0)) return undefined;
  return entries;
}

/** Whether entries say no more than a mode: none has a name, and a mask is the group's, in Solaris' way. */
function isMinimal(entries: readonly AclEntry[]): boolean {
  const permOf = (tag: number): number | undefined => entries.find((entry) => entry.tag === tag)?.perm;
  const mask = permOf(ACL_MASK);
  return !entries.some(({ tag }) => isNamed(tag)) && (mask === undefined || mask === permOf(ACL_GROUP_OBJ));
}

function withoutIdleMask(entries: readonly AclEntry[]): readonly AclEntry[] {
  return isMinimal(entries) ? entries.filter(({ tag }) => tag !== ACL_MASK) : entries;
}
