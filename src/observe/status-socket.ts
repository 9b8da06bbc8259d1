/** How a mount is asked for its status: a Unix socket each, which answers a connection with one JSON document. */
import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';

const SOCKET_NAME = /^mount-[0-9a-f]+\.sock$/;
/** How long a mount may take to answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 2_000;
/** Longest status accepted, in bytes. */
const STATUS_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Where the sockets lie: NEARMOUNT_RUNTIME_DIR, else /run/nearmount for root, else a directory of the user's. Root of a
 * user namespace is a user.
 */
export function runtimeDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const chosen = environment.NEARMOUNT_RUNTIME_DIR;
  if (chosen !== undefined && chosen !== '') return chosen;
  if (process.geteuid?.() === 0 && isWritable('/run')) return '/run/nearmount';
  const { XDG_RUNTIME_DIR: own } = environment;
  if (own !== undefined && own !== '') return join(own, 'nearmount');
  return `/tmp/nearmount-${process.geteuid?.() ?? 0}`;
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** In a directory that anybody may make, somebody else may have made it: what lies there is not ours. */
function isForeign(directory: string): boolean {
  const own = process.geteuid?.() ?? 0;
  const { uid } = statSync(directory);
  return own !== 0 && uid !== own && uid !== 0;
}

/** Answers with `status()` until closed. Rejects with the system's error when the socket cannot be made. */
export async function serveStatus(directory: string, status: () => unknown): Promise<{ close(): void }> {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  if (isForeign(directory))
    throw new Error(`${directory} belongs to another user: set NEARMOUNT_RUNTIME_DIR`);
  const path = join(directory, `mount-${randomBytes(6).toString('hex')}.sock`);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(
      JSON.stringify(status(), (_key, value: unknown) =>
        typeof value === 'bigint' ? value.toString() : value,
      ),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
  return {
    close: () => {
      server.close();
    },
  };
}

export interface StatusAnswers<T> {
  /** One document for each mount that answered. */
  readonly statuses: readonly T[];
  /** Sockets without an answer in time, or with one that makes no sense. */
  readonly silent: readonly string[];
}

/** Asks every mount; sockets nobody listens on are what killed gateways left, and are removed. */
export function collectStatus(directory: string): Promise<StatusAnswers<unknown>> {
  return collectStatusAs(directory, (document) => document);
}

/** The same, with what `read` makes of each document: undefined where that is no status. */
export async function collectStatusAs<T>(
  directory: string,
  read: (document: unknown) => T | undefined,
): Promise<StatusAnswers<T>> {
  let names: string[];
  try {
    if (isForeign(directory)) return { statuses: [], silent: [] };
    names = readdirSync(directory).filter((name) => SOCKET_NAME.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { statuses: [], silent: [] };
    throw error;
  }
  const statuses: T[] = [];
  const silent: string[] = [];
  await Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      const answer = await ask(path);
      if (answer === 'dead') rmSync(path, { force: true });
      const status = answer === 'dead' || answer === 'silent' ? undefined : read(parse(answer));
      if (status !== undefined) statuses.push(status);
      else if (answer !== 'dead') silent.push(path);
    }),
  );
  return { statuses, silent: silent.sort() };
}

/** Undefined for what is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function ask(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('silent');
    }, ANSWER_TIMEOUT_MS);
    const finish = (answer: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > STATUS_BYTES_MAX) finish('silent');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      finish(error.code === 'ECONNREFUSED' || error.code === 'ENOENT' ? 'dead' : 'silent');
    });
    socket.on('end', () => {
      finish(length === 0 ? 'silent' : Buffer.concat(chunks).toString());
    });
  });
}
