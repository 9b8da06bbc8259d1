/** fattr3 of a file: RFC 1813 section 2.6. */
import { FTYPE3, type fattr3, type ftype3, type nfstime3 } from '../nfs3/types.ts';
import { attributes, type FileStatus } from '../store/operations.ts';
import { changeKey } from '../store/page-file.ts';
import type { StoreNode } from '../store/store.ts';
import type { ExportTree } from '../store/export-tree.ts';
import { asker } from './asking.ts';

const S_IFMT = 0o170000;
const MODE_BITS = 0o7777;
const BLOCK_BYTES = 512n;
const NANOSECONDS = 1_000_000_000n;

const TYPES: ReadonlyMap<number, ftype3> = new Map<number, ftype3>([
  [0o100000, FTYPE3.NF3REG],
  [0o040000, FTYPE3.NF3DIR],
  [0o060000, FTYPE3.NF3BLK],
  [0o020000, FTYPE3.NF3CHR],
  [0o120000, FTYPE3.NF3LNK],
  [0o140000, FTYPE3.NF3SOCK],
  [0o010000, FTYPE3.NF3FIFO],
]);

/** Times before 1970 and after 2106 wrap, as they do with other servers: the field has 32 bits. */
export function nfsTime(ns: bigint): nfstime3 {
  const nseconds = ((ns % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: Number(BigInt.asUintN(32, (ns - nseconds) / NANOSECONDS)), nseconds: Number(nseconds) };
}

function fattr3Of(tree: ExportTree, status: FileStatus): fattr3 {
  const type = TYPES.get(status.mode & S_IFMT);
  if (type === undefined) throw new Error(`file of unknown type, mode ${status.mode.toString(8)}`);
  return {
    type,
    mode: status.mode & MODE_BITS,
    nlink: status.nlink,
    uid: status.uid,
    gid: status.gid,
    size: status.size,
    used: status.blocks * BLOCK_BYTES,
    rdev: { specdata1: status.rdevMajor, specdata2: status.rdevMinor },
    // An export shows one file system, and its id outlives restarts.
    fsid: tree.id.readBigUInt64BE(0),
    fileid: status.ino,
    atime: nfsTime(status.atimeNs),
    mtime: nfsTime(status.mtimeNs),
    ctime: nfsTime(status.ctimeNs),
  };
}

/** For a guest. Before it learns of another version, the pages it holds of the old one are taken back. */
export function fattr3ToSend({ store, export: tree }: StoreNode, handle: Buffer, status: FileStatus): fattr3 {
  store.changes.saw(() => changeKey(handle), status);
  asker()?.promises?.shown(tree, handle);
  return fattr3Of(tree, status);
}

export function attributesOf(node: StoreNode): fattr3 {
  return fattr3ToSend(node, node.handle, attributes(node));
}

/** The attributes after an operation; null where the file is gone meanwhile. */
export function postOpAttributes(node: StoreNode | undefined): fattr3 | null {
  if (node === undefined) return null;
  try {
    return attributesOf(node);
  } catch {
    return null;
  }
}
