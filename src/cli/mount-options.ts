/** The list after `-o`: names and units of nfs(5), and ours. */
import {
  DEFAULT_ATTRIBUTE_TIMES,
  NO_ATTRIBUTE_TIMES,
  type AttributeTimes,
} from '../gateway/attribute-times.ts';
import { DEFAULT_COVERAGE_TIMES, type CoverageTimes } from '../gateway/coverage.ts';
import { DRIVER_KINDS, type DriverKind } from '../fuse/driver.ts';
import { RSIZE_MAX_BYTES, RSIZE_MIN_BYTES, WSIZE_MAX_BYTES, WSIZE_MIN_BYTES } from '../gateway/limits.ts';
import { DATA_PATHS, type DataPath } from '../gateway/open-inode.ts';
import { ROUTE_KINDS, type RouteKind } from '../resolver/schema.ts';
import { CliError } from './errors.ts';

export interface MountOptions {
  /** Whether the kernel refuses every change. */
  readonly readOnly: boolean;
  readonly attributeTimes: AttributeTimes;
  /** Whether the server is asked to tell of changes. */
  readonly push: boolean;
  /** How long attributes are believed whose changes it tells. */
  readonly coverageTimes: CoverageTimes;
  readonly rsizeBytes: number;
  readonly wsizeBytes: number;
  readonly dataPath: DataPath;
  readonly driver: DriverKind;
  readonly route: RouteKind | undefined;
  readonly hard: boolean;
  /** What programs see when a soft mount gives up. */
  readonly timedOutErrno: number;
  /** Whether every open asks the server for the file's attributes. */
  readonly closeToOpen: boolean;
  readonly timeoutMs: number;
  readonly retransmissions: number;
  /** Override what the source says, as in nfs(5). */
  readonly port: number | undefined;
  readonly mountPort: number | undefined;
  /** Connect from a source port below 1024. */
  readonly reservedPort: boolean;
}

const EIO = 5;
const ETIMEDOUT = 110;
const DECISECOND_MS = 100;
const SECOND_MS = 1_000;
const DEFAULT_TIMEO_DECISECONDS = 600;
const DEFAULT_RETRANS = 2;

/** What is planned or cannot be had: said instead of being ignored. */
const NOT_AVAILABLE: Readonly<Record<string, string>> = {
  nconnect: 'this version uses one connection',
};

/** Flags of mount(8) that change nothing here, because the mount always behaves so. */
const IMPLIED = new Set(['nosuid', 'nodev', '_netdev', 'defaults', 'auto', 'noauto', 'nofail']);

/** Help text of `-o`, with defaults and units. */
export const MOUNT_OPTIONS_HELP = `
Mount options (-o NAME[=VALUE],...; of those that contradict each other the last counts):
  ro | rw                        read-only, or changes are allowed where the server allows them (default: rw)
  route=near|backplane|network   only this route (default: the best that is proven)
  datapath=passthrough|mapped|wire  the highest data path allowed (default: passthrough)
  driver=kernel|fuse-native      how FUSE is spoken (default: kernel; fuse-native has limits)
  hard | soft | softerr          wait for a lost server for ever, or fail with EIO, or with ETIMEDOUT (default: hard)
  timeo=N                        time for an answer, tenths of a second (default: ${DEFAULT_TIMEO_DECISECONDS})
  retrans=N                      retransmissions before a soft mount fails, timeo each (default: ${DEFAULT_RETRANS})
  rsize=N                        bytes of one READ, ${RSIZE_MIN_BYTES} to ${RSIZE_MAX_BYTES} (default: ${RSIZE_MAX_BYTES}, or what the server prefers)
  wsize=N                        bytes of one WRITE, ${WSIZE_MIN_BYTES} to ${WSIZE_MAX_BYTES} (default: ${WSIZE_MAX_BYTES}, or what the server takes)
  vers=3 | nfsvers=3             the version of NFS: 3 is the only one
  acregmin=N acregmax=N          how long attributes of files are kept, seconds (default: 3, 60)
  acdirmin=N acdirmax=N          the same for directories, seconds (default: 30, 60)
  actimeo=N                      all four, seconds
  noac                           keep no attributes
  push | nopush                  have the server tell of changes, and keep attributes and names for an hour, or for
                                 what acregmax and acdirmax say, or do without (default: nopush)
  cto | nocto                    ask the server at every open, or believe attributes for their time (default: cto)
  port=N mountport=N             TCP ports of NFS and MOUNT for nfs:// sources (default: 2049, and the same)
  resvport | noresvport          connect from a source port of 512 to 1023, or from any (default: noresvport)
`;

class UnknownMountOption extends CliError {
  constructor(item: string) {
    super(`mount option "${item}" is unknown: see nearmount mount --help`, 2);
  }
}

/** Whether an option has a name that nobody knows, as opposed to a wrong value. */
export function isUnknownMountOption(item: string): boolean {
  try {
    parseMountOptions([item]);
    return false;
  } catch (error) {
    return error instanceof UnknownMountOption;
  }
}

/**
 * Reads one or more `-o` lists.
 *
 * @throws CliError (usage) naming the option, its value and what is allowed
 */
