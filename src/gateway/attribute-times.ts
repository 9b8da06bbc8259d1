/** How long attributes are believed: NFS's ac* times, nfs(5). */

import type { Coverage } from './coverage.ts';

type Milliseconds = number;

export interface AttributeTimes {
  /** Regular files, symbolic links and special files: shortest and longest time; nfs(5) acregmin, acregmax. */
  readonly acregminMs: Milliseconds;
  readonly acregmaxMs: Milliseconds;
  /** Directories: acdirmin, acdirmax. */
  readonly acdirminMs: Milliseconds;
  readonly acdirmaxMs: Milliseconds;
  /** Which attributes the server tells the changes of; without it none. */
  readonly coverage?: Coverage;
}

/** The defaults of nfs(5). */
export const DEFAULT_ATTRIBUTE_TIMES: AttributeTimes = {
  acregminMs: 3_000,
  acregmaxMs: 60_000,
  acdirminMs: 30_000,
  acdirmaxMs: 60_000,
};

/** `noac`: nothing is believed. */
export const NO_ATTRIBUTE_TIMES: AttributeTimes = {
  acregminMs: 0,
  acregmaxMs: 0,
  acdirminMs: 0,
  acdirmaxMs: 0,
};

/**
 * The time for which freshly fetched attributes are believed: the minimum after a change, twice the last time
 * (up to the maximum) where nothing had changed.
 *
 * @param lastMs the time used before; undefined for attributes seen first
 */
export function nextAttributeTime(
  times: AttributeTimes,
  isDirectory: boolean,
  changed: boolean,
  lastMs: Milliseconds | undefined,
): Milliseconds {
  const minimum = isDirectory ? times.acdirminMs : times.acregminMs;
  const maximum = isDirectory ? times.acdirmaxMs : times.acregmaxMs;
  if (changed || lastMs === undefined) return minimum;
  return Math.min(Math.max(lastMs * 2, minimum), maximum);
}
