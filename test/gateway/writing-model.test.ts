/** Random writes, reads, truncations and fsyncs before a server that dies at random, against a plain buffer. */
import { constants } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { DirtyBytes } from '../../src/gateway/dirty-bytes.ts';
import type { Opened } from '../../src/gateway/operations.ts';
import {
  context,
  keepRunning,
  mountBefore,
  patched,
  resized,
  writeData,
  WritingServer,
} from './writing-server.ts';

const WSIZE_BYTES = 512;
const FILE_BYTES = 6_000;
const DIRTY_MAX_BYTES = 12_000;
const BACKGROUND_BYTES = 6_000;
const FILES = 3;

const operation = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      file: fc.nat(FILES - 1),
      /** Where the last write to any file ended, or somewhere. */
      follows: fc.boolean(),
      offset: fc.nat(FILE_BYTES),
      size: fc.integer({ min: 1, max: 1_500 }),
      fill: fc.integer({ min: 1, max: 255 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('read' as const),
      file: fc.nat(FILES - 1),
      offset: fc.nat(FILE_BYTES),
      size: fc.integer({ min: 1, max: 3_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncate' as const), size: fc.nat(FILE_BYTES) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('chmod' as const), mode: fc.nat(0o777) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('fsync' as const), file: fc.nat(FILES - 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('getattr' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lookup' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('die' as const),
      calls: fc.integer({ min: 0, max: 6 }),
      isDone: fc.boolean(),
    }),
  },
);

interface Conditions {
  readonly writesAtMost: number;
  readonly hasFineClock: boolean;
  readonly delays: readonly number[];
  readonly flags: readonly number[];
}

const conditions: fc.Arbitrary<Conditions> = fc.record({
  writesAtMost: fc.constantFrom(Infinity, 300, 17),
  hasFineClock: fc.boolean(),
  delays: fc.array(fc.nat(3), { minLength: 1, maxLength: 8 }),
  flags: fc.array(fc.constantFrom(0, 0, constants.O_SYNC, constants.O_DSYNC, constants.O_DIRECT), {
    minLength: FILES,
    maxLength: FILES,
  }),
});

function expectSame(actual: Buffer, expected: Buffer, what: string): void {
  if (actual.equals(expected)) return;
  let at = 0;
  while (actual[at] === expected[at] && at < Math.min(actual.length, expected.length)) at += 1;
  throw new Error(`${what}: ${actual.length} bytes for ${expected.length}, different from byte ${at} on`);
}

function answered<T>(outcome: T | number, what: string): T {
  if (typeof outcome === 'number') throw new Error(`${what}: errno ${outcome}`);
  return outcome;
}

t.test('reads show every write, and what was synced outlives every death of the server', async (t) => {
  keepRunning(t);
  await t.resolves(
    fc.assert(
      fc.asyncProperty(conditions, fc.array(operation, { maxLength: 40 }), async (given, operations) => {
        const server = new WritingServer();
        server.writesAtMost = given.writesAtMost;
        server.hasFineClock = given.hasFineClock;
        let served = 0;
        server.delayTurns = () => given.delays[served++ % given.delays.length] ?? 0;
        const dirty = new DirtyBytes(DIRTY_MAX_BYTES, BACKGROUND_BYTES);
        const { gateway, link, nodeId, warnings } = await mountBefore(server, {
          wsizeBytes: WSIZE_BYTES,
          dirty,
        });
        const files: Opened[] = [];
        for (const flags of given.flags) {
          files.push(answered(await gateway.open(nodeId, constants.O_RDWR | flags, context()), 'open'));
        }
        const handleOf = (file: number): bigint => files[file]?.fileHandle ?? 0n;
        let model: Buffer = Buffer.alloc(0);
        let position = 0;
        for (const step of operations) {
          switch (step.kind) {
            case 'write': {
              const at = step.follows ? position : step.offset;
              const bytes = Buffer.alloc(step.size, step.fill);
              const data = writeData(bytes);
              const answer = gateway.write(
                handleOf(step.file),
                BigInt(at),
                data,
                given.flags[step.file] ?? 0,
                context(),
              );
              data.reuse();
              const { writtenBytes } = answered(await answer, 'write');
              if (writtenBytes !== step.size) throw new Error(`write: ${writtenBytes} for ${step.size}`);
              model = patched(model, at, bytes);
              position = (at + step.size) % FILE_BYTES;
              const flags = given.flags[step.file] ?? 0;
              if ((flags & constants.O_DSYNC) !== 0) {
                expectSame(server.disk.subarray(at, at + step.size), bytes, 'on disk after O_SYNC');
              }
              break;
            }
            case 'read': {
              const { offset, size } = step;
              const pieces = await gateway.read(handleOf(step.file), BigInt(offset), size, context());
              const bytes = Buffer.concat(answered(pieces, 'read'));
              expectSame(bytes, model.subarray(offset, offset + size), `read of ${size} at ${offset}`);
              break;
            }
            case 'truncate': {
              const changes = { size: BigInt(step.size) };
              const { attributes } = answered(await gateway.setattr(nodeId, changes, context()), 'truncate');
              model = resized(model, step.size);
              if (attributes.size !== BigInt(step.size)) throw new Error(`truncated to ${attributes.size}`);
              break;
            }
            case 'chmod': {
              const { mode } = step;
              const { attributes } = answered(await gateway.setattr(nodeId, { mode }, context()), 'chmod');
              if ((attributes.mode & 0o7777) !== mode) throw new Error(`mode ${attributes.mode}`);
              expectSame(server.disk, model, 'on disk after chmod');
              break;
            }
            case 'fsync': {
              const outcome = await gateway.fsync(handleOf(step.file), false, context());
              if (outcome !== 0) throw new Error(`fsync: errno ${outcome}`);
              expectSame(server.disk, model, 'on disk after fsync');
              break;
            }
            case 'getattr': {
              const { attributes } = answered(await gateway.getattr(nodeId, context()), 'getattr');
              if (attributes.size !== BigInt(model.length))
                throw new Error(`size ${attributes.size} for ${model.length}`);
              break;
            }
            case 'lookup': {
              const entry = answered(await gateway.lookup(1n, Buffer.from('file'), context()), 'lookup');
              if (entry.attributes?.attributes.size !== BigInt(model.length)) {
                throw new Error(`LOOKUP shows ${entry.attributes?.attributes.size} for ${model.length}`);
              }
              break;
            }
            case 'die':
              if (step.calls === 0) server.restart();
              else server.dieAt = { calls: step.calls, isDone: step.isDone };
          }
        }
        for (const { fileHandle } of files) {
          if ((await gateway.flush(fileHandle, context())) !== 0) throw new Error('flush failed');
        }
        expectSame(server.disk, model, 'on disk after close');
        const { dirtyBytes } = gateway.status();
        if (dirtyBytes !== 0) throw new Error(`${dirtyBytes} bytes are left`);
        for (const { fileHandle } of files) gateway.release(fileHandle);
        if (warnings.length > 0) throw new Error(warnings.join(', '));
        link.close();
      }),
      {
        numRuns: 300,
        ...(process.env.NEARMOUNT_SEED === undefined ? {} : { seed: Number(process.env.NEARMOUNT_SEED) }),
      },
    ),
  );
});
