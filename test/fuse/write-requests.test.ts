/** WRITE and what makes it last: what the operations are told, and whose the bytes are. */
import t from 'tap';
import {
  FUSE_OPCODE,
  fuse_copy_file_range_in,
  fuse_fallocate_in,
  fuse_flush_in,
  fuse_fsync_in,
  fuse_write_in,
  fuse_write_out,
} from '../../src/fuse/abi.ts';
import { WRITE_COPIED_BYTES_MAX } from '../../src/fuse/limits.ts';
import { REQUEST_HANDLERS } from '../../src/fuse/requests.ts';
import type { Operations, WriteData } from '../../src/gateway/operations.ts';
import { CONTEXT, fakeOperations } from './fake-operations.ts';

const EINVAL = 22;
const ENOSPC = 28;
const O_SYNC_WRONLY = 0o4010001;

/** A WRITE of `bytes`; what becomes of its memory is written down. */
function write(bytes: Uint8Array, operation: Operations['write'], size = bytes.length) {
  const head = fuse_write_in.encode({
    ...{ fh: 3n, offset: 2n ** 40n, size, write_flags: 0, lock_owner: 0n, flags: O_SYNC_WRONLY, padding: 0 },
  });
  const memory: string[] = [];
  const body = Buffer.concat([head, bytes]);
  const answer = REQUEST_HANDLERS.get(FUSE_OPCODE.WRITE)!.handle(fakeOperations({ write: operation }), {
    ...{ nodeId: 1n, body, context: CONTEXT },
    keepMemory: () => {
      memory.push('kept');
      return () => void memory.push('given back');
    },
  });
  return { answer, memory, body };
}

t.test('WRITE', async (t) => {
  const { answer, memory } = write(Buffer.from('bytes'), (fileHandle, offset, { bytes }, flags, context) => {
    t.same([fileHandle, offset, flags], [3n, 2n ** 40n, O_SYNC_WRONLY]);
    t.equal(Buffer.from(bytes).toString(), 'bytes');
    t.equal(context, CONTEXT);
    return Promise.resolve({ writtenBytes: 4 });
  });
  t.same(await answer, [fuse_write_out.encode({ size: 4, padding: 0 })]);
  t.same(memory, []);
  t.equal(write(Buffer.from('bytes'), () => ENOSPC).answer, ENOSPC);
});

t.test('a count that is not that of the bytes is EINVAL, and nothing is written', async (t) => {
  const never: Operations['write'] = () => {
    throw new Error('written');
  };
  for (const size of [0, 4, 6, 0xffffffff]) {
    t.equal(write(Buffer.from('bytes'), never, size).answer, EINVAL);
  }
});

t.test('a few bytes are copied when they are taken', async (t) => {
  let taken: Uint8Array = new Uint8Array();
  const { memory, body } = write(Buffer.from('bytes'), (_fh, _offset, data) => {
    taken = data.take();
    t.equal(data.take(), taken, 'taken once');
    data.release?.();
    return { writtenBytes: 5 };
  });
  body.fill(0);
  t.equal(Buffer.from(taken).toString(), 'bytes');
  t.same(memory, []);
});

t.test('many bytes stay where they are, and their memory is given back', async (t) => {
  let kept: WriteData | undefined;
  const { memory, body } = write(Buffer.alloc(WRITE_COPIED_BYTES_MAX + 1, 'x'), (_fh, _offset, data) => {
    kept = data;
    data.take();
    return { writtenBytes: data.bytes.length };
  });
  const taken = kept!.take();
  t.equal(taken.buffer, body.buffer, 'no copy');
  t.equal(taken.byteOffset, body.byteOffset + fuse_write_in.sizeBytes);
  t.same(memory, ['kept']);
  kept!.release?.();
  t.same(memory, ['kept', 'given back']);
});

t.test('bytes that were not taken in time cannot be taken', async (t) => {
  let late: WriteData | undefined;
  const { answer } = write(Buffer.from('bytes'), async (_fh, _offset, data) => {
    late = data;
    return { writtenBytes: 5 };
  });
  t.throws(() => late!.take(), /after its operation/);
  late!.release?.();
  await answer;
});

t.test('flush, fsync, fallocate and copy_file_range', async (t) => {
  const told: unknown[] = [];
  const operations = fakeOperations({
    flush: (fh) => (told.push(['flush', fh]), 0),
    fsync: (fh, dataOnly) => (told.push(['fsync', fh, dataOnly]), 5),
    fsyncdir: (fh, dataOnly) => (told.push(['fsyncdir', fh, dataOnly]), Promise.resolve(0 as const)),
    fallocate: (fh, range) => (told.push(['fallocate', fh, range]), 95),
    copyFileRange: (from, to, length) => (told.push(['copy', from, to, length]), { copiedBytes: 6 }),
  });
  const call = (opcode: number, body: Uint8Array) =>
    REQUEST_HANDLERS.get(opcode)!.handle(operations, {
      ...{ nodeId: 1n, body, context: CONTEXT },
      keepMemory: () => () => undefined,
    });
  const fsync = (fsync_flags: number) => fuse_fsync_in.encode({ fh: 3n, fsync_flags, padding: 0 });
  const flush = fuse_flush_in.encode({ fh: 3n, unused: 0, padding: 0, lock_owner: 0n });
  t.same(call(FUSE_OPCODE.FLUSH, flush), []);
  t.equal(call(FUSE_OPCODE.FSYNC, fsync(0)), 5);
  t.equal(call(FUSE_OPCODE.FSYNC, fsync(1)), 5);
  t.same(await call(FUSE_OPCODE.FSYNCDIR, fsync(1)), []);
  const allocate = fuse_fallocate_in.encode({ fh: 3n, offset: 2n ** 33n, length: 7n, mode: 3, padding: 0 });
  t.equal(call(FUSE_OPCODE.FALLOCATE, allocate), 95);
  const range = { fh_in: 3n, off_in: 1n, nodeid_out: 9n, fh_out: 4n, off_out: 2n, len: 2n ** 40n };
  const copy = (flags: bigint) =>
    call(FUSE_OPCODE.COPY_FILE_RANGE, fuse_copy_file_range_in.encode({ ...range, flags }));
  t.equal(copy(1n), 22, 'flags that nobody knows');
  t.same(copy(0n), [fuse_write_out.encode({ size: 6, padding: 0 })]);
  t.same(told, [
    ['flush', 3n],
    ['fsync', 3n, false],
    ['fsync', 3n, true],
    ['fsyncdir', 3n, true],
    ['fallocate', 3n, { mode: 3, offset: 2n ** 33n, length: 7n }],
    ['copy', { fileHandle: 3n, offset: 1n }, { fileHandle: 4n, offset: 2n }, 2n ** 40n],
  ]);
});
