#!/usr/bin/env node
/**
 * The program `/sbin/mount.nearmount`, which mount(8) runs for mounts of type nearmount and lines of fstab(5):
 * SOURCE TARGET [-sfnv] [-N namespace] [-o options] [-t type], with mount(8)'s exit statuses.
 */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { DEFAULT_COLOCATION_FILE } from '../resolver/table.ts';
import { CliError } from './errors.ts';
import { readFstabOptions } from './fstab-options.ts';
import { mountBehind } from './mount-behind.ts';
import { checkPlace, realPlace } from './mount-place.ts';
import { parseRequest, type MountRequest } from './mount-request.ts';
import { defaultLogFile } from './places.ts';
import { forbidPrograms } from './no-programs.ts';
import { runProgram } from './program.ts';
import { unmountPlace } from './unmount.ts';

/** EXIT STATUS of mount(8): wrong call or permissions; the mount failed. */
const EXIT_STATUSES = { usage: 1, failed: 32 };

interface Flags {
  readonly options: readonly string[];
  readonly sloppy?: boolean;
  readonly fake?: boolean;
  readonly verbose?: boolean;
  readonly namespace?: string;
}

const collect = (value: string, earlier: readonly string[]): readonly string[] => [...earlier, value];

async function mount(sourceText: string, target: string, flags: Flags): Promise<void> {
  if (flags.namespace !== undefined) {
    throw new CliError('-N is not available: run mount(8) in that namespace with nsenter(1)', 2);
  }
  const { mountOptions, tableFile, logFile, logLevel, node, cluster, noPrograms } = readFstabOptions(
    flags.options,
    flags.sloppy === true,
  );
  const request: MountRequest = {
    sourceText,
    mountPoint: realPlace(target),
    optionLists: mountOptions.length === 0 ? [] : [mountOptions.join(',')],
    tableFile: resolve(tableFile ?? process.env.NEARMOUNT_COLOCATION ?? DEFAULT_COLOCATION_FILE),
    node,
    cluster,
    logFile: resolve(logFile ?? defaultLogFile()),
    logLevel: logLevel ?? 'info',
  };
  parseRequest(request);
  await checkPlace(request);
  if (flags.verbose === true) {
    process.stdout.write(
      `mount.nearmount: ${sourceText} at ${request.mountPoint}, options ${mountOptions.join(',')}\n`,
    );
  }
  if (flags.fake === true) return;
  await mountBehind(request);
  if (!noPrograms) return;
  try {
    forbidPrograms(request.mountPoint);
  } catch (error) {
    await unmountPlace(request.mountPoint, true, new Map());
    throw error;
  }
}

await runProgram(
  new Command('mount.nearmount')
    .description('mounts for mount(8) and fstab(5): see nearmount mount for sources and options')
    .argument('<source>')
    .argument('<target>')
    .option(
      '-o, --options <list>',
      'mount options; also colocation=, log-file=, log-level=, node=, cluster=',
      collect,
      [],
    )
    .option('-s, --sloppy', 'ignore unknown mount options')
    .option('-f, --fake', 'do everything but mount')
    .option('-n, --no-mtab', 'no effect: the kernel keeps the list of mounts')
    .option('-v, --verbose', 'say what is mounted')
    .option('-N, --namespace <namespace>', 'not available')
    .option('-t, --types <type>', 'no effect: there is one type')
    .action(mount),
  EXIT_STATUSES,
);
