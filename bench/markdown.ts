/** docs/benchmarks.md */
import type { Findings } from './findings.ts';
import { absence, goalsTable, tableOf } from './report.ts';
import { WORKLOADS, WORKLOAD_TITLES } from './workloads.ts';

export function writeMarkdown(findings: Findings): string {
  const { date, machine, settings, checkedBytes } = findings;
  const absent = findings.entrants.map(absence).filter((line) => line !== undefined);
  const sections = WORKLOADS.map((workload) => {
    const { head, rows } = tableOf(findings, workload);
    return `### ${WORKLOAD_TITLES[workload]}\n\n${markdownTable(head, rows)}`;
  });
  const goals = goalsTable(findings);
  return `# Benchmarks

Made by \`npm run bench\` on ${date.toISOString().slice(0, 10)}; do not edit, run it again. Only ratios taken in one run mean
something: on another machine, or on a busy one, every figure is another.

- Machine: ${machine.kernel}, ${machine.cpus} CPUs (${machine.cpuModel}), ${machine.memoryGib} GiB of memory, files on ${machine.fileSystem}, Node.js ${machine.node};
  load average ${machine.loadBefore.toFixed(2)} in the minute before
- Files: one of ${mebibytes(settings.largeBytes)} MiB read sequentially, two of ${mebibytes(settings.randomBytes)} MiB read at random, ${settings.smallFiles} small ones, two trees of
  ${settings.treeFiles} files; written are files of ${mebibytes(settings.writeBytes)} MiB and a copy of the small ones
- ${settings.rounds} rounds; at most ${settings.seconds} s a measurement, but for the sequential one and those that write
- Every contender read ${mebibytes(checkedBytes)} MiB before, and its SHA-256 was that of the files

## Results

Medians of the rounds. The ratio is the median of the ratios of each round; behind it the least and the greatest.
CPU is user and system time of the reader and of every process of the contender, servers included.

${sections.join('\n\n')}

## Goals

${markdownTable(goals.head, goals.rows)}

## Who did not take part

${absent.length === 0 ? 'Everybody did.' : absent.map((line) => `- ${cell(line)}`).join('\n')}

## How it is measured

- All contenders give the same tree on the same machine, over loopback where they use a network. GlusterFS has a copy of
  it, because it marks what lies in a brick.
- Servers run from beginning to end, and their files are in the page cache. Clients are mounted anew each round, so they
  begin cold; each workload has files of its own, and random reads touch each page once.
- Rounds are interleaved: in each round every workload is done by all contenders in turn, and each round begins with
  another of them.
- A reader is a process of its own, the same for all: plain calls one after the other. \`open\`, \`read\`, \`close\`, \`stat\` and
  \`readdir\` are Node.js's, which cost a few microseconds each; \`pread\` and \`mmap\` are called directly.
- Everything runs in mount, network and process namespaces of its own, with other people's programs as they are
  installed and with their defaults, but for what is said in their names.
- Checksums are compared apart from what is timed.
- Who writes makes files of names that were never used, by plain calls too: 1 MiB a call, a file that did not exist, timed
  to the end of \`close\`, or of \`fsync\` and \`close\`; every eighth page of a file that is a hole, in random order, timed to
  the end of \`fsync\`; \`tar x\` of an archive that is in the page cache, timed to the end of tar,
  after as many as 1,000 of the files were unpacked once without being timed.
- Before each time the disk has nothing to write back (\`sync -f\`); after it, every byte and every name is compared
  on the server's disk, not through who wrote it, and removed. \`close\` alone promises nothing about a disk on the files
  themselves, on bindfs, sshfs and rclone; a mount of ours has then asked the server to write it there (COMMIT), and so pays
  for more. rclone without a cache cannot write at random.

Read with care: one machine is client and server at once, so both sides share its processors; loopback has no latency;
short measurements are noisy, which the spread shows.

## Repeat it

As root on Debian 12, in a checkout, with about ${Math.ceil((3 * settings.largeBytes + settings.writeBytes) / 1024 ** 3) + 1} GiB free on a file system that is not an overlay:

\`\`\`sh
apt-get install bindfs sshfs openssh-sftp-server socat rclone fuse3 glusterfs-server glusterfs-client \\
    nfs-ganesha nfs-ganesha-vfs rpcbind iproute2 libfuse2
npm ci && npm run bench
\`\`\`

Whoever is not installed is named above, and left out. \`npm run bench -- --help\` shows more; \`npx nearmount bench DIRECTORY\`
measures a mount of your own.
`;
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(0);
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return 'Nothing was measured.';
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

function cell(text: string): string {
  return text.replace(/[|\\<]/g, (char) => `\\${char}`).replace(/\s+/g, ' ');
}
