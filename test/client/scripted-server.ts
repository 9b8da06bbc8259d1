/** A server in this process that answers as a test says, and sessions with it over memory. */
import { Session, type FgdpPeer, type RouteKind } from '../../src/client/session.ts';
import { NFS_PROGRAM, type NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import type { fattr3 } from '../../src/nfs3/types.ts';
import { NO_AUTH } from '../../src/rpc/auth.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { Dispatcher } from '../../src/rpc/dispatcher.ts';
import type { Handlers } from '../../src/rpc/program.ts';
import { memoryPair } from '../../src/transport/memory.ts';
import type { Caller } from '../../src/gateway/callers.ts';

/** What a handler is told of its call. */
export interface CallSeen {
  readonly xid: number;
  readonly procedure: string;
}

export type Script = Partial<Handlers<typeof NFS_PROCEDURES, CallSeen>>;

export interface Scripted {
  readonly session: Session;
  /** Every call that arrived. */
  readonly calls: CallSeen[];
  /** Ends the connection from the server's side. */
  readonly die: () => void;
}

/** What HELLO and CLIENT have found out about a server that knows calls again. */
export const KNOWS_CALLS: FgdpPeer = {
  serverName: 'scripted',
  features: 0,
  channel: undefined,
  knowsClient: true,
};

/** Procedures without a handler are answered SYSTEM_ERR. */
export function scriptedSession(script: Script, route: RouteKind = 'network', peer?: FgdpPeer): Scripted {
  const [near, far] = memoryPair();
  const calls: CallSeen[] = [];
  const dispatcher = new Dispatcher<CallSeen>({ onFailure: () => undefined });
  const handlers = new Proxy(script, {
    get: (target, name): unknown =>
      Reflect.get(target, name) ??
      (() => {
        throw new Error(`${String(name)} is not scripted`);
      }),
  });
  dispatcher.register(NFS_PROGRAM, handlers as Handlers<typeof NFS_PROCEDURES, CallSeen>);
  const server = new RpcConnection<CallSeen>(far, {
    dispatcher,
    makeContext: ({ xid, procedure }) => {
      calls.push({ xid, procedure });
      return { xid, procedure };
    },
  });
  const endpoint = { kind: 'tcp', host: 'scripted', port: 1 } as const;
  const target = { route, endpoint, exportPath: '/scripted', bootId: 'none' };
  const session = new Session(target, new RpcConnection(near), {
    peer,
    rootHandle: Buffer.from('root'),
  });
  return { session, calls, die: () => server.close() };
}

export const ATTRIBUTES: fattr3 = {
  type: 1,
  mode: 0o644,
  nlink: 1,
  uid: 0,
  gid: 0,
  size: 10n,
  used: 4096n,
  rdev: { specdata1: 0, specdata2: 0 },
  fsid: 1n,
  fileid: 42n,
  atime: { seconds: 1, nseconds: 0 },
  mtime: { seconds: 2, nseconds: 0 },
  ctime: { seconds: 3, nseconds: 0 },
};

export function caller(signal: AbortSignal = new AbortController().signal): Caller {
  return { credential: NO_AUTH, passesModes: false, key: 'test', pid: 1, signal };
}
