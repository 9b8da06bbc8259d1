/** Opening a session: connect, let the server prove itself, mount, ask what the export hands out. */
import { randomBytes } from 'node:crypto';
import { GuestChannel } from '../fgdp/channel.ts';
import { FGDP_VERSION } from '../fgdp/limits.ts';
import {
  CLIENT_ID_BYTES,
  EXPORT_LEVEL,
  FEATURE_ACL_MARKS,
  FEATURE_DESCRIPTORS,
  FEATURE_ONCE,
  FEATURE_PUSH,
  FEATURE_SHORT_CREDENTIALS,
  FEATURE_SEGMENTS,
  FEATURE_SPACE,
  FEATURE_UMASK,
  FEATURE_XATTRS,
  FGDP_PROGRAM,
  HELLO_STAT,
  NONCE_BYTES,
  TOKEN_BYTES,
  type HELLOres,
} from '../fgdp/program.ts';
import { FEATURE_LOCKS } from '../fgdp/locks.ts';
import { verifyProof } from '../fgdp/proof.ts';
import { MOUNT_PROGRAM } from '../nfs3/mount.ts';
import { MNT3_OK, MOUNTSTAT3, NFS3_OK, mountStatusName, statusName } from '../nfs3/status.ts';
import { NO_AUTH } from '../rpc/auth.ts';
import { RpcConnection } from '../rpc/connection.ts';
import { RpcError } from '../rpc/error.ts';
import { connect } from '../transport/connect.ts';
import { formatEndpoint, type Endpoint } from '../transport/endpoint.ts';
import { ROUTE_TRY_TIMEOUT_MS } from './limits.ts';

import {
  NO_OFFER,
  Session,
  WITHOUT_PROGRAM,
  type ExportOffer,
  type FgdpPeer,
  type SessionTarget,
} from './session.ts';

/** A route cannot be used; the message is the reason, for people. */
export class RouteError extends Error {
  override readonly name = 'RouteError';
}

const FEATURES =
  FEATURE_DESCRIPTORS |
  FEATURE_SHORT_CREDENTIALS |
  FEATURE_ACL_MARKS |
  FEATURE_SEGMENTS |
  FEATURE_ONCE |
  FEATURE_LOCKS |
  FEATURE_PUSH |
  FEATURE_XATTRS |
  FEATURE_SPACE |
  FEATURE_UMASK;

/** The channel, or why this route has none; on other routes than a Unix socket's there is nothing to say. */
interface ChannelOutcome {
  readonly channel?: GuestChannel;
  /** The system's word on a channel that could not be had. */
  readonly code?: string | undefined;
}

const NO_CHANNEL: ExportOffer = {
  level: EXPORT_LEVEL.RECORDS,
  reason: 'no descriptor channel: this user may not connect to it',
};

/** What a mount calls itself to its servers; nobody else can guess it. */
export function freshClientId(): Uint8Array {
  return randomBytes(CLIENT_ID_BYTES);
}

/**
 * Connects, lets the server prove itself, and asks for the export's root.
 *
 * @throws RouteError saying why this route cannot be used
 */
export async function openSession(target: SessionTarget): Promise<Session> {
  const name = formatEndpoint(target.endpoint);
  const outcome = target.endpoint.kind === 'unix' ? openChannel(target.endpoint.path) : {};
  const { channel } = outcome;
  let connection: RpcConnection | undefined;
  try {
    connection = new RpcConnection(await reach(target, target.endpoint), target.callbacks?.serving());
    const peer = await sayHello(connection, target, outcome);
    // First whose calls these are; the server takes them in their order, so nobody waits for the answer.
    const said = peer?.knowsClient === true ? sayClient(connection, target) : undefined;
    const [rootHandle] = await Promise.all([mountExport(connection, target), said]);
    const without = target.route === 'near' ? NO_CHANNEL : NO_OFFER;
    const offer = peer?.channel === undefined ? without : await askLevel(connection, target, rootHandle);
    return new Session(target, connection, { peer, offer, rootHandle });
  } catch (error) {
    channel?.close();
    connection?.close();
    if (error instanceof RouteError) throw error;
    if (error instanceof RpcError) throw new RouteError(explain(name, error), { cause: error });
    throw error;
  }
}

function reach(target: SessionTarget, endpoint: Endpoint): ReturnType<typeof connect> {
  const { reservedPort = false } = target;
  return connect(endpoint, { timeoutMs: ROUTE_TRY_TIMEOUT_MS, reservedPort });
}

function explain(name: string, error: RpcError): string {
  if (error.cause instanceof Error && 'code' in error.cause) {
    if (error.cause.code === 'ECONNREFUSED') return `nobody listens at ${name}`;
    if (error.cause.code === 'EACCES') return `this user may not connect to ${name}`;
  }
  return error.message;
}

function openChannel(socketPath: string): ChannelOutcome {
  try {
    return { channel: GuestChannel.connect(socketPath, randomBytes(TOKEN_BYTES)) };
  } catch (error) {
    // Without a channel there are no grants; whether that rules the route out is for HELLO to say.
    return { code: (error as NodeJS.ErrnoException).code };
  }
}

