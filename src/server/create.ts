/** What CREATE, MKDIR, SYMLINK and MKNOD share: RFC 1813 sections 3.3.8 to 3.3.11. */
import { modeSent } from '../nfs3/posix-acl.ts';
import { NFSSTAT3 } from '../nfs3/status.ts';
import type { sattr3 } from '../nfs3/types.ts';
import type { Identity } from '../store/identity.ts';
import {
  checkNewName,
  findName,
  makeNode,
  removeName,
  type NamedFile,
  type NewMode,
  type NewNode,
} from '../store/name-operations.ts';
import { attributes, lookup } from '../store/operations.ts';
import { setAttributes, type NewAttributes } from '../store/set-attributes.ts';
import type { NamePlace, StoreNode } from '../store/store.ts';
import type { ServerContext } from './client-session.ts';
import { setInitialAttributes } from './new-attributes.ts';
import { StatusError } from './outcome.ts';
import { begin, isSameFile, wasMadeBy, type StartingPoint } from './starting-point.ts';

/** Who makes something, and where. */
export interface Making {
  readonly identity: Identity;
  readonly place: NamePlace;
  readonly context: ServerContext;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const MODE_BITS = 0o7777;
/** Nobody may use a file yet whose attributes are still to come. */
const NOBODY_MODE = 0;
/** Where the client leaves the mode open. */
const DEFAULT_MODES: Readonly<Record<'directory' | 'other', number>> = { directory: 0o755, other: 0o644 };

export function modeOf(wanted: NewAttributes, kind: keyof typeof DEFAULT_MODES): number {
  return wanted.mode ?? DEFAULT_MODES[kind];
}

/** The mode as the kernel is to be asked for it: with the umask, where the client sends it. */
export function newModeOf(
  { mode }: sattr3,
  { session }: ServerContext,
  kind: keyof typeof DEFAULT_MODES,
): NewMode {
  if (mode === null) return { mode: DEFAULT_MODES[kind] };
  return session.sendsUmask ? modeSent(mode) : { mode: mode & MODE_BITS };
}

/** Makes what must not be there yet (NFS3ERR_EXIST). */
export function makeGuarded(making: Making, node: NewNode, wanted: NewAttributes): StoreNode {
  return make(making, node, wanted, () => {
    throw new StatusError(NFSSTAT3.NFS3ERR_EXIST);
  });
}

/** CREATE UNCHECKED: of a regular file that is there, only the size is set, as other servers do it. */
export function makeUnchecked(making: Making, wanted: NewAttributes): StoreNode {
  const node = { type: 'file', mode: modeOf(wanted, 'other') } as const;
  return make(making, node, wanted, (found, earlier) => {
    const type = found.status.mode & S_IFMT;
    if (type !== S_IFREG) {
      throw new StatusError(type === S_IFDIR ? NFSSTAT3.NFS3ERR_ISDIR : NFSSTAT3.NFS3ERR_EXIST);
    }
    const existing = lookup(making.identity, making.place.directory, making.place.name);
    const { size } = wanted;
    if (size !== undefined && !hasSizeChanged(found, earlier)) {
      setAttributes(making.identity, existing, { size });
    }
    return existing;
  });
}

/** An earlier execution has set the size: what was written since then must not be cut. */
function hasSizeChanged(found: NamedFile, earlier: StartingPoint | undefined): boolean {
  return earlier !== undefined && isSameFile(earlier.file, found) && found.status.size !== earlier.size;
}

/**
 * CREATE EXCLUSIVE: the verifier lies in the times of the file until the client sets them, so that it outlives a restart.
 * The same call again finds it there, and is answered as the first; for everybody else the file exists.
 */
export function makeExclusive(making: Making, verifier: Uint8Array): StoreNode {
  const times = verifierTimes(verifier);
  return make(making, { type: 'file', mode: NOBODY_MODE }, times, ({ status }) => {
    const isSame = status.atimeNs === times.atime && status.mtimeNs === times.mtime;
    if (!isSame || (status.mode & S_IFMT) !== S_IFREG) throw new StatusError(NFSSTAT3.NFS3ERR_EXIST);
    return lookup(making.identity, making.place.directory, making.place.name);
  });
}

/** Seconds of 31 bits, which every file system keeps; the highest bit of each half becomes a nanosecond. */
function verifierTimes(verifier: Uint8Array): { readonly atime: bigint; readonly mtime: bigint } {
  const halves = Buffer.from(verifier);
  const time = (at: number): bigint => {
    const half = halves.readUInt32BE(at);
    return BigInt(half & 0x7fff_ffff) * 1_000_000_000n + BigInt(half >>> 31);
  };
  return { atime: time(0), mtime: time(4) };
}

/** @param onExisting decides about what is there already */
function make(
  making: Making,
  node: NewNode,
  wanted: NewAttributes,
  onExisting: (found: NamedFile, earlier: StartingPoint | undefined) => StoreNode,
): StoreNode {
  const { identity, place, context } = making;
  checkNewName(place.name);
  const found = findName(identity, place);
  const earlier = begin(context, { file: found?.handle, size: found?.status.size ?? 0n });
  if (found === undefined) return finish(making, makeNode(identity, place, node), wanted);
  if (!wasMadeBy(earlier, found, place.directory.store)) return onExisting(found, earlier);
  // The server died between making it and saying so, and perhaps before it had its attributes.
  const made = lookup(identity, place.directory, place.name);
  setInitialAttributes(identity, made, wanted);
  return made;
}

/** What cannot have the attributes that were wanted is not left behind. */
function finish({ identity, place }: Making, made: StoreNode, wanted: NewAttributes): StoreNode {
  try {
    setInitialAttributes(identity, made, wanted);
    return made;
  } catch (error) {
    try {
      const status = attributes(made);
      const kind = (status.mode & S_IFMT) === S_IFDIR ? 'directory' : 'other';
      removeName(identity, place, kind, { handle: made.handle, status });
    } catch {
      // The first failure is the one to tell about.
    }
    throw error;
  }
}
