import { createHash } from 'node:crypto';
import path from 'node:path';
import Database from 'better-sqlite3';
import type { FileStatus } from '../system/files.ts';

/** What tells one file from all others, also from one that got its inode number later. */
export type FileIdentity = Pick<FileStatus, 'devMajor' | 'devMinor' | 'ino' | 'btimeNs'>;

interface IdRow {
  id: Buffer;
}

interface PathRow {
  path: Buffer;
}

type ExportPath = [exportId: Uint8Array, path: Buffer];

/**
 * Handles for files whose file system has none (or too long ones): an id made of export and file identity, and the
 * paths where the file was seen last: one for each of its names that somebody looked up. An id is never given to a second
 * file, whatever the database forgets in a crash: at worst a handle is stale until the file is looked up again.
 *
 * On overlayfs a file's time of birth changes when the first write copies it up from a lower layer. Who sees that happen
 * to a file says so by `reborn`, and its id stays; otherwise its handle is stale.
 */
export class HandleTable {
  readonly #database: Database.Database;
  readonly #paths: Database.Statement<[Buffer], PathRow>;
  readonly #idAt: Database.Statement<ExportPath, IdRow>;
  readonly #remember: Database.Statement<[...ExportPath, Buffer]>;
  readonly #forget: Database.Statement<ExportPath>;
  readonly #forgetBelow: Database.Statement<[Uint8Array, Buffer, Buffer]>;
  readonly #move: Database.Statement<[Buffer, ...ExportPath]>;
  readonly #moveBelow: Database.Statement<[Buffer, number, Uint8Array, Buffer, Buffer]>;
  readonly #formerId: Database.Statement<[Buffer], IdRow>;
  readonly #rememberBirth: Database.Statement<[Buffer, Buffer]>;
  readonly #forgetBirths: Database.Statement<[Buffer]>;
  /** Whether any file was born again: most tables know none, and need not be asked. */
  #hasBirths: boolean;

  /** Opens or makes `handles.sqlite` in the state directory. */
  constructor(stateDirectory: string) {
    const database = new Database(path.join(stateDirectory, 'handles.sqlite'));
    this.#database = database;
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = NORMAL');
    database.exec(`
      DROP TABLE IF EXISTS nodes;
      CREATE TABLE IF NOT EXISTS names (
        export BLOB NOT NULL, path BLOB NOT NULL, id BLOB NOT NULL, PRIMARY KEY (export, path)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS names_by_id ON names (id);
      CREATE TABLE IF NOT EXISTS births (identity BLOB PRIMARY KEY, id BLOB NOT NULL) STRICT, WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS births_by_id ON births (id);
    `);
    this.#paths = database.prepare('SELECT path FROM names WHERE id = ?');
    this.#idAt = database.prepare('SELECT id FROM names WHERE export = ? AND path = ?');
    this.#remember = database.prepare(
      'INSERT INTO names VALUES (?, ?, ?) ON CONFLICT (export, path) DO UPDATE SET id = excluded.id',
    );
    this.#forget = database.prepare('DELETE FROM names WHERE export = ? AND path = ?');
    this.#forgetBelow = database.prepare('DELETE FROM names WHERE export = ? AND path > ? AND path < ?');
    this.#move = database.prepare('UPDATE names SET path = ? WHERE export = ? AND path = ?');
    // Joined bytes are text to SQLite; as a blob they are the same bytes.
    this.#moveBelow = database.prepare(
      'UPDATE names SET path = CAST(? || substr(path, ?) AS BLOB) WHERE export = ? AND path > ? AND path < ?',
    );
    this.#formerId = database.prepare('SELECT id FROM births WHERE identity = ?');
    this.#rememberBirth = database.prepare('INSERT OR REPLACE INTO births VALUES (?, ?)');
    this.#forgetBirths = database.prepare('DELETE FROM births WHERE id = ?');
    this.#hasBirths = database.prepare('SELECT 1 FROM births').get() !== undefined;
  }

  /** The id of a file seen at `filePath`, relative to the export's root (empty for the root itself). */
  register(exportId: Uint8Array, file: FileIdentity, filePath: Buffer): Buffer {
    const id = this.idOf(exportId, file);
    // Most lookups find what is known: then nothing is written.
    if (this.#idAt.get(exportId, filePath)?.id.equals(id) !== true)
      this.#remember.run(exportId, filePath, id);
    return id;
  }

  /** The id that a file has in an export, to be compared with that of a handle. */
  idOf(exportId: Uint8Array, file: FileIdentity): Buffer {
    const identity = tableId(exportId, file);
    return (this.#hasBirths ? this.#formerId.get(identity)?.id : undefined) ?? identity;
  }

  /** Where the file of an id was seen last, by each of its names. */
  find(id: Buffer): Buffer[] {
    return this.#paths.all(id).map((row) => row.path);
  }

  /** A file that has this id has another identity from now on. */
  reborn(exportId: Uint8Array, id: Buffer, file: FileIdentity): void {
    if (this.idOf(exportId, file).equals(id)) return;
    this.#rememberBirth.run(tableId(exportId, file), id);
    this.#hasBirths = true;
  }

  /** The file of an id has one name more. */
  added(exportId: Uint8Array, filePath: Buffer, id: Buffer): void {
    this.#remember.run(exportId, filePath, id);
  }

  /** A name is gone, and what was below it. `lastOf`: the id of a file of which it was the last name. */
  removed(exportId: Uint8Array, filePath: Buffer, lastOf?: Buffer): void {
    this.#database.transaction(() => {
      this.#forget.run(exportId, filePath);
      this.#forgetBelow.run(exportId, ...below(filePath));
      if (lastOf !== undefined && this.#hasBirths) this.#forgetBirths.run(lastOf);
    })();
  }

  /** A name was changed to another, with all that is below it; what had that name is gone. */
  renamed(exportId: Uint8Array, from: Buffer, to: Buffer): void {
    this.#database.transaction(() => {
      this.#forget.run(exportId, to);
      this.#forgetBelow.run(exportId, ...below(to));
      this.#move.run(to, exportId, from);
      // SQLite counts bytes from 1.
      this.#moveBelow.run(to, from.length + 1, exportId, ...below(from));
    })();
  }

  close(): void {
    this.#database.close();
  }
}

const SLASH = 0x2f;

/** Paths below a directory lie between these two: '/' is followed by '0'. */
function below(directory: Buffer): [after: Buffer, before: Buffer] {
  return [Buffer.concat([directory, Buffer.of(SLASH)]), Buffer.concat([directory, Buffer.of(SLASH + 1)])];
}

const ID_BYTES = 16;

/** The id of a file in an export when it is seen for the first time. */
export function tableId(exportId: Uint8Array, file: FileIdentity): Buffer {
  const numbers = Buffer.alloc(24);
  numbers.writeUInt32LE(file.devMajor, 0);
  numbers.writeUInt32LE(file.devMinor, 4);
  numbers.writeBigUInt64LE(file.ino, 8);
  numbers.writeBigInt64LE(file.btimeNs, 16);
  return createHash('sha256').update(exportId).update(numbers).digest().subarray(0, ID_BYTES);
}
