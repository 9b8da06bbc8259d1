/**
 * Tells the kernel that names have changed (FUSE_NOTIFY_INVAL_ENTRY). It locks the directory for that
 * (fuse_reverse_inval_entry in fs/fuse/dir.c), as whoever looks a name up in it does, who may be waiting for our answer: so the
 * write may block, and is made on another thread. The loop goes on to answer, which ends the wait; nobody here waits for it.
 */
import {
  FUSE_EXPIRE_ONLY,
  FUSE_NOTIFY_INVAL_ENTRY,
  fuse_notify_inval_entry_out,
  fuse_out_header,
} from './abi.ts';
import { NAME_NOTICES_MAX, NAME_NOTICE_RETRY_MS, NAME_NOTICE_TRIED_MS } from './limits.ts';

interface Notice {
  readonly directory: bigint;
  readonly name: Buffer;
  /** Since when it waits, on the clock of performance.now(). */
  readonly sinceMs: number;
}

/** Writes one message to the device on another thread, and tells when that is done. */
export type WriteAside = (message: Buffer, done: () => void) => void;

export class NameNotices {
  readonly #write: WriteAside;
  readonly #isBusy: (directory: bigint) => boolean;
  /** In the order in which they came. */
  readonly #waiting = new Map<string, Notice>();
  /** The message under way, which must stay reachable. */
  #underWay: Buffer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isScheduled = false;
  #onIdle: (() => void) | undefined;
  #isStopped = false;

  /**
   * @param isBusy whether requests wait, or one about the directory is under way, whose caller may have it locked. The write would
   * only wait then; but a gateway that is killed at that moment could not end, because its thread waits for the lock, and whoever has
   * the lock for the gateway. So a moment without is waited for, and what is left of the danger are some microseconds
   */
  constructor(write: WriteAside, isBusy: (directory: bigint) => boolean) {
    this.#write = write;
    this.#isBusy = isBusy;
  }

  /** Whether a write is under way, which may be blocked. */
  get isWriting(): boolean {
    return this.#underWay !== undefined;
  }

  /** Names that the kernel is still to be told of. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Soon. Where too many wait already, the name is left to its time-out. */
  expire(directory: bigint, name: Uint8Array): void {
    if (this.#isStopped || this.#waiting.size >= NAME_NOTICES_MAX) return;
    const own = Buffer.from(name);
    const key = `${directory}/${own.toString('latin1')}`;
    if (!this.#waiting.has(key)) {
      this.#waiting.set(key, { directory, name: own, sinceMs: performance.now() });
    }
    this.#schedule();
  }

  /** Nothing more is told. Resolves when no write is under way; whoever holds the lock must be answered until then. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#waiting.clear();
    clearTimeout(this.#timer);
    if (!this.isWriting) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** When the requests at hand are answered, as far as that can be done at once. */
  #schedule(): void {
    if (this.#isScheduled || this.isWriting || this.#timer !== undefined) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#next();
    });
  }

  #next(): void {
    if (this.isWriting || this.#isStopped) return;
    const nowMs = performance.now();
    for (const [key, notice] of this.#waiting) {
      const isBusy = this.#isBusy(notice.directory);
      if (isBusy && nowMs - notice.sinceMs < NAME_NOTICE_TRIED_MS) continue;
      this.#waiting.delete(key);
      if (isBusy) continue;
      const message = encode(notice);
      this.#underWay = message;
      this.#write(message, () => {
        this.#written();
      });
      return;
    }
    if (this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#next();
    }, NAME_NOTICE_RETRY_MS);
  }

  #written(): void {
    this.#underWay = undefined;
    this.#onIdle?.();
    if (this.#waiting.size > 0) this.#schedule();
  }
}

/**
 * Expired, not invalidated, where the kernel knows the difference (protocol 7.38): should the name lead where it did, then what is
 * mounted on it and who works in it stay.
 */
function encode({ directory, name }: Notice): Buffer {
  const body = fuse_notify_inval_entry_out.encode({
    parent: directory,
    namelen: name.length,
    flags: FUSE_EXPIRE_ONLY,
  });
  const len = fuse_out_header.sizeBytes + body.length + name.length + 1;
  const header = fuse_out_header.encode({ len, error: FUSE_NOTIFY_INVAL_ENTRY, unique: 0n });
  return Buffer.concat([header, body, name, Buffer.alloc(1)]);
}
