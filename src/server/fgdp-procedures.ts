/**
 * The FGDP program: HELLO proves who and where the server is, LEVEL, GRANT and MAP say and hand out what may be shared:
 * the exported files themselves, or their pages in shared segments.
 */
import type { ChannelListener, ServerChannel } from '../fgdp/channel.ts';
import { FGDP_VERSION, GRANTS_PER_SESSION_MAX } from '../fgdp/limits.ts';
import {
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
  GRANT_STAT,
  GRANT_WANTS,
  HELLO_STAT,
  MAP_STAT,
  SHARED_FILE_KIND,
  SUBSCRIBE_STAT,
  type FGDP_PROCEDURES,
  type GRANTargs,
  type GRANTres,
  type HELLOargs,
  type HELLOres,
  type LEVELres,
  type MAPargs,
  type MAPres,
  type SUBSCRIBEres,
} from '../fgdp/program.ts';
import { FEATURE_LOCKS } from '../fgdp/locks.ts';
import { signProof } from '../fgdp/proof.ts';
import type { SegmentPool } from '../fgdp/segment-pool.ts';
import { ACCESS3_EXECUTE, ACCESS3_EXTEND, ACCESS3_MODIFY, ACCESS3_READ } from '../nfs3/nfs.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import type { Handlers } from '../rpc/program.ts';
import type { PageSource } from '../store/open-file.ts';
import { openGrant, type FileStatus } from '../store/operations.ts';
import { pageFileOf, type PageFile } from '../store/page-file.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { attributesOf, fattr3ToSend, postOpAttributes } from './attributes.ts';
import type { ClientSession, ServerContext } from './client-session.ts';
import { lockProcedures } from './lock-procedures.ts';
import type { LockService } from './lock-service.ts';
import { grantedRights, pageSource } from './nfs-procedures.ts';
import { onFile, type Target } from './target.ts';
import { statusOfError } from './outcome.ts';
import type { PageCounters } from './page-counters.ts';
import type { ServerKey } from './server-key.ts';
import type { PromiseKeeper } from './promises.ts';
import { SessionPages } from './session-pages.ts';
import { spaceProcedures } from './space-procedures.ts';
import { xattrProcedures } from './xattr-procedures.ts';

export interface FgdpService {
  readonly store: Store;
  readonly key: ServerKey;
  readonly serverName: string;
  readonly bootId: string;
  /** Where near guests bring their channels; undefined for a server without a Unix socket. */
  readonly channels: ChannelListener | undefined;
  /** Memory of the segments of all sessions. */
  readonly pool: SegmentPool;
  readonly counters: PageCounters;
  /** Without it, locks are local to each guest. */
  readonly locks?: LockService | undefined;
  readonly promises: PromiseKeeper;
}

const FEATURES =
  FEATURE_DESCRIPTORS |
  FEATURE_SHORT_CREDENTIALS |
  FEATURE_ACL_MARKS |
  FEATURE_SEGMENTS |
  FEATURE_ONCE |
  FEATURE_PUSH |
  FEATURE_XATTRS |
  FEATURE_SPACE |
  FEATURE_UMASK;
/** As program.ts declares it. */
const REASON_BYTES_MAX = 255;
/** The whole of a file: its end is where the file ends now. */
const WHOLE_FILE_OFFSET = 0n;

function encodeReason(reason: string): Uint8Array {
  return Buffer.from(reason).subarray(0, REASON_BYTES_MAX);
}

/** Where files of an export are handed to a client, or why none can be, for people. */
function grantChannel(node: StoreNode, session: ClientSession): ServerChannel | string {
  const { options, isolation } = node.export;
  const { grants } = options;
  if (grants !== 'descriptors' && grants !== 'read') return `export ${options.name} has grants=${grants}`;
  if (session.channel === undefined) return 'this connection has no descriptor channel';
  if (isolation !== 'private-mount') {
    return 'the server lacks CAP_SYS_ADMIN, without which a descriptor could be reopened for writing';
  }
  return session.channel;
}

/** The pages of files that a client has, or why it can have none, for people. */
function sharedPages(node: StoreNode, session: ClientSession): SessionPages | string {
  const { name, grants } = node.export.options;
  if (grants === 'none') return `export ${name} has grants=none`;
  return session.pages ?? 'this connection has no channel for segments';
}

/** What ACCESS can tell of a file that is no directory. */
const ALL_RIGHTS = ACCESS3_READ | ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_EXECUTE;

