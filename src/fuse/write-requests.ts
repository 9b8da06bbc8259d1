/** Requests about the bytes of open files: WRITE, and what makes them last. */
import {
  FUSE_FSYNC_FDATASYNC,
  FUSE_OPCODE,
  fuse_copy_file_range_in,
  fuse_fallocate_in,
  fuse_flush_in,
  fuse_fsync_in,
  fuse_write_in,
  fuse_write_out,
} from './abi.ts';
import { done, encoded, type HandlerEntries } from './request-handler.ts';
import { RequestWriteData } from './write-data.ts';

const EINVAL = 22;
/** open(2): the bits that say whether it is for reading (0), writing, or both. */
const O_ACCMODE = 3;

/** Whether open(2)'s flags let a program write. */
export function mayWrite(flags: number): boolean {
  return (flags & O_ACCMODE) !== 0;
}

export const WRITE_HANDLERS: HandlerEntries = [
  [
    FUSE_OPCODE.WRITE,
    {
      name: 'WRITE',
      handle: (operations, { body, context, keepMemory }) => {
        const { fh, offset, size, flags } = fuse_write_in.decode(body);
        const bytes = body.subarray(fuse_write_in.sizeBytes);
        if (bytes.length !== size) return EINVAL;
        const data = new RequestWriteData(bytes, keepMemory);
        const answer = operations.write(fh, offset, data, flags, context);
        data.end();
        return encoded(answer, ({ writtenBytes }) => [
          fuse_write_out.encode({ size: writtenBytes, padding: 0 }),
        ]);
      },
    },
  ],
  [
    FUSE_OPCODE.FLUSH,
    {
      name: 'FLUSH',
      handle: (operations, { body, context }) => {
        const { fh, lock_owner } = fuse_flush_in.decode(body);
        return done(operations.flush(fh, context, lock_owner));
      },
    },
  ],
  [
    FUSE_OPCODE.FSYNC,
    {
      name: 'FSYNC',
      handle: (operations, { body, context }) => {
        const { fh, fsync_flags } = fuse_fsync_in.decode(body);
        return done(operations.fsync(fh, isDataOnly(fsync_flags), context));
      },
    },
  ],
  [
    FUSE_OPCODE.FSYNCDIR,
    {
      name: 'FSYNCDIR',
      handle: (operations, { body, context }) => {
        const { fh, fsync_flags } = fuse_fsync_in.decode(body);
        return done(operations.fsyncdir(fh, isDataOnly(fsync_flags), context));
      },
    },
  ],
  [
    FUSE_OPCODE.FALLOCATE,
    {
      name: 'FALLOCATE',
      handle: (operations, { body, context }) => {
        const { fh, offset, length, mode } = fuse_fallocate_in.decode(body);
        return done(operations.fallocate(fh, { mode, offset, length }, context));
      },
    },
  ],
  // The kernel asks by COPY_FILE_RANGE_64 first, whose ENOSYS has it ask by this one from then on.
  [
    FUSE_OPCODE.COPY_FILE_RANGE,
    {
      name: 'COPY_FILE_RANGE',
      handle: (operations, { body, context }) => {
        const { fh_in, off_in, fh_out, off_out, len, flags } = fuse_copy_file_range_in.decode(body);
        if (flags !== 0n) return EINVAL;
        const from = { fileHandle: fh_in, offset: off_in };
        const to = { fileHandle: fh_out, offset: off_out };
        return encoded(operations.copyFileRange(from, to, len, context), ({ copiedBytes }) => [
          fuse_write_out.encode({ size: copiedBytes, padding: 0 }),
        ]);
      },
    },
  ],
];

function isDataOnly(fsyncFlags: number): boolean {
  return (fsyncFlags & FUSE_FSYNC_FDATASYNC) !== 0;
}
