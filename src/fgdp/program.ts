/**
 * The FGDP program: what NFSv3 cannot say. Spoken beside NFS on the same connection; docs/protocol.md describes
 * it on the wire. The number lies in RFC 5531's user-defined range (section 13).
 */
import {
  array,
  bool,
  enumeration,
  nothing,
  opaque,
  opaqueFixed,
  struct,
  u32,
  u64,
  union,
  type Infer,
} from '../xdr/codec.ts';
import { procedure, type Program } from '../rpc/program.ts';
import { NFS3_OK, nfsstat3 } from '../nfs3/status.ts';
import { fattr3, nfs_fh3, post_op_attr } from '../nfs3/types.ts';
import {
  CREDENTIAL_GROUPS_MAX,
  FGDP_VERSION,
  MAP_HANDLES_MAX,
  RELEASE_GRANTS_MAX,
  SHORTHAND_BYTES_MAX,
  UNMAP_HANDLES_MAX,
} from './limits.ts';
import { LOCK_PROCEDURES } from './locks.ts';
import { SPACE_PROCEDURES } from './space.ts';
import { XATTR_PROCEDURES } from './xattrs.ts';

export const TOKEN_BYTES = 32;
export const NONCE_BYTES = 32;
export const SERVER_ID_BYTES = 16;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
export const CLIENT_ID_BYTES = 16;

const boot_id = opaque('boot_id', 64);
const server_id = opaqueFixed('server_id', SERVER_ID_BYTES);

/** Feature bits of HELLO. */
export const FEATURE_DESCRIPTORS = 0x0001;
/** CREDENTIAL, and calls with AUTH_SHORT. */
export const FEATURE_SHORT_CREDENTIALS = 0x0002;
/** READDIRPLUS marks the modes of files without an ACL: MODE_WITHOUT_ACL of nfs3/posix-acl.ts. */
export const FEATURE_ACL_MARKS = 0x0004;
/** Shared segments: MAP and UNMAP. */
export const FEATURE_SEGMENTS = 0x0008;
/** CLIENT, and calls of a client that take effect once, also when the server is started again between two transmissions. */
export const FEATURE_ONCE = 0x0010;
/** GETXATTR, SETXATTR, LISTXATTRS, REMOVEXATTR: xattrs.ts. */
export const FEATURE_XATTRS = 0x0100;
/** ALLOCATE, SEEK, COPY: space.ts. */
export const FEATURE_SPACE = 0x0200;
/** Modes of new files come with what the umask has taken off: modeToSend of nfs3/posix-acl.ts. */
export const FEATURE_UMASK = 0x0400;

/** SUBSCRIBE, and INVALIDATE of FGDP_CALLBACK in the other direction. */
export const FEATURE_PUSH = 0x0080;

export const HELLO_STAT = {
  HELLO_OK: 0,
  /** No version in common: `low` to `high` are spoken. */
  HELLO_VERSION: 1,
} as const;
const hello_stat = enumeration('hello_stat', HELLO_STAT);

export const HELLOargs = struct('HELLOargs', {
  version: u32,
  features: u32,
  nonce: opaqueFixed('nonce', NONCE_BYTES),
  /** Empty where the guest has no channel: then no descriptor can be granted. */
  channel_token: opaque('channel_token', TOKEN_BYTES),
});
export type HELLOargs = Infer<typeof HELLOargs>;

export const HELLOres = union('HELLOres', 'status', hello_stat, {
  [HELLO_STAT.HELLO_OK]: struct('resok', {
    version: u32,
    /** What both sides have. */
    features: u32,
    server_id,
    server_name: opaque('server_name', 255),
    boot_id,
    public_key: opaqueFixed('public_key', PUBLIC_KEY_BYTES),
    /** Ed25519 over the bytes of `proofMessage`. */
    signature: opaqueFixed('signature', SIGNATURE_BYTES),
    /** Whether a packet with a descriptor was sent on the channel that carried the token. */
    channel: bool,
  }),
  [HELLO_STAT.HELLO_VERSION]: struct('versions', { low: u32, high: u32 }),
});
export type HELLOres = Infer<typeof HELLOres>;

/** What a page handle points into. */
export const SHARED_FILE_KIND = {
  /** The exported file itself, as a descriptor open for reading that was sent on the channel. */
  EXPORTED_FILE: 1,
  /** A sealed memory segment of the session, sent on the channel; segment-layout.ts says what it holds. */
  SEGMENT: 2,
} as const;
const shared_file_kind = enumeration('shared_file_kind', SHARED_FILE_KIND);

