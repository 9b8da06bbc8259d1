import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { z } from 'zod';
import { BUSY_TIMEOUT_MS, KNOWN_EXPORTS_SHOWN } from './limits.ts';
import {
  APPLICATION_ID,
  describeIssues,
  endpointSchema,
  exportNameSchema,
  exportPathSchema,
  nameSchema,
  nodeIdSchema,
  nodeSchema,
  publicKeySchema,
  SCHEMA_SQL,
  SCHEMA_VERSION,
  serverIdSchema,
  serverSchema,
} from './schema.ts';
import type { EndpointEntry, ExportEntry, NodeEntry, ServerEntry, ServerEntryInput } from './schema.ts';
import { diagnoseAccess, REFILL, TableError, tableErrorFrom } from './table-error.ts';
import type { TableErrorCode } from './table-error.ts';

/** Where the table of a node is unless something else is said: apart from state and keys, because guests are given the directory. */
export const DEFAULT_COLOCATION_FILE = '/var/lib/nearmount-colocation/table.db';

export interface OpenTableOptions {
  /** Only read: works where the directory is mounted read-only. Default false. */
  readOnly?: boolean;
  /** Make the file (and its directory) when it is missing. Default false; not together with readOnly. */
  create?: boolean;
  /** How long to wait for another process's transaction, milliseconds. Default BUSY_TIMEOUT_MS. */
  busyTimeoutMs?: number;
}

/** An export that was listed for another server until now. */
export interface DisplacedExport {
  name: string;
  serverId: string;
  serverName: string;
}

/** What the table says about one export. */
export interface FoundExport {
  name: string;
  /** Path to mount on the server, e.g. `/doc`. */
  path: string;
  server: ServerEntry;
}

export interface TableContent {
  nodes: NodeEntry[];
  servers: ServerEntry[];
}

const serverRowSchema = z.object({
  id: serverIdSchema,
  name: nameSchema,
  publicKey: publicKeySchema,
  bootId: nodeIdSchema,
});
const exportRowSchema = z.object({
  name: exportNameSchema,
  serverId: serverIdSchema,
  path: exportPathSchema,
});

/**
 * The colocation table: which server owns an export, and where it can be reached. An SQLite file with a rollback
 * journal, so that its directory can be mounted read-only into guests. Every method is one short transaction.
 * Open it, ask, and close it: a file replaced by rename is not noticed by an open table.
 * Others write the file too, so whatever is read from it is checked. Methods throw TableError.
 */
export class ColocationTable {
  /** Absolute path of the file. */
  readonly file: string;
  readonly #db: Database.Database;
  readonly #busyTimeoutMs: number;

  /** @throws TableError when the file is missing, unreadable, corrupt, foreign, of a newer layout, or locked */
  static open(file: string, options: OpenTableOptions = {}): ColocationTable {
    const path = resolve(file);
    const { readOnly = false, create = false, busyTimeoutMs = BUSY_TIMEOUT_MS } = options;
    const creating = create && !readOnly;
    checkFile(path, creating);
    try {
      return openDatabase(path, readOnly, creating, busyTimeoutMs);
    } catch (error) {
      if (!readOnly || !(error instanceof TableError) || error.code !== 'interrupted') throw error;
      // A killed writer left its journal. Any opening that may write rolls it back; then reading works again.
      openDatabase(path, false, false, busyTimeoutMs).close();
      return openDatabase(path, readOnly, false, busyTimeoutMs);
    }
  }

  /** Use ColocationTable.open. */
  constructor(file: string, db: Database.Database, busyTimeoutMs: number) {
    this.file = file;
    this.#db = db;
    this.#busyTimeoutMs = busyTimeoutMs;
  }

  close(): void {
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Enters a server with its node, endpoints and exports, in place of everything entered under its id before.
   * An export listed for another server moves to this one. A node's cluster stays as it was if none is given.
   * @returns the exports that were another server's, for the caller to warn about
   */
  enterServer(entry: ServerEntryInput): DisplacedExport[] {
    const parsed = serverSchema.safeParse(entry);
    if (!parsed.success) {
      throw this.#error('bad-entry', 'enter a server in', describeIssues(parsed.error), 'correct the entry');
    }
    return this.#write('enter a server in', () => this.#enter(parsed.data));
  }

  /**
   * Enters nodes and servers, all or none.
   * @param options.replace drop everything else the table holds (a mirror of a fleet's list); default false
   * @returns the exports that were other servers'
   */
  importEntries(content: TableContent, options: { replace?: boolean } = {}): DisplacedExport[] {
    return this.#write('import into', () => {
      if (options.replace === true) {
        this.#db.exec('DELETE FROM exports; DELETE FROM endpoints; DELETE FROM servers; DELETE FROM nodes');
      }
      for (const node of content.nodes) this.#enterNode(node);
      const displaced = content.servers.flatMap((server) => this.#enter(server));
      this.#dropUnusedClusters();
      return displaced;
    });
  }

