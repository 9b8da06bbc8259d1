/** One proven connection to one server over one route. */
import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync } from 'node:fs';
import { GuestChannel } from '../fgdp/channel.ts';
import { GrantedFile } from '../fgdp/granted-file.ts';
import type { SharedPages } from '../fgdp/guest-segments.ts';
import { FGDP_VERSION, GRANTS_UNREAD_MAX, RELEASE_GRANTS_MAX, UNMAP_HANDLES_MAX } from '../fgdp/limits.ts';
import {
  EXPORT_LEVEL,
  FEATURE_ACL_MARKS,
  FEATURE_DESCRIPTORS,
  FEATURE_SHORT_CREDENTIALS,
  FEATURE_SEGMENTS,
  FGDP_PROGRAM,
  GRANT_STAT,
  HELLO_STAT,
  MAP_STAT,
  NONCE_BYTES,
  TOKEN_BYTES,
  type HELLOres,
  type export_level,
  type page_handle,
} from '../fgdp/program.ts';
import { verifyProof } from '../fgdp/proof.ts';
import { MOUNT_PROGRAM } from '../nfs3/mount.ts';
import { NFSACL_PROGRAM, type GETACL3res } from '../nfs3/nfsacl.ts';
import { MNT3_OK, MOUNTSTAT3, NFS3_OK, mountStatusName, statusName, type nfs3error } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import { NO_AUTH, type opaque_auth } from '../rpc/auth.ts';
import type { CallOptions } from '../rpc/caller.ts';
import { RpcConnection } from '../rpc/connection.ts';
import { RpcError, type RpcErrorCode } from '../rpc/error.ts';
import type { ArgsOf, Procedures, Program, ResultOf } from '../rpc/program.ts';
import { connect } from '../transport/connect.ts';
import { formatEndpoint, type Endpoint } from '../transport/endpoint.ts';
import type { WideCredential } from './credential.ts';
import { PING_AFTER_MS, ROUTE_TRY_TIMEOUT_MS, UNMAP_DELAY_MS } from './limits.ts';
import { Shorthands } from './shorthands.ts';

export type RouteKind = 'near' | 'backplane' | 'network';

/** Where a session goes, and what must be proven about the other end. */
export interface SessionTarget {
  readonly route: RouteKind;
  readonly endpoint: Endpoint;
  /** TCP port of the MOUNT program where it is not the endpoint's own. */
  readonly mountPort?: number | undefined;
  readonly exportPath: string;
  /** Who must answer; undefined for a server named by its address, of which nothing is known. */
  readonly server?: { readonly id: string; readonly name: string; readonly publicKey: string } | undefined;
  /** This kernel's boot id: a near server must name the same. */
  readonly bootId: string;
  /** Come from a reserved TCP port, for NFS and MOUNT alike; default false. */
  readonly reservedPort?: boolean;
  /** Credential of the MNT call; default AUTH_NONE. */
  readonly credential?: opaque_auth;
}

/** A route cannot be used; the message is the reason, for people. */
export class RouteError extends Error {
  override readonly name = 'RouteError';
}

export type { GrantedFile };

export type GrantOutcome =
  /** Whoever took the file releases it. */
  | {
      readonly kind: 'granted';
      readonly file: GrantedFile;
      readonly handle: page_handle;
      readonly session: Session;
      readonly attributes: fattr3;
    }
  | { readonly kind: 'wire'; readonly reason: string; readonly attributes: fattr3 }
  | { readonly kind: 'failed'; readonly status: nfs3error };

/** Pages of a file that the server keeps in shared memory for this session. */
export interface MappedRun {
  /** Where in the file they begin, in bytes. */
  readonly offset: bigint;
  readonly pages: SharedPages;
}

export type MapOutcome =
  | {
      readonly kind: 'mapped';
      /** Without a gap, the first one at or before what was asked for; none at the end of the file. */
      readonly runs: readonly MappedRun[];
      /** The last run ends where the file does. */
      readonly eof: boolean;
      /** Of the version of the file that the pages hold. */
      readonly attributes: fattr3;
    }
  | {
      /** Nothing to point to: READ has the bytes. */
      readonly kind: 'bytes';
      readonly reason: string;
      readonly attributes: fattr3;
    }
  | { readonly kind: 'failed'; readonly status: nfs3error };

