import { createHash } from 'node:crypto';
import path from 'node:path';
import Database from 'better-sqlite3';
import type { FileStatus } from '../system/files.ts';

/** What tells one file from all others, also from one that got its inode number later. */
export type FileIdentity = Pick<FileStatus, 'devMajor' | 'devMinor' | 'ino' | 'btimeNs'>;

interface Row {
  path: Buffer;
}

/**
 * Handles for files whose file system has none (or too long ones): an id made of export and file identity, and the
 * path where the file was seen last. An id is never given to a second file, whatever the database forgets in a
 * crash: at worst a handle is stale until the file is looked up again. So it is on overlayfs when the first write
 * copies a file up from a lower layer, because its time of birth changes.
 */
export class HandleTable {
  readonly #database: Database.Database;
  readonly #find: Database.Statement<[Buffer], Row>;
  readonly #remember: Database.Statement<[Buffer, Buffer]>;

  /** Opens or makes `handles.sqlite` in the state directory. */
  constructor(stateDirectory: string) {
    this.#database = new Database(path.join(stateDirectory, 'handles.sqlite'));
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = NORMAL');
    this.#database.exec(
      'CREATE TABLE IF NOT EXISTS nodes (id BLOB PRIMARY KEY, path BLOB NOT NULL) STRICT, WITHOUT ROWID',
    );
    this.#find = this.#database.prepare('SELECT path FROM nodes WHERE id = ?');
    this.#remember = this.#database.prepare(
      'INSERT INTO nodes VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET path = excluded.path',
    );
  }

  /** The id of a file seen at `filePath`, relative to the export's root (empty for the root itself). */
  register(exportId: Uint8Array, file: FileIdentity, filePath: Buffer): Buffer {
    const id = tableId(exportId, file);
    // Most lookups find what is known: then nothing is written.
    if (this.find(id)?.equals(filePath) !== true) this.#remember.run(id, filePath);
    return id;
  }

  /** Where the file of an id was seen last. */
  find(id: Buffer): Buffer | undefined {
    return this.#find.get(id)?.path;
  }

  close(): void {
    this.#database.close();
  }
}

const ID_BYTES = 16;

/** The id that the file has in this export, to be compared with that of a handle. */
export function tableId(exportId: Uint8Array, file: FileIdentity): Buffer {
  const numbers = Buffer.alloc(24);
  numbers.writeUInt32LE(file.devMajor, 0);
  numbers.writeUInt32LE(file.devMinor, 4);
  numbers.writeBigUInt64LE(file.ino, 8);
  numbers.writeBigInt64LE(file.btimeNs, 16);
  return createHash('sha256').update(exportId).update(numbers).digest().subarray(0, ID_BYTES);
}
