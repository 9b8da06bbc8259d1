import { fstatfs } from '../system/files.ts';
import type { StoreNode } from './store.ts';

/** What kinds of file systems can do, which no system call tells. */
export interface FileSystemKind {
  /** Names that one file can have. */
  readonly linksMax: number;
  readonly hasSymbolicLinks: boolean;
}

/** By their numbers in include/uapi/linux/magic.h, and the limits in their sources. */
const KINDS: ReadonlyMap<bigint, FileSystemKind> = new Map([
  [0xef53n, { linksMax: 65_000, hasSymbolicLinks: true }], // ext4: EXT4_LINK_MAX
  [0x58465342n, { linksMax: 0x7fff_ffff, hasSymbolicLinks: true }], // xfs: XFS_MAXLINK
  [0x9123683en, { linksMax: 65_535, hasSymbolicLinks: true }], // btrfs: BTRFS_LINK_MAX
  [0xf2f52010n, { linksMax: 0xffff_ffff, hasSymbolicLinks: true }], // f2fs: F2FS_LINK_MAX
  [0x01021994n, { linksMax: 0x7fff_ffff, hasSymbolicLinks: true }], // tmpfs has no limit of its own
  [0x4d44n, { linksMax: 1, hasSymbolicLinks: false }], // vfat
  [0x2011bab0n, { linksMax: 1, hasSymbolicLinks: false }], // exfat
]);

/** For kinds not listed: what the least of the usual ones can. */
const OTHERS: FileSystemKind = { linksMax: 32_000, hasSymbolicLinks: true };

/** Of the file system that a node lies on. */
export function fileSystemKind(node: StoreNode): FileSystemKind {
  return KINDS.get(fstatfs(node.fd).type) ?? OTHERS;
}