/** How servers without a program answer its calls: mostly PROG_UNAVAIL, some look at the credential first. */
const WITHOUT_PROGRAM: ReadonlySet<RpcErrorCode> = new Set<RpcErrorCode>([
  'PROG_UNAVAIL',
  'PROG_MISMATCH',
  'PROC_UNAVAIL',
  'AUTH_ERROR',
  'AUTH_REJECTEDCRED',
]);

const FEATURES = FEATURE_DESCRIPTORS | FEATURE_SHORT_CREDENTIALS | FEATURE_ACL_MARKS | FEATURE_SEGMENTS;

interface FgdpPeer {
  readonly serverName: string;
  readonly features: number;
  readonly channel: GuestChannel | undefined;
}

/** The channel, or why this route has none; on other routes than a Unix socket's there is nothing to say. */
interface ChannelOutcome {
  readonly channel?: GuestChannel;
  /** The system's word on a channel that could not be had. */
  readonly code?: string | undefined;
}

/** What the export hands to this guest. */
interface ExportOffer {
  readonly level: export_level;
  /** Why it is not a higher level, for people; empty where there is none. */
  readonly reason: string;
}

const NO_OFFER: ExportOffer = { level: EXPORT_LEVEL.RECORDS, reason: '' };
const NO_CHANNEL: ExportOffer = {
  level: EXPORT_LEVEL.RECORDS,
  reason: 'no descriptor channel: this user may not connect to it',
};

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
    connection = new RpcConnection(await reach(target, target.endpoint));
    const peer = await sayHello(connection, target, outcome);
    const rootHandle = await mountExport(connection, target);
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
  };
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

/** What was found out while a session was opened. */
interface Opened {
  readonly peer?: FgdpPeer | undefined;
  /** Default: bytes only. */
  readonly offer?: ExportOffer;
  readonly rootHandle: Uint8Array;
}

export class Session {
  readonly route: RouteKind;
  readonly endpoint: Endpoint;
  /** Handle of the export's root. */
  readonly rootHandle: Uint8Array;
  /** The server's own name, where it speaks FGDP. */
  readonly serverName: string | undefined;
  /** Why a near session is not at a higher level, for people; empty where there is none. */
  readonly levelReason: string;
  readonly #offer: ExportOffer;
  readonly #connection: RpcConnection;
  readonly #peer: FgdpPeer | undefined;
  readonly #shorthands: Shorthands | undefined;
  readonly #released: bigint[] = [];
  #knowsAcls = true;
  readonly #unmapped: page_handle[] = [];
  readonly #discarded: page_handle[] = [];
  #unmapTimer: NodeJS.Timeout | undefined;
  #grantsInFlight = 0;
  readonly #grantQueue: (() => void)[] = [];