async function sayHello(
  connection: RpcConnection,
  target: SessionTarget,
  { channel, code }: ChannelOutcome,
): Promise<FgdpPeer | undefined> {
  const name = formatEndpoint(target.endpoint);
  const nonce = randomBytes(NONCE_BYTES);
  const token = channel?.token ?? new Uint8Array(0);
  let hello: HELLOres;
  try {
    hello = await connection.call(
      FGDP_PROGRAM,
      'HELLO',
      { version: FGDP_VERSION, features: FEATURES, nonce, channel_token: token },
      { timeoutMs: ROUTE_TRY_TIMEOUT_MS },
    );
  } catch (error) {
    if (!(error instanceof RpcError) || !WITHOUT_PROGRAM.has(error.code)) throw error;
    if (target.server !== undefined) {
      throw new RouteError(
        `the server at ${name} cannot prove to be ${target.server.name}: it does not speak FGDP`,
      );
    }
    channel?.close();
    return undefined;
  }
  if (hello.status !== HELLO_STAT.HELLO_OK) {
    throw new RouteError(
      `the server at ${name} speaks FGDP versions ${hello.low} to ${hello.high}, not ${FGDP_VERSION}`,
    );
  }
  const serverId = Buffer.from(hello.server_id).toString('hex');
  if (target.server !== undefined) {
    const { server } = target;
    if (serverId !== server.id) {
      throw new RouteError(`the server at ${name} is another one than ${server.name} (id ${serverId})`);
    }
    // A server signs the token of a channel it holds, and none where it holds no channel.
    const channel_token = hello.channel ? token : new Uint8Array(0);
    const proof = { nonce, server_id: hello.server_id, boot_id: hello.boot_id, channel_token };
    if (!verifyProof(Buffer.from(server.publicKey, 'base64'), proof, hello.signature)) {
      throw new RouteError(`the server at ${name} claims to be ${server.name} and does not hold its key`);
    }
  }
  const bootId = Buffer.from(hello.boot_id).toString();
  if (target.route === 'near') {
    if (bootId !== target.bootId)
      throw new RouteError(`the server at ${name} runs on another kernel (boot id ${bootId})`);
    if (channel !== undefined && !(hello.channel && channel.isProven())) {
      throw new RouteError(
        `the server at ${name} sent no descriptor: it is not proven to run on this kernel`,
      );
    }
    // Records only: the signature over our nonce and this boot id says who answers, and on which kernel. A relay
    // between could make it slower, not wrong; descriptors are what must not come from anybody else.
    if (channel === undefined && (code !== 'EACCES' || target.server === undefined))
      throw new RouteError(`the server at ${name} has no descriptor channel beside its socket`);
  }
  return {
    serverName: Buffer.from(hello.server_name).toString(),
    features: hello.features,
    channel: target.route === 'near' ? channel : undefined,
    knowsClient: (hello.features & FEATURE_ONCE) !== 0 && target.clientId !== undefined,
  };
}

async function sayClient(connection: RpcConnection, { clientId }: SessionTarget): Promise<void> {
  if (clientId === undefined) return;
  const args = { client_id: clientId };
  await connection.call(FGDP_PROGRAM, 'CLIENT', args, { timeoutMs: ROUTE_TRY_TIMEOUT_MS });
}

async function mountExport(connection: RpcConnection, target: SessionTarget): Promise<Uint8Array> {
  const { endpoint, mountPort, exportPath } = target;
  const apart = endpoint.kind === 'tcp' && mountPort !== undefined && mountPort !== endpoint.port;
  const mountConnection = apart
    ? new RpcConnection(await reach(target, { ...endpoint, port: mountPort }))
    : connection;
  try {
    const reply = await mountConnection.call(MOUNT_PROGRAM, 'MNT', Buffer.from(exportPath), {
      credential: target.credential ?? NO_AUTH,
      timeoutMs: ROUTE_TRY_TIMEOUT_MS,
    });
    if (reply.status === MNT3_OK) return Uint8Array.from(reply.fhandle);
    const name = formatEndpoint(endpoint);
    if (reply.status === MOUNTSTAT3.MNT3ERR_NOENT)
      throw new RouteError(`the server at ${name} has no export ${exportPath}`);
    if (reply.status === MOUNTSTAT3.MNT3ERR_ACCES) {
      throw new RouteError(`the server at ${name} does not let this client mount ${exportPath}`);
    }
    throw new RouteError(
      `the server at ${name} refused to mount ${exportPath}: ${mountStatusName(reply.status)}`,
    );
  } finally {
    if (apart) mountConnection.close();
  }
}

async function askLevel(
  connection: RpcConnection,
  target: SessionTarget,
  root: Uint8Array,
): Promise<ExportOffer> {
  const reply = await connection.call(
    FGDP_PROGRAM,
    'LEVEL',
    { root: { data: root } },
    { credential: target.credential ?? NO_AUTH, timeoutMs: ROUTE_TRY_TIMEOUT_MS },
  );
  if (reply.status === NFS3_OK) return { level: reply.level, reason: Buffer.from(reply.reason).toString() };
  return {
    level: EXPORT_LEVEL.RECORDS,
    reason: `the server answered LEVEL with ${statusName(reply.status)}`,
  };
}
