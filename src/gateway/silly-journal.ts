/**
 * Silly names on disk, so that the next mount of the same server can remove what a killed gateway has left there. One file
 * a gateway, one line of JSON an event. It is locked as long as its gateway lives; whoever gets the lock finds the rest.
 * Written without fsync(2): it outlives the process, not the machine's power.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Session } from '../client/session.ts';
import { NFS3_FHSIZE } from '../nfs3/limits.ts';
import { SILLY_JOURNAL_BYTES, SILLY_JOURNAL_READ_BYTES_MAX } from './limits.ts';
import { SILLY_NAME, type SillyEntry, type SillyJournal } from './silly-names.ts';

const PRIVATE_DIRECTORY = 0o700;
const PRIVATE_FILE = 0o600;
const SUFFIX = '.silly';

const bytes = (maxBytes: number) =>
  z.base64().transform((text, context) => {
    const decoded = Buffer.from(text, 'base64');
    if (decoded.length <= maxBytes) return decoded;
    context.addIssue({ code: 'custom', message: 'is too long' });
    return z.NEVER;
  });
/** RFC 5531 section 8.2: the longest body of a credential. */
const CREDENTIAL_BYTES_MAX = 400;

const lineSchema = z.union([
  z.strictObject({
    name: z.string().regex(SILLY_NAME),
    directory: bytes(NFS3_FHSIZE),
    flavor: z.uint32(),
    body: bytes(CREDENTIAL_BYTES_MAX),
  }),
  z.strictObject({ done: z.string() }),
]);

export interface SillyJournalOptions {
  /** Where journals lie; made where it is missing. */
  readonly directory: string;
  /** Journals of other servers are left alone: see serverKeyOf. */
  readonly serverKey: string;
  /** Locks an open file for its descriptor alone; false where somebody else holds it. */
  readonly tryLock: (descriptor: number) => boolean;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** Names a server and its export, over all routes: by its own name, or by the address of one that has none. */
export function serverKeyOf(session: Session): string {
  const server = session.serverName ?? JSON.stringify(session.endpoint);
  return createHash('sha256')
    .update(server)
    .update('\0')
    .update(session.rootHandle)
    .digest('hex')
    .slice(0, 32);
}

/** A journal of an earlier gateway, locked until all of it is done. */
interface Leftover {
  readonly descriptor: number;
  readonly path: string;
  readonly names: Set<string>;
}

export class SillyJournalFile implements SillyJournal {
  readonly #options: SillyJournalOptions;
  readonly #kept = new Map<string, string>();
  readonly #leftovers = new Map<string, Leftover>();
  #file: { readonly descriptor: number; readonly path: string } | undefined;
  #sizeBytes = 0;
  #failed = false;

  constructor(options: SillyJournalOptions) {
    this.#options = options;
  }

  add(entry: SillyEntry): void {
    this.#kept.set(entry.name, lineOf(entry));
    this.#write(lineOf(entry));
  }

