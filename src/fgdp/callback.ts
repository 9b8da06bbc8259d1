/**
 * What a server calls at a guest, on the connection that the guest has opened: the reverse direction of FGDP. Only
 * guests that have said in HELLO that they understand a procedure are called with it; docs/protocol.md.
 */
import { array, enumeration, nothing, opaque, struct, u32, union, type Infer } from '../xdr/codec.ts';
import { filename3, nfs_fh3 } from '../nfs3/types.ts';
import { procedure, type Program } from '../rpc/program.ts';
import { INVALIDATE_NAMES_MAX, INVALIDATE_OBJECTS_MAX } from './limits.ts';
import { LOCK_GRANTEDargs } from './locks.ts';

export const FGDP_CALLBACK_VERSION = 1;

/** What an INVALIDATE says of a file or directory: bits of `what`. */
export const INVALID = {
  /** The file has changed: attributes, content, or both; or it is gone. */
  ATTRIBUTES: 0x1,
  /** Names of the directory have changed, and it is not said which. */
  ALL_NAMES: 0x2,
  /** Nothing has changed, as far as is known; the server does not look after it any more. */
  FORGOTTEN: 0x4,
} as const;

const invalidation = struct('invalidation', {
  object: nfs_fh3,
  /** Bits of INVALID. */
  what: u32,
  /** Of a directory: names that were made, removed, or have another file now. */
  names: array(filename3, INVALIDATE_NAMES_MAX, 4),
});
export type invalidation = Infer<typeof invalidation>;

export const INVALIDATE_KIND = { OBJECTS: 0, EVERYTHING: 1 } as const;

export const INVALIDATEargs = union(
  'INVALIDATEargs',
  'kind',
  enumeration('invalidate_kind', INVALIDATE_KIND),
  {
    [INVALIDATE_KIND.OBJECTS]: struct('objects', {
      objects: array(invalidation, INVALIDATE_OBJECTS_MAX, 12),
    }),
    /** Changes were missed: nothing is looked after any more, until SUBSCRIBE is said again. */
    [INVALIDATE_KIND.EVERYTHING]: struct('everything', { reason: opaque('reason', 255) }),
  },
);
export type INVALIDATEargs = Infer<typeof INVALIDATEargs>;

export const FGDP_CALLBACK_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  INVALIDATE: procedure(1, INVALIDATEargs, nothing),
  LOCK_GRANTED: procedure(2, LOCK_GRANTEDargs, nothing),
} as const;

export const FGDP_CALLBACK_PROGRAM: Program<typeof FGDP_CALLBACK_PROCEDURES> = {
  name: 'FGDP_CALLBACK',
  number: 0x2867_1415,
  version: FGDP_CALLBACK_VERSION,
  procedures: FGDP_CALLBACK_PROCEDURES,
};
