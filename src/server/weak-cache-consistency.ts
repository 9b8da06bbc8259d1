/** wcc_data: what a client needs to know whether only its own call changed a file (RFC 1813 section 2.6). */
import type { wcc_attr, wcc_data } from '../nfs3/types.ts';
import type { FileStatus } from '../store/operations.ts';
import type { StoreNode } from '../store/store.ts';
import { nfsTime, postOpAttributes } from './attributes.ts';

export const NO_WCC: wcc_data = { before: null, after: null };

/**
 * Of attributes taken in the turn of the change, just before it, so that no other call that changes names comes between. Programs
 * on the server can, and WRITEs under way, for some microseconds: only the kernel could keep them out.
 */
export function preOpAttributes({ size, mtimeNs, ctimeNs }: FileStatus): wcc_attr {
  return { size, mtime: nfsTime(mtimeNs), ctime: nfsTime(ctimeNs) };
}

/** To be taken after the change, also when it failed. */
export function wccData(before: wcc_attr | null, node: StoreNode | undefined): wcc_data {
  return node === undefined ? NO_WCC : { before, after: postOpAttributes(node) };
}
