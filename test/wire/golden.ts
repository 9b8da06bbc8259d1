/**
 * Holds captured messages of other programs against our declarations: fixtures/capture/README.md says how they were
 * captured. `fields` and `rpc` come from tshark's decoder, so three implementations have to agree on every message.
 */
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { AUTH_NONE, AUTH_SYS, authsys_parms, type opaque_auth } from '../../src/rpc/auth.ts';
import {
  ACCEPT_STAT,
  MSG_TYPE,
  REPLY_STAT,
  call_body,
  message_header,
  reply_body,
} from '../../src/rpc/message.ts';
import type { Procedure, Procedures, Program } from '../../src/rpc/program.ts';
import { RecordDecoder, frameRecord } from '../../src/rpc/record.ts';
import { decodeAll, encodeAll, type Codec } from '../../src/xdr/codec.ts';
import { XdrReader } from '../../src/xdr/reader.ts';
import { XdrWriter } from '../../src/xdr/writer.ts';
import { plain } from './plain.ts';

export interface GoldenMessage {
  readonly name: string;
  readonly client: string;
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly procedureName: string;
  readonly message: 'call' | 'reply';
  readonly rpc: Readonly<Record<string, unknown>>;
  readonly fields: Readonly<Record<string, unknown>>;
  /** The RPC message without its record mark. */
  readonly hex: string;
}

export function readGolden(file: string): GoldenMessage[] {
  // tshark marks a name it cuts in its display (the value is whole), and gives empty data no value at all.
  const text = readFileSync(new URL(`../../fixtures/wire/${file}`, import.meta.url), 'utf8')
    .replaceAll('"[truncated]Name":', '"name":')
    .replaceAll('"data":null', '"data":""');
  return JSON.parse(text) as GoldenMessage[];
}

interface Decoded {
  readonly rpc: unknown;
  readonly body: unknown;
  readonly bytes: Uint8Array;
}

/** The procedure's declaration; undefined for a program, version or procedure the table does not have. */
function declaredFor(program: Program, golden: GoldenMessage): Procedure<unknown, unknown> | undefined {
  if (golden.program !== program.number || golden.version !== program.version) return undefined;
  return Object.values(program.procedures).find(({ number }) => number === golden.procedure);
}

/** The fixture's form of an opaque_auth: AUTH_SYS with its parameters. */
function plainAuth(auth: opaque_auth): unknown {
  if (auth.flavor === AUTH_NONE && auth.body.length === 0) return { flavor: auth.flavor };
  if (auth.flavor !== AUTH_SYS) throw new Error(`no capture holds flavor ${auth.flavor}`);
  return { flavor: auth.flavor, ...(plain(decodeAll(authsys_parms, [auth.body])) as object) };
}

/** The credential taken apart and put together again. */
function rebuilt(auth: opaque_auth): opaque_auth {
  if (auth.flavor !== AUTH_SYS) return auth;
  const body = Buffer.concat(encodeAll(authsys_parms, decodeAll(authsys_parms, [auth.body])));
  return { flavor: AUTH_SYS, body };
}

function decodeGolden(program: Program, golden: GoldenMessage, record: readonly Uint8Array[]): Decoded {
  const declared = declaredFor(program, golden);
  const reader = new XdrReader(record);
  const writer = new XdrWriter();
  const header = message_header.decode(reader);
  message_header.encode(writer, header);
  const finish = (rpc: unknown, codec: Codec<unknown> | undefined): Decoded => {
    const body = codec?.decode(reader);
    reader.expectEnd();
    codec?.encode(writer, body);
    return { rpc, body, bytes: Buffer.concat(writer.finish()) };
  };
  if (header.mtype === MSG_TYPE.CALL) {
    const call = call_body.decode(reader);
    call_body.encode(writer, { ...call, cred: rebuilt(call.cred), verf: rebuilt(call.verf) });
    const target = { prog: call.prog, vers: call.vers, proc: call.proc };
    const rpc = { xid: header.xid, cred: plainAuth(call.cred), verf: plainAuth(call.verf) };
    return finish({ ...rpc, ...target }, declared?.args);
  }
  const reply = reply_body.decode(reader);
  reply_body.encode(writer, reply);
  if (reply.reply !== REPLY_STAT.MSG_ACCEPTED) throw new Error('no capture holds a denied call');
  const { stat, ...mismatch } = reply.data;
  return finish(
    {
      xid: header.xid,
      verf: plainAuth(reply.verf),
      reply_stat: reply.reply,
      accept_stat: stat,
      ...(stat === ACCEPT_STAT.PROG_MISMATCH ? { mismatch_info: mismatch } : {}),
    },
    stat === ACCEPT_STAT.SUCCESS ? declared?.result : undefined,
  );
}

