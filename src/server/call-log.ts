/** What is remembered of calls, on record: it holds across a server that is killed and started again. */
import type { Logger } from '../observe/log.ts';
import { StateLog } from '../store/state-log.ts';
import { StoreError } from '../store/store-error.ts';
import { KeptCalls, type KeptCall, type KeptCallsLimits } from './kept-calls.ts';
import { CALL_LOG_BYTES_MAX, CALL_LOG_BYTES_MIN, CALL_LOG_WARN_MS, INTENT_BYTES_MAX } from './limits.ts';

const LOG_NAME = 'calls';
/** First bytes of the log's title; the boot id follows. */
const TITLE = 'nearmount calls 1 ';

/*
 * A record: kind u8 | client id 16 bytes | key of the call 16 bytes | what its kind says.
 */
const RECORD_KIND = {
  /** What the procedure kept before its change. */
  INTENT: 1,
  /** The result, as it was sent. */
  OUTCOME: 2,
  /** Nothing took effect, and the call will not come again. */
  VOID: 3,
} as const;
type RecordKind = (typeof RECORD_KIND)[keyof typeof RECORD_KIND];

export const CLIENT_ID_BYTES = 16;
export const CALL_KEY_BYTES = 16;
const HEAD_BYTES = 1 + CLIENT_ID_BYTES + CALL_KEY_BYTES;
/** How much larger than what is remembered the log is, so that it is seldom written anew. */
const CAPACITY_FACTOR = 4;
/** At least this part of a log is free after it was written anew. */
const KEPT_PART_MAX = 0.5;

/** Whom a client that was read from the log came from. */
const UNKNOWN_PEER = '';

/** Whose call. */
export interface CallName {
  /** latin1, CLIENT_ID_BYTES long, as the key is CALL_KEY_BYTES long. */
  readonly clientId: string;
  readonly key: string;
  readonly peer: string;
}

export interface CallLogOptions {
  readonly stateDirectory: string;
  /** Of the running kernel. */
  readonly bootId: string;
  readonly log: Logger;
  /** Other limits than those of limits.ts. */
  readonly limits?: Partial<KeptCallsLimits & { readonly logBytesMin: number; readonly logBytesMax: number }>;
}

/** What a call takes in the log: one that changed nothing is not in it. */
function weigh({ before, reply }: KeptCall): number {
  if (before === undefined) return reply?.length ?? 0;
  const outcome = reply === undefined ? 0 : StateLog.frameBytes(HEAD_BYTES + reply.length);
  return StateLog.frameBytes(HEAD_BYTES + before.length) + outcome;
}

export class CallLog {
  readonly #options: CallLogOptions;
  readonly #stateLog: StateLog;
  readonly #kept: KeptCalls;
  readonly #head = Buffer.allocUnsafe(HEAD_BYTES);
  #warnedMs = -Infinity;

  private constructor(options: CallLogOptions, stateLog: StateLog) {
    this.#options = options;
    this.#stateLog = stateLog;
    this.#kept = new KeptCalls(weigh, options.limits);
    this.#read();
    this.#rewrite();
  }

  /**
   * Opens the log of a state directory and reads it.
   *
   * @returns undefined while another server has it
   * @throws Error of the file system, ENOSPC among them: the log takes its room at once
   */
  static open(options: CallLogOptions): CallLog | undefined {
    const stateLog = StateLog.open(options.stateDirectory, LOG_NAME);
    if (stateLog === undefined) return undefined;
    try {
      return new CallLog(options, stateLog);
    } catch (error) {
      stateLog.close();
      throw error;
    }
  }

  find({ clientId, key }: CallName): KeptCall | undefined {
    return this.#kept.find(clientId, key);
  }

  get clients(): number {
    return this.#kept.clients;
  }

