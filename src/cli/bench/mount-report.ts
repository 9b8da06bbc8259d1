/** What `nearmount bench` found out, for people and for programs. */
import { summarize, type Summary } from '../demo/timed-reads.ts';
import { printTable, visible, type CliStreams } from '../output.ts';
import { rateOf, WORKLOAD_TITLES, WORKLOAD_UNITS, type TimedResult, type Workload } from './tasks.ts';

export interface MeasuredSide {
  /** One a round. */
  readonly results: readonly TimedResult[];
  /** One a round where the mount's gateway is known; of the same machine. */
  readonly gatewayCpuSeconds: readonly number[];
}

export interface Measurement {
  readonly workload: Workload;
  readonly subject: string;
  /** The directory, and the one it is held against. */
  readonly sides: readonly MeasuredSide[];
}

export interface MountReport {
  readonly directory: string;
  readonly against: string | undefined;
  readonly rounds: number;
  readonly secondsMax: number;
  /** By side. */
  readonly dropCaches: readonly boolean[];
  readonly surveyComplete: boolean;
  readonly measurements: readonly Measurement[];
  /** For which the tree has no file. */
  readonly leftOut: readonly Workload[];
}

/** A rate for people: no more digits than mean something. */
export function formatRate(rate: number): string {
  if (!Number.isFinite(rate)) return '-';
  return rate.toFixed(rate >= 100 ? 0 : rate >= 10 ? 1 : 2);
}

export function formatRange({ minimum, maximum }: Summary): string {
  return `${formatRate(minimum)}-${formatRate(maximum)}`;
}

function ratesOf(workload: Workload, { results }: MeasuredSide): number[] {
  return results.map((result) => rateOf(workload, result));
}

/** Round by round, the directory's rate divided by the other's. */
function ratiosOf({ workload, sides }: Measurement): number[] {
  const [own, other] = sides.map((side) => ratesOf(workload, side));
  return own?.flatMap((rate, round) => (other?.[round] === undefined ? [] : [rate / other[round]])) ?? [];
}

function cpuOf(results: readonly TimedResult[]): Summary {
  return summarize(results.map(({ cpuSeconds }) => cpuSeconds));
}

/** What the file said of itself in the last round: route, data path and why; undefined where nothing is told. */
function attributesOf({ measurements }: MountReport, side: number): Readonly<Record<string, string>> {
  for (const { sides } of measurements) {
    const attributes = sides[side]?.results.at(-1)?.attributes ?? {};
    if (Object.keys(attributes).length > 0) return attributes;
  }
  return {};
}

export function printMountReport(streams: CliStreams, report: MountReport): void {
  const { out } = streams;
  const paths = [report.directory, ...(report.against === undefined ? [] : [report.against])];
  for (const [side, path] of paths.entries()) {
    const { route, datapath, why } = attributesOf(report, side);
    const kind =
      route === undefined
        ? 'no Nearmount mount'
        : `route ${route}, data path ${datapath ?? 'unknown'}${why === undefined ? '' : ` (${why})`}`;
    out.write(
      `${visible(`${side === 0 ? '' : 'against '}${path}: ${kind}; ${temperature(report, side)}`)}\n`,
    );
  }
  out.write(
    `${report.rounds} rounds${report.against === undefined ? '' : ', both in turn'}; ` +
      `at most ${report.secondsMax} s a measurement; medians, from-to\n\n`,
  );
  printTable(
    streams,
    [
      'workload',
      'unit',
      'median',
      'from-to',
      'CPU s reader',
      'CPU s gateway',
      ...(report.against === undefined ? [] : ['against', 'from-to', 'ratio']),
    ],
    report.measurements.map((measurement) => {
      const { workload, sides } = measurement;
      const [own, other] = sides;
      if (own === undefined) return [];
      const rates = summarize(ratesOf(workload, own));
      const gateway = own.gatewayCpuSeconds;
      const row = [
        WORKLOAD_TITLES[workload],
        WORKLOAD_UNITS[workload],
        formatRate(rates.median),
        formatRange(rates),
        cpuOf(own.results).median.toFixed(3),
        gateway.length === 0 ? '-' : summarize(gateway).median.toFixed(2),
      ];
      if (other === undefined) return row;
      const others = summarize(ratesOf(workload, other));
      const ratio = summarize(ratiosOf(measurement)).median.toFixed(3);
      return [...row, formatRate(others.median), formatRange(others), ratio];
    }),
  );
  out.write('\n');
  for (const { workload, subject } of report.measurements) {
    out.write(`${visible(`${WORKLOAD_TITLES[workload]}: ${subject}`)}\n`);
  }
  for (const workload of report.leftOut) {
    out.write(`${WORKLOAD_TITLES[workload]}: left out, the tree has no file for it\n`);
  }
  if (!report.surveyComplete) out.write('The tree is larger than what was looked at to choose files.\n');
}

/** What was cold: said, because it cannot be chosen without mounting again. */
function temperature({ dropCaches }: MountReport, side: number): string {
  return dropCaches[side] === true
    ? "what was read is dropped from this machine's cache after each measurement, names and attributes stay cached"
    : 'its files lie on this machine, so what is cached stays cached';
}

/** The document `--json` prints. */
export function describeMountReport(report: MountReport): object {
  const { measurements, ...rest } = report;
  const describeSide = (workload: Workload, side: MeasuredSide): object => ({
    rate: summarize(ratesOf(workload, side)),
    readerCpuSeconds: cpuOf(side.results),
    ...(side.gatewayCpuSeconds.length === 0 ? {} : { gatewayCpuSeconds: summarize(side.gatewayCpuSeconds) }),
    rounds: side.results,
  });
  return {
    ...rest,
    attributes: attributesOf(report, 0),
    measurements: measurements.map((measurement) => {
      const { workload, subject, sides } = measurement;
      const [own, other] = sides;
      return {
        workload,
        subject,
        unit: WORKLOAD_UNITS[workload],
        ...(own === undefined ? {} : describeSide(workload, own)),
        ...(other === undefined
          ? {}
          : { against: describeSide(workload, other), ratio: summarize(ratiosOf(measurement)) }),
      };
    }),
  };
}
