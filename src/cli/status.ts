/** `nearmount status`: every mount on this machine, its route and why, and how its files' bytes move. */
import { Command } from 'commander';
import { z } from 'zod';
import { collectStatusAs, runtimeDirectory } from '../observe/status-socket.ts';
import { CliError } from './errors.ts';
import { printJson, printRemark, processStreams, visible } from './output.ts';

const counts = z.record(z.string(), z.number());
/** With defaults for what gateways of older versions do not tell. */
const mountStatus = z.object({
  mountPoint: z.string(),
  source: z.string(),
  device: z.string().optional(),
  options: z.array(z.string()).optional(),
  pid: z.number(),
  since: z.string(),
  driver: z.string().default('kernel'),
  connected: z.boolean(),
  route: z.string(),
  level: z.string(),
  levelReason: z.string().optional(),
  endpoint: z.string(),
  server: z.string().optional(),
  why: z.string(),
  routes: z.array(z.object({ route: z.string(), endpoint: z.string(), state: z.string(), why: z.string() })),
  openFiles: counts,
  opens: counts,
  inodes: z.number(),
  requestsPending: z.number(),
  wireBytes: z.string(),
  mappedBytes: z.string().default('0'),
  mapFallbacks: z.number().default(0),
  wireWrittenBytes: z.string().default('0'),
  dirtyBytes: z.number().default(0),
  calls: counts,
  lastWireReason: z.string().optional(),
  locks: z.string().default('local to this guest'),
  groupsCut: z.number().default(0),
  push: z
    .object({
      on: z.boolean(),
      why: z.string().optional(),
      invalidations: z.number(),
      overflows: z.number(),
    })
    .optional(),
});
type MountStatus = z.infer<typeof mountStatus>;

export function statusCommand(): Command {
  return new Command('status')
    .description(
      'show every mount: route and level, why this route, data paths of open files, calls and bytes',
    )
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const { statuses, silent } = await collectStatusAs(
        runtimeDirectory(),
        (document) => mountStatus.safeParse(document).data,
      );
      const mounts = statuses.toSorted((a, b) => (a.mountPoint < b.mountPoint ? -1 : 1));
      if (options.json === true) printJson(processStreams, { mounts, silent });
      else if (mounts.length === 0 && silent.length === 0) processStreams.out.write('no mounts\n');
      else processStreams.out.write(mounts.map(describe).join('\n'));
      for (const socket of silent) printRemark(processStreams, `the mount behind ${socket} does not answer`);
      if (silent.length > 0) throw new CliError('some mounts do not answer: see their logs');
    });
}

function describe(mount: MountStatus): string {
  const state = mount.connected ? '' : ', server away';
  const server = mount.server === undefined ? '' : ` (server ${mount.server})`;
  const lines = [
    `${mount.mountPoint}  ${mount.source}  pid ${mount.pid}, driver ${mount.driver}, since ${mount.since}`,
    `  route      ${mount.route}, level ${mount.level}, at ${mount.endpoint}${server}${state}`,
    `  why        ${mount.why}`,
    ...(mount.levelReason === undefined ? [] : [`  level      ${mount.level}: ${mount.levelReason}`]),
    ...mount.routes.map(
      ({ route, endpoint, state: verdict, why }) => `  tried      ${route} ${endpoint}: ${verdict} (${why})`,
    ),
    `  open files ${describeCounts(mount.openFiles)}; opened so far ${describeCounts(mount.opens)}`,
    `  bytes      ${mount.wireBytes} by wire, ${mount.mappedBytes} mapped; what passes through is read by the kernel and not counted`,
    `  written    ${mount.wireWrittenBytes} bytes by wire, ${mount.dirtyBytes} bytes not on stable storage yet`,
    ...(mount.mapFallbacks === 0 ? [] : [`  fallbacks  ${mount.mapFallbacks} reads of shared files by wire`]),
    `  locks      ${mount.locks}`,
    `  calls      ${describeCounts(mount.calls)}`,
    ...(mount.push === undefined ? [] : [`  push       ${describePush(mount.push)}`]),
    ...(mount.groupsCut === 0
      ? []
      : [`  groups     ${mount.groupsCut} calls with 16 of their caller's groups: the server takes no more`]),
    ...(mount.lastWireReason === undefined ? [] : [`  wire       last used because ${mount.lastWireReason}`]),
  ];
  return `${lines.map(visible).join('\n')}\n`;
}

function describePush({ on, why, invalidations, overflows }: NonNullable<MountStatus['push']>): string {
  const missed = overflows === 0 ? '' : `, changes were missed ${overflows} times`;
  return `${on ? 'on' : `off: ${why ?? 'not known'}`}; ${invalidations} files and directories told of${missed}`;
}

function describeCounts(values: Readonly<Record<string, number>>): string {
  const parts = Object.entries(values).map(([name, count]) => `${count} ${name}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}