  /** Removes a server with its endpoints and exports; its node stays. @returns whether it was there */
  removeServer(id: string): boolean {
    return this.#write('remove a server from', () => {
      this.#db.prepare('DELETE FROM exports WHERE server_id = ?').run(id);
      this.#db.prepare('DELETE FROM endpoints WHERE server_id = ?').run(id);
      return this.#db.prepare('DELETE FROM servers WHERE id = ?').run(id).changes > 0;
    });
  }

  /** Removes one export; its server stays. @returns whether it was there */
  removeExport(name: string): boolean {
    return this.#write(
      'remove an export from',
      () => this.#db.prepare('DELETE FROM exports WHERE name = ?').run(name).changes > 0,
    );
  }

  /** Removes a node with every server on it. @returns whether it was there */
  removeNode(bootId: string): boolean {
    return this.#write('remove a node from', () => {
      const removed = this.#db.prepare('DELETE FROM nodes WHERE boot_id = ?').run(bootId).changes > 0;
      this.#dropUnusedClusters();
      return removed;
    });
  }

  /** Ids of the servers with this name, in order. Names are for people and need not be unique. */
  serverIdsNamed(name: string): string[] {
    return this.#read(() => {
      const rows = this.#db.prepare('SELECT id FROM servers WHERE name = ? ORDER BY id').all(name);
      return z
        .array(z.object({ id: z.string() }))
        .parse(rows)
        .map((row) => row.id);
    });
  }

  /** Everything in the table: nodes by name, servers by name and id. */
  list(): TableContent {
    return this.#read(() => {
      const nodeIds = this.#keys('SELECT boot_id AS key FROM nodes ORDER BY name, boot_id');
      const serverIds = this.#keys('SELECT id AS key FROM servers ORDER BY name, id');
      return {
        nodes: nodeIds.flatMap((bootId) => this.#readNode(bootId) ?? []),
        servers: serverIds.map((id) => this.#readServer(id)),
      };
    });
  }

  /** The owner of an export, or undefined when nobody lists it. Wrong rows of other servers do not matter. */
  find(exportName: string): FoundExport | undefined {
    return this.#read(() => {
      const row = this.#db
        .prepare('SELECT name, server_id AS serverId, path FROM exports WHERE name = ?')
        .get(exportName);
      if (row === undefined) return undefined;
      const { name, path, serverId } = this.#checked(
        exportRowSchema,
        row,
        'exports',
        `name=${quote(exportName)}`,
      );
      return { name, path, server: this.#readServer(serverId, `exports with name=${quote(exportName)}`) };
    });
  }

  /** What the table knows of a node, or undefined. */
  node(bootId: string): NodeEntry | undefined {
    return this.#read(() => this.#readNode(bootId));
  }

  /** Up to `limit` names of exports, in order. Default KNOWN_EXPORTS_SHOWN. */
  exportNames(limit: number = KNOWN_EXPORTS_SHOWN): string[] {
    return this.#read(() => this.#keys('SELECT name AS key FROM exports ORDER BY name LIMIT ?', limit));
  }

  #enter(server: ServerEntry): DisplacedExport[] {
    const db = this.#db;
    const { id, node } = server;
    this.#enterNode(node);
    const earlier = z
      .object({ bootId: z.string() })
      .optional()
      .parse(db.prepare('SELECT boot_id AS bootId FROM servers WHERE id = ?').get(id));
    db.prepare('DELETE FROM endpoints WHERE server_id = ?').run(id);
    db.prepare('DELETE FROM exports WHERE server_id = ?').run(id);
    db.prepare(
      `INSERT INTO servers (id, name, public_key, boot_id) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
       SET name = excluded.name, public_key = excluded.public_key, boot_id = excluded.boot_id`,
    ).run(id, server.name, server.publicKey, node.bootId);
    if (earlier !== undefined && earlier.bootId !== node.bootId) {
      // Every reboot gives the node a new boot id: the old one goes with its last server.
      db.prepare(
        'DELETE FROM nodes WHERE boot_id = @bootId AND NOT EXISTS (SELECT 1 FROM servers WHERE boot_id = @bootId)',
      ).run({ bootId: earlier.bootId });
    }
    const addEndpoint = db.prepare(
      'INSERT OR REPLACE INTO endpoints (server_id, route, address, priority) VALUES (?, ?, ?, ?)',
    );
    for (const { route, address, priority } of server.endpoints)
      addEndpoint.run(id, route, address, priority);
    const displaced = server.exports.flatMap((entry) => this.#enterExport(id, entry));
    this.#dropUnusedClusters();
    return displaced;
  }

  #enterExport(serverId: string, { name, path }: ExportEntry): DisplacedExport[] {
    const earlier = this.#db
      .prepare(
        `SELECT e.name, e.server_id AS serverId, coalesce(s.name, e.server_id) AS serverName
         FROM exports e LEFT JOIN servers s ON s.id = e.server_id WHERE e.name = ? AND e.server_id <> ?`,
      )
      .all(name, serverId);
    this.#db
      .prepare('INSERT OR REPLACE INTO exports (name, server_id, path) VALUES (?, ?, ?)')
      .run(name, serverId, path);
    return z
      .array(z.object({ name: z.string(), serverId: z.string(), serverName: z.string() }))
      .parse(earlier);
  }

  #enterNode({ bootId, name, cluster, seenAtMs }: NodeEntry): void {
    if (cluster !== undefined)
      this.#db.prepare('INSERT OR IGNORE INTO clusters (name) VALUES (?)').run(cluster);
    this.#db
      .prepare(
        `INSERT INTO nodes (boot_id, name, cluster, seen_at_ms) VALUES (?, ?, ?, ?) ON CONFLICT (boot_id) DO UPDATE
         SET name = excluded.name, cluster = coalesce(excluded.cluster, cluster), seen_at_ms = excluded.seen_at_ms`,
      )
      .run(bootId, name, cluster ?? null, seenAtMs ?? Date.now());
  }

  #dropUnusedClusters(): void {
    this.#db.exec(
      'DELETE FROM clusters WHERE name NOT IN (SELECT cluster FROM nodes WHERE cluster IS NOT NULL)',
    );
  }

  #readServer(id: string, referrer?: string): ServerEntry {
    const row = this.#db
      .prepare('SELECT id, name, public_key AS publicKey, boot_id AS bootId FROM servers WHERE id = ?')
      .get(id);
    const key = `id=${quote(id)}`;
    if (row === undefined)
      throw this.#badRow(referrer ?? `servers with ${key}`, `there is no server ${quote(id)}`);
    const { name, publicKey, bootId } = this.#checked(serverRowSchema, row, 'servers', key);
    const node = this.#readNode(bootId);
    if (node === undefined) throw this.#badRow(`servers with ${key}`, `there is no node ${quote(bootId)}`);
    return { id, name, publicKey, node, endpoints: this.#readEndpoints(id), exports: this.#readExports(id) };
  }

  #readNode(bootId: string): NodeEntry | undefined {
    const row = this.#db
      .prepare<[string], object>(
        'SELECT boot_id AS bootId, name, cluster, seen_at_ms AS seenAtMs FROM nodes WHERE boot_id = ?',
      )
      .get(bootId);
    if (row === undefined) return undefined;
    // SQL's null is a left-out property everywhere else.
    const present = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
    return this.#checked(nodeSchema, present, 'nodes', `boot_id=${quote(bootId)}`);
  }

  #readEndpoints(serverId: string): EndpointEntry[] {
    return this.#db
      .prepare<[string], { address: string }>(
        'SELECT route, address, priority FROM endpoints WHERE server_id = ? ORDER BY priority, route, address',
      )
      .all(serverId)
      .map((row) =>
        this.#checked(
          endpointSchema,
          row,
          'endpoints',
          `server_id=${quote(serverId)} address=${quote(row.address)}`,
        ),
      );
  }

  #readExports(serverId: string): ExportEntry[] {
    return this.#db
      .prepare<[string], { name: string }>(
        'SELECT name, server_id AS serverId, path FROM exports WHERE server_id = ? ORDER BY name',
      )
      .all(serverId)
      .map((row) => {
        const { name, path } = this.#checked(exportRowSchema, row, 'exports', `name=${quote(row.name)}`);
        return { name, path };
      });
  }

  #keys(sql: string, ...parameters: unknown[]): string[] {
    const rows = this.#db.prepare(sql).all(...parameters);
    return z
      .array(z.object({ key: z.string() }))
      .parse(rows)
      .map((row) => row.key);
  }

  #checked<Schema extends z.ZodType>(
    schema: Schema,
    row: unknown,
    table: string,
    key: string,
  ): z.output<Schema> {
    const parsed = schema.safeParse(row);
    if (!parsed.success) throw this.#badRow(`${table} with ${key}`, describeIssues(parsed.error));
    return parsed.data;
  }

  #badRow(row: string, why: string): TableError {
    const remedy = 'remove it with `nearmount colocation remove`, or enter its server again';
    return this.#error('bad-row', 'use', `the row of ${row} is wrong: ${why}`, remedy);
  }

  #error(code: TableErrorCode, action: string, why: string, remedy: string): TableError {
    return new TableError({ code, action, file: this.file, why, remedy });
  }

  #read<Result>(body: () => Result): Result {
    // One transaction, so that the rows of several queries belong together.
    return this.#attempt('read', () => this.#db.transaction(body).deferred());
  }

  #write<Result>(action: string, body: () => Result): Result {
    return this.#attempt(action, () => this.#db.transaction(body).immediate());
  }

  #attempt<Result>(action: string, body: () => Result): Result {
    try {
      return body();
    } catch (error) {
      throw tableErrorFrom(action, this.file, this.#busyTimeoutMs, error);
    }
  }
}

