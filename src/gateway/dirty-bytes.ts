/** The bound on what the mount holds of bytes that were written and are not on stable storage: back-pressure. */
import { DIRTY_BYTES_BACKGROUND, DIRTY_BYTES_MAX } from './limits.ts';
import { StatusError } from './status-error.ts';

const EINTR = 4;

/** Who waits, and may give up. The signal is read only by those who have to wait. */
export interface Interruptible {
  readonly signal: AbortSignal;
}

/** One file's part of it. */
export interface DirtyFile {
  /** What it holds, in bytes. */
  readonly weight: number;
  /** Puts what it holds on stable storage; never rejects. */
  commit(): Promise<void>;
  /** The same in the background, and not at once. */
  commitSoon(): void;
}

export class DirtyBytes {
  readonly #bytesMax: number;
  readonly #backgroundBytes: number;
  /** The one that has been dirty for longest first. */
  readonly #files = new Set<DirtyFile>();
  readonly #waiting: { readonly bytes: number; readonly admit: () => void }[] = [];
  #bytes = 0;
  #isWaking = false;

  /**
   * @param bytesMax default DIRTY_BYTES_MAX
   * @param backgroundBytes above so many bytes files are committed in the background; default DIRTY_BYTES_BACKGROUND
   */
  constructor(bytesMax = DIRTY_BYTES_MAX, backgroundBytes = DIRTY_BYTES_BACKGROUND) {
    this.#bytesMax = bytesMax;
    this.#backgroundBytes = backgroundBytes;
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Writers that wait for room. */
  get waiting(): number {
    return this.#waiting.length;
  }

  get files(): Iterable<DirtyFile> {
    return this.#files;
  }

  /** Whether `bytes` more may be taken at once: nobody came before, and there is room. */
  admits(bytes: number): boolean {
    return this.#waiting.length === 0 && this.#hasRoom(bytes);
  }

  /**
   * Waits for room, in the order of asking, and takes it: `write` runs when there is some. Rejects with StatusError EINTR
   * when whoever waits gives up; `write` does not run then.
   */
  admit<T>(bytes: number, waiter: Interruptible, write: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { signal } = waiter;
      const settle = (): void => {
        signal.removeEventListener('abort', onAbort);
      };
      const place = {
        bytes,
        admit: () => {
          settle();
          try {
            resolve(write());
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        },
      };
      const onAbort = (): void => {
        settle();
        const at = this.#waiting.indexOf(place);
        if (at >= 0) this.#waiting.splice(at, 1);
        this.#wake();
        reject(new StatusError(EINTR));
      };
      if (signal.aborted) {
        reject(new StatusError(EINTR));
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(place);
      for (const file of this.#files) file.commitSoon();
      this.#wake();
    });
  }

  /** A file holds so many bytes more, or fewer. */
  changed(file: DirtyFile, bytes: number): void {
    this.#bytes += bytes;
    if (file.weight === 0) this.#files.delete(file);
    else this.#files.add(file);
    if (bytes < 0) this.#wake();
    else if (this.#bytes > this.#backgroundBytes) this.#press();
  }

  /** A commit in the background has ended: what came in during it is next, where somebody waits for room. */
  committed(): void {
    this.#wake();
  }

  #hasRoom(bytes: number): boolean {
    // One write alone is never too large.
    return this.#bytes + bytes <= this.#bytesMax || this.#bytes === 0;
  }

  /** Has the oldest files committed, as many as it takes. */
  #press(): void {
    let over = this.#bytes - this.#backgroundBytes;
    for (const file of this.#files) {
      if (over <= 0) return;
      over -= file.weight;
      file.commitSoon();
    }
  }

  /** Not at once: whoever gives bytes back is in the middle of something. */
  #wake(): void {
    if (this.#waiting.length === 0 || this.#isWaking) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
        if (!this.#hasRoom(first.bytes)) break;
        this.#waiting.shift();
        first.admit();
      }
      // What came in meanwhile may be what now has to leave.
      if (this.#waiting.length > 0) for (const file of this.#files) file.commitSoon();
    });
  }
}
