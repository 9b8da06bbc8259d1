/** The gateway in this process: session, file system, driver, status socket; until the mount ends. */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Callbacks } from '../client/callbacks.ts';
import { authSysCredential } from '../client/credential.ts';
import { ServerLink } from '../client/link.ts';
import type { Session } from '../client/session.ts';
import { mountWithDriver, type FuseDriver } from '../fuse/driver.ts';
import { deviceOfMount, unmountFuse, widenReadAhead } from '../fuse/mount.ts';
import { Gateway } from '../gateway/gateway.ts';
import { RSIZE_MIN_BYTES, WSIZE_MIN_BYTES } from '../gateway/limits.ts';
import { RouteSelection } from '../gateway/route-selection.ts';
import { SillyJournalFile, serverKeyOf } from '../gateway/silly-journal.ts';
import { NFS_PROGRAM, type FSINFO3res } from '../nfs3/nfs.ts';
import { NFS3_OK, statusName } from '../nfs3/status.ts';
import type { fattr3 } from '../nfs3/types.ts';
import type { Logger } from '../observe/log.ts';
import { RpcError } from '../rpc/error.ts';
import { runtimeDirectory, serveStatus } from '../observe/status-socket.ts';
import type { HereIdentity } from '../resolver/node-identity.ts';
import type { Source } from '../resolver/source.ts';
import { dropCapability, hasCapability } from '../system/capabilities.ts';
import { tryLock } from '../system/file-lock.ts';
import { bootId, processCredentials } from '../system/process.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import { CliError } from './errors.ts';
import type { MountOptions } from './mount-options.ts';
import { defaultJournalDirectory } from './places.ts';
import { tellServiceManager } from './service-readiness.ts';

export interface GatewayProcessOptions {
  /** As the user wrote it; shown by mount(8) and status. */
  readonly sourceText: string;
  readonly source: Source;
  /** Absolute. */
  readonly mountPoint: string;
  /** `-o` as the user wrote it; shown by status. */
  readonly optionLists: readonly string[];
  readonly tableFile: string;
  readonly here: HereIdentity;
  readonly options: MountOptions;
  readonly log: Logger;
  /** The mount is in place and served. */
  readonly onReady: () => void;
}

/** How long the first questions to a new server may take, in milliseconds. */
const FIRST_CALL_TIMEOUT_MS = 10_000;
/** How long the end of a mount may wait for the server, in milliseconds. */
const FINISH_TIMEOUT_MS = 5_000;

/** Runs a mount until it is unmounted or the process is told to end. Throws before anything is mounted. */
export async function runGateway(settings: GatewayProcessOptions): Promise<void> {
  const { log, options, source } = settings;
  const credential = authSysCredential(
    hostname(),
    process.geteuid?.() ?? 0,
    process.getegid?.() ?? 0,
    [],
  ).auth;
  const callbacks = new Callbacks();
  const routes = new RouteSelection({
    source,
    tableFile: settings.tableFile,
    here: settings.here,
    bootId: bootId(),
    only: options.route,
    credential,
    callbacks,
    reservedPort: options.reservedPort,
  });
  // What the kernel writes to granted files counts as written by this process: quotas are to hold for it.
  if (hasCapability('CAP_SYS_RESOURCE')) dropCapability('CAP_SYS_RESOURCE');
  const first = await routes.open();
  if (first === undefined) throw new CliError(`no route to ${settings.sourceText}`);
  const { rootAttributes, rsizeBytes, wsizeBytes } = await askServer(first, credential, options);
  const link = new ServerLink(first, (better) => routes.open(better), options, {
    onLost: (reason) => {
      log.warn({ reason: reason.message }, options.hard ? 'server lost: waiting for it' : 'server lost');
    },
    onRestored: (session) => {
      if (gateway.serverRestored(session))
        log.warn('another server serves the export now: open files are lost');
      log.info({ route: session.route, endpoint: formatEndpoint(session.endpoint) }, 'server reached again');
    },
    onGroupsCut: ({ uid, groups }) => {
      log.warn(
        { uid, groups: groups.length },
        'this server takes 16 groups of a user: rights by other groups may be missing',
      );
    },
    onTryFailed: (error, pauseMs) => {
      log.debug({ err: error, pauseMs }, 'no route yet');
    },
  });
  const gateway = new Gateway(
    {
      attributeTimes: options.attributeTimes,
      coverageTimes: options.coverageTimes,
      rsizeBytes,
      wsizeBytes,
      dataPath: options.dataPath,
      closeToOpen: options.closeToOpen,
      timedOutErrno: options.timedOutErrno,
    },
    {
      link,
      callbacks,
      rootAttributes,
      routes,
      push: options.push,
      credential,
      processOf: processCredentials,
      sillyJournal: new SillyJournalFile({
        directory: defaultJournalDirectory(),
        serverKey: serverKeyOf(first),
        tryLock: tryLock,
        onWarning: (message, error) => {
          log.warn({ err: error }, message);
        },
      }),
      onWarning: (message, error) => {
        log.warn({ err: error }, message);
      },
    },
  );
  try {
    await serveMount(settings, gateway, first);
  } finally {
    await finishGateway(gateway, link);
    link.close();
  }
}

/** Gives the gateway time for what it has to do at the server after the mount; what is left the next mount does. */
async function finishGateway(gateway: Gateway, link: ServerLink): Promise<void> {
  if (!link.isConnected) return;
  const ending = new AbortController();
  const limit = delay(FINISH_TIMEOUT_MS, undefined, { signal: ending.signal }).catch(() => undefined);
  await Promise.race([gateway.finish(), limit]);
  ending.abort();
}