// Asked before SQLite is, whose words for all of these are "unable to open database file".
function checkFile(file: string, creating: boolean): void {
  try {
    if (creating) mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    const stats = creating ? statSync(file, { throwIfNoEntry: false }) : statSync(file);
    if (stats?.isFile() === false) {
      const why = stats.isDirectory() ? 'it is a directory' : 'it is not a regular file';
      throw new TableError({ code: 'foreign', action: 'open', file, why, remedy: 'name the file itself' });
    }
  } catch (error) {
    if (error instanceof TableError) throw error;
    throw new TableError({ action: 'open', file, ...diagnoseAccess(error) }, error);
  }
}

function openDatabase(
  file: string,
  readOnly: boolean,
  creating: boolean,
  busyTimeoutMs: number,
): ColocationTable {
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { readonly: readOnly, fileMustExist: !creating, timeout: busyTimeoutMs });
    // The schema may be anybody's: it must not call functions with side effects.
    db.pragma('trusted_schema = OFF');
    if (creating && isEmpty(db)) createTables(db);
    recognise(db, file);
    if (!readOnly && db.pragma('journal_mode', { simple: true }) === 'wal')
      db.pragma('journal_mode = DELETE');
    const damage = db.pragma('quick_check(1)', { simple: true });
    if (damage !== 'ok') {
      const why = `it is damaged (${String(damage)})`;
      throw new TableError({ code: 'corrupt', action: 'open', file, why, remedy: REFILL });
    }
    return new ColocationTable(file, db, busyTimeoutMs);
  } catch (error) {
    db?.close();
    throw tableErrorFrom('open', file, busyTimeoutMs, error);
  }
}

