/** One proven connection to one server over one route. */
import { closeSync, fstatSync } from 'node:fs';
import { GuestChannel } from '../fgdp/channel.ts';
import { GrantedFile } from '../fgdp/granted-file.ts';
import type { SharedPages } from '../fgdp/guest-segments.ts';
import { GRANTS_UNREAD_MAX, RELEASE_GRANTS_MAX, UNMAP_HANDLES_MAX } from '../fgdp/limits.ts';
import {
  EXPORT_LEVEL,
  FEATURE_DESCRIPTORS,
  FEATURE_PUSH,
  FEATURE_SHORT_CREDENTIALS,
  FEATURE_SEGMENTS,
  FEATURE_UMASK,
  FGDP_PROGRAM,
  GRANT_STAT,
  GRANT_WANTS,
  MAP_STAT,
  SUBSCRIBE_STAT,
  type export_level,
  type page_handle,
} from '../fgdp/program.ts';
import { FEATURE_LOCKS } from '../fgdp/locks.ts';
import {
  NFSACL_PROGRAM,
  type GETACL3res,
  type NFSACL_PROCEDURES,
  type SETACL3args,
  type SETACL3res,
} from '../nfs3/nfsacl.ts';
import { NFS3_OK, statusName, type nfs3error } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import { type opaque_auth } from '../rpc/auth.ts';
import type { CallOptions } from '../rpc/caller.ts';
import { RpcConnection } from '../rpc/connection.ts';
import { RpcError, type RpcErrorCode } from '../rpc/error.ts';
import type { ArgsOf, Procedures, Program, ResultOf } from '../rpc/program.ts';
import { type Endpoint } from '../transport/endpoint.ts';
import type { Callbacks } from './callbacks.ts';
import type { WideCredential } from './credential.ts';
import { PING_AFTER_MS, PUSH_PING_MS, UNMAP_DELAY_MS } from './limits.ts';
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
  /** Says whose calls they are, over all sessions of a mount; without it a call that is sent again may run again. */
  readonly clientId?: Uint8Array | undefined;
  /** Answers what the server calls here; default: such calls end the connection. */
  readonly callbacks?: Callbacks | undefined;
  /** Credential of the MNT call; default AUTH_NONE. */
  readonly credential?: opaque_auth;
}

export type { GrantedFile };

/** What a file is wanted for. */
export interface GrantWish {
  /** The caller opens it to read it. */
  readonly reads: boolean;
  /** The caller opens it to change it. */
  readonly writes: boolean;
  /** A descriptor that may be opened again for writing is of use here. */
  readonly writable: boolean;
}

function wantsOf({ reads, writes, writable }: GrantWish): number {
  return (
    (reads ? GRANT_WANTS.READ : 0) | (writes ? GRANT_WANTS.WRITE : 0) | (writable ? GRANT_WANTS.WRITABLE : 0)
  );
}

