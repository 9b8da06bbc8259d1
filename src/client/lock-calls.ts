/** What a gateway has to know of the lock procedures. */
import { LOCK_PROCEDURES } from '../fgdp/locks.ts';
import { FGDP_PROGRAM } from '../fgdp/program.ts';

export { LockRanges, type LockRange } from '../fgdp/lock-ranges.ts';
export {
  LOCK_END_MAX,
  LOCK_KIND,
  LOCK_STAT,
  LOCK_TYPE,
  TEST_STAT,
  type LOCKargs,
  type LOCKres,
  type TESTres,
  type lock_kind,
  type lock_stat,
  type lock_type,
} from '../fgdp/locks.ts';

/** FGDP, as far as it is about locks. */
export const LOCK_CALLS = { ...FGDP_PROGRAM, procedures: LOCK_PROCEDURES };
export type LockProcedure = keyof typeof LOCK_PROCEDURES;
