/** Which clients may have locks, on record: a server that is started anew waits until they have claimed them again. */
import type { Logger } from '../observe/log.ts';
import { StateLog } from '../store/state-log.ts';
import { CLIENT_ID_BYTES } from './call-log.ts';
import { LOCK_RECORD_BYTES } from './limits.ts';
import type { ClientId } from './lock-table.ts';

const LOG_NAME = 'locks';
const TITLE = Buffer.from('nearmount locks 1');

/*
 * A record: kind u8 | client id 16 bytes. The last one of a client counts.
 */
const RECORD_KIND = { MAY_HAVE_LOCKS: 1, HAS_NONE: 2 } as const;
type RecordKind = (typeof RECORD_KIND)[keyof typeof RECORD_KIND];
const RECORD_BYTES = 1 + CLIENT_ID_BYTES;

export class LockRecord {
  readonly #stateLog: StateLog;
  readonly #log: Logger;
  readonly #clients = new Set<ClientId>();

  private constructor(stateLog: StateLog, log: Logger) {
    this.#stateLog = stateLog;
    this.#log = log;
    const { title, records } = stateLog.contents;
    if (title?.equals(TITLE) === true) {
      for (const record of records) {
        if (record.length !== RECORD_BYTES) continue;
        const client = record.toString('latin1', 1);
        if (record[0] === RECORD_KIND.MAY_HAVE_LOCKS) this.#clients.add(client);
        else this.#clients.delete(client);
      }
    }
    this.#rewrite();
  }

  /**
   * Opens the record of a state directory, which nobody else may have.
   *
   * @throws Error of the file system, or when another server has it
   */
  static open(stateDirectory: string, log: Logger): LockRecord {
    const stateLog = StateLog.open(stateDirectory, LOG_NAME);
    if (stateLog === undefined) throw new Error(`another server uses the locks of ${stateDirectory}`);
    try {
      return new LockRecord(stateLog, log);
    } catch (error) {
      stateLog.close();
      throw error;
    }
  }

  get clients(): ReadonlySet<ClientId> {
    return this.#clients;
  }

  /** Puts on record that a client may have locks; false where that cannot be written. */
  add(client: ClientId): boolean {
    if (this.#clients.has(client)) return true;
    this.#clients.add(client);
    try {
      this.#append(RECORD_KIND.MAY_HAVE_LOCKS, client);
      return true;
    } catch (error) {
      this.#clients.delete(client);
      this.#log.warn({ err: error }, 'locks cannot be recorded in the state directory: they are refused');
      return false;
    }
  }

  /** Puts on record that it has none. */
  delete(client: ClientId): void {
    if (!this.#clients.delete(client)) return;
    try {
      this.#append(RECORD_KIND.HAS_NONE, client);
    } catch (error) {
      // Then the next server waits for it in vain.
      this.#log.warn({ err: error }, 'the end of locks cannot be recorded in the state directory');
    }
  }

  close(): void {
    this.#stateLog.close();
  }

  #append(kind: RecordKind, client: ClientId): void {
    if (this.#stateLog.append(encode(kind, client))) return;
    // With this change: it is in the set already.
    this.#rewrite();
  }

  #rewrite(): void {
    this.#stateLog.reserve(LOCK_RECORD_BYTES);
    this.#stateLog.rewrite(
      TITLE,
      [...this.#clients].map((client) => [encode(RECORD_KIND.MAY_HAVE_LOCKS, client)]),
    );
  }
}

function encode(kind: RecordKind, client: ClientId): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record[0] = kind;
  record.write(client, 1, 'latin1');
  return record;
}