  constructor(
    target: SessionTarget,
    connection: RpcConnection,
    { peer, offer = NO_OFFER, rootHandle }: Opened,
  ) {
    this.route = target.route;
    this.endpoint = target.endpoint;
    this.rootHandle = rootHandle;
    this.serverName = peer?.serverName;
    this.#connection = connection;
    this.#peer = peer;
    this.#offer = offer;
    this.levelReason = offer.reason;
    const ping = peer === undefined ? undefined : setInterval(() => this.#pingIfSilent(), PING_AFTER_MS / 2);
    ping?.unref();
    connection.onClose(() => {
      clearInterval(ping);
      peer?.channel?.close();
    });
    const features = peer?.features ?? 0;
    this.#shorthands = (features & FEATURE_SHORT_CREDENTIALS) === 0 ? undefined : new Shorthands(connection);
  }

  /**
   * The level of a near session: `grants` where descriptors can be had, `segments` where pages in shared memory can,
   * `records` where NFS records merely skip the network; other routes have `nfs3` or, with a Nearmount server,
   * `nfs3+fgdp`.
   */
  get level(): 'grants' | 'segments' | 'records' | 'nfs3' | 'nfs3+fgdp' {
    if (this.canGrant) return 'grants';
    if (this.canMap) return 'segments';
    if (this.route === 'near') return 'records';
    return this.#peer === undefined ? 'nfs3' : 'nfs3+fgdp';
  }

  /** Whether GRANT may be answered with a descriptor. */
  get canGrant(): boolean {
    const has = ((this.#peer?.features ?? 0) & FEATURE_DESCRIPTORS) !== 0;
    return has && this.#offer.level === EXPORT_LEVEL.DESCRIPTORS;
  }

  /** Whether callers can say all their groups, however many. */
  get carriesAllGroups(): boolean {
    return this.#shorthands !== undefined;
  }

  /**
   * Makes a call in somebody's name: with the credential as it is, or with all the groups of a wide caller where the
   * server takes them. `call` runs a second time when the server has forgotten who it was told about.
   */
  as<T>(
    caller: { readonly credential: opaque_auth; readonly wide?: WideCredential | undefined },
    timeoutMs: number,
    call: (credential: opaque_auth) => Promise<T>,
  ): Promise<T> {
    const { credential, wide } = caller;
    if (wide === undefined || this.#shorthands === undefined) return call(credential);
    return this.#shorthands.use(wide, timeoutMs, call);
  }

  /** Whether MAP may be answered with pages. */
  get canMap(): boolean {
    const has = ((this.#peer?.features ?? 0) & FEATURE_SEGMENTS) !== 0;
    return has && this.#offer.level === EXPORT_LEVEL.PAGES;
  }

  get closed(): RpcError | undefined {
    return this.#connection.closed;
  }

  get callsInFlight(): number {
    return this.#connection.inFlight;
  }

  onClose(listener: (error: RpcError) => void): void {
    this.#connection.onClose(listener);
  }

  close(reason?: RpcError): void {
    this.#connection.close(reason);
  }

  call<P extends Procedures, K extends keyof P & string>(
    program: Program<P>,
    name: K,
    args: ArgsOf<P[K]>,
    options?: CallOptions,
  ): Promise<ResultOf<P[K]>> {
    return this.#connection.call(program, name, args, options);
  }

  /** Whether the server speaks NFSACL, as far as is known. */
  get knowsAcls(): boolean {
    return this.#knowsAcls;
  }

  /** GETACL of NFSACL; undefined once the server has said that it does not speak it. */
  async getAcl(object: Uint8Array, mask: number, options: CallOptions): Promise<GETACL3res | undefined> {
    if (!this.#knowsAcls) return undefined;
    try {
      const args = { object: { data: object }, mask };
      return await this.#connection.call(NFSACL_PROGRAM, 'GETACL', args, options);
    } catch (error) {
      if (!(error instanceof RpcError) || !WITHOUT_PROGRAM.has(error.code)) throw error;
      this.#knowsAcls = false;
      return undefined;
    }
  }

  /**
   * Asks for the file behind `handle`. At most GRANTS_UNREAD_MAX are under way, so that the channel's buffer always
   * holds what was sent. Once sent, the call is not given up: its descriptor would have no owner.
   */
  async grant(handle: Uint8Array, options: CallOptions): Promise<GrantOutcome> {
    if (this.#grantsInFlight >= GRANTS_UNREAD_MAX) {
      await new Promise<void>((resolve) => this.#grantQueue.push(resolve));
    }
    this.#grantsInFlight += 1;
    try {
      const reply = await this.#connection.call(FGDP_PROGRAM, 'GRANT', { file: { data: handle } }, options);
      if (reply.status !== NFS3_OK) return { kind: 'failed', status: reply.status };
      const attributes = reply.file_attributes;
      if (reply.body.grant === GRANT_STAT.USE_WIRE) {
        return { kind: 'wire', reason: Buffer.from(reply.body.reason).toString(), attributes };
      }
      const grantId = reply.body.grant_id;
      const descriptor = this.#peer?.channel?.take(grantId);
      if (descriptor !== undefined && !fstatSync(descriptor).isFile()) {
        // A pipe would make its reader wait for ever, and a device does as it likes.
        closeSync(descriptor);
        this.#giveBack(grantId);
        return { kind: 'wire', reason: 'what the server granted is no regular file', attributes };
      }
      if (descriptor !== undefined) {
        const file = new GrantedFile(grantId, descriptor, () => this.#giveBack(grantId));
        return { kind: 'granted', file, handle: reply.body.handle, session: this, attributes };
      }
      this.#giveBack(grantId);
      return { kind: 'wire', reason: 'the granted descriptor did not arrive on the channel', attributes };
    } finally {
      this.#grantsInFlight -= 1;
      this.#grantQueue.shift()?.();
    }
  }

  #pingIfSilent(): void {
    if (performance.now() - this.#connection.lastActivityMs < PING_AFTER_MS / 2) return;
    this.#connection.call(FGDP_PROGRAM, 'NULL', undefined).catch(() => undefined);
  }

  /** Tells the server that a grant is over, together with others of the same turn. */
  #giveBack(grantId: bigint): void {
    if (this.closed !== undefined) return;
    this.#released.push(grantId);
    if (this.#released.length === 1) setImmediate(() => this.#flushReleased());
  }

  #flushReleased(): void {
    while (this.#released.length > 0 && this.closed === undefined) {
      const grants = this.#released.splice(0, RELEASE_GRANTS_MAX);
      // A session that dies meanwhile has released all its grants by dying.
      this.#connection.call(FGDP_PROGRAM, 'RELEASE', { grants }).catch(() => undefined);
    }
  }

  /**
   * Asks for pages of the file behind `handle`: those that hold `countBytes` from `offset` on, or the first of them. Every
   * run that comes is to be given back by unmap.
   */
  async map(
    handle: Uint8Array,
    offset: bigint,
    countBytes: number,
    options: CallOptions,
  ): Promise<MapOutcome> {
    // Together with what is given back: the server is woken up once.
    this.#flushUnmapped();
    const args = { file: { data: handle }, offset, count: countBytes };
    const reply = await this.#connection.call(FGDP_PROGRAM, 'MAP', args, options);
    if (reply.status !== NFS3_OK) return { kind: 'failed', status: reply.status };
    const { body, file_attributes: attributes } = reply;
    if (body.map === MAP_STAT.USE_READ) {
      return { kind: 'bytes', reason: Buffer.from(body.reason).toString(), attributes };
    }
    const runs: MappedRun[] = [];
    let at = body.offset;
    for (const pageHandle of body.handles) {
      const pages = this.#peer?.channel?.pages(pageHandle);
      if (pages === undefined) break;
      runs.push({ offset: at, pages });
      at += pageHandle.length;
    }
    const isWhole = runs.length === body.handles.length;
    for (const pageHandle of body.handles.slice(runs.length)) this.#giveBackPages(pageHandle);
    if (!isWhole && runs.length === 0) {
      const reason = 'the segment of the pages did not arrive on the channel';
      return { kind: 'bytes', reason, attributes };
    }
    return { kind: 'mapped', runs, eof: body.eof && isWhole, attributes };
  }

  /**
   * Tells the server that pages are not looked at any more: with the next MAP, or UNMAP_DELAY_MS later.
   *
   * @param discard true says that they will hardly be asked for again
   */
  unmap(pages: SharedPages, discard = false): void {
    this.#giveBackPages(pages.handle, discard);
  }

  #giveBackPages(handle: page_handle, discard = false): void {
    if (this.closed !== undefined) return;
    this.#unmapTimer ??= setTimeout(() => this.#flushUnmapped(), UNMAP_DELAY_MS).unref();
    (discard ? this.#discarded : this.#unmapped).push(handle);
  }

  #flushUnmapped(): void {
    clearTimeout(this.#unmapTimer);
    this.#unmapTimer = undefined;
    for (const list of [this.#unmapped, this.#discarded]) {
      while (list.length > 0 && this.closed === undefined) {
        const args = { handles: list.splice(0, UNMAP_HANDLES_MAX), discard: list === this.#discarded };
        this.#connection.call(FGDP_PROGRAM, 'UNMAP', args).catch(() => undefined);
      }
    }
  }
}
