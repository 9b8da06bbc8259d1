import { closeSync, openSync, readSync } from 'node:fs';
import Database from 'better-sqlite3';

/**
 * Why the table could not be used:
 * missing, unreadable (permissions), corrupt, foreign (something else's file), newer (a later layout),
 * locked, read-only (a write where only reading is possible), interrupted (a writer died and this process may not
 * roll its change back), bad-row, bad-entry (what the caller wanted to enter), unknown-export, failed (the rest).
 */
export type TableErrorCode =
  | 'missing'
  | 'unreadable'
  | 'corrupt'
  | 'foreign'
  | 'newer'
  | 'locked'
  | 'read-only'
  | 'interrupted'
  | 'bad-row'
  | 'bad-entry'
  | 'unknown-export'
  | 'failed';

/** What the message is put together from: `cannot ACTION FILE: WHY; REMEDY`. */
export interface TableFailure {
  code: TableErrorCode;
  action: string;
  file: string;
  why: string;
  remedy: string;
}

/** The colocation table cannot be used. The message is one line: what failed, on which file, why, what to do. */
export class TableError extends Error {
  override readonly name = 'TableError';
  readonly code: TableErrorCode;
  readonly file: string;

  constructor({ code, action, file, why, remedy }: TableFailure, cause?: unknown) {
    const line = `cannot ${action} the colocation table ${file}: ${why}; ${remedy}`;
    super(line.replace(/\s*\n\s*/g, ' '), cause === undefined ? {} : { cause });
    this.code = code;
    this.file = file;
  }
}

export const REFILL =
  'move it away, then start the servers again or fill a new table with `nearmount colocation import`';

/** Turns an error of SQLite into a TableError; any other error comes back as it is. */
export function tableErrorFrom(action: string, file: string, busyTimeoutMs: number, error: unknown): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  return new TableError({ action, file, ...diagnose(error, file, busyTimeoutMs) }, error);
}

function diagnose(
  error: { code: string; message: string },
  file: string,
  busyTimeoutMs: number,
): Pick<TableFailure, 'code' | 'why' | 'remedy'> {
  const { code, message } = error;
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    const why = `another process kept it locked for more than ${busyTimeoutMs} ms`;
    return {
      code: 'locked',
      why,
      remedy: `try again, and if it stays so look for the holder with \`fuser ${file}\``,
    };
  }
  if (code === 'SQLITE_NOTADB')
    return { code: 'corrupt', why: 'it is not an SQLite database', remedy: REFILL };
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_ERROR' || code === 'SQLITE_IOERR_SHORT_READ') {
    return { code: 'corrupt', why: `it is damaged (${message})`, remedy: REFILL };
  }
  if (code === 'SQLITE_READONLY_ROLLBACK' || code === 'SQLITE_READONLY_RECOVERY') {
    const remedy =
      'run `nearmount colocation list` where the file is writable: that takes the half change back';
    return { code: 'interrupted', why: 'a writer died in the middle of a change', remedy };
  }
  if (code.startsWith('SQLITE_READONLY')) {
    const why = 'the file or its directory is read-only here';
    return {
      code: 'read-only',
      why,
      remedy: 'change it where its directory is writable (on the node itself, as its owner)',
    };
  }
  if (code.startsWith('SQLITE_CANTOPEN')) return diagnoseUnopened(file, message);
  return { code: 'failed', why: `${message} (${code})`, remedy: 'look at the file system that holds it' };
}

function diagnoseUnopened(file: string, message: string): Pick<TableFailure, 'code' | 'why' | 'remedy'> {
  let writeAheadLog: boolean;
  try {
    writeAheadLog = isWriteAheadLog(file);
  } catch (error) {
    return diagnoseAccess(error);
  }
  if (writeAheadLog) {
    const why = 'somebody switched it to write-ahead logging, which a read-only directory cannot serve';
    const remedy =
      'open it once where it is writable (`nearmount colocation remove` or `add`): that switches it back';
    return { code: 'read-only', why, remedy };
  }
  return {
    code: 'unreadable',
    why: message,
    remedy: 'check that its directory can be read and written by this user',
  };
}

/** Says what an error of stat(2) or open(2) on the table means. */
export function diagnoseAccess(error: unknown): Pick<TableFailure, 'code' | 'why' | 'remedy'> {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const remedy =
      'start `nearmount serve` with this --colocation, or fill it with `nearmount colocation add` or `import`';
    return { code: 'missing', why: 'it does not exist', remedy };
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return {
      code: 'unreadable',
      why: `this user may not read it (${code})`,
      remedy: 'give it and its directory read permission',
    };
  }
  return { code: 'unreadable', why: code, remedy: 'check the path given with --colocation' };
}

// SQLite file format, section 1.3: bytes 18 and 19 are 2 for a write-ahead log.
function isWriteAheadLog(file: string): boolean {
  const header = Buffer.alloc(20);
  const fd = openSync(file, 'r');
  try {
    return readSync(fd, header, 0, header.length, 0) === header.length && header[18] === 2;
  } finally {
    closeSync(fd);
  }
}
