/**
 * Locks between guests: the lock procedures of FGDP, spoken where both sides have FEATURE_LOCKS and CLIENT was said.
 * fcntl(2) and flock(2) say what the locks mean, docs/protocol.md how they are asked for.
 */
import { bool, enumeration, nothing, struct, u32, u64, union, type Infer } from '../xdr/codec.ts';
import { procedure } from '../rpc/program.ts';
import { NFS3_OK, nfsstat3 } from '../nfs3/status.ts';
import { nfs_fh3 } from '../nfs3/types.ts';

/** Feature bit of HELLO: the procedures below, and LOCK_GRANTED of FGDP_CALLBACK. */
export const FEATURE_LOCKS = 0x0040;

/** Locks of one kind never meet those of the other. */
export const LOCK_KIND = {
  /** Of a process, for ranges of bytes: fcntl(2). */
  POSIX: 0,
  /** Of an open file, for the whole file: flock(2). */
  FLOCK: 1,
} as const;
export const lock_kind = enumeration('lock_kind', LOCK_KIND);
export type lock_kind = Infer<typeof lock_kind>;

export const LOCK_TYPE = {
  /** Shared: F_RDLCK, LOCK_SH. */
  READ: 0,
  /** Exclusive: F_WRLCK, LOCK_EX. */
  WRITE: 1,
} as const;
export const lock_type = enumeration('lock_type', LOCK_TYPE);
export type lock_type = Infer<typeof lock_type>;

/** Last byte of "to the end of the file, however far it grows": OFFSET_MAX of the kernel. */
export const LOCK_END_MAX = 0x7fff_ffff_ffff_ffffn;

/** What became of a LOCK. */
export const LOCK_STAT = {
  GRANTED: 0,
  /** Somebody else has a lock that excludes this one, and nobody waits. */
  DENIED: 1,
  /** The same, and the request waits: LOCK_GRANTED follows, unless it is cancelled. */
  BLOCKED: 2,
  /** Waiting would never end: those who have to let go wait for this owner. */
  DEADLOCK: 3,
  /** The server was started anew, and those who had locks may still claim them: to be asked again soon. */
  GRACE: 4,
  /** A reclaimed lock was given up, or is another's by now. */
  LOST: 5,
  /** The client, the file or the server has as many locks or waiting requests as it may. */
  LIMIT: 6,
} as const;
export const lock_stat = enumeration('lock_stat', LOCK_STAT);
export type lock_stat = Infer<typeof lock_stat>;

export const LOCKargs = struct('LOCKargs', {
  file: nfs_fh3,
  kind: lock_kind,
  /** Names the owner within the client, for each kind: a process, or an open file. */
  owner: u64,
  /** Of the process, as the client's programs know it. */
  pid: u32,
  type: lock_type,
  /** First and last byte; LOCK_END_MAX reaches to the end of the file. */
  start: u64,
  end: u64,
  /** Whether the request waits where it cannot be granted at once. */
  wait: bool,
  /** The client had this lock before its connection broke. */
  reclaim: bool,
  /** Names the request within the client while it waits. */
  cookie: u64,
});
export type LOCKargs = Infer<typeof LOCKargs>;

export const LOCKres = union(
  'LOCKres',
  'status',
  nfsstat3,
  { [NFS3_OK]: struct('resok', { outcome: lock_stat }) },
  nothing,
);
export type LOCKres = Infer<typeof LOCKres>;

/** Which lock is in the way, as F_GETLK tells. */
export const TESTargs = struct('TESTargs', {
  file: nfs_fh3,
  kind: lock_kind,
  owner: u64,
  type: lock_type,
  start: u64,
  end: u64,
});
export type TESTargs = Infer<typeof TESTargs>;

export const TEST_STAT = {
  /** The lock could be had. */
  FREE: 0,
  HELD: 1,
  /** As LOCK_STAT.GRACE: nobody knows yet. */
  GRACE: 2,
} as const;
const test_stat = enumeration('test_stat', TEST_STAT);

export const TESTres = union(
  'TESTres',
  'status',
  nfsstat3,
  {
    [NFS3_OK]: struct('resok', {
      body: union('test', 'test', test_stat, {
        [TEST_STAT.FREE]: nothing,
        [TEST_STAT.HELD]: struct('held', {
          type: lock_type,
          start: u64,
          end: u64,
          /** 0 for a lock of another client: its numbers mean nothing here. */
          pid: u32,
        }),
        [TEST_STAT.GRACE]: nothing,
      }),
    }),
  },
  nothing,
);
export type TESTres = Infer<typeof TESTres>;

export const UNLOCKargs = struct('UNLOCKargs', {
  file: nfs_fh3,
  kind: lock_kind,
  owner: u64,
  start: u64,
  end: u64,
});
export type UNLOCKargs = Infer<typeof UNLOCKargs>;

export const UNLOCKres = struct('UNLOCKres', { status: nfsstat3 });
export type UNLOCKres = Infer<typeof UNLOCKres>;

export const CANCELargs = struct('CANCELargs', { cookie: u64 });
export type CANCELargs = Infer<typeof CANCELargs>;
/** Whether the request was waiting: otherwise it may have been granted. */
export const CANCELres = struct('CANCELres', { status: nfsstat3, was_waiting: bool });
export type CANCELres = Infer<typeof CANCELres>;

export const LOCK_PROCEDURES = {
  LOCK: procedure(10, LOCKargs, LOCKres),
  TEST: procedure(11, TESTargs, TESTres),
  UNLOCK: procedure(12, UNLOCKargs, UNLOCKres),
  /** The client has reclaimed all it had, on this server. */
  RECLAIM_DONE: procedure(13, nothing, nothing),
  CANCEL: procedure(14, CANCELargs, CANCELres),
} as const;

/** Of FGDP_CALLBACK: a request that was answered BLOCKED has its lock now. */
export const LOCK_GRANTEDargs = struct('LOCK_GRANTEDargs', { cookie: u64 });
export type LOCK_GRANTEDargs = Infer<typeof LOCK_GRANTEDargs>;
