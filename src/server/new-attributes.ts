/** sattr3 (RFC 1813 section 2.6): what a client wants a file's attributes to be. */
import { NFSSTAT3 } from '../nfs3/status.ts';
import { TIME_HOW, type sattr3 } from '../nfs3/types.ts';
import type { Identity } from '../store/identity.ts';
import { attributes } from '../store/operations.ts';
import {
  checkNewAttributes,
  setAttributes,
  type NewAttributes,
  type NewTime,
} from '../store/set-attributes.ts';
import type { StoreNode } from '../store/store.ts';
import { StatusError } from './outcome.ts';

const MODE_BITS = 0o7777;
const SET_ID_BITS = 0o6000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const NANOSECONDS = 1_000_000_000;

/** Throws StatusError INVAL, ErrnoError EINVAL or EFBIG for values that no file can have. */
export function newAttributes(wanted: sattr3): NewAttributes {
  const attributes = {
    mode: wanted.mode === null ? undefined : wanted.mode & MODE_BITS,
    uid: wanted.uid ?? undefined,
    gid: wanted.gid ?? undefined,
    size: wanted.size ?? undefined,
    atime: newTime(wanted.atime),
    mtime: newTime(wanted.mtime),
  };
  checkNewAttributes(attributes);
  return attributes;
}

/** Seconds count from 1970 to 2106: the field has 32 bits, without a sign. */
function newTime(wanted: sattr3['atime']): NewTime {
  switch (wanted.set_it) {
    case TIME_HOW.DONT_CHANGE:
      return undefined;
    case TIME_HOW.SET_TO_SERVER_TIME:
      return 'now';
    case TIME_HOW.SET_TO_CLIENT_TIME: {
      const { seconds, nseconds } = wanted.time;
      if (nseconds >= NANOSECONDS) throw new StatusError(NFSSTAT3.NFS3ERR_INVAL);
      return BigInt(seconds) * BigInt(NANOSECONDS) + BigInt(nseconds);
    }
  }
}

/**
 * Gives a file that was just made what its making could not give it. The mode came with the making, times are now.
 * The owner counts from root only, as with other servers: some clients send what they expect anyway.
 */
export function setInitialAttributes(identity: Identity, node: StoreNode, wanted: NewAttributes): void {
  const isTimed = wanted.atime !== undefined || wanted.mtime !== undefined;
  const isOwned = wanted.uid !== undefined || wanted.gid !== undefined;
  const hasSetIds = ((wanted.mode ?? 0) & SET_ID_BITS) !== 0;
  if (!isTimed && !isOwned && !hasSetIds && wanted.size === undefined) return;
  const status = attributes(node);
  const isRoot = identity.uid === 0;
  const uid = isRoot && wanted.uid !== status.uid ? wanted.uid : undefined;
  const gid = isRoot && wanted.gid !== status.gid ? wanted.gid : undefined;
  // mkdir(2) leaves the set-id bits out, and chown(2) clears them.
  const setIds = (wanted.mode ?? 0) & SET_ID_BITS;
  const lacksSetIds = (status.mode & S_IFMT) === S_IFDIR || (uid ?? gid) !== undefined;
  setAttributes(identity, node, {
    mode: setIds !== 0 && lacksSetIds ? (status.mode & MODE_BITS) | setIds : undefined,
    uid,
    gid,
    size: wanted.size === 0n ? undefined : wanted.size,
    atime: wanted.atime === 'now' ? undefined : wanted.atime,
    mtime: wanted.mtime === 'now' ? undefined : wanted.mtime,
  });
}
