/** The benchmark's results on the terminal, and as one JSON document. */
import { formatRange, formatRate } from '../src/cli/bench/mount-report.ts';
import type { Summary } from '../src/cli/demo/timed-reads.ts';
import { printTable, visible, type CliStreams } from '../src/cli/output.ts';
import { cpuUnit, rowsOf, type Entrant, type Findings } from './findings.ts';
import { judgeGoals } from './goals.ts';
import { WORKLOADS, WORKLOAD_TITLES, WORKLOAD_UNITS, type Workload } from './workloads.ts';

export function formatRatio({ median, minimum, maximum }: Summary): string {
  return `${median.toFixed(3)} (${minimum.toFixed(2)}-${maximum.toFixed(2)})`;
}

/** Heading and cells of one workload's table. */
export function tableOf(
  findings: Findings,
  workload: Workload,
): { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] } {
  return {
    head: [
      'contender',
      WORKLOAD_UNITS[workload],
      'from-to',
      'ratio to the files (from-to)',
      cpuUnit(workload),
    ],
    rows: rowsOf(findings, workload).map(({ entrant, rate, ratio, cpu }) => [
      entrant.title,
      formatRate(rate.median),
      formatRange(rate),
      ratio === undefined ? '-' : formatRatio(ratio),
      formatRate(cpu.median),
    ]),
  };
}

export function goalsTable(findings: Findings): {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
} {
  return {
    head: ['workload', 'of', 'to', 'goal', 'measured (from-to)', 'verdict'],
    rows: judgeGoals(findings).map(({ workload, contender, other, goal, ratio, verdict }) => [
      WORKLOAD_TITLES[workload],
      contender,
      other,
      goal,
      ratio === undefined ? '-' : formatRatio(ratio),
      verdict,
    ]),
  };
}

/** Why somebody has no row; undefined for who has one. */
export function absence({ title, standing }: Entrant): string | undefined {
  switch (standing.state) {
    case 'measured':
      return undefined;
    case 'missing':
      return `${title}: ${standing.reason} (${standing.install.join('; ')})`;
    case 'unavailable':
      return `${title}: not available here: ${standing.reason}`;
    case 'failed':
      return `${title}: FAILED: ${standing.reason}`;
  }
}

export function printFindings(streams: CliStreams, findings: Findings): void {
  const { out } = streams;
  for (const workload of WORKLOADS) {
    const { head, rows } = tableOf(findings, workload);
    out.write(`\n${WORKLOAD_TITLES[workload]}\n\n`);
    printTable(streams, head, rows);
  }
  const goals = goalsTable(findings);
  out.write('\nGoals\n\n');
  printTable(streams, goals.head, goals.rows);
  out.write('\n');
  for (const entrant of findings.entrants) {
    const line = absence(entrant);
    if (line !== undefined) out.write(`${visible(line)}\n`);
  }
  const { rounds } = findings.settings;
  out.write(
    `${rounds} interleaved round${rounds === 1 ? '' : 's'}, medians; all checksums compared; ` +
      `${findings.seconds.toFixed(0)} s\n`,
  );
}

/** The document `--json` writes. */
export function describeFindings(findings: Findings): object {
  const { date, machine, settings, entrants, checkedBytes, measurements, seconds } = findings;
  return {
    date: date.toISOString(),
    machine,
    settings,
    seconds,
    contenders: entrants,
    checkedBytes,
    workloads: WORKLOADS.map((workload) => ({
      workload,
      unit: WORKLOAD_UNITS[workload],
      cpuUnit: cpuUnit(workload),
      rows: rowsOf(findings, workload).map(({ entrant, ...row }) => ({ contender: entrant.name, ...row })),
    })),
    goals: judgeGoals(findings),
    measurements,
  };
}
