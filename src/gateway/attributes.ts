/** Attributes out of fattr3 (RFC 1813 section 2.6) and out of fstat(2) of a granted descriptor. */
import type { BigIntStats } from 'node:fs';
import { MODE_WITHOUT_ACL } from '../nfs3/posix-acl.ts';
import { FTYPE3, type fattr3, type ftype3, type nfstime3, type wcc_attr } from '../nfs3/types.ts';
import type { Attributes, Timestamp } from './operations.ts';

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
const S_ISVTX = 0o1000;

const TYPE_BITS: Readonly<Record<ftype3, number>> = {
  [FTYPE3.NF3REG]: S_IFREG,
  [FTYPE3.NF3DIR]: S_IFDIR,
  [FTYPE3.NF3BLK]: 0o060000,
  [FTYPE3.NF3CHR]: 0o020000,
  [FTYPE3.NF3LNK]: S_IFLNK,
  [FTYPE3.NF3SOCK]: 0o140000,
  [FTYPE3.NF3FIFO]: 0o010000,
};

/** Times are from 1970 to 2106: nfstime3 has 32 bits for seconds (RFC 1813 section 2.6). */
export const SECONDS_MAX = 0xffff_ffff;
const MODE_BITS = 0o7777;
const NANOSECONDS = 1_000_000_000n;
const BLOCK_BYTES = 512n;

export function isDirectory(attributes: Attributes): boolean {
  return (attributes.mode & S_IFMT) === S_IFDIR;
}

/** Whether only owners remove what is in a directory. */
export function isSticky(attributes: Attributes): boolean {
  return (attributes.mode & S_ISVTX) !== 0;
}

export function attributesOfFattr3(attr: fattr3): Attributes {
  const time = (value: fattr3['mtime']): Timestamp => ({
    seconds: value.seconds,
    nanoseconds: value.nseconds,
  });
  return {
    ino: attr.fileid,
    mode: TYPE_BITS[attr.type] | (attr.mode & MODE_BITS),
    nlink: attr.nlink,
    uid: attr.uid,
    gid: attr.gid,
    rdevMajor: attr.rdev.specdata1,
    rdevMinor: attr.rdev.specdata2,
    size: attr.size,
    used: attr.used,
    atime: time(attr.atime),
    mtime: time(attr.mtime),
    ctime: time(attr.ctime),
    lacksAcl: (attr.mode & MODE_WITHOUT_ACL) !== 0,
  };
}

/** What GETATTR would say, from the file itself: RFC 1813 knows seconds from 1970 to 2106 only. */
export function attributesOfStat(stat: BigIntStats): Attributes {
  const time = (ns: bigint): Timestamp => {
    const nanoseconds = ((ns % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
    return {
      seconds: Number(BigInt.asUintN(32, (ns - nanoseconds) / NANOSECONDS)),
      nanoseconds: Number(nanoseconds),
    };
  };
  return {
    ino: stat.ino,
    mode: Number(stat.mode),
    nlink: Number(stat.nlink),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    rdevMajor: 0,
    rdevMinor: 0,
    size: stat.size,
    used: stat.blocks * BLOCK_BYTES,
    atime: time(stat.atimeNs),
    mtime: time(stat.mtimeNs),
    ctime: time(stat.ctimeNs),
  };
}

/** Whether content or metadata changed between two looks at a file: what close-to-open compares. */
export function sameVersion(a: Attributes, b: Attributes): boolean {
  return a.size === b.size && sameTime(a.mtime, b.mtime) && sameTime(a.ctime, b.ctime);
}

/** Whether owner, group, type and permission bits are the same: what rights and ACLs depend on. */
export function samePermissions(a: Attributes, b: Attributes): boolean {
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;
}

/** Whether attributes are of the version that a pre-operation look describes (wcc_attr, RFC 1813 section 2.6). */
export function isVersion(attributes: Attributes, before: wcc_attr): boolean {
  return (
    attributes.size === before.size &&
    isTime(attributes.mtime, before.mtime) &&
    isTime(attributes.ctime, before.ctime)
  );
}

/**
 * Whether the first were taken before the second, as far as the server's clock tells; within one tick of it by the size,
 * to which our own writing only adds.
 */
export function isOlder(a: Attributes, b: Attributes): boolean {
  if (a.ctime.seconds !== b.ctime.seconds) return a.ctime.seconds < b.ctime.seconds;
  if (a.ctime.nanoseconds !== b.ctime.nanoseconds) return a.ctime.nanoseconds < b.ctime.nanoseconds;
  return a.size < b.size;
}

function isTime(a: Timestamp, b: nfstime3): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nseconds;
}

function sameTime(a: Timestamp, b: Timestamp): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nanoseconds;
}
