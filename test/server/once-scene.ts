/** Calls of NFS that come again, to a reply cache whose log outlives it, without sockets. */
import { join } from 'node:path';
import { NFS_PROGRAM, NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import { createLogger, type Logger } from '../../src/observe/log.ts';
import type { opaque_auth } from '../../src/rpc/auth.ts';
import { Caller } from '../../src/rpc/caller.ts';
import { Dispatcher } from '../../src/rpc/dispatcher.ts';
import type { ArgsOf, Handlers, ResultOf } from '../../src/rpc/program.ts';
import { CallLog, type CallLogOptions } from '../../src/server/call-log.ts';
import { ClientSession, type Peer, type ServerContext } from '../../src/server/client-session.ts';
import { ReplyCache } from '../../src/server/reply-cache.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { Store } from '../../src/store/store.ts';

type NfsHandlers = Handlers<typeof NFS_PROCEDURES, ServerContext>;

export const FAR = { kind: 'tcp', address: '192.0.2.1', port: 700 } as const satisfies Peer;

/** A session; with a client's id as if CLIENT had been said. */
export function sessionOf(peer: Peer, clientId?: string): ClientSession {
  const session = new ClientSession(peer, 'tested');
  session.clientId = clientId;
  return session;
}

export const clientId = (letter: string): string => letter.repeat(16);

export interface OnceServer {
  readonly store: Store;
  readonly calls: CallLog;
  /** Handle of the export's root. */
  readonly root: Uint8Array;
  readonly call: <K extends keyof typeof NFS_PROCEDURES>(
    session: ClientSession,
    xid: number,
    name: K,
    args: ArgsOf<(typeof NFS_PROCEDURES)[K]>,
    credential?: opaque_auth,
  ) => Promise<ResultOf<(typeof NFS_PROCEDURES)[K]>>;
  /** As a process that is killed leaves it. */
  readonly die: () => void;
}

export interface OnceServerOptions {
  readonly options?: string;
  readonly log?: Logger;
  readonly bootId?: string;
  readonly limits?: NonNullable<CallLogOptions['limits']>;
}

/** Exports `directory`/tree with these procedures; the others are not called. */
export function onceServer(
  directory: string,
  handlers: Partial<NfsHandlers>,
  {
    options = '',
    log = createLogger({ level: 'silent', name: 'test' }),
    bootId = 'boot',
    limits,
  }: OnceServerOptions = {},
): OnceServer {
  const stateDirectory = join(directory, 'state');
  const store = Store.open({
    stateDirectory,
    exports: [parseExportOption(`tree=${join(directory, 'tree')}${options}`)],
  });
  const calls = CallLog.open({ stateDirectory, bootId, log, ...(limits === undefined ? {} : { limits }) });
  if (calls === undefined) throw new Error('somebody has the log');
  const dispatcher = new Dispatcher<ServerContext>({
    onFailure: () => undefined,
    once: new ReplyCache(store, calls).once,
  });
  const none = new Proxy(handlers, {
    get: (target, name): unknown =>
      Reflect.get(target, name) ?? (() => Promise.reject(new Error(`${String(name)} is not served`))),
  });
  dispatcher.register(NFS_PROGRAM, none as NfsHandlers);
  return {
    store,
    calls,
    root: store.rootHandle('tree'),
    call: (session, xid, name, args, credential) => {
      const caller = new Caller((chunks) => {
        void dispatcher
          .dispatch(chunks, (call) => ({ call, session }))
          .then((reply) => {
            if (reply !== undefined) caller.receive(reply.chunks);
          });
      });
      return caller.call(NFS_PROGRAM, name, args, {
        xid,
        ...(credential === undefined ? {} : { credential }),
      });
    },
    die: () => {
      calls.close();
      store.close();
    },
  };
}
