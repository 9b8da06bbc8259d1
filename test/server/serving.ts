/** A data-access server in this process, and callers that speak to it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { MOUNT_PROGRAM } from '../../src/nfs3/mount.ts';
import { NFS3_OK, statusName } from '../../src/nfs3/status.ts';
import { createLogger } from '../../src/observe/log.ts';
import { authSys, type opaque_auth } from '../../src/rpc/auth.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import type { ArgsOf, ResultOf } from '../../src/rpc/program.ts';
import { DataAccessServer, type ConnectionLimits } from '../../src/server/data-access-server.ts';
import { parseExportOption, type ExportOptions } from '../../src/store/export-options.ts';
import { hasCapability } from '../../src/system/capabilities.ts';
import { canSwitchIdentity } from '../../src/system/identity.ts';
import { bootId } from '../../src/system/process.ts';
import { connect } from '../../src/transport/connect.ts';
import type { Endpoint } from '../../src/transport/endpoint.ts';

/** Above what any call here takes; a reply that never comes fails its test and does not hang it. */
const CALL_TIMEOUT_MS = 10_000;

interface Teardown {
  teardown: (action: () => unknown) => unknown;
}

/** For tap's `skip`: exports are isolated, and callers' identities taken, only by a server with root's rights. */
export const notPrivileged =
  !(hasCapability('CAP_SYS_ADMIN') && hasCapability('CAP_DAC_READ_SEARCH') && canSwitchIdentity()) &&
  'needs root';

export interface Serving {
  readonly server: DataAccessServer;
  readonly socket: Extract<Endpoint, { kind: 'unix' }>;
  readonly tcp: Extract<Endpoint, { kind: 'tcp' }>;
}

/** Serves `exports` (values of --export, or what they mean); socket and state lie in `directory`. */
export async function serve(
  t: Teardown,
  directory: string,
  exports: readonly (string | ExportOptions)[],
  limits: ConnectionLimits = {},
): Promise<Serving> {
  const socket = { kind: 'unix' as const, path: join(directory, 's.sock') };
  const server = await DataAccessServer.start({
    name: 'tested',
    bootId: bootId(),
    exports: exports.map((each) => (typeof each === 'string' ? parseExportOption(each) : each)),
    stateDirectory: join(directory, 'state'),
    tcp: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
    socket,
    limits,
    log: createLogger({ level: 'silent', name: 'test' }),
  });
  let stopped: Promise<void> | undefined;
  const stop = server.stop.bind(server);
  // A test may have stopped it before its teardown does.
  server.stop = () => (stopped ??= stop());
  t.teardown(() => server.stop());
  const tcp = server.endpoints.find((endpoint) => endpoint.kind === 'tcp');
  if (tcp === undefined) throw new Error('no TCP endpoint');
  return { server, socket, tcp };
}

/** AUTH_SYS of a caller. */
export function as(uid: number, gid = uid, groups: readonly number[] = []): opaque_auth {
  return authSys('test', uid, gid, groups);
}

export const name = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A client that says to be `credential` in every call. */
export class TestClient {
  readonly connection: RpcConnection;
  credential: opaque_auth;

  private constructor(connection: RpcConnection, credential: opaque_auth) {
    this.connection = connection;
    this.credential = credential;
  }

  /** Over a connection that somebody else ends. */
  static over(connection: RpcConnection, credential: opaque_auth): TestClient {
    return new TestClient(connection, credential);
  }

  static async connect(t: Teardown, endpoint: Endpoint, credential = as(1000)): Promise<TestClient> {
    const client = new TestClient(new RpcConnection(await connect(endpoint)), credential);
    t.teardown(() => {
      client.connection.close();
    });
    return client;
  }

  nfs<K extends keyof typeof NFS_PROCEDURES>(
    procedure: K,
    args: ArgsOf<(typeof NFS_PROCEDURES)[K]>,
    credential = this.credential,
  ): Promise<ResultOf<(typeof NFS_PROCEDURES)[K]>> {
    return this.connection.call(NFS_PROGRAM, procedure, args, { credential, timeoutMs: CALL_TIMEOUT_MS });
  }

  mnt(path: string | Uint8Array): Promise<ResultOf<(typeof MOUNT_PROGRAM)['procedures']['MNT']>> {
    const bytes = typeof path === 'string' ? name(path) : path;
    const { credential } = this;
    return this.connection.call(MOUNT_PROGRAM, 'MNT', bytes, { credential, timeoutMs: CALL_TIMEOUT_MS });
  }

  /** The handle of a directory that can be mounted. Throws with the status when it cannot. */
  async root(path: string): Promise<Uint8Array> {
    const reply = await this.mnt(path);
    if (reply.status !== 0) throw new Error(`MNT ${path}: status ${reply.status}`);
    return Uint8Array.from(reply.fhandle);
  }

  /** The handle of a file by its path below a directory. Throws with the status when there is none. */
  async find(directory: Uint8Array, path: string): Promise<Uint8Array> {
    let handle = directory;
    for (const part of path.split('/')) {
      const reply = await this.nfs('LOOKUP', { what: { dir: { data: handle }, name: name(part) } });
      if (reply.status !== NFS3_OK) throw new Error(`LOOKUP ${part}: ${statusName(reply.status)}`);
      handle = Uint8Array.from(reply.object.data);
    }
    return handle;
  }

  /** The whole of a file, in pieces of `count` bytes. */
  async readAll(file: Uint8Array, count = 65_536): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for (let offset = 0n; ;) {
      const reply = await this.nfs('READ', { file: { data: file }, offset, count });
      if (reply.status !== NFS3_OK) throw new Error(`READ: ${statusName(reply.status)}`);
      for (const piece of reply.data) pieces.push(Uint8Array.from(piece));
      offset += BigInt(reply.count);
      if (reply.eof) return Buffer.concat(pieces);
      if (reply.count === 0) throw new Error('READ gave nothing, and no end');
    }
  }
}

/** The name of a reply's status, for comparison. */
export function statusOf(reply: { readonly status: Parameters<typeof statusName>[0] }): string {
  return statusName(reply.status);
}

/** Descriptors of this process, sockets of tests included. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
