/** Options as mount(8) and fstab(5) hand them on: theirs, those of `nearmount mount`'s command line, and mount options. */
import { LOG_LEVELS, type LogLevel } from '../observe/log.ts';
import { CliError } from './errors.ts';
import { isUnknownMountOption } from './mount-options.ts';

export interface FstabOptions {
  /** What is left for `-o` of `nearmount mount`. */
  readonly mountOptions: readonly string[];
  readonly tableFile: string | undefined;
  readonly logFile: string | undefined;
  readonly logLevel: LogLevel | undefined;
  readonly node: string | undefined;
  readonly cluster: string | undefined;
  /** noexec, which `user` and `users` imply; `owner` and `group` do not. */
  readonly noPrograms: boolean;
}

/** For whoever reads fstab, or without an effect here: mounts are nosuid and nodev, and times are the server's. */
const NOT_OURS = new Set(
  [
    'defaults auto noauto nofail _netdev user nouser users nousers owner noowner group nogroup nosuid',
    'nodev async silent loud atime noatime relatime norelatime strictatime nostrictatime diratime',
    'nodiratime lazytime nolazytime comment helper',
  ].flatMap((line) => line.split(' ')),
);
/** As in mount(8): these imply noexec, unless exec comes later. */
const IMPLY_NOEXEC = new Set(['user', 'users']);

/**
 * Reads `-o` lists.
 *
 * `rw` is left out, with every `ro` before it: it is the default, and mount(8) adds it wherever nobody wrote `ro`.
 *
 * @param sloppy whether options nobody knows are left out, too (-s)
 * @throws CliError (usage)
 */
export function readFstabOptions(lists: readonly string[], sloppy: boolean): FstabOptions {
  let mountOptions: string[] = [];
  const own = new Map<string, string>();
  let noPrograms = false;
  for (const item of lists.flatMap((list) => list.split(',')).filter((each) => each !== '')) {
    const equals = item.indexOf('=');
    const name = equals < 0 ? item : item.slice(0, equals);
    if (IMPLY_NOEXEC.has(name) || name === 'noexec') noPrograms = true;
    else if (name === 'exec') noPrograms = false;
    else if (name === 'suid' || name === 'dev') {
      throw new CliError(`mount option ${name} is not available: mounts are always no${name}`, 2);
    }
    if (item === 'rw') mountOptions = mountOptions.filter((each) => each !== 'ro');
    if (NOT_OURS.has(name) || ['exec', 'noexec'].includes(name) || item === 'rw' || /^x-/i.test(name))
      continue;
    if (OWN_OPTIONS.has(name)) {
      const value = equals < 0 ? '' : item.slice(equals + 1);
      if (value === '') throw new CliError(`mount option ${name} needs a value: ${name}=...`, 2);
      own.set(name, value);
    } else if (!sloppy || !isUnknownMountOption(item)) mountOptions.push(item);
  }
  return {
    mountOptions,
    tableFile: own.get('colocation'),
    logFile: own.get('log-file'),
    logLevel: readLogLevel(own.get('log-level')),
    node: own.get('node'),
    cluster: own.get('cluster'),
    noPrograms,
  };
}

const OWN_OPTIONS = new Set(['colocation', 'log-file', 'log-level', 'node', 'cluster']);

function readLogLevel(value: string | undefined): LogLevel | undefined {
  if (value === undefined) return undefined;
  const level = LOG_LEVELS.find((each) => each === value);
  if (level === undefined) {
    throw new CliError(`mount option "log-level=${value}": ${LOG_LEVELS.join(', ')} are allowed`, 2);
  }
  return level;
}
