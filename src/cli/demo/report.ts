/** What the demo found out: checks with their verdicts, tables for people, one document for programs. */
import { printTable, visible, type CliStreams } from '../output.ts';
import type { ProcessIo } from './process-io.ts';
import type { Guest, MountStatus } from './stage.ts';
import {
  mebibytesPerSecond,
  summarize,
  type ArchivePass,
  type GuestRead,
  type Round,
  type TimedFile,
} from './timed-reads.ts';
import { describeVerdict, type TreeVerdict } from './tree-check.ts';

/** What passthrough must reach of the file's own speed. */
const NEAR_RATIO_MIN = 0.9;
/** What may go through both processes of ours meanwhile, as a share of the file. */
const NEAR_SHARE_MAX = 0.01;
/** What must have crossed the socket on the far route, or its reads came out of the guest's own cache. */
const FAR_SHARE_MIN = 0.9;

/** Below this size opening a file weighs more than reading it, so speed and shares of bytes are shown, not judged. */
export const JUDGED_FILE_BYTES_MIN = 16 * 1024 ** 2;

export interface GuestFindings {
  readonly guest: Guest;
  /** Before and after the timed reads. */
  readonly before: MountStatus;
  readonly after: MountStatus;
  readonly reads: readonly GuestRead[];
  readonly archive: ArchivePass;
  readonly verdicts: readonly TreeVerdict[];
  /** Of the files it copied. */
  readonly copy: TreeVerdict;
}

export interface Findings {
  readonly file: TimedFile;
  readonly tree: { readonly files: number; readonly entries: number; readonly bytes: number };
  readonly rounds: readonly Round[];
  readonly directArchive: ArchivePass;
  readonly near: GuestFindings;
  readonly far: GuestFindings;
  /** Of the exported tree, after everything that was written. */
  readonly unchanged: TreeVerdict;
  /** Of the near guest's network namespace. */
  readonly nearNetwork: { readonly interfaces: readonly string[]; readonly bytes: number };
  readonly seconds: number;
}

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** Bytes of all timed reads of a guest that went through a socket: the larger of what one side wrote and one read. */
function socketBytes(reads: readonly GuestRead[]): number {
  return Math.max(
    total(reads, ({ server }) => server.wchar),
    total(reads, ({ gateway }) => gateway.rchar),
  );
}

/** Every byte both processes read or wrote. */
function processBytes(reads: readonly GuestRead[]): number {
  const both = ({ rchar, wchar }: ProcessIo): number => rchar + wchar;
  return total(reads, ({ gateway, server }) => both(gateway) + both(server));
}

function bytesRead({ reads }: GuestFindings, file: TimedFile): number {
  return file.sizeBytes * reads.length;
}

function directSeconds(rounds: readonly Round[]): number[] {
  return rounds.flatMap(({ direct }) => direct.map(({ seconds }) => seconds));
}

function total(reads: readonly GuestRead[], bytes: (read: GuestRead) => number): number {
  return reads.reduce((sum, read) => sum + bytes(read), 0);
}

function opensBetween({ before, after }: GuestFindings): MountStatus['opens'] {
  return {
    passthrough: after.opens.passthrough - before.opens.passthrough,
    wire: after.opens.wire - before.opens.wire,
  };
}

/** As the gateway opened the file for the timed reads. */
export function dataPathOf(findings: GuestFindings): 'passthrough' | 'wire' | 'mixed' {
  const { passthrough, wire } = opensBetween(findings);
  if (wire === 0 && passthrough > 0) return 'passthrough';
  return passthrough === 0 && wire > 0 ? 'wire' : 'mixed';
}

/** Everything the demo claims, tested. */
export function judge(findings: Findings): readonly Check[] {
  const { near, far, file, rounds, nearNetwork } = findings;
  const nearRatio = summarize(near.reads.map(({ ratio }) => ratio)).median;
  const nearShare = processBytes(near.reads) / bytesRead(near, file);
  const farShare = socketBytes(far.reads) / bytesRead(far, file);
  const why = near.after.lastWireReason === undefined ? '' : `: ${near.after.lastWireReason}`;
  const judged = file.sizeBytes >= JUDGED_FILE_BYTES_MIN;
  const whereLarge = (check: Check): Check[] => (judged ? [check] : []);
  return [
    ...[near, far].flatMap(({ guest, verdicts, copy }) =>
      [...verdicts, copy].map((verdict) => checkOf(verdict, `${guest.name}: ${verdict.what}`)),
    ),
    checkOf(findings.unchanged, findings.unchanged.what),
    {
      name: 'near: no network',
      ok: nearNetwork.bytes === 0 && nearNetwork.interfaces.every((name) => name === 'lo'),
      detail: `interfaces: ${nearNetwork.interfaces.join(', ')}; ${nearNetwork.bytes} bytes through them`,
    },
    { name: 'near: route is near', ok: near.after.route === 'near', detail: near.after.route },
    {
      name: 'near: data path is passthrough',
      ok: dataPathOf(near) === 'passthrough',
      detail: `${dataPathOf(near)}${dataPathOf(near) === 'passthrough' ? '' : why}`,
    },
    ...whereLarge({
      name: `near: speed at least ${NEAR_RATIO_MIN.toFixed(2)} of the file itself`,
      ok: nearRatio >= NEAR_RATIO_MIN,
      detail: `${nearRatio.toFixed(3)}, median of ${near.reads.length} reads in ${rounds.length} rounds`,
    }),
    ...whereLarge({
      name: 'near: under 1 % of the bytes went through our processes',
      ok: nearShare < NEAR_SHARE_MAX,
      detail: `${percent(nearShare)} (rchar + wchar of gateway and server)`,
    }),
    { name: 'far: route is network', ok: far.after.route === 'network', detail: far.after.route },
    { name: 'far: data path is wire', ok: dataPathOf(far) === 'wire', detail: dataPathOf(far) },
    ...whereLarge({
      name: 'far: over 90 % of the bytes crossed the socket',
      ok: farShare > FAR_SHARE_MIN,
      detail: percent(farShare),
    }),
  ];
}

