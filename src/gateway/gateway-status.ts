import type { ServerLink } from '../client/link.ts';
import type { Session } from '../client/session.ts';
import type { OpenFiles } from './open-files.ts';
import type { DataPath } from './open-inode.ts';
import type { PushStatus } from './push.ts';
import type { RouteVerdict } from './route-selection.ts';

/** What the mount is doing, for `status`. */
export interface GatewayStatus {
  readonly connected: boolean;
  readonly route: Session['route'];
  readonly level: Session['level'];
  /** Why a near session is not at a higher level. */
  readonly levelReason: string | undefined;
  readonly endpoint: Session['endpoint'];
  readonly server: string | undefined;
  readonly why: string;
  readonly routes: readonly RouteVerdict[];
  readonly openFiles: Readonly<Record<DataPath, number>>;
  readonly inodes: number;
  /** Opens since the mount, by data path. */
  readonly opens: Readonly<Record<DataPath, number>>;
  /** Bytes handed to the kernel by READ messages. What passes through is never seen by the gateway. */
  readonly wireBytes: bigint;
  /** Bytes the gateway read from granted files and shared pages. */
  readonly mappedBytes: bigint;
  /** Reads by wire of files whose pages are shared otherwise. */
  readonly mapFallbacks: number;
  /** Bytes that servers have acknowledged in replies to WRITE. */
  readonly wireWrittenBytes: bigint;
  /** Bytes that were written and are not on stable storage yet, and what holding them takes. */
  readonly dirtyBytes: number;
  readonly calls: Readonly<Record<string, number>>;
  /** Why the last file, or read, that had to use the wire did. */
  readonly lastWireReason: string | undefined;
  /** Whom the locks of programs exclude, for people. */
  readonly locks: string;
  /** Calls that could name 16 of their caller's groups only. */
  readonly groupsCut: number;
  /** Whether the server tells of changes. */
  readonly push: PushStatus;
}

export function statusOf(
  link: ServerLink,
  routes: { readonly why: string; readonly verdicts: readonly RouteVerdict[] },
  files: OpenFiles,
  inodes: number,
  locks: string,
  push: PushStatus,
): GatewayStatus {
  const { session } = link;
  const { reads, writes } = files;
  return {
    connected: link.isConnected,
    route: session.route,
    level: session.level,
    levelReason: session.levelReason === '' ? undefined : session.levelReason,
    endpoint: session.endpoint,
    server: session.serverName,
    why: routes.why,
    routes: routes.verdicts,
    openFiles: files.count(),
    inodes,
    opens: { ...files.opens },
    wireBytes: reads.wireBytes,
    mappedBytes: reads.mappedBytes,
    mapFallbacks: reads.mapFallbacks,
    wireWrittenBytes: writes.writtenBytes,
    dirtyBytes: writes.dirtyBytes,
    calls: Object.fromEntries(link.callCounts),
    lastWireReason: reads.lastWireReason,
    locks,
    groupsCut: link.groupsCut,
    push,
  };
}
