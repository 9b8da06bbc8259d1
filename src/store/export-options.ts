import { isIP } from 'node:net';
import path from 'node:path';

export interface ExportOptions {
  /** 1 to 255 of [A-Za-z0-9._-], not `.` or `..`. */
  name: string;
  /** Absolute. */
  directory: string;
  /** Nobody changes anything in it. */
  readOnly: boolean;
  /** Whose ids are replaced by the anonymous ones: root's, everybody's, or nobody's. */
  squash: 'root' | 'all' | 'none';
  anonymousUid: number;
  anonymousGid: number;
  /** Networks (CIDR) of clients whose AUTH_SYS claims count; without it, the server's default. */
  clients?: string[];
  /** TCP clients must come from a port that only their root can take, below 1024: exports(5). */
  secure: boolean;
  /**
   * What near guests may be handed: the files themselves, the files themselves to be read only, copies of their pages in
   * shared memory, or nothing.
   */
  grants: 'descriptors' | 'read' | 'pages' | 'none';
}

export const DEFAULT_ANONYMOUS_ID = 65534;

/** The highest id a file can have: the one above says "no change" to chown(2). */
const ID_MAX = 0xffff_fffe;

/** A line for the user: which part is wrong, and what is allowed. */
export class ExportOptionError extends Error {
  /** What is wrong, without the export it is wrong in. */
  readonly problem: string;
  /** Where it is wrong: `name`, `directory`, or the key of a setting. */
  readonly part: string;

  constructor(text: string, problem: string, part = 'name') {
    super(`export '${text}': ${problem}`);
    this.name = 'ExportOptionError';
    this.problem = problem;
    this.part = part;
  }
}

/** One setting of an export; a flag has no value. */
export interface ExportSetting {
  readonly key: string;
  readonly value: string | undefined;
}

const NAME = /^[A-Za-z0-9._-]{1,255}$/;
const SQUASH = ['root', 'all', 'none'] as const;
const GRANTS = ['descriptors', 'read', 'pages', 'none'] as const;

/**
 * `NAME=DIR[,ro|rw][,squash=root|all|none][,anonuid=N][,anongid=N][,clients=CIDR+CIDR][,secure]
 * [,grants=descriptors|read|pages|none]`. DIR is taken from the working directory where it is relative, and cannot contain a
 * comma. Exports can be written to unless `ro` is given; `rw` says so explicitly. Throws ExportOptionError.
 */
export function parseExportOption(text: string): ExportOptions {
  const [place = '', ...settings] = text.split(',');
  const equals = place.indexOf('=');
  if (equals < 0) throw new ExportOptionError(text, 'NAME=DIRECTORY is wanted first');
  return exportOptions(
    text,
    { name: place.slice(0, equals), directory: place.slice(equals + 1) },
    settings.map((setting) => {
      const [key = '', ...rest] = setting.split('=');
      return { key, value: rest.length === 0 ? undefined : rest.join('=') };
    }),
  );
}

/**
 * The options of one export out of its parts, wherever they were written down.
 *
 * @param text names the export in errors
 * @throws ExportOptionError
 */
export function exportOptions(
  text: string,
  place: { readonly name: string; readonly directory: string },
  settings: readonly ExportSetting[],
): ExportOptions {
  const { name, directory } = place;
  let part = 'name';
  const fail = (problem: string): never => {
    throw new ExportOptionError(text, problem, part);
  };
  if (!NAME.test(name) || name === '.' || name === '..') {
    fail(`name '${name}': 1 to 255 letters, digits, '.', '_', '-' are allowed, but not '.' or '..' alone`);
  }
  part = 'directory';
  if (directory === '') fail('the directory is missing after NAME=');
  if (directory.includes('\0')) fail('a directory cannot contain NUL');

  const options: ExportOptions = {
    name,
    directory: path.resolve(directory),
    readOnly: false,
    squash: 'root',
    anonymousUid: DEFAULT_ANONYMOUS_ID,
    anonymousGid: DEFAULT_ANONYMOUS_ID,
    grants: 'descriptors',
    secure: false,
  };
  const seen = new Set<string>();
  for (const { key, value } of settings) {
    const setting = value === undefined ? key : `${key}=${value}`;
    part = key;
    if (seen.has(key)) fail(`'${key}' is given twice`);
    seen.add(key);
    const oneOf = <T extends string>(allowed: readonly T[]): T =>
      allowed.find((candidate) => candidate === value) ??
      fail(`'${setting}': ${key}=${allowed.join('|')} is allowed`);
    const flag = (): void => {
      if (value !== undefined) fail(`'${setting}': ${key} takes no value`);
    };
    const id = (): number =>
      value !== undefined && /^\d{1,10}$/.test(value) && Number(value) <= ID_MAX
        ? Number(value)
        : fail(`'${setting}': ${key}=0 to ${key}=${ID_MAX} is allowed`);
    switch (key) {
      case 'ro':
      case 'rw':
        flag();
        if (seen.has('ro') && seen.has('rw')) fail("'ro' and 'rw' exclude each other");
        options.readOnly = key === 'ro';
        break;
      case 'secure':
        flag();
        options.secure = true;
        break;
      case 'insecure':
        flag();
        options.secure = false;
        break;
      case 'squash':
        options.squash = oneOf(SQUASH);
        break;
      case 'anonuid':
        options.anonymousUid = id();
        break;
      case 'anongid':
        options.anonymousGid = id();
        break;
      case 'grants':
        options.grants = oneOf(GRANTS);
        break;
      case 'clients':
        options.clients = (value ?? '').split('+');
        for (const network of options.clients) {
          if (!isNetwork(network)) fail(`client '${network}': ADDRESS/BITS, joined by '+', is allowed`);
        }
        break;
      default:
        fail(`'${setting}': ro, rw, squash=, anonuid=, anongid=, clients=, secure and grants= are allowed`);
    }
  }
  return options;
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || address.includes('%') || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}