/** Runs the whole check over one file; `fieldsOf` turns a decoded body into the fixture's names. */
export function checkGolden<P extends Procedures>(
  t: Test,
  file: string,
  program: Program<P>,
  fieldsOf: (golden: GoldenMessage, body: unknown) => unknown,
): void {
  const table = program as unknown as Program;
  const goldens = readGolden(file);
  for (const golden of goldens) {
    t.test(`${golden.name} ${golden.message}`, async (t) => {
      const record = Buffer.from(golden.hex, 'hex');
      const decoded = decodeGolden(table, golden, [record]);
      const expected =
        golden.message === 'call'
          ? { ...golden.rpc, prog: golden.program, vers: golden.version, proc: golden.procedure }
          : golden.rpc;
      t.strictSame(decoded.rpc, expected, 'the message around it says what tshark says');
      t.strictSame(fieldsOf(golden, decoded.body) ?? {}, golden.fields, 'the fields hold what tshark says');
      t.equal(Buffer.from(decoded.bytes).toString('hex'), golden.hex, 'encodes to the same bytes');

      const records: Uint8Array[][] = [];
      const decoder = new RecordDecoder((chunks) => records.push(chunks));
      for (const byte of Buffer.concat(frameRecord([record]))) decoder.push(Uint8Array.of(byte));
      t.equal(records.length, 1);
      const again = decodeGolden(table, golden, records[0]!);
      t.strictSame([again.rpc, plain(again.body)], [decoded.rpc, plain(decoded.body)], 'byte by byte');
      t.equal(Buffer.from(again.bytes).toString('hex'), golden.hex);

      const split = Array.from(record, (byte) => Uint8Array.of(byte));
      t.strictSame(
        plain(decodeGolden(table, golden, split).body),
        plain(decoded.body),
        'every field in pieces',
      );
    });
  }

  t.test('every procedure was captured, with a success where it can have one', async (t) => {
    for (const [name, { number }] of Object.entries(table.procedures)) {
      const messages = goldens.filter(
        (golden) => declaredFor(table, golden) !== undefined && golden.procedure === number,
      );
      t.ok(
        messages.some(({ message }) => message === 'call'),
        `${name} call`,
      );
      t.ok(
        messages.some(({ message, fields }) => message === 'reply' && (fields.status ?? 0) === 0),
        `${name} reply`,
      );
      t.ok(messages.every(({ procedureName }) => procedureName === name));
    }
  });

  t.test('every captured message fails when cut or lengthened', async (t) => {
    for (const golden of goldens) {
      const record = Buffer.from(golden.hex, 'hex');
      const step = Math.max(4, Math.floor(record.length / 64));
      for (let length = 0; length < record.length; length += step) {
        try {
          decodeGolden(table, golden, [record.subarray(0, length)]);
          t.fail(`${golden.name}: ${length} of ${record.length} bytes decode`);
        } catch (error) {
          if ((error as { code?: unknown }).code !== 'TRUNCATED') throw error;
        }
      }
      const longer = [record, Buffer.alloc(4)];
      t.throws(() => decodeGolden(table, golden, longer), { code: 'LEFTOVER' }, golden.name);
    }
  });
}