function isEmpty(db: Database.Database): boolean {
  return (
    db.pragma('application_id', { simple: true }) === 0 &&
    db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
  );
}

function createTables(db: Database.Database): void {
  db.transaction(() => {
    // Another process may have been first, between the question and this transaction.
    if (!isEmpty(db)) return;
    db.exec(SCHEMA_SQL);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

function recognise(db: Database.Database, file: string): void {
  const found = db.pragma('application_id', { simple: true });
  if (isEmpty(db)) {
    const remedy = 'enter a server with `nearmount colocation add` or `nearmount serve`';
    throw new TableError({ code: 'missing', action: 'open', file, why: 'it is empty', remedy });
  }
  if (found !== APPLICATION_ID) {
    const why = `it is another program's SQLite database (application id ${String(found)})`;
    throw new TableError({
      code: 'foreign',
      action: 'open',
      file,
      why,
      remedy: 'name another file with --colocation',
    });
  }
  const version = db.pragma('user_version', { simple: true });
  if (typeof version !== 'number' || version < 1) {
    const why = `its layout version is ${String(version)}`;
    throw new TableError({ code: 'corrupt', action: 'open', file, why, remedy: REFILL });
  }
  if (version > SCHEMA_VERSION) {
    const why = `its layout version is ${version}, and this nearmount knows ${SCHEMA_VERSION}`;
    throw new TableError({
      code: 'newer',
      action: 'open',
      file,
      why,
      remedy: 'use the nearmount that wrote it, or a newer one',
    });
  }
}

/** A value in a one-line message: quoted, without control characters, not longer than a line bears. */
function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
}