/** A pointer, never bytes. */
export const page_handle = struct('page_handle', {
  /** Names the shared file within the session. */
  shared_file: u64,
  offset: u64,
  length: u64,
  /**
   * Changes whenever what the handle points to does: for an exported file its change time in nanoseconds, for pages
   * of a segment what their slot says as long as they are good.
   */
  generation: u64,
});
export type page_handle = Infer<typeof page_handle>;

export const GRANT_STAT = {
  /** The descriptor was sent on the channel before this reply. */
  GRANTED: 0,
  /** Use READ: the export grants nothing, the file system cannot, or a limit is reached; `reason` says which. */
  USE_WIRE: 1,
} as const;
const grant_stat = enumeration('grant_stat', GRANT_STAT);

const grant_body = union('grant', 'grant', grant_stat, {
  [GRANT_STAT.GRANTED]: struct('granted', {
    grant_id: u64,
    kind: shared_file_kind,
    handle: page_handle,
    /** Whether the descriptor may be opened again for writing: then it is as good as the file's owner's. */
    writable: bool,
    /** What the caller may do: ACCESS3_* bits, as ACCESS answers them. */
    access: u32,
  }),
  [GRANT_STAT.USE_WIRE]: struct('wire', { reason: opaque('reason', 255) }),
});

/** What a file is wanted for: bits of `wants`. */
export const GRANT_WANTS = {
  /** The caller opens it to read it. */
  READ: 0x1,
  /** The caller opens it to change it. */
  WRITE: 0x2,
  /** The guest can use a descriptor that may be opened again for writing: its kernel passes writes through. */
  WRITABLE: 0x4,
} as const;

export const GRANTargs = struct('GRANTargs', { file: nfs_fh3, wants: u32 });
export type GRANTargs = Infer<typeof GRANTargs>;
export const GRANTres = union(
  'GRANTres',
  'status',
  nfsstat3,
  { [NFS3_OK]: struct('resok', { file_attributes: fattr3, body: grant_body }) },
  struct('resfail', { file_attributes: post_op_attr }),
);
export type GRANTres = Infer<typeof GRANTres>;

/** What an export hands to near guests. */
export const EXPORT_LEVEL = {
  /** Bytes only: NFS records, over the Unix socket like over any other. */
  RECORDS: 0,
  /** The files themselves, by GRANT. */
  DESCRIPTORS: 1,
  /** Pages in shared segments, by MAP. */
  PAGES: 2,
} as const;
export const export_level = enumeration('export_level', EXPORT_LEVEL);
export type export_level = Infer<typeof export_level>;

/** Asked once a session, with the export's root, so that a guest knows what to ask for. */
export const LEVELargs = struct('LEVELargs', { root: nfs_fh3 });
export type LEVELargs = Infer<typeof LEVELargs>;
export const LEVELres = union(
  'LEVELres',
  'status',
  nfsstat3,
  {
    /** `reason` says, for people, why it is not a higher level; empty where there is none. */
    [NFS3_OK]: struct('resok', { level: export_level, reason: opaque('reason', 255) }),
  },
  nothing,
);
export type LEVELres = Infer<typeof LEVELres>;

export const RELEASEargs = struct('RELEASEargs', { grants: array(u64, RELEASE_GRANTS_MAX, 8) });
export type RELEASEargs = Infer<typeof RELEASEargs>;

/** A caller with more groups than AUTH_SYS holds; on this connection it counts as the same AUTH_SYS would. */
export const CREDENTIALargs = struct('CREDENTIALargs', {
  uid: u32,
  gid: u32,
  groups: array(u32, CREDENTIAL_GROUPS_MAX),
});
export type CREDENTIALargs = Infer<typeof CREDENTIALargs>;
/** What AUTH_SHORT carries from now on, on this connection. */
export const CREDENTIALres = struct('CREDENTIALres', { shorthand: opaque('shorthand', SHORTHAND_BYTES_MAX) });
export type CREDENTIALres = Infer<typeof CREDENTIALres>;

export const MAPargs = struct('MAPargs', {
  file: nfs_fh3,
  offset: u64,
  /** Bytes, at most MAP_BYTES_MAX of them are looked at. */
  count: u32,
});
export type MAPargs = Infer<typeof MAPargs>;

export const MAP_STAT = {
  /** Segments that are new were sent on the channel before this reply. */
  MAPPED: 0,
  /** Use READ; `reason` says why. */
  USE_READ: 1,
} as const;
const map_stat = enumeration('map_stat', MAP_STAT);

const map_body = union('map', 'map', map_stat, {
  [MAP_STAT.MAPPED]: struct('mapped', {
    /** Where in the file the first handle begins: at `offset` or before it. The others follow without a gap. */
    offset: u64,
    /** None at or behind the end of the file. They may cover less than was asked for, and more. */
    handles: array(page_handle, MAP_HANDLES_MAX, 32),
    /** The last handle ends where the file does. */
    eof: bool,
  }),
  [MAP_STAT.USE_READ]: struct('read', { reason: opaque('reason', 255) }),
});