  done(entry: SillyEntry): void {
    const leftover = this.#leftovers.get(entry.name);
    if (leftover !== undefined) {
      this.#leftovers.delete(entry.name);
      leftover.names.delete(entry.name);
      if (leftover.names.size === 0) this.#attempt(() => remove(leftover));
      return;
    }
    if (!this.#kept.delete(entry.name)) return;
    if (this.#kept.size === 0 || this.#sizeBytes > SILLY_JOURNAL_BYTES) this.#rewrite();
    else this.#write(`${JSON.stringify({ done: entry.name })}\n`);
  }

  takeLeftovers(): readonly SillyEntry[] {
    const found: SillyEntry[] = [];
    for (const file of this.#names()) this.#attempt(() => found.push(...this.#take(file)));
    return found;
  }

  close(): void {
    for (const { descriptor } of new Set(this.#leftovers.values())) closeSync(descriptor);
    this.#leftovers.clear();
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    if (this.#kept.size === 0) this.#attempt(() => unlinkSync(file.path));
    closeSync(file.descriptor);
  }

  #names(): string[] {
    try {
      const { directory, serverKey } = this.#options;
      if (isForeign(directory)) return [];
      return readdirSync(directory).filter((name) => name.startsWith(serverKey) && name.endsWith(SUFFIX));
    } catch {
      // Nobody has kept a journal here yet.
      return [];
    }
  }

  #take(name: string): SillyEntry[] {
    const path = join(this.#options.directory, name);
    if (path === this.#file?.path) return [];
    const descriptor = openSync(path, 'r+');
    let isTaken = false;
    try {
      if (!this.#options.tryLock(descriptor)) return [];
      if (fstatSync(descriptor).size > SILLY_JOURNAL_READ_BYTES_MAX) throw new Error(`${path} is too large`);
      const entries = entriesOf(readFileSync(descriptor, 'utf8'));
      const leftover = { descriptor, path, names: new Set(entries.keys()) };
      if (entries.size === 0) {
        isTaken = true;
        remove(leftover);
        return [];
      }
      isTaken = true;
      for (const entry of entries.keys()) this.#leftovers.set(entry, leftover);
      return [...entries.values()];
    } finally {
      if (!isTaken) closeSync(descriptor);
    }
  }

  #write(line: string): void {
    this.#attempt(() => {
      this.#sizeBytes += writeSync(this.#open(), line, this.#sizeBytes);
    });
  }

  /** What is not done yet, and nothing else. */
  #rewrite(): void {
    this.#attempt(() => {
      const descriptor = this.#open();
      // In this order a process that is killed in between leaves too much, never too little.
      this.#sizeBytes = writeSync(descriptor, [...this.#kept.values()].join(''), 0);
      ftruncateSync(descriptor, this.#sizeBytes);
    });
  }

  /** The journal of this process, made with the first name. */
  #open(): number {
    if (this.#file !== undefined) return this.#file.descriptor;
    const { directory, serverKey, tryLock } = this.#options;
    mkdirSync(directory, { recursive: true, mode: PRIVATE_DIRECTORY });
    if (isForeign(directory)) throw new Error(`${directory} belongs to somebody else`);
    const path = join(directory, `${serverKey}-${randomUUID()}${SUFFIX}`);
    // It gets its name once it is locked, or another mount would take it for a dead gateway's.
    const unlocked = `${path}.new`;
    const descriptor = openSync(unlocked, 'wx+', PRIVATE_FILE);
    tryLock(descriptor);
    renameSync(unlocked, path);
    this.#file = { descriptor, path };
    return descriptor;
  }

  /** Without a journal the mount works as well: once somebody is told, that is all. */
  #attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!this.#failed) {
        this.#options.onWarning(
          'files deleted while open may stay on the server if this gateway is killed',
          error,
        );
      }
      this.#failed = true;
    }
  }
}

/** Where anybody may make a directory somebody else may have made this one, to have names removed as he likes. */
function isForeign(directory: string): boolean {
  const { uid } = statSync(directory);
  return uid !== 0 && uid !== process.geteuid?.();
}

function remove({ descriptor, path }: Leftover): void {
  try {
    unlinkSync(path);
  } finally {
    closeSync(descriptor);
  }
}

function lineOf({ name, directory, credential }: SillyEntry): string {
  const base64 = (data: Uint8Array): string => Buffer.from(data).toString('base64');
  return `${JSON.stringify({
    name,
    directory: base64(directory),
    flavor: credential.flavor,
    body: base64(credential.body),
  })}\n`;
}

/** The entries that were not done. A line that is none, such as the last one of a killed process, says nothing. */
function entriesOf(text: string): Map<string, SillyEntry> {
  const entries = new Map<string, SillyEntry>();
  for (const line of text.split('\n')) {
    const parsed = lineSchema.safeParse(jsonOf(line));
    if (!parsed.success) continue;
    if ('done' in parsed.data) {
      entries.delete(parsed.data.done);
    } else {
      const { name, directory, flavor, body } = parsed.data;
      entries.set(name, { name, directory, credential: { flavor, body } });
    }
  }
  return entries;
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