/** What a mount has to know of its server before it begins. */
interface ServerFacts {
  readonly rootAttributes: fattr3;
  /** Bytes of one READ and of one WRITE that both sides can do. */
  readonly rsizeBytes: number;
  readonly wsizeBytes: number;
}

async function askServer(
  session: Session,
  credential: ReturnType<typeof authSysCredential>['auth'],
  wanted: Pick<MountOptions, 'rsizeBytes' | 'wsizeBytes'>,
): Promise<ServerFacts> {
  try {
    return await askRoot(session, credential, wanted);
  } catch (error) {
    session.close();
    if (error instanceof RpcError)
      throw new CliError(`the server does not answer as NFS does: ${error.message}`, 1, error);
    throw error;
  }
}

async function askRoot(
  session: Session,
  credential: ReturnType<typeof authSysCredential>['auth'],
  { rsizeBytes, wsizeBytes }: Pick<MountOptions, 'rsizeBytes' | 'wsizeBytes'>,
): Promise<ServerFacts> {
  const root = { data: session.rootHandle };
  const call = { credential, timeoutMs: FIRST_CALL_TIMEOUT_MS };
  const attributes = await session.call(NFS_PROGRAM, 'GETATTR', { object: root }, call);
  if (attributes.status !== NFS3_OK) {
    throw new CliError(`the server's root cannot be looked at: ${statusName(attributes.status)}`);
  }
  const info: FSINFO3res = await session.call(NFS_PROGRAM, 'FSINFO', { fsroot: root }, call);
  const { rtmax, wtmax } = info.status === NFS3_OK ? info : { rtmax: rsizeBytes, wtmax: wsizeBytes };
  return {
    rootAttributes: attributes.obj_attributes,
    rsizeBytes: agree(rsizeBytes, rtmax, RSIZE_MIN_BYTES),
    wsizeBytes: agree(wsizeBytes, wtmax, WSIZE_MIN_BYTES),
  };
}

/** The smaller of two sizes, in whole steps, at least one of them. */
function agree(wantedBytes: number, offeredBytes: number, stepBytes: number): number {
  const agreed = Math.max(stepBytes, Math.min(wantedBytes, offeredBytes));
  return agreed - (agreed % stepBytes);
}

/** A mount in the tree. */
interface Mounted {
  readonly driver: FuseDriver;
  /** MAJOR:MINOR, by which it is told from what may lie at the same place later. */
  readonly device: string | undefined;
}

async function serveMount(
  settings: GatewayProcessOptions,
  gateway: Gateway,
  session: Session,
): Promise<void> {
  const { log, mountPoint, sourceText, options } = settings;
  const mount = async (): Promise<Mounted> => {
    const request = { source: sourceText, mountPoint, readOnly: options.readOnly };
    const driver = await mountWithDriver(options.driver, request, gateway, {
      onFault: (message, error) => {
        log.error({ err: error }, message);
      },
      onWarning: (message, error) => {
        log.warn({ err: error }, message);
      },
    });
    return { driver, device: deviceOfMount(mountPoint) };
  };
  const mounting = mount();
  // From the start: a signal that comes while another program mounts for us must not leave its mount behind.
  const stop = (signal: NodeJS.Signals): void => {
    log.info({ signal }, 'unmounting');
    tellServiceManager(['STOPPING=1'], log);
    // A mount that failed is reported below.
    mounting.then((mounted) => unmountAndStop(mountPoint, mounted, log)).catch(() => undefined);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  try {
    await serveMounted(settings, gateway, session, await mounting);
  } finally {
    process.removeListener('SIGTERM', stop);
    process.removeListener('SIGINT', stop);
  }
  log.info({ mountPoint }, 'unmounted');
}

async function unmountAndStop(mountPoint: string, { driver, device }: Mounted, log: Logger): Promise<void> {
  try {
    if (!(await unmountFuse(mountPoint, device))) log.warn({ mountPoint }, 'the mount was gone already');
  } catch (error) {
    log.warn({ err: error }, 'the mount could not be taken away');
  }
  driver.stop();
}

async function serveMounted(
  settings: GatewayProcessOptions,
  gateway: Gateway,
  session: Session,
  { driver, device }: Mounted,
): Promise<void> {
  const { log, mountPoint, sourceText, options } = settings;
  const since = new Date();
  let isMounted = true;
  const status = await serveStatus(runtimeDirectory(), () => {
    const { endpoint, ...rest } = gateway.status();
    return {
      mountPoint,
      source: sourceText,
      // What is not mounted has none: the next mount may get the same.
      device: isMounted ? device : undefined,
      options: settings.optionLists.flatMap((list) => list.split(',')).filter((option) => option !== ''),
      pid: process.pid,
      since: since.toISOString(),
      driver: options.driver,
      requestsPending: driver.requestsPending,
      endpoint: formatEndpoint(endpoint),
      ...rest,
    };
  }).catch((error: unknown) => {
    log.warn({ err: error }, '`nearmount status` will not show this mount');
    return undefined;
  });
  if (!widenReadAhead(device)) log.debug('read-ahead keeps the kernel’s default');
  log.info(
    {
      mountPoint,
      driver: options.driver,
      route: session.route,
      level: session.level,
      endpoint: formatEndpoint(session.endpoint),
    },
    'mounted',
  );
  settings.onReady();
  try {
    await driver.run();
  } finally {
    isMounted = false;
    const bytes = await gateway.drain();
    if (bytes > 0) log.warn({ bytes }, 'the mount has ended before all that was written was at the server');
    status?.close();
  }
}
