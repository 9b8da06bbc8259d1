/** The lock procedures of FGDP: LOCK, TEST, UNLOCK, CANCEL and RECLAIM_DONE. */
import {
  LOCK_END_MAX,
  LOCK_KIND,
  LOCK_TYPE,
  TEST_STAT,
  type LOCK_PROCEDURES,
  type LOCKres,
  type TESTargs,
  type TESTres,
} from '../fgdp/locks.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { Handlers } from '../rpc/program.ts';
import { ChangeStamps } from '../store/change-stamps.ts';
import type { Store } from '../store/store.ts';
import type { ServerContext } from './client-session.ts';
import type { LockService } from './lock-service.ts';
import type { LockPlace } from './lock-table.ts';
import { onFile } from './target.ts';

/** A place, and a range of it that makes sense. */
type Range = Pick<TESTargs, 'file' | 'kind' | 'owner' | 'start' | 'end'>;

export function lockProcedures(
  store: Store,
  locks: LockService | undefined,
  stamps: Pick<ChangeStamps, 'tellApart'> = new ChangeStamps(),
): Handlers<typeof LOCK_PROCEDURES, ServerContext> {
  /** What a connection may do with locks, or why not. */
  const refusal = ({ session }: ServerContext): nfs3error | undefined => {
    if (locks === undefined || session.clientId === undefined) return NFSSTAT3.NFS3ERR_NOTSUPP;
    return locks.admits(session) ? undefined : NFSSTAT3.NFS3ERR_JUKEBOX;
  };

  const placeOf = ({ file, kind, owner }: Range, { session }: ServerContext): LockPlace | undefined => {
    const key = store.identify(file.data);
    if (key === undefined || session.clientId === undefined) return undefined;
    return { client: session.clientId, file: key, kind, owner };
  };

  /** Runs `body` for a file that is there, and that the client may use. */
  const onPlace = <T>(
    args: Range,
    context: ServerContext,
    body: (place: LockPlace) => T,
    fail: (status: nfs3error) => T,
  ): T => {
    const refused = refusal(context);
    if (refused !== undefined) return fail(refused);
    if (!isRange(args)) return fail(NFSSTAT3.NFS3ERR_INVAL);
    return onFile(
      store,
      args.file,
      context,
      () => {
        const place = placeOf(args, context);
        return place === undefined ? fail(NFSSTAT3.NFS3ERR_STALE) : body(place);
      },
      fail,
    );
  };

  /** Others are let in: they must see that the file was changed, if it was. */
  const letOthersIn = (args: Range, place: LockPlace, context: ServerContext): void => {
    if (locks?.table.hasExclusive(place, args.start, args.end) !== true) return;
    onFile(
      store,
      args.file,
      context,
      ({ node, status }) => {
        stamps.tellApart(node, status);
      },
      // It is gone: nobody will look at it.
      () => undefined,
    );
  };

  return {
    LOCK: (args, context) =>
      onPlace<LOCKres>(
        args,
        context,
        (place) => {
          const { pid, type, start, end } = args;
          const request = { ...place, pid, type, start, end };
          if (locks === undefined) return { status: NFSSTAT3.NFS3ERR_NOTSUPP };
          if (type === LOCK_TYPE.READ) letOthersIn(args, place, context);
          return { status: NFS3_OK, outcome: locks.lock(context.session, request, args) };
        },
        (status) => ({ status }),
      ),
    TEST: (args, context) =>
      onPlace<TESTres>(
        args,
        context,
        (place) => {
          if (locks === undefined) return { status: NFSSTAT3.NFS3ERR_NOTSUPP };
          const held = locks.test({ ...place, pid: 0, type: args.type, start: args.start, end: args.end });
          if (typeof held === 'number') return { status: NFS3_OK, body: { test: held } };
          const { client, type, start, end, pid } = held;
          const shownPid = client === place.client ? pid : 0;
          return { status: NFS3_OK, body: { test: TEST_STAT.HELD, type, start, end, pid: shownPid } };
        },
        (status) => ({ status }),
      ),
    UNLOCK: (args, context) => {
      const refused = refusal(context);
      if (refused !== undefined) return { status: refused };
      if (!isRange(args)) return { status: NFSSTAT3.NFS3ERR_INVAL };
      // Also of a file that was deleted, or that the client may not use any more.
      const place = placeOf(args, context);
      if (place === undefined) return { status: NFSSTAT3.NFS3ERR_STALE };
      letOthersIn(args, place, context);
      locks?.unlock(place, args.start, args.end);
      return { status: NFS3_OK };
    },
    CANCEL: ({ cookie }, context) => {
      const refused = refusal(context);
      if (refused !== undefined) return { status: refused, was_waiting: false };
      const wasWaiting = locks?.cancel(context.session.clientId ?? '', cookie) === true;
      return { status: NFS3_OK, was_waiting: wasWaiting };
    },
    RECLAIM_DONE: (_args, context) => {
      if (refusal(context) === undefined) locks?.reclaimed(context.session.clientId ?? '');
    },
  };
}

function isRange({ kind, start, end }: Range): boolean {
  if (start > end || end > LOCK_END_MAX) return false;
  return kind !== LOCK_KIND.FLOCK || (start === 0n && end === LOCK_END_MAX);
}