export function parseMountOptions(lists: readonly string[]): MountOptions {
  let times: AttributeTimes = DEFAULT_ATTRIBUTE_TIMES;
  let push = false;
  let coverageTimes = DEFAULT_COVERAGE_TIMES;
  let rsizeBytes = RSIZE_MAX_BYTES;
  let wsizeBytes = WSIZE_MAX_BYTES;
  let dataPath: DataPath = 'passthrough';
  let driver: DriverKind = 'kernel';
  let route: RouteKind | undefined;
  let hard = true;
  let timedOutErrno = EIO;
  let closeToOpen = true;
  let timeoutMs = DEFAULT_TIMEO_DECISECONDS * DECISECOND_MS;
  let retransmissions = DEFAULT_RETRANS;
  let port: number | undefined;
  let mountPort: number | undefined;
  let reservedPort = false;
  let readOnly = false;

  for (const item of lists.flatMap((list) => list.split(',')).filter((each) => each !== '')) {
    const [name = '', ...rest] = item.split('=');
    const value = rest.length === 0 ? undefined : rest.join('=');
    const seconds = (): number => wholeNumber(item, value, 0, 86_400) * SECOND_MS;
    const unavailable = NOT_AVAILABLE[name];
    if (unavailable !== undefined)
      throw new CliError(`mount option ${name} is not available: ${unavailable}`, 2);
    if (IMPLIED.has(name)) {
      flag(item, value);
      continue;
    }
    switch (name) {
      case 'ro':
      case 'rw':
        flag(item, value);
        readOnly = name === 'ro';
        break;
      case 'route':
        route = oneOf(item, value, ROUTE_KINDS);
        break;
      case 'datapath':
        dataPath = oneOf(item, value, DATA_PATHS);
        break;
      case 'driver':
        driver = oneOf(item, value, DRIVER_KINDS);
        break;
      case 'hard':
      case 'soft':
      case 'softerr':
        flag(item, value);
        hard = name === 'hard';
        timedOutErrno = name === 'softerr' ? ETIMEDOUT : EIO;
        break;
      case 'cto':
      case 'nocto':
        flag(item, value);
        closeToOpen = name === 'cto';
        break;
      case 'timeo':
        timeoutMs = wholeNumber(item, value, 1, 6_000) * DECISECOND_MS;
        break;
      case 'retrans':
        retransmissions = wholeNumber(item, value, 0, 100);
        break;
      case 'rsize':
        rsizeBytes = wholeNumber(item, value, RSIZE_MIN_BYTES, RSIZE_MAX_BYTES);
        rsizeBytes -= rsizeBytes % RSIZE_MIN_BYTES;
        break;
      case 'wsize':
        wsizeBytes = wholeNumber(item, value, WSIZE_MIN_BYTES, WSIZE_MAX_BYTES);
        wsizeBytes -= wsizeBytes % WSIZE_MIN_BYTES;
        break;
      case 'vers':
      case 'nfsvers':
        if (value !== '3') {
          throw new CliError(`mount option "${item}": NFS version 3 is spoken, ${name}=3 is allowed`, 2);
        }
        break;
      case 'acregmin':
        times = { ...times, acregminMs: seconds() };
        break;
      case 'acregmax':
        times = { ...times, acregmaxMs: seconds() };
        coverageTimes = { ...coverageTimes, fileMs: seconds() };
        break;
      case 'acdirmin':
        times = { ...times, acdirminMs: seconds() };
        break;
      case 'acdirmax':
        times = { ...times, acdirmaxMs: seconds() };
        coverageTimes = { ...coverageTimes, directoryMs: seconds() };
        break;
      case 'actimeo': {
        const ms = seconds();
        times = { acregminMs: ms, acregmaxMs: ms, acdirminMs: ms, acdirmaxMs: ms };
        coverageTimes = { fileMs: ms, directoryMs: ms };
        break;
      }
      case 'noac':
        flag(item, value);
        times = NO_ATTRIBUTE_TIMES;
        coverageTimes = { fileMs: 0, directoryMs: 0 };
        break;
      case 'push':
      case 'nopush':
        flag(item, value);
        push = name === 'push';
        break;
      case 'port':
        port = wholeNumber(item, value, 1, 65_535);
        break;
      case 'mountport':
        mountPort = wholeNumber(item, value, 1, 65_535);
        break;
      case 'resvport':
      case 'noresvport':
        flag(item, value);
        reservedPort = name === 'resvport';
        break;
      default:
        throw new UnknownMountOption(item);
    }
  }
  if (times.acregminMs > times.acregmaxMs || times.acdirminMs > times.acdirmaxMs) {
    throw new CliError('mount options: acregmin and acdirmin are at most acregmax and acdirmax', 2);
  }
  return {
    readOnly,
    attributeTimes: times,
    push,
    coverageTimes,
    rsizeBytes,
    wsizeBytes,
    dataPath,
    driver,
    route,
    hard,
    timedOutErrno,
    closeToOpen,
    timeoutMs,
    retransmissions,
    port,
    mountPort,
    reservedPort,
  };
}

function flag(item: string, value: string | undefined): void {
  if (value !== undefined) throw new CliError(`mount option "${item}" takes no value`, 2);
}

function wholeNumber(item: string, value: string | undefined, minimum: number, maximum: number): number {
  const number = value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) : NaN;
  if (number >= minimum && number <= maximum) return number;
  throw new CliError(`mount option "${item}": a whole number from ${minimum} to ${maximum} is allowed`, 2);
}

function oneOf<const T extends string>(item: string, value: string | undefined, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new CliError(
    `mount option "${item}": ${allowed.join(', ')} ${allowed.length === 1 ? 'is' : 'are'} allowed`,
    2,
  );
}
