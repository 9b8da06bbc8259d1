/** NFS procedures called as the plain functions they are: no connection, no encoding. */
import type { NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import { statusName } from '../../src/nfs3/status.ts';
import { TIME_HOW, type sattr3 } from '../../src/nfs3/types.ts';
import type { ArgsOf, ResultOf } from '../../src/rpc/program.ts';
import { ClientSession, type Intent, type ServerContext } from '../../src/server/client-session.ts';
import { nfsProcedures } from '../../src/server/nfs-procedures.ts';
import type { Identity } from '../../src/store/identity.ts';
import type { Store } from '../../src/store/store.ts';

type Procedures = typeof NFS_PROCEDURES;
export type Name = keyof Procedures;

export const NO_CHANGE: sattr3 = {
  mode: null,
  uid: null,
  gid: null,
  size: null,
  atime: { set_it: TIME_HOW.DONT_CHANGE },
  mtime: { set_it: TIME_HOW.DONT_CHANGE },
};

export function contextOf(identity: Identity, intent?: Intent): ServerContext {
  const { uid, gid, groups } = identity;
  return {
    call: {
      xid: 1,
      program: 'NFS',
      procedure: '',
      credential: { flavor: 'sys', stamp: 0, machinename: 'test', uid, gid, groups: [...groups] },
      afterReply: () => undefined,
    } as ServerContext['call'],
    session: new ClientSession({ kind: 'unix', identity, claims: 'any' }, 'test'),
    intent,
  };
}

/** A procedure's own answer, which for those that change names comes at once. */
export function callProcedure<K extends Name>(
  store: Store,
  context: ServerContext,
  procedure: K,
  args: ArgsOf<Procedures[K]>,
): ResultOf<Procedures[K]> {
  const handlers = nfsProcedures(store);
  const handler = handlers[procedure] as (
    args: ArgsOf<Procedures[K]>,
    context: ServerContext,
  ) => ResultOf<Procedures[K]> | Promise<ResultOf<Procedures[K]>>;
  const answer = handler(args, context);
  if (answer instanceof Promise) throw new Error(`${procedure} did not answer at once`);
  return answer;
}

export function statusText(answer: { readonly status: Parameters<typeof statusName>[0] }): string {
  return statusName(answer.status).replace('NFS3ERR_', '').replace('NFS3_', '');
}