function checkOf(verdict: TreeVerdict, name: string): Check {
  return { name, ok: verdict.mismatches.length === 0, detail: describeVerdict(verdict) };
}

export function printReport(streams: CliStreams, findings: Findings, checks: readonly Check[]): void {
  const { file, rounds, tree, near, far, directArchive } = findings;
  const { out } = streams;
  const speeds = (seconds: readonly number[]): string[] => {
    const speed = summarize(seconds.map((each) => mebibytesPerSecond(file.sizeBytes, each)));
    return [speed.median.toFixed(0), `${speed.minimum.toFixed(0)}-${speed.maximum.toFixed(0)}`];
  };
  const row = (findingsOf: GuestFindings): string[] => {
    const { guest, after, reads } = findingsOf;
    const ratio = summarize(reads.map((each) => each.ratio)).median;
    return [
      guest.title,
      after.route,
      dataPathOf(findingsOf),
      ...speeds(reads.map(({ seconds }) => seconds)),
      ratio.toFixed(3),
      `${socketBytes(reads)} (${percent(socketBytes(reads) / bytesRead(findingsOf, file))})`,
    ];
  };
  out.write(
    `\n${visible(file.name)}, ${bytesText(file.sizeBytes)}: 1 MiB sequential reads by dd, ` +
      `${rounds.length} interleaved rounds (${near.reads.length} near reads, ${far.reads.length} far), medians\n\n`,
  );
  printTable(
    streams,
    ['reader', 'route', 'data path', 'MiB/s', 'from-to', 'ratio', 'bytes that crossed a socket'],
    [['the file itself', '-', '-', ...speeds(directSeconds(rounds)), '1.000', '-'], row(near), row(far)],
  );
  const otherBytes = tree.bytes - file.sizeBytes;
  out.write(`\nThe other ${tree.files - 1} files, ${bytesText(otherBytes)}: tar | cat, seconds\n\n`);
  const archiveRow = (title: string, pass: ArchivePass): string[] => [
    title,
    pass.firstSeconds.toFixed(2),
    pass.againSeconds.toFixed(2),
    (directArchive.againSeconds / pass.againSeconds).toFixed(3),
  ];
  printTable(
    streams,
    ['reader', 'first', 'again', 'ratio'],
    [
      archiveRow('the files', directArchive),
      archiveRow(near.guest.title, near.archive),
      archiveRow(far.guest.title, far.archive),
    ],
  );
  out.write('\n');
  printTable(
    streams,
    ['verdict', 'check', 'found'],
    checks.map(({ ok, name, detail }) => [ok ? 'ok' : 'FAILED', name, detail]),
  );
  const failed = checks.filter(({ ok }) => !ok).length;
  const verdict = failed === 0 ? 'all checks passed' : `${failed} of ${checks.length} checks FAILED`;
  out.write(`\n${verdict}; ${findings.seconds.toFixed(0)} s\n`);
}

/** The document `--json` prints, less what was kept. */
export function describeFindings(findings: Findings, checks: readonly Check[]): object {
  const { file, rounds, tree, near, far, directArchive, seconds } = findings;
  const speed = (times: readonly number[]): object => ({
    seconds: summarize(times),
    mebibytesPerSecond: summarize(times.map((each) => mebibytesPerSecond(file.sizeBytes, each))),
  });
  const describeGuest = (guestFindings: GuestFindings): object => ({
    route: guestFindings.after.route,
    level: guestFindings.after.level,
    why: guestFindings.after.why,
    dataPath: dataPathOf(guestFindings),
    opens: opensBetween(guestFindings),
    ...speed(guestFindings.reads.map((read) => read.seconds)),
    ratio: summarize(guestFindings.reads.map(({ ratio }) => ratio)),
    bytesRead: bytesRead(guestFindings, file),
    socketBytes: socketBytes(guestFindings.reads),
    processBytes: processBytes(guestFindings.reads),
    archive: guestFindings.archive,
    tree: guestFindings.verdicts,
    copy: guestFindings.copy,
  });
  return {
    ok: checks.every(({ ok }) => ok),
    checks,
    file,
    tree,
    direct: { ...speed(directSeconds(rounds)), archive: directArchive },
    near: describeGuest(near),
    far: describeGuest(far),
    unchanged: findings.unchanged,
    nearNetwork: findings.nearNetwork,
    rounds,
    seconds,
  };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 3 : 1)} %`;
}

function bytesText(bytes: number): string {
  const gibibytes = bytes / 1024 ** 3;
  return gibibytes >= 1 ? `${gibibytes.toFixed(2)} GiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
