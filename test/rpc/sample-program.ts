/** A small program to call: every way a procedure can answer. */
import { opaque, struct, u32 } from '../../src/xdr/codec.ts';
import { nothing } from '../../src/xdr/codec.ts';
import { procedure, type Program } from '../../src/rpc/program.ts';

const SAMPLE_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  ADD: procedure(1, struct('ADDargs', { a: u32, b: u32 }), struct('ADDres', { sum: u32 })),
  ECHO: procedure(4, opaque('echo', 2 * 1024 * 1024), opaque('echo', 2 * 1024 * 1024), { idempotent: false }),
} as const;

export const SAMPLE_PROGRAM: Program<typeof SAMPLE_PROCEDURES> = {
  name: 'SAMPLE',
  number: 0x20001234,
  version: 2,
  procedures: SAMPLE_PROCEDURES,
};
export type SampleProcedures = typeof SAMPLE_PROCEDURES;
