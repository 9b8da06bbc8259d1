/**
 * For which attributes the server has promised to tell when they change (push): these are believed for long, and those of
 * before a session was lost, or of which something was told since they were asked for, are not.
 */
import { COVERAGE_BROKEN_MAX, PUSH_VALID_MS } from './limits.ts';

type Milliseconds = number;

/** How long what is covered is believed. */
export interface CoverageTimes {
  readonly fileMs: Milliseconds;
  readonly directoryMs: Milliseconds;
}

export const DEFAULT_COVERAGE_TIMES: CoverageTimes = { fileMs: PUSH_VALID_MS, directoryMs: PUSH_VALID_MS };

export class Coverage {
  readonly #times: CoverageTimes;
  readonly #brokenMax: number;
  #epoch = 0;
  #sinceMs = Infinity;
  /** When something was told of a file, by handle key. What is neither here nor in #old was not told of since #forgottenMs. */
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #forgottenMs = -Infinity;
  #rotatedMs = -Infinity;

  /** @param brokenMax files of which it is remembered at least when they were told of last */
  constructor(times = DEFAULT_COVERAGE_TIMES, brokenMax = COVERAGE_BROKEN_MAX) {
    this.#times = times;
    this.#brokenMax = brokenMax;
  }

  /** Another one whenever everything that was covered is not any more. */
  get epoch(): number {
    return this.#epoch;
  }

  get isOn(): boolean {
    return this.#sinceMs !== Infinity;
  }

  /** What is asked for from now on is covered. */
  begin(): void {
    this.end();
    this.#sinceMs = performance.now();
  }

  /** Nothing is covered any more. What was is believed for the ordinary time from when it was learned. */
  end(): void {
    this.#epoch += 1;
    this.#sinceMs = Infinity;
    this.#young.clear();
    this.#old.clear();
    this.#forgottenMs = -Infinity;
  }

  /** Something was told of a file: what was asked for before does not count. */
  told(handleKey: string): void {
    const nowMs = performance.now();
    if (this.#young.size >= this.#brokenMax) {
      this.#forgottenMs = this.#rotatedMs;
      this.#rotatedMs = nowMs;
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(handleKey, nowMs);
  }

  /**
   * Whether what the server has said of a file still holds.
   *
   * @param askedMs when it was asked, on the clock of performance.now()
   */
  covers(handleKey: string, askedMs: number): boolean {
    if (askedMs < this.#sinceMs || askedMs <= this.#forgottenMs) return false;
    const toldMs = this.#young.get(handleKey) ?? this.#old.get(handleKey);
    return toldMs === undefined || toldMs < askedMs;
  }

  /** How long what is covered is believed, in milliseconds. */
  validMs(isDirectory: boolean): Milliseconds {
    return isDirectory ? this.#times.directoryMs : this.#times.fileMs;
  }
}
