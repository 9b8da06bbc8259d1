/** Requests about locks; they come where the operations share them with others (FUSE_LOCK_FLAGS). */
import type { FileLock } from '../gateway/operations.ts';
import { FUSE_LK_FLOCK, FUSE_OPCODE, fuse_lk_in, fuse_lk_out, type StructOf } from './abi.ts';
import { done, encoded, type HandlerEntries, type RequestHandler } from './request-handler.ts';

const EINVAL = 22;
const ENOLCK = 37;

/** F_RDLCK, F_WRLCK and F_UNLCK: fcntl(2). */
const LOCK_TYPES = [0, 1, 2] as const;

function lockOf({ type, start, end, pid }: StructOf<typeof fuse_lk_in>): FileLock | undefined {
  const known = LOCK_TYPES.find((each) => each === type);
  return known === undefined ? undefined : { type: known, start, end, pid };
}

function setLock(waits: boolean): RequestHandler['handle'] {
  return (operations, { body, context }) => {
    const asked = fuse_lk_in.decode(body);
    const lock = lockOf(asked);
    if (lock === undefined) return EINVAL;
    const kind = (asked.lk_flags & FUSE_LK_FLOCK) === 0 ? 'posix' : 'flock';
    return done(operations.setlk?.(asked.fh, kind, asked.owner, lock, waits, context) ?? ENOLCK);
  };
}

export const LOCK_HANDLERS: HandlerEntries = [
  [
    FUSE_OPCODE.GETLK,
    {
      name: 'GETLK',
      handle: (operations, { body, context }) => {
        const asked = fuse_lk_in.decode(body);
        const lock = lockOf(asked);
        if (lock === undefined) return EINVAL;
        const answer = operations.getlk?.(asked.fh, asked.owner, lock, context) ?? ENOLCK;
        return encoded(answer, (found) => [fuse_lk_out.encode(found)]);
      },
    },
  ],
  [FUSE_OPCODE.SETLK, { name: 'SETLK', handle: setLock(false) }],
  [FUSE_OPCODE.SETLKW, { name: 'SETLKW', heedsInterrupts: true, handle: setLock(true) }],
];