export type GrantOutcome =
  /** Whoever took the file releases it. */
  | {
      readonly kind: 'granted';
      readonly file: GrantedFile;
      readonly handle: page_handle;
      readonly session: Session;
      readonly attributes: fattr3;
      /** Whether the descriptor may be opened again for writing. */
      readonly writable: boolean;
      /** What the caller may do: ACCESS3_* bits. */
      readonly access: number;
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
export const WITHOUT_PROGRAM: ReadonlySet<RpcErrorCode> = new Set<RpcErrorCode>([
  'PROG_UNAVAIL',
  'PROG_MISMATCH',
  'PROC_UNAVAIL',
  'AUTH_ERROR',
  'AUTH_REJECTEDCRED',
]);

export interface FgdpPeer {
  readonly serverName: string;
  readonly features: number;
  readonly channel: GuestChannel | undefined;
  /** Whether CLIENT is said: calls that are sent again are known. */
  readonly knowsClient: boolean;
}

/** What the export hands to this guest. */
export interface ExportOffer {
  readonly level: export_level;
  /** Why it is not a higher level, for people; empty where there is none. */
  readonly reason: string;
}

export const NO_OFFER: ExportOffer = { level: EXPORT_LEVEL.RECORDS, reason: '' };

/** What was found out while a session was opened. */
export interface Opened {
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
  #pushPing: NodeJS.Timeout | undefined;
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
      clearInterval(this.#pushPing);
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

  /** Whether the server has a feature of FGDP, and this side too: a FEATURE_* bit. */
  has(feature: number): boolean {
    return ((this.#peer?.features ?? 0) & feature) !== 0;
  }

  /** Whether modes of new files go with what the umask has taken off: modeToSend of nfs3/posix-acl.ts. */
  get takesUmask(): boolean {
    return this.has(FEATURE_UMASK);
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

  /** Whether the server is a Nearmount server: it speaks FGDP. */
  get isNearmount(): boolean {
    return this.#peer !== undefined;
  }

  /** Whether a call with the xid of an earlier one is known to the server as the same call, also after a restart. */
  get takesEffectOnce(): boolean {
    return this.#peer?.knowsClient === true;
  }

  /** Whether locks can be asked for, which exclude those of other guests. */
  get canLock(): boolean {
    return this.takesEffectOnce && ((this.#peer?.features ?? 0) & FEATURE_LOCKS) !== 0;
  }

  /**
   * Has the server tell what changes of what it shows from now on: INVALIDATE comes to the target's callbacks. While it does,
   * it is looked every PUSH_PING_MS whether it is there.
   *
   * @returns why it does not, for people; undefined where it does
   */
  async subscribe(options: CallOptions): Promise<string | undefined> {
    if (((this.#peer?.features ?? 0) & FEATURE_PUSH) === 0)
      return 'the server does not know how to tell of changes';
    const args = { root: { data: this.rootHandle } };
    const reply = await this.#connection.call(FGDP_PROGRAM, 'SUBSCRIBE', args, options);
    if (reply.status !== NFS3_OK) return `the server answered SUBSCRIBE with ${statusName(reply.status)}`;
    const { body } = reply;
    if (body.subscription === SUBSCRIBE_STAT.NOT_WATCHED) return Buffer.from(body.reason).toString();
    this.#watchServer();
    return undefined;
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
  getAcl(object: Uint8Array, mask: number, options: CallOptions): Promise<GETACL3res | undefined> {
    return this.#callAcl('GETACL', { object: { data: object }, mask }, options);
  }

  /** SETACL of NFSACL, as getAcl. */
  setAcl(args: SETACL3args, options: CallOptions): Promise<SETACL3res | undefined> {
    return this.#callAcl('SETACL', args, options);
  }

  async #callAcl<K extends 'GETACL' | 'SETACL'>(
    name: K,
    args: ArgsOf<(typeof NFSACL_PROCEDURES)[K]>,
    options: CallOptions,
  ): Promise<ResultOf<(typeof NFSACL_PROCEDURES)[K]> | undefined> {
    if (!this.#knowsAcls) return undefined;
    try {
      return await this.#connection.call(NFSACL_PROGRAM, name, args, options);
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      // nfs-ganesha knows ACLs, and has no other answer where it can set none.
      if (name === 'SETACL' && error.code === 'SYSTEM_ERR' && !this.isNearmount) return undefined;
      if (!WITHOUT_PROGRAM.has(error.code)) throw error;
      this.#knowsAcls = false;
      return undefined;
    }
  }

  /**
   * Asks for the file behind `handle`. At most GRANTS_UNREAD_MAX are under way, so that the channel's buffer always
   * holds what was sent. Once sent, the call is not given up: its descriptor would have no owner.
   *
   * @param wish what the caller opens the file for, and whether the guest can use more
   */
  async grant(handle: Uint8Array, wish: GrantWish, options: CallOptions): Promise<GrantOutcome> {
    if (this.#grantsInFlight >= GRANTS_UNREAD_MAX) {
      await new Promise<void>((resolve) => this.#grantQueue.push(resolve));
    }
    this.#grantsInFlight += 1;
    try {
      const reply = await this.#connection.call(
        FGDP_PROGRAM,
        'GRANT',
        { file: { data: handle }, wants: wantsOf(wish) },
        options,
      );
      if (reply.status !== NFS3_OK) return { kind: 'failed', status: reply.status };
      const attributes = reply.file_attributes;
      if (reply.body.grant === GRANT_STAT.USE_WIRE) {
        return { kind: 'wire', reason: Buffer.from(reply.body.reason).toString(), attributes };
      }
      const { grant_id: grantId, handle: pageHandle, writable, access } = reply.body;
      const descriptor = this.#peer?.channel?.take(grantId);
      if (descriptor !== undefined && !fstatSync(descriptor).isFile()) {
        // A pipe would make its reader wait for ever, and a device does as it likes.
        closeSync(descriptor);
        this.#giveBack(grantId);
        return { kind: 'wire', reason: 'what the server granted is no regular file', attributes };
      }
      if (descriptor !== undefined) {
        const file = new GrantedFile(grantId, descriptor, () => this.#giveBack(grantId));
        return { kind: 'granted', file, handle: pageHandle, session: this, attributes, writable, access };
      }
      this.#giveBack(grantId);
      return { kind: 'wire', reason: 'the granted descriptor did not arrive on the channel', attributes };
    } finally {
      this.#grantsInFlight -= 1;
      this.#grantQueue.shift()?.();
    }
  }

  /** A server that went away without a word tells nothing, and is not asked for what is believed for long. */
  #watchServer(): void {
    if (this.#pushPing !== undefined || this.closed !== undefined) return;
    this.#pushPing = setInterval(() => {
      if (performance.now() - this.#connection.lastActivityMs < PUSH_PING_MS / 2) return;
      this.#connection
        .call(FGDP_PROGRAM, 'NULL', undefined, { timeoutMs: PUSH_PING_MS })
        .catch((error: unknown) => {
          if (error instanceof RpcError && error.code === 'TIMED_OUT') this.close(error);
        });
    }, PUSH_PING_MS);
    this.#pushPing.unref();
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
