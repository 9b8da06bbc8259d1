/** Everything that is timed: what `nearmount bench` times as well, and writing. */
import {
  rateOf as readRateOf,
  WORKLOADS as READ_WORKLOADS,
  WORKLOAD_TITLES as READ_TITLES,
  WORKLOAD_UNITS as READ_UNITS,
  type TimedResult,
  type Workload as ReadWorkload,
} from '../src/cli/bench/tasks.ts';
import { WRITE_TITLES, WRITE_UNITS, WRITE_WORKLOADS, type WriteWorkload } from './writing/tasks.ts';

export type Workload = ReadWorkload | WriteWorkload;
export const WORKLOADS: readonly Workload[] = [...READ_WORKLOADS, ...WRITE_WORKLOADS];
export const WORKLOAD_TITLES: Readonly<Record<Workload, string>> = { ...READ_TITLES, ...WRITE_TITLES };
export const WORKLOAD_UNITS: Readonly<Record<Workload, string>> = { ...READ_UNITS, ...WRITE_UNITS };

export function isWriting(workload: Workload): workload is WriteWorkload {
  return workload in WRITE_TITLES;
}

/** Whether its rate counts bytes, not operations. */
export function countsBytes(workload: Workload): boolean {
  return WORKLOAD_UNITS[workload] === 'MiB/s';
}

/** In `WORKLOAD_UNITS` of the workload. */
export function rateOf(workload: Workload, result: TimedResult): number {
  if (!isWriting(workload)) return readRateOf(workload, result);
  return (countsBytes(workload) ? result.bytes / 1024 ** 2 : result.operations) / result.seconds;
}