export const MAPres = union(
  'MAPres',
  'status',
  nfsstat3,
  { [NFS3_OK]: struct('resok', { file_attributes: fattr3, body: map_body }) },
  struct('resfail', { file_attributes: post_op_attr }),
);
export type MAPres = Infer<typeof MAPres>;

export const UNMAPargs = struct('UNMAPargs', {
  handles: array(page_handle, UNMAP_HANDLES_MAX, 32),
  /** The guest will hardly ask for them again: their memory is the first to be used for something else. */
  discard: bool,
});
export type UNMAPargs = Infer<typeof UNMAPargs>;

/**
 * Whose calls come on this connection from now on, until CLIENT is said again: one id for each mount, over all its
 * connections and routes. A call that is not idempotent, and comes again with its xid, is then known to be the same.
 */
export const CLIENTargs = struct('CLIENTargs', { client_id: opaqueFixed('client_id', CLIENT_ID_BYTES) });
export type CLIENTargs = Infer<typeof CLIENTargs>;

export const SUBSCRIBE_STAT = {
  /** From this reply on, the guest is told of changes to what it is shown of the export. */
  SUBSCRIBED: 0,
  /** Changes are not noticed here; `reason` says why. Attributes are believed for a time, as without SUBSCRIBE. */
  NOT_WATCHED: 1,
} as const;

/** Takes the place of an earlier subscription of the connection, and begins anew. */
export const SUBSCRIBEargs = struct('SUBSCRIBEargs', { root: nfs_fh3 });
export type SUBSCRIBEargs = Infer<typeof SUBSCRIBEargs>;
export const SUBSCRIBEres = union(
  'SUBSCRIBEres',
  'status',
  nfsstat3,
  {
    [NFS3_OK]: struct('resok', {
      body: union('subscription', 'subscription', enumeration('subscribe_stat', SUBSCRIBE_STAT), {
        [SUBSCRIBE_STAT.SUBSCRIBED]: nothing,
        [SUBSCRIBE_STAT.NOT_WATCHED]: struct('not_watched', { reason: opaque('reason', 255) }),
      }),
    }),
  },
  nothing,
);
export type SUBSCRIBEres = Infer<typeof SUBSCRIBEres>;

export const FGDP_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  HELLO: procedure(1, HELLOargs, HELLOres),
  GRANT: procedure(2, GRANTargs, GRANTres),
  RELEASE: procedure(3, RELEASEargs, nothing),
  LEVEL: procedure(4, LEVELargs, LEVELres),
  CREDENTIAL: procedure(5, CREDENTIALargs, CREDENTIALres),
  MAP: procedure(6, MAPargs, MAPres),
  UNMAP: procedure(7, UNMAPargs, nothing),
  CLIENT: procedure(8, CLIENTargs, nothing),
  ...LOCK_PROCEDURES,
  SUBSCRIBE: procedure(24, SUBSCRIBEargs, SUBSCRIBEres),
  ...XATTR_PROCEDURES,
  ...SPACE_PROCEDURES,
} as const;

export const FGDP_PROGRAM: Program<typeof FGDP_PROCEDURES> = {
  name: 'FGDP',
  number: 0x2867_1414,
  version: FGDP_VERSION,
  procedures: FGDP_PROCEDURES,
};

/** First bytes of every packet on the descriptor channel. */
export const CHANNEL_PACKET = {
  /** Guest to server, first packet: the token that HELLO will name. */
  TOKEN: 1,
  /** Server to guest, once: the token again, with a descriptor of a sealed file that holds it. */
  PROOF: 2,
  /** Server to guest: a grant and its descriptor. */
  GRANT: 3,
  /** Server to guest: a shared segment of so many pages and its descriptor. */
  SEGMENT: 4,
} as const;
export const channel_packet = union(
  'channel_packet',
  'kind',
  enumeration('channel_packet_kind', CHANNEL_PACKET),
  {
    [CHANNEL_PACKET.TOKEN]: struct('token', { token: opaqueFixed('token', TOKEN_BYTES) }),
    [CHANNEL_PACKET.PROOF]: struct('proof', { token: opaqueFixed('token', TOKEN_BYTES) }),
    [CHANNEL_PACKET.GRANT]: struct('grant', { grant_id: u64 }),
    [CHANNEL_PACKET.SEGMENT]: struct('segment', { segment: u64, pages: u32 }),
  },
);
export type channel_packet = Infer<typeof channel_packet>;
