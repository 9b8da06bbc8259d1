/** What a run of the benchmark found out, and what follows from it. */
import type { TimedResult } from '../src/cli/bench/tasks.ts';
import { summarize, type Summary } from '../src/cli/demo/timed-reads.ts';
import { BASE } from './contenders/all.ts';
import type { TreeSize } from './files.ts';
import type { Machine } from './machine.ts';
import { countsBytes, rateOf, type Workload } from './workloads.ts';

export type Standing =
  | { readonly state: 'measured' }
  /** Not installed; one command for each thing to install. */
  | { readonly state: 'missing'; readonly reason: string; readonly install: readonly string[] }
  /** Cannot run here, or not as what it is called. */
  | { readonly state: 'unavailable'; readonly reason: string }
  /** Broke while it was measured, or read other bytes than the files hold. */
  | { readonly state: 'failed'; readonly reason: string };

export interface Entrant {
  readonly name: string;
  readonly title: string;
  readonly standing: Standing;
}

export interface Measured {
  readonly contender: string;
  readonly workload: Workload;
  /** From 1. */
  readonly round: number;
  readonly result: TimedResult;
  /** Of the reader, and of every process of the contender meanwhile. */
  readonly cpuSeconds: number;
}

export interface Settings extends TreeSize {
  readonly rounds: number;
  /** Longest time of one measurement, but for the sequential one and those that write. */
  readonly seconds: number;
  readonly quick: boolean;
}

export interface Findings {
  readonly date: Date;
  readonly machine: Machine;
  readonly settings: Settings;
  readonly entrants: readonly Entrant[];
  /** Of everything the contenders read for the checksums, which are all equal to the files' own. */
  readonly checkedBytes: number;
  readonly measurements: readonly Measured[];
  readonly seconds: number;
}

/** Whether nothing broke. What is missing or cannot run here is no failure. */
export function isSound({ entrants }: Findings): boolean {
  return entrants.every(({ standing }) => standing.state !== 'failed');
}

/** Rates by round. */
function ratesOf({ measurements }: Findings, contender: string, workload: Workload): Map<number, number> {
  return new Map(
    measurements
      .filter((each) => each.contender === contender && each.workload === workload)
      .map((each) => [each.round, rateOf(workload, each.result)]),
  );
}

/** Of the ratios of one contender to another, round by round; undefined where they share no round. */
export function ratio(
  findings: Findings,
  contender: string,
  other: string,
  workload: Workload,
): Summary | undefined {
  const others = ratesOf(findings, other, workload);
  const ratios = [...ratesOf(findings, contender, workload)].flatMap(([round, rate]) => {
    const against = others.get(round);
    return against === undefined ? [] : [rate / against];
  });
  return ratios.length === 0 ? undefined : summarize(ratios);
}

export interface Row {
  readonly entrant: Entrant;
  readonly rate: Summary;
  /** To the files themselves. */
  readonly ratio: Summary | undefined;
  /** Processor seconds for a GiB read or written sequentially, else microseconds for one operation. */
  readonly cpu: Summary;
}

const US_PER_SECOND = 1_000_000;

/** Everybody's standing in one workload, in the order of the contenders. */
export function rowsOf(findings: Findings, workload: Workload): readonly Row[] {
  return findings.entrants.flatMap((entrant) => {
    const measured = findings.measurements.filter(
      (each) => each.contender === entrant.name && each.workload === workload,
    );
    if (entrant.standing.state !== 'measured' || measured.length === 0) return [];
    return [
      {
        entrant,
        rate: summarize(measured.map(({ result }) => rateOf(workload, result))),
        ratio: ratio(findings, entrant.name, BASE.name, workload),
        cpu: summarize(
          measured.map(({ cpuSeconds, result }) =>
            countsBytes(workload)
              ? cpuSeconds / (result.bytes / 1024 ** 3)
              : (cpuSeconds * US_PER_SECOND) / result.operations,
          ),
        ),
      },
    ];
  });
}

/** The unit of `Row.cpu`. */
export function cpuUnit(workload: Workload): string {
  return countsBytes(workload) ? 'CPU s per GiB' : 'CPU µs each';
}

export function titleOf({ entrants }: Findings, name: string): string {
  return entrants.find((entrant) => entrant.name === name)?.title ?? name;
}
