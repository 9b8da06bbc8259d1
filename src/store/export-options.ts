import { isIP } from 'node:net';
import path from 'node:path';

export interface ExportOptions {
  /** 1 to 255 of [A-Za-z0-9._-], not `.` or `..`. */
  name: string;
  /** Absolute. */
  directory: string;
  readOnly: boolean;
  /** Whose ids are replaced by the anonymous ones: root's, everybody's, or nobody's. */
  squash: 'root' | 'all' | 'none';
  anonymousUid: number;
  anonymousGid: number;
  /** Networks (CIDR) of clients whose AUTH_SYS claims count; without it, the server's default. */
  clients?: string[];
  /** What near guests may be handed. */
  grants: 'descriptors' | 'none';
}

export const DEFAULT_ANONYMOUS_ID = 65534;

/** A line for the user: which part is wrong, and what is allowed. */
export class ExportOptionError extends Error {
  constructor(text: string, problem: string) {
    super(`export '${text}': ${problem}`);
    this.name = 'ExportOptionError';
  }
}

const NAME = /^[A-Za-z0-9._-]{1,255}$/;
const SQUASH = ['root', 'all', 'none'] as const;
const GRANTS = ['descriptors', 'none'] as const;

/**
 * `NAME=DIR[,ro][,squash=root|all|none][,clients=CIDR+CIDR][,grants=descriptors|none]`. DIR is taken from the working
 * directory where it is relative, and cannot contain a comma. Exports are read-only (`ro` says so explicitly).
 * Throws ExportOptionError.
 */
export function parseExportOption(text: string): ExportOptions {
  const fail = (problem: string): never => {
    throw new ExportOptionError(text, problem);
  };
  const [place = '', ...settings] = text.split(',');
  const equals = place.indexOf('=');
  if (equals < 0) fail('NAME=DIRECTORY is wanted first');
  const name = place.slice(0, equals);
  const directory = place.slice(equals + 1);
  if (!NAME.test(name) || name === '.' || name === '..') {
    fail(`name '${name}': 1 to 255 letters, digits, '.', '_', '-' are allowed, but not '.' or '..' alone`);
  }
  if (directory === '') fail('the directory is missing after NAME=');
  if (directory.includes('\0')) fail('a directory cannot contain NUL');

  const options: ExportOptions = {
    name,
    directory: path.resolve(directory),
    readOnly: true,
    squash: 'root',
    anonymousUid: DEFAULT_ANONYMOUS_ID,
    anonymousGid: DEFAULT_ANONYMOUS_ID,
    grants: 'descriptors',
  };
  const seen = new Set<string>();
  for (const setting of settings) {
    const [key = '', ...rest] = setting.split('=');
    const value = rest.length === 0 ? undefined : rest.join('=');
    if (seen.has(key)) fail(`'${key}' is given twice`);
    seen.add(key);
    const oneOf = <T extends string>(allowed: readonly T[]): T =>
      allowed.find((candidate) => candidate === value) ??
      fail(`'${setting}': ${key}=${allowed.join('|')} is allowed`);
    switch (key) {
      case 'ro':
        if (value !== undefined) fail(`'${setting}': ro takes no value`);
        break;
      case 'squash':
        options.squash = oneOf(SQUASH);
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
        fail(`'${setting}': ro, squash=, clients= and grants= are allowed`);
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
