/** Properties of every declaration of the procedure tables, over values of the whole range of each field. */
import { deepStrictEqual } from 'node:assert/strict';
import fc, { type Arbitrary } from 'fast-check';
import t from 'tap';
import { FGDP_PROGRAM } from '../../src/fgdp/program.ts';
import { MOUNT_PROGRAM } from '../../src/nfs3/mount.ts';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { NFSACL_PROGRAM } from '../../src/nfs3/nfsacl.ts';
import { authsys_parms } from '../../src/rpc/auth.ts';
import { call_body, message_header, reply_body } from '../../src/rpc/message.ts';
import type { Procedures, Program } from '../../src/rpc/program.ts';
import { decodeAll, encodeAll, type Codec } from '../../src/xdr/codec.ts';
import { XdrError } from '../../src/xdr/error.ts';
import {
  FGDP_ARBITRARIES,
  MOUNT_ARBITRARIES,
  NFSACL_ARBITRARIES,
  NFS_ARBITRARIES,
  authsys,
  callBody,
  header,
  replyBody,
  type ProcedureArbitraries,
} from './arbitraries.ts';
import { plain } from './plain.ts';

/** Runs of one property; there are some 130 of them, and the file should take a few seconds. */
const RUNS = 40;
const MUTATIONS = 100;

interface Declaration {
  readonly title: string;
  readonly codec: Codec<unknown>;
  readonly values: Arbitrary<unknown>;
}

function declarationsOf<P extends Procedures>(
  program: Program<P>,
  arbitraries: ProcedureArbitraries<P>,
): Declaration[] {
  return Object.entries(program.procedures).flatMap(([name, procedure]) => {
    const { args, result } = arbitraries[name]!;
    return [
      { title: `${program.name} ${name} args`, codec: procedure.args, values: args },
      { title: `${program.name} ${name} result`, codec: procedure.result, values: result },
    ];
  });
}

const declaration = <T>(title: string, codec: Codec<T>, values: Arbitrary<T>): Declaration => ({
  title,
  codec: codec,
  values,
});

const DECLARATIONS: readonly Declaration[] = [
  declaration('rpc_msg', message_header, header),
  declaration('call_body', call_body, callBody),
  declaration('reply_body', reply_body, replyBody),
  declaration('authsys_parms', authsys_parms, authsys),
  ...declarationsOf(NFS_PROGRAM, NFS_ARBITRARIES),
  ...declarationsOf(NFSACL_PROGRAM, NFSACL_ARBITRARIES),
  ...declarationsOf(MOUNT_PROGRAM, MOUNT_ARBITRARIES),
  ...declarationsOf(FGDP_PROGRAM, FGDP_ARBITRARIES),
];

/** Cuts `whole` at the given places, so that fields straddle chunks. */
function cut(whole: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (whole.length + 1)), 0, whole.length].sort((a, b) => a - b);
  return ends.slice(1).map((end, index) => whole.subarray(ends[index], end));
}

type Mutation =
  | { kind: 'flip'; at: number; bits: number }
  | { kind: 'cut'; at: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array };

const places = fc.nat(1 << 20);
const mutations: Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: places, bits: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('cut' as const), at: places }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: places,
    bytes: fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.constant(Buffer.alloc(4, 0xff))),
  }),
);

function mutate(whole: Uint8Array, mutation: Mutation): Uint8Array {
  const at = mutation.at % (whole.length + 1);
  switch (mutation.kind) {
    case 'flip': {
      const changed = Uint8Array.from(whole);
      if (at < changed.length) changed[at] = (changed[at] ?? 0) ^ mutation.bits;
      return changed;
    }
    case 'cut':
      return whole.subarray(0, at);
    case 'insert':
      return Buffer.concat([whole.subarray(0, at), mutation.bytes, whole.subarray(at)]);
  }
}

for (const { title, codec, values } of DECLARATIONS) {
  t.test(title, async (t) => {
    t.doesNotThrow(() => {
      fc.assert(
        fc.property(values, fc.array(places, { maxLength: 6 }), (value, seams) => {
          const whole = Buffer.concat(encodeAll(codec, value));
          deepStrictEqual(whole.length % 4, 0);
          const wanted = plain(value);
          deepStrictEqual(plain(decodeAll(codec, [whole])), wanted);
          const chunked = decodeAll(codec, cut(whole, seams));
          deepStrictEqual(plain(chunked), wanted);
          deepStrictEqual(Buffer.concat(encodeAll(codec, chunked)), whole);
        }),
        { numRuns: RUNS },
      );
    }, 'decode(encode(x)) is x, in one chunk and cut anywhere');

    t.doesNotThrow(() => {
      fc.assert(
        fc.property(values, fc.array(mutations, { minLength: 1, maxLength: 3 }), (value, changes) => {
          const whole = changes.reduce<Uint8Array>(mutate, Buffer.concat(encodeAll(codec, value)));
          try {
            decodeAll(codec, [whole]);
          } catch (error) {
            if (!(error instanceof XdrError)) throw error;
            deepStrictEqual(error.code === 'RANGE', false, 'RANGE is for encoding');
            deepStrictEqual(error.field.startsWith(codec.name), true, error.field);
          }
        }),
        { numRuns: MUTATIONS },
      );
    }, 'changed bytes decode, or throw XdrError');
  });
}

t.test('every truncation of a sample is TRUNCATED', async (t) => {
  for (const { title, codec, values } of DECLARATIONS) {
    for (const value of fc.sample(values, { numRuns: 3, seed: 1813 })) {
      const whole = Buffer.concat(encodeAll(codec, value));
      const step = Math.max(1, Math.floor(whole.length / 200));
      for (let length = 0; length < whole.length; length += step) {
        try {
          decodeAll(codec, [whole.subarray(0, length)]);
          t.fail(`${title}: ${length} of ${whole.length} bytes decode`);
        } catch (error) {
          if (!(error instanceof XdrError) || error.code !== 'TRUNCATED') throw error;
        }
      }
      t.throws(() => decodeAll(codec, [whole, Uint8Array.of(0)]), { code: 'LEFTOVER' }, title);
    }
  }
});
