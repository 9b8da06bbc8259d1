/** What a gateway is made of, and how its parts are tied together. */
import type { Callbacks } from '../client/callbacks.ts';
import type { ServerLink, Waiter } from '../client/link.ts';
import type { fattr3 } from '../nfs3/types.ts';
import type { AttributeTimes } from './attribute-times.ts';
import { attributesOfFattr3 } from './attributes.ts';
import { Callers, type CallerProcess } from './callers.ts';
import { ChangeCalls, type ChangeParts } from './change-calls.ts';
import { Coverage, type CoverageTimes } from './coverage.ts';
import { Creations } from './creations.ts';
import type { DirtyBytes } from './dirty-bytes.ts';
import { ExtendedAttributes } from './extended-attributes.ts';
import { FileLocks } from './file-locks.ts';
import { InodeTable } from './inodes.ts';
import { Knowledge } from './knowledge.ts';
import { KnownDirectories } from './known-directories.ts';
import { NAME_CACHE_ENTRIES_MAX } from './limits.ts';
import { Listings } from './listings.ts';
import { Locks } from './locks.ts';
import { Lookups } from './lookups.ts';
import { NameCache } from './name-cache.ts';
import { NameChanges } from './name-changes.ts';
import { OpenFiles } from './open-files.ts';
import type { DataPath } from './open-inode.ts';
import { Push } from './push.ts';
import { RecentNames } from './recent-names.ts';
import type { RouteVerdict } from './route-selection.ts';
import { SillyNames, type SillyJournal } from './silly-names.ts';
import { Statistics } from './statistics.ts';

export interface GatewayOptions {
  readonly attributeTimes: AttributeTimes;
  /** How long attributes are believed whose changes the server tells; default PUSH_VALID_MS. */
  readonly coverageTimes?: CoverageTimes;
  /** Bytes of one READ, 4 KiB to 1 MiB. */
  readonly rsizeBytes: number;
  /** Bytes of one WRITE, 4 KiB to 1 MiB. */
  readonly wsizeBytes: number;
  /** The highest data path allowed. */
  readonly dataPath: DataPath;
  /** Whether every open asks the server for the file's attributes (default true); false is nfs(5) nocto. */
  readonly closeToOpen?: boolean;
  /** What programs see when a soft mount gives up; default EIO. */
  readonly timedOutErrno?: number;
  /** Another bound on written bytes than that of limits.ts. */
  readonly dirty?: DirtyBytes;
}

export interface GatewayDependencies {
  readonly link: ServerLink;
  /** Takes what the server tells on its own account; without it locks are local to the mount, and it tells of no changes. */
  readonly callbacks?: Callbacks | undefined;
  /** Attributes of the export's root, fetched with the first session. */
  readonly rootAttributes: fattr3;
  /** Why the route in use was taken, and what became of the others. */
  readonly routes: { readonly why: string; readonly verdicts: readonly RouteVerdict[] };
  /** Whether servers are asked to tell of changes; default true, where there are callbacks. */
  readonly push?: boolean;
  /** Who asks them to. */
  readonly credential?: Waiter['credential'] | undefined;
  readonly processOf: (pid: number) => CallerProcess;
  /** Where silly names outlive this process; without it they stay on the server when it is killed. */
  readonly sillyJournal?: SillyJournal | undefined;
  readonly onWarning: (message: string, error: unknown) => void;
}

export interface GatewayParts extends ChangeParts {
  readonly callers: Callers;
  readonly files: OpenFiles;
  readonly extendedAttributes: ExtendedAttributes;
  readonly listings: Listings;
  readonly locks: Locks;
  readonly fileLocks: FileLocks;
  readonly lookups: Lookups;
  readonly creations: Creations;
  readonly changes: NameChanges;
  readonly statistics: Statistics;
  readonly push: Push;
}

export function makeParts(options: GatewayOptions, dependencies: GatewayDependencies): GatewayParts {
  const { link, rootAttributes, routes, processOf, sillyJournal, onWarning } = dependencies;
  const coverage = new Coverage(options.coverageTimes);
  const attributeTimes = { ...options.attributeTimes, coverage };
  const names = new NameCache(NAME_CACHE_ENTRIES_MAX);
  const inodes = new InodeTable(link.session.rootHandle, attributesOfFattr3(rootAttributes), attributeTimes);
  const knowledge = new Knowledge(link, names, attributeTimes);
  const recent = new RecentNames(inodes);
  const directories = new KnownDirectories(attributeTimes);
  const silly = new SillyNames(link, inodes, knowledge, sillyJournal, onWarning);
  const parts: ChangeParts = { link, inodes, knowledge, names, recent, directories, silly };
  const calls = new ChangeCalls(parts);
  const files = new OpenFiles(link, inodes, knowledge, {
    rsizeBytes: options.rsizeBytes,
    wsizeBytes: options.wsizeBytes,
    dataPath: options.dataPath,
    closeToOpen: options.closeToOpen ?? true,
    attributeTimes,
    timedOutErrno: options.timedOutErrno,
    dirty: options.dirty,
    onWarning,
  });
  files.onClosed((inode) => {
    silly.closed(inode);
  });
  const locks = new Locks({
    link,
    callbacks: dependencies.callbacks,
    sync: (inode) => files.syncForOthers(inode),
    onAcquired: (inode) => {
      for (const each of new Set([inode, inodes.inPlaceOf(inode)])) knowledge.doubt(each);
    },
    onWarning,
  });
  return {
    ...parts,
    locks,
    fileLocks: new FileLocks(files, locks),
    callers: new Callers(processOf),
    files,
    extendedAttributes: new ExtendedAttributes(link, knowledge, routes.why),
    listings: new Listings(parts, attributeTimes),
    lookups: new Lookups(parts, attributeTimes),
    creations: new Creations(parts, calls),
    changes: new NameChanges(parts, calls),
    statistics: new Statistics(link, knowledge),
    push: new Push(parts, coverage, {
      callbacks: dependencies.push === false ? undefined : dependencies.callbacks,
      credential: dependencies.credential,
      onWarning,
    }),
  };
}