/** Whether the guest is root's of this machine. */
function actsAsAnybody({ peer }: ClientSession): boolean {
  return peer.kind === 'unix' && peer.claims === 'any';
}

/** The FGDP procedures of one server. */
export function fgdpProcedures(service: FgdpService): Handlers<typeof FGDP_PROCEDURES, ServerContext> {
  const features = service.locks === undefined ? FEATURES : FEATURES | FEATURE_LOCKS;
  let nextGrantId = 1n;

  const pagesFor = (channel: ServerChannel): SessionPages =>
    new SessionPages({
      pool: service.pool,
      send: (segment, pages, fd) => channel.segment(segment, pages, fd),
    });

  const hello = (args: HELLOargs, { session }: ServerContext): HELLOres => {
    if (args.version !== FGDP_VERSION) {
      return { status: HELLO_STAT.HELLO_VERSION, low: FGDP_VERSION, high: FGDP_VERSION };
    }
    const { key, bootId, channels } = service;
    const isNear = session.peer.kind === 'unix' && args.channel_token.length > 0;
    const channel = isNear ? channels?.claim(args.channel_token) : undefined;
    const isProven = channel?.prove(args.channel_token) === true;
    if (isProven) {
      session.channel?.close();
      session.channel = channel;
      // Segments that were sent to another channel are of no use any more.
      session.pages?.close();
      session.pages = (args.features & FEATURE_SEGMENTS) === 0 ? undefined : pagesFor(channel);
    } else {
      channel?.close();
    }
    session.isFgdp = true;
    session.hearsOfLocks = (args.features & features & FEATURE_LOCKS) !== 0;
    session.wantsAclMarks = (args.features & FEATURE_ACL_MARKS) !== 0;
    session.sendsUmask = (args.features & FEATURE_UMASK) !== 0;
    const boot_id = Buffer.from(bootId);
    // Only a token whose channel is here is signed: else a relay could pass this signature off with a channel of its own.
    const channel_token = isProven ? args.channel_token : new Uint8Array(0);
    const proof = { nonce: args.nonce, server_id: key.id, boot_id, channel_token };
    return {
      status: HELLO_STAT.HELLO_OK,
      version: FGDP_VERSION,
      features: args.features & features,
      server_id: key.id,
      server_name: Buffer.from(service.serverName),
      boot_id,
      public_key: key.publicKey,
      signature: signProof(key.privateKey, proof),
      channel: isProven,
    };
  };

  const grant = (found: Target, wants: number, { session }: ServerContext): GRANTres => {
    const { node, identity } = found;
    const useWire = (reason: string): GRANTres => ({
      status: NFS3_OK,
      file_attributes: attributesOf(node),
      body: { grant: GRANT_STAT.USE_WIRE, reason: encodeReason(reason) },
    });
    const channel = grantChannel(node, session);
    if (typeof channel === 'string') return useWire(channel);
    if (session.grants.size >= GRANTS_PER_SESSION_MAX) {
      return useWire(`this guest holds ${GRANTS_PER_SESSION_MAX} grants already`);
    }
    // Opened afresh: the receiver of a descriptor could change the flags of one that others use, too.
    const file = openGrant(identity, node, {
      reads: (wants & GRANT_WANTS.READ) !== 0,
      writes: (wants & GRANT_WANTS.WRITE) !== 0,
      // Nobody but root can have the kernel write through a descriptor, and to others it would be of no other use.
      writable:
        (wants & GRANT_WANTS.WRITABLE) !== 0 &&
        node.export.options.grants === 'descriptors' &&
        actsAsAnybody(session),
    });
    try {
      const { fd, status, writable } = file;
      const grantId = nextGrantId;
      if (!channel.grant(grantId, fd)) return useWire('the descriptor channel is full or broken');
      nextGrantId += 1n;
      session.grants.add(grantId);
      return {
        status: NFS3_OK,
        file_attributes: fattr3ToSend(node, node.handle, status),
        body: {
          grant: GRANT_STAT.GRANTED,
          grant_id: grantId,
          kind: SHARED_FILE_KIND.EXPORTED_FILE,
          handle: {
            shared_file: grantId,
            offset: WHOLE_FILE_OFFSET,
            length: status.size,
            generation: BigInt.asUintN(64, status.ctimeNs),
          },
          writable,
          access: grantedRights(ALL_RIGHTS, found, false),
        },
      };
    } finally {
      file.close();
    }
  };

  const map = async (args: MAPargs, context: ServerContext): Promise<MAPres> => {
    const opened = onFile<
      { found: Target; source: PageSource; file: PageFile; pages: SessionPages } | MAPres
    >(
      service.store,
      args.file,
      context,
      (found) => {
        const pages = sharedPages(found.node, context.session);
        if (typeof pages === 'string') return useRead(attributesOf(found.node), pages);
        // The same source that READ turns into bytes.
        const source = pageSource(found, args.offset, args.count);
        return { found, source, file: pageFileOf(source, found.node), pages };
      },
      (status, node) => ({ status, file_attributes: postOpAttributes(node) }),
    );
    if (!('source' in opened)) return opened;
    const { found, source, file, pages } = opened;
    const attributes = (status: FileStatus): fattr3 => fattr3ToSend(found.node, found.node.handle, status);
    try {
      const outcome = await pages.map(file, args.offset, args.count);
      if (outcome.kind === 'bytes') {
        service.counters.refused(outcome.reason);
        return useRead(attributes(file.status()), outcome.reason);
      }
      const { offset, handles, eof, status } = outcome;
      service.counters.mapped(handles);
      return {
        status: NFS3_OK,
        file_attributes: attributes(status),
        body: { map: MAP_STAT.MAPPED, offset, handles, eof },
      };
    } catch (error) {
      const status = statusOfError(error);
      if (status === undefined) throw error;
      return { status, file_attributes: null };
    } finally {
      source.release();
    }
  };

  return {
    NULL: () => undefined,
    HELLO: hello,
    GRANT: (args: GRANTargs, context): GRANTres =>
      onFile<GRANTres>(
        service.store,
        args.file,
        context,
        (found) => grant(found, args.wants, context),
        (status, node) => ({ status, file_attributes: postOpAttributes(node) }),
      ),
    LEVEL: (args, context): LEVELres =>
      onFile<LEVELres>(
        service.store,
        args.root,
        context,
        ({ node }) => {
          const channel = grantChannel(node, context.session);
          const pages = sharedPages(node, context.session);
          if (typeof channel !== 'string') {
            return { status: NFS3_OK, level: EXPORT_LEVEL.DESCRIPTORS, reason: encodeReason('') };
          }
          const level = typeof pages === 'string' ? EXPORT_LEVEL.RECORDS : EXPORT_LEVEL.PAGES;
          const wantsPages = node.export.options.grants === 'pages';
          const reason = wantsPages && typeof pages === 'string' ? pages : channel;
          return { status: NFS3_OK, level, reason: encodeReason(reason) };
        },
        (status) => ({ status }),
      ),
    RELEASE: (args, { session }) => {
      for (const grantId of args.grants) session.grants.delete(grantId);
    },
    CREDENTIAL: ({ uid, gid, groups }, { session }) => ({
      shorthand: session.shorthands.add({ flavor: 'sys', uid, gid, groups }),
    }),
    MAP: map,
    UNMAP: (args, { session }) => {
      for (const handle of args.handles) session.pages?.unmap(handle, args.discard);
    },
    SUBSCRIBE: (args, context): SUBSCRIBEres =>
      onFile<SUBSCRIBEres>(
        service.store,
        args.root,
        context,
        ({ node }) => {
          const reason = service.promises.subscribe(context.session, node.export);
          const body =
            reason === undefined
              ? ({ subscription: SUBSCRIBE_STAT.SUBSCRIBED } as const)
              : ({ subscription: SUBSCRIBE_STAT.NOT_WATCHED, reason: encodeReason(reason) } as const);
          return { status: NFS3_OK, body };
        },
        (status) => ({ status }),
      ),
    CLIENT: ({ client_id }, { session }) => {
      const clientId = Buffer.from(client_id).toString('latin1');
      if (session.clientId === clientId) return;
      const { locks } = service;
      if (session.clientId === undefined) {
        session.onEnd(() => {
          locks?.left(session, session.clientId ?? '');
        });
      } else {
        locks?.left(session, session.clientId);
      }
      session.clientId = clientId;
      locks?.joined(session, clientId);
    },
    ...lockProcedures(service.store, service.locks),
    ...xattrProcedures(service.store),
    ...spaceProcedures(service.store),
  };
}

function useRead(file_attributes: fattr3, reason: string): MAPres {
  return { status: NFS3_OK, file_attributes, body: { map: MAP_STAT.USE_READ, reason: encodeReason(reason) } };
}
