/**
 * What a server calls at a guest, on the connection that the guest has opened: the reverse direction of FGDP. Only
 * guests that have said in HELLO that they understand a procedure are called with it; docs/protocol.md.
 */
import { nothing } from '../xdr/codec.ts';
import { procedure, type Program } from '../rpc/program.ts';
import { LOCK_GRANTEDargs } from './locks.ts';

export const FGDP_CALLBACK_VERSION = 1;

export const FGDP_CALLBACK_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  LOCK_GRANTED: procedure(2, LOCK_GRANTEDargs, nothing),
} as const;

export const FGDP_CALLBACK_PROGRAM: Program<typeof FGDP_CALLBACK_PROCEDURES> = {
  name: 'FGDP_CALLBACK',
  number: 0x2867_1415,
  version: FGDP_CALLBACK_VERSION,
  procedures: FGDP_CALLBACK_PROCEDURES,
};