  /**
   * Puts on record what a call starts from.
   *
   * @param before at most INTENT_BYTES_MAX
   * @throws StoreError NOT_NOW where it cannot be written: the call must change nothing then
   */
  begin(call: CallName, before: Uint8Array): void {
    if (before.length > INTENT_BYTES_MAX) throw new RangeError(`an intent of ${before.length} bytes`);
    try {
      this.#append(RECORD_KIND.INTENT, call, before);
    } catch (error) {
      this.#warn(error);
      throw new StoreError('NOT_NOW', 'what a call starts from cannot be recorded');
    }
    this.#kept.keep(call.clientId, call.peer, call.key, {
      before: Uint8Array.from(before),
      reply: undefined,
    });
  }

  /** Remembers the result of a call; on record where it had begun. */
  settle(call: CallName, reply: Uint8Array): void {
    const before = this.find(call)?.before;
    this.#kept.keep(call.clientId, call.peer, call.key, { before, reply });
    if (before !== undefined) this.#tryAppend(RECORD_KIND.OUTCOME, call, reply);
  }

  /** Forgets a call that took no effect, and that will come again by another name. */
  forget(call: CallName): void {
    if (this.find(call)?.before !== undefined) this.#tryAppend(RECORD_KIND.VOID, call, new Uint8Array(0));
    this.#kept.forget(call.clientId, call.key);
  }

  close(): void {
    this.#stateLog.close();
  }

  #tryAppend(kind: RecordKind, call: CallName, body: Uint8Array): void {
    try {
      this.#append(kind, call, body);
    } catch (error) {
      // The change has happened. Should the server die now, the intent says where to look.
      this.#warn(error);
    }
  }

  #append(kind: RecordKind, { clientId, key }: CallName, body: Uint8Array): void {
    writeHead(this.#head, kind, clientId, key);
    if (this.#stateLog.append(this.#head, body)) return;
    this.#rewrite();
    writeHead(this.#head, kind, clientId, key);
    if (!this.#stateLog.append(this.#head, body)) throw new Error('the log has no room');
  }

  #warn(error: unknown): void {
    const nowMs = performance.now();
    if (nowMs - this.#warnedMs < CALL_LOG_WARN_MS) return;
    this.#warnedMs = nowMs;
    this.#options.log.warn({ err: error }, 'calls cannot be recorded in the state directory: changes wait');
  }

  #read(): void {
    const { title, records } = this.#stateLog.contents;
    if (title === undefined) return;
    const text = title.toString('latin1');
    if (!text.startsWith(TITLE)) {
      this.#options.log.warn('the record of calls is not of this version: it starts empty');
      return;
    }
    // After the machine went down, a change may be lost whose outcome is on record: its procedure is to look.
    const isSameBoot = text.slice(TITLE.length) === this.#options.bootId;
    for (const record of records) {
      if (record.length < HEAD_BYTES) continue;
      const kind = record.readUInt8(0);
      const clientId = record.toString('latin1', 1, 1 + CLIENT_ID_BYTES);
      const key = record.toString('latin1', 1 + CLIENT_ID_BYTES, HEAD_BYTES);
      const body = Uint8Array.from(record.subarray(HEAD_BYTES));
      if (kind === RECORD_KIND.INTENT) {
        this.#kept.keep(clientId, UNKNOWN_PEER, key, { before: body, reply: undefined });
      } else if (kind === RECORD_KIND.VOID) {
        this.#kept.forget(clientId, key);
      } else if (kind === RECORD_KIND.OUTCOME && isSameBoot) {
        const before = this.#kept.find(clientId, key)?.before;
        if (before !== undefined) this.#kept.keep(clientId, UNKNOWN_PEER, key, { before, reply: body });
      }
    }
  }

  /** Writes the log anew, with what is remembered: in one turn, some milliseconds where that is much. */
  #rewrite(): void {
    const { bootId, log, limits } = this.#options;
    const { logBytesMin = CALL_LOG_BYTES_MIN, logBytesMax = CALL_LOG_BYTES_MAX } = limits ?? {};
    const title = Buffer.from(TITLE + bootId, 'latin1');
    let wantedBytes = logBytesMin;
    while (wantedBytes < CAPACITY_FACTOR * this.#kept.bytes && wantedBytes < logBytesMax) wantedBytes *= 2;
    const roomBytes = this.#stateLog.reserve(Math.min(wantedBytes, logBytesMax)) * KEPT_PART_MAX;
    if (this.#kept.bytes > roomBytes) {
      log.warn('the state directory is full: the calls of clients that were silent longest are forgotten');
      this.#kept.shrinkTo(roomBytes);
    }
    this.#stateLog.rewrite(title, this.#records());
  }

  *#records(): Generator<readonly Uint8Array[]> {
    const head = (kind: RecordKind, clientId: string, key: string): Uint8Array => {
      const bytes = Buffer.allocUnsafe(HEAD_BYTES);
      writeHead(bytes, kind, clientId, key);
      return bytes;
    };
    for (const [clientId, key, { before, reply }] of this.#kept) {
      if (before === undefined) continue;
      yield [head(RECORD_KIND.INTENT, clientId, key), before];
      if (reply !== undefined) yield [head(RECORD_KIND.OUTCOME, clientId, key), reply];
    }
  }
}

function writeHead(head: Buffer, kind: RecordKind, clientId: string, key: string): void {
  head[0] = kind;
  head.write(clientId, 1, 'latin1');
  head.write(key, 1 + CLIENT_ID_BYTES, 'latin1');
}
